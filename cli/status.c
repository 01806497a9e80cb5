/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>

static const char *text(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static double number(json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static void line(json_t *vm)
{
	const char *reason = text(vm, "reason");
	json_t *pause = json_object_get(vm, "pause_ms"), *k;
	size_t i;

	printf("%-16s %-8s %-10s %-12s gen %-3.0f epoch %-8.0f", text(vm, "name"), text(vm, "role"),
	       text(vm, "state"), text(vm, "peer"), number(vm, "generation"),
	       number(vm, "epoch_committed"));
	if (number(vm, "progress") < 1 && json_string_length(json_object_get(vm, "reason")) == 0)
		printf(" %3.0f %% copied", number(vm, "progress") * 100);
	else if (number(pause, "p50") > 0)
		printf(" lag %.0f ms, pause %.1f/%.1f ms", number(vm, "lag_ms"),
		       number(pause, "p50"), number(pause, "p99"));
	if (*reason)
		printf("  (%s)", reason);
	putchar('\n');
	if (*text(vm, "warning"))
		printf("  warning: %s\n", text(vm, "warning"));
	json_array_foreach(json_object_get(vm, "kept"), i, k)
		printf("  kept: QEMU pid %.0f, generation %.0f, %.0f MiB of memory, %.0f MiB of "
		       "images: %s\n",
		       number(k, "pid"), number(k, "generation"),
		       number(k, "memory_bytes") / (1 << 20), number(k, "image_bytes") / (1 << 20),
		       text(k, "reason"));
}

static int run(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {CLI_COMMON_OPTIONS, {NULL, 0, NULL, 0}};
	json_t *req, *last, *vms, *vm;
	size_t i;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		rc = cli_common_option(c, &cmd_status, opt);
		if (rc >= 0)
			return rc;
	}
	if (optind < argc - 1)
		return cli_usage(&cmd_status);
	req = json_pack("{ss}", "op", "status");
	if (optind < argc)
		json_object_set_new(req, "vm", json_string(argv[optind]));
	rc = cli_call(c, req, NULL, &last);
	vms = json_object_get(last, "vms");
	if (!rc && c->json) {
		/* With VM its object, else all of them as an array. */
		cli_print(c, json_incref(optind < argc ? json_array_get(vms, 0) : vms));
	} else if (!rc) {
		if (!json_array_size(vms))
			puts("this host has no protected VMs and no standbys");
		json_array_foreach(vms, i, vm)
			line(vm);
	}
	json_decref(last);
	return rc;
}

const struct subcommand cmd_status = {
	"status",
	"[VM]",
	"one line for each VM: role, state, peer, epochs, lag, pause",
	"  VM      its name, id, pid, or QMP socket; all VMs of this host otherwise\n"
	"  --json  an array of objects on stdout; with VM one object\n\n"
	"States: syncing, protected, alone (runs unprotected; the reason is shown), promoting, stopped.\n"
	"'kept' names a QEMU process of this host that was stopped because another host runs the VM:\n"
	"inspect it, end it, or forget it with 'twinvm unprotect VM --kept'. Only the newest one of a VM\n"
	"is kept; with an arbiter it is ended when the VM is protected again, as nothing is lost with it.\n",
	run,
};
