/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>

static int run(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {
		{"kept", no_argument, NULL, 'k'}, CLI_COMMON_OPTIONS, {NULL, 0, NULL, 0}};
	bool kept = false;
	json_t *last;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (opt == 'k') {
			kept = true;
			continue;
		}
		rc = cli_common_option(c, &cmd_unprotect, opt);
		if (rc >= 0)
			return rc;
	}
	if (optind != argc - 1)
		return cli_usage(&cmd_unprotect);
	rc = cli_call(c,
		      json_pack("{ss ss sb}", "op", "unprotect", "vm", argv[optind], "kept", kept),
		      NULL, &last);
	if (!rc && c->json)
		cli_print(c, json_pack("{ss sb}", "vm", argv[optind], "protected", 0));
	else if (!rc && kept)
		printf("forgot the stopped QEMU of %s; end its process when you like\n",
		       argv[optind]);
	else if (!rc)
		printf("%s is no longer protected; it keeps running\n", argv[optind]);
	json_decref(last);
	return rc;
}

const struct subcommand cmd_unprotect = {
	"unprotect",
	"VM [--kept]",
	"stop protecting a VM: it keeps running, its standby is removed",
	"Removes what twinvm added to the VM; the VM is not restarted.\n\n"
	"  VM      its name, id (from twinvm status), pid, or QMP socket\n"
	"  --kept  only forget a QEMU process of this host that was stopped because another host runs\n"
	"          the VM: the process stays, the names of its files and taps may be used again; and\n"
	"          that another host may run it: libvirt may start it here again\n"
	"  --json  one JSON object on stdout\n",
	run,
};
