/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/cli.h"
#include "cli/top.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static bool is_primary(const json_t *vm)
{
	const char *role = json_string_value(json_object_get(vm, "role"));

	return role && !strcmp(role, "primary");
}

/* Every VM that runs here and is protected. One that cannot be ended does not keep the others from it. */
static int unprotect_all(struct cli *c)
{
	json_t *vms, *done = json_array(), *vm, *last;
	const char *id;
	char name[200];
	int status = cli_call(c, json_pack("{ss}", "op", "status"), NULL, &vms), rc;
	size_t i;

	json_array_foreach(json_object_get(vms, "vms"), i, vm) {
		id = json_string_value(json_object_get(vm, "id"));
		if (!id || !is_primary(vm))
			continue;
		rc = cli_call(c, json_pack("{ss ss sb}", "op", "unprotect", "vm", id, "kept", 0),
			      NULL, &last);
		if (rc)
			status = rc;
		else
			json_array_append(done, json_object_get(vm, "name"));
		top_clean(name, sizeof(name), json_string_value(json_object_get(vm, "name")), true);
		if (!rc && !c->json)
			printf("%s is no longer protected; it keeps running\n", name);
		json_decref(last);
	}
	json_decref(vms);
	if (c->json && !status)
		cli_print(c, json_pack("{so}", "unprotected", done));
	else
		json_decref(done);
	return status;
}

static int run(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {{"kept", no_argument, NULL, 'k'},
						{"all", no_argument, NULL, 'a'},
						CLI_COMMON_OPTIONS,
						{NULL, 0, NULL, 0}};
	bool kept = false, all = false;
	json_t *last;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (opt == 'k' || opt == 'a') {
			kept = kept || opt == 'k';
			all = all || opt == 'a';
			continue;
		}
		rc = cli_common_option(c, &cmd_unprotect, opt);
		if (rc >= 0)
			return rc;
	}
	if (all && !kept && optind == argc)
		return unprotect_all(c);
	if (all || optind != argc - 1)
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
	"VM [--kept] | --all",
	"stop protecting a VM: it keeps running, its standby is removed",
	"Removes what twinvm added to the VM; the VM is not restarted.\n\n"
	"  VM      its name, id (from twinvm status), pid, or QMP socket\n"
	"  --kept  only forget a QEMU process of this host that was stopped because another host runs\n"
	"          the VM: the process stays, the names of its files and taps may be used again; and\n"
	"          that another host may run it: libvirt may start it here again\n"
	"  --all   every VM that runs on this host and is protected\n"
	"  --json  one JSON object on stdout\n",
	run,
};
