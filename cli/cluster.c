/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm cluster: which of its commands it is, and their options. */
#include "cli/cluster.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define MOST_DAYS 3650
#define MOST_SECONDS 86400

static const struct action {
	const char *name;
	const char *options; /* letters of those that it takes */
	unsigned operands;
	int (*run)(struct cli *c, const struct cluster_options *o);
} actions[] = {
	{"init", "nlraydspcbN", 0, cluster_init}, {"invite", "spcb", 0, cluster_invite},
	{"join", "nlraycdtf", 1, cluster_join},	  {"list", "c", 0, cluster_list},
	{"rotate", "cs", 0, cluster_rotate},	  {"revoke", "c", 1, cluster_revoke},
	{"leave", "csF", 0, cluster_leave},
};

static int number(const char *text, int most)
{
	char *rest;
	long n = strtol(text, &rest, 10);

	return *rest || n < 1 || n > most ? -1 : (int)n;
}

/* False: the value is invalid. */
static bool set(struct cluster_options *o, int opt, const char *value)
{
	switch (opt) {
	case 'n':
		o->name = value;
		return true;
	case 'l':
		o->listen = value;
		return true;
	case 'a':
		o->address = value;
		return true;
	case 'r':
		o->arbiter = value;
		return true;
	case 'c':
		o->config = value;
		return true;
	case 'd':
		o->dir = value;
		return value[0] == '/' && strlen(value) < 200;
	case 't':
		o->token = value;
		return true;
	case 'f':
		o->fingerprint = value;
		return true;
	case 'y':
		o->days = number(value, MOST_DAYS);
		return o->days > 0;
	case 's':
		o->seconds = number(value, MOST_SECONDS);
		return o->seconds > 0;
	case 'p':
		o->port = number(value, 65535);
		return o->port > 0;
	case 'b':
		return o->background = true;
	case 'N':
		return o->no_invite = true;
	case 'F':
		return o->force = true;
	default:
		return false;
	}
}

static int run(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {{"name", required_argument, NULL, 'n'},
						{"listen", required_argument, NULL, 'l'},
						{"address", required_argument, NULL, 'a'},
						{"arbiter", required_argument, NULL, 'r'},
						{"days", required_argument, NULL, 'y'},
						{"for", required_argument, NULL, 's'},
						{"port", required_argument, NULL, 'p'},
						{"config", required_argument, NULL, 'c'},
						{"dir", required_argument, NULL, 'd'},
						{"token", required_argument, NULL, 't'},
						{"fingerprint", required_argument, NULL, 'f'},
						{"background", no_argument, NULL, 'b'},
						{"no-invite", no_argument, NULL, 'N'},
						{"force", no_argument, NULL, 'F'},
						CLI_COMMON_OPTIONS,
						{NULL, 0, NULL, 0}};
	struct cluster_options o = {.config = "/etc/twinvm/twinvmd.conf", .dir = CL_DEFAULT_DIR};
	const struct action *a = NULL;
	char given[32] = "";
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (opt == 'J' || opt == 'h' || opt == '?') {
			rc = cli_common_option(c, &cmd_cluster, opt);
			if (rc >= 0)
				return rc;
			continue;
		}
		if (!set(&o, opt, optarg) || strlen(given) + 1 == sizeof(given))
			return cli_usage(&cmd_cluster);
		given[strlen(given)] = (char)opt;
	}
	for (size_t i = 0; optind < argc && i < sizeof(actions) / sizeof(*actions); i++)
		if (!strcmp(actions[i].name, argv[optind]))
			a = &actions[i];
	if (!a || argc - optind - 1 != (int)a->operands ||
	    strspn(given, a->options) != strlen(given))
		return cli_usage(&cmd_cluster);
	o.what = a->name;
	o.host = a->operands ? argv[optind + 1] : NULL;
	return a->run(c, &o);
}

const struct subcommand cmd_cluster = {
	"cluster",
	"init|invite|join|list|rotate|revoke|leave [OPTIONS]",
	"keys, certificates and members of a cluster of hosts",
	"Hosts know each other by certificates of one CA. These commands make and distribute them, and keep\n"
	"the list of members the same on all hosts (docs/CLUSTER.md). As root.\n\n"
	"  init         this host is the first: makes the CA, its key and certificate, and the configuration;\n"
	"               then invites as invite does\n"
	"  invite       prints the line for another host to join, valid once, and waits for it; on the host\n"
	"               with the key of the CA\n"
	"  join         HOST:PORT --token TOKEN --fingerprint SHA256, as that line has it\n"
	"  list         members, certificates, and those that were revoked\n"
	"  rotate       a new key and certificate for this host; sessions continue. Certificates are renewed\n"
	"               by themselves in the last third of their time\n"
	"  revoke       HOST: its certificates do not count any more, on no host, and its sessions end; on\n"
	"               the host with the key of the CA\n"
	"  leave        this host is no member any more, and its keys are removed; refused while it has VMs\n\n"
	"  --name HOST         init, join: this host's name (default the host name)\n"
	"  --listen ADDRESS    init, join: where other hosts connect, with or without port (default\n"
	"                      0.0.0.0:7890)\n"
	"  --address ADDRESS   init, join: where other hosts reach this one (default its only address)\n"
	"  --arbiter URL       init, join: the arbiter (default none; join: that of the first host)\n"
	"  --days N            init: how long certificates are valid (default 365)\n"
	"  --no-invite         init: no invitation\n"
	"  --for SECONDS       init, invite: how long the line is valid (default 600); rotate, leave: how\n"
	"                      long the host with the key of the CA is waited for (default 60)\n"
	"  --port PORT         init, invite: of the invitation (default that of listen, and 2)\n"
	"  --background        init, invite: returns at once, and the invitation continues\n"
	"  --token TOKEN       join: of the line\n"
	"  --fingerprint SUM   join: of the CA, as the line has it\n"
	"  --force             leave: also with VMs, and when the host with the key of the CA is away\n"
	"  --config FILE       configuration of twinvmd (default /etc/twinvm/twinvmd.conf): made, or lines\n"
	"                      added at its end\n"
	"  --dir DIR           init, join: for keys and lists (default /var/lib/twinvm/cluster)\n"
	"  --json              one JSON object on stdout\n\n"
	"Exit status 3: refused, as there are certificates, a cluster or VMs already; nothing was changed.\n",
	run,
};
