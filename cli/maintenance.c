/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm maintenance: the host gives its VMs away and takes none; back again. */
#include "cli/cli.h"
#include "cli/top.h"

#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *clean(json_t *o, const char *key, char *out, size_t room)
{
	const char *s = json_string_value(json_object_get(o, key));

	top_clean(out, room, s ? s : "", true);
	return out;
}

static size_t size(json_t *o, const char *key)
{
	return json_array_size(json_object_get(o, key));
}

static void progress(struct cli *c, json_t *msg)
{
	char text[300];

	if (msg && c->terminal && !c->json)
		printf("%s\n", clean(msg, "state", text, sizeof(text)));
}

static void show(json_t *o)
{
	time_t since = (time_t)json_integer_value(json_object_get(o, "since"));
	char host[80], a[200], state[40], why[700], when[40];
	bool is_on = json_is_true(json_object_get(o, "on"));
	struct tm tm;
	json_t *vm, *other;
	size_t i;

	clean(o, "host", host, sizeof(host));
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", localtime_r(&since, &tm));
	if (!is_on)
		printf("%s is not in maintenance; %zu VMs run here\n", host, size(o, "vms"));
	else
		printf("%s is in maintenance since %s, until %s: %.0f VMs moved, %zu to move\n",
		       host, when,
		       json_is_true(json_object_get(o, "until_boot")) ? "its next boot"
								      : "'twinvm maintenance off'",
		       json_number_value(json_object_get(o, "moved")), size(o, "vms"));
	json_array_foreach(json_object_get(o, "vms"), i, vm)
		if (is_on)
			printf("  %-16s priority %.0f, %s: %s\n", clean(vm, "vm", a, sizeof(a)),
			       json_number_value(json_object_get(vm, "priority")),
			       clean(vm, "state", state, sizeof(state)),
			       clean(vm, "why", why, sizeof(why)));
	json_array_foreach(json_object_get(o, "standbys"), i, vm)
		if (is_on)
			printf("  %-16s backup of it, which runs on %s: stays as long as this host "
			       "lives\n",
			       clean(vm, "vm", a, sizeof(a)),
			       clean(vm, "primary", why, sizeof(why)));
	json_array_foreach(json_object_get(o, "others"), i, other) {
		top_clean(a, sizeof(a), json_string_value(other), true);
		printf("%s is in maintenance: no VM moves to it\n", a);
	}
}

static int run(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {{"timeout", required_argument, NULL, 't'},
						{"until-boot", no_argument, NULL, 'b'},
						CLI_COMMON_OPTIONS,
						{NULL, 0, NULL, 0}};
	json_t *request = json_pack("{ss}", "op", "maintenance"), *last;
	bool only_on = false;
	const char *what;
	char *rest;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		rc = -1;
		only_on |= opt == 't' || opt == 'b';
		if (opt == 't') {
			json_object_set_new(request, "timeout",
					    json_integer(strtol(optarg, &rest, 10)));
			if (*rest || rest == optarg)
				rc = cli_usage(&cmd_maintenance);
		} else if (opt == 'b') {
			json_object_set_new(request, "until_boot", json_true());
		} else {
			rc = cli_common_option(c, &cmd_maintenance, opt);
		}
		if (rc >= 0) {
			json_decref(request);
			return rc;
		}
	}
	what = optind == argc - 1 ? argv[optind] : "";
	if ((strcmp(what, "on") != 0 && strcmp(what, "off") != 0 && strcmp(what, "status") != 0) ||
	    (only_on && strcmp(what, "on") != 0)) {
		json_decref(request);
		return cli_usage(&cmd_maintenance);
	}
	setlocale(LC_CTYPE, "");
	json_object_set_new(request, "what", json_string(what));
	rc = cli_call(c, request, progress, &last);
	json_object_del(last, "done");
	json_object_del(last, "rc");
	if (!rc && c->json)
		cli_print(c, json_incref(last));
	else if (!c->json && json_object_get(last, "vms"))
		show(last);
	json_decref(last);
	return rc;
}

const struct subcommand cmd_maintenance = {
	"maintenance",
	"on [--timeout S] [--until-boot] | off | status",
	"give this host's VMs away and take none; back again",
	"VMs that run here move to their backups by planned switches, nothing is lost: one after the other,\n"
	"the higher priority.NAME first. Standbys that are here stay as long as this host lives. VMs that\n"
	"are not protected are not touched.\n\n"
	"  on            gives the VMs away, and takes none as backup. Ends when none is left; when time is\n"
	"                over with exit status 1 and what hinders the others, which move as soon as they\n"
	"                can. It stays so over restarts and reboots, until `off`\n"
	"  off           this host takes VMs again: those without a backup come by themselves. VMs that\n"
	"                were moved stay where they are ('twinvm failover' brings one back)\n"
	"  status        what is left to move, and why something cannot\n"
	"  --timeout S   how long to wait (default maintenance_timeout_s of the configuration)\n"
	"  --until-boot  it ends by itself when this host is booted again\n"
	"  --json        one JSON object on stdout: host, on, since, until_boot, moved, vms, standbys,\n"
	"                others (hosts that are in maintenance as well)\n",
	run,
};
