/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>

static int run(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {{"force", no_argument, NULL, 'f'},
						{"retry", no_argument, NULL, 'r'},
						CLI_COMMON_OPTIONS,
						{NULL, 0, NULL, 0}};
	bool force = false, retry = false;
	json_t *last;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (opt == 'f') {
			force = true;
			continue;
		}
		if (opt == 'r') {
			retry = true;
			continue;
		}
		rc = cli_common_option(c, &cmd_failover, opt);
		if (rc >= 0)
			return rc;
	}
	if (optind != argc - 1 || (force && retry))
		return cli_usage(&cmd_failover);
	if (force)
		fprintf(stderr,
			"twinvm: promoting %s without an arbiter: make sure that its old host is off; if "
			"that host still runs the VM, it runs twice and its data are at risk\n",
			argv[optind]);
	rc = cli_call(c,
		      json_pack("{ss ss sb sb}", "op", "failover", "vm", argv[optind], "force",
				force, "retry", retry),
		      NULL, &last);
	if (!rc && c->json)
		cli_print(c, force || retry
				     ? json_pack("{ss sb}", "vm", argv[optind], "promoted", 1)
				     : json_pack("{ss sO}", "vm", argv[optind], "host",
						 json_object_get(last, "host")));
	else if (!rc && (force || retry))
		printf("%s runs here now\n", argv[optind]);
	else if (!rc)
		printf("%s runs on %s now\n", argv[optind],
		       json_string_value(json_object_get(last, "host")));
	json_decref(last);
	return rc;
}

const struct subcommand cmd_failover = {
	"failover",
	"VM [--force | --retry]",
	"move a VM to its backup; --force, --retry: run it here",
	"Without --force, on the host that runs the VM: a planned switch. The VM stops, its last\n"
	"epoch is committed, and the VM continues on the backup with nothing lost. If the switch\n"
	"fails, the VM continues here. Afterwards the new host protects it again by itself, by this\n"
	"host if possible.\n"
	"With --force, on the backup: promotes the standby on this host from the last committed epoch.\n"
	"Only for VMs without an arbiter, where the operator decides. Refused while the primary\n"
	"answers.\n"
	"With --retry, on the backup: tries a promotion again whose record is won and whose VM could\n"
	"not be started. 'twinvm status' shows why; its memory and disks are kept until then.\n\n"
	"  VM       its name or id\n"
	"  --force  the old host is dead (make sure of it: a VM that runs twice corrupts its data)\n"
	"  --retry  the VM is this host's by record, and could not be started\n"
	"  --json   one JSON object on stdout\n",
	run,
};
