/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/cli.h"
#include "cli/top.h"

#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

static const char *text(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static double number(json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

/* A text of another host or a guest's owner controls no terminal. */
static const char *clean(json_t *o, const char *key, char *out, size_t room)
{
	top_clean(out, room, text(o, key), true);
	return out;
}

/* copies: a session runs, whose numbers these are. */
static void numbers(json_t *vm, bool backup, bool copies)
{
	json_t *pause = json_object_get(vm, "pause_ms");
	bool whole = number(vm, "progress") >= 1;
	char lag[TOP_WORD];

	if (!whole && !*text(vm, "reason"))
		printf(", %.0f %% copied", number(vm, "progress") * 100);
	top_duration(lag, number(vm, "lag_ms") / 1e3);
	if (!backup && copies && whole && number(pause, "p50") > 0)
		printf(", lag %s, pause %.1f ms (p99 %.1f)", lag, number(pause, "p50"),
		       number(pause, "p99"));
	if (copies)
		printf(", epoch %.0f", number(vm, "epoch_committed"));
	printf(", generation %.0f", number(vm, "generation"));
}

static void disks(json_t *vm)
{
	char name[200], file[1100], image[40] = "";
	json_t *d;
	size_t i;

	json_array_foreach(json_object_get(vm, "disks"), i, d) {
		printf("  disk %s, %.0f MiB: ", clean(d, "name", name, sizeof(name)),
		       number(d, "bytes") / (1 << 20));
		if (json_object_get(d, "progress"))
			printf("%.0f %% copied", number(d, "progress") * 100);
		else if (number(d, "behind_bytes") > 0)
			printf("%.0f KiB behind", number(d, "behind_bytes") / 1024);
		else
			printf("%s", json_object_get(d, "behind_bytes")
					     ? "in sync"
					     : clean(d, "state", image, sizeof(image)));
		printf(", %s\n", clean(d, "file", file, sizeof(file)));
	}
}

static void more(json_t *vm)
{
	char buf[700];
	json_t *k;
	size_t i;

	if (*text(vm, "warning"))
		printf("  warning: %s\n", clean(vm, "warning", buf, sizeof(buf)));
	if (!strcmp(text(vm, "state"), "protected") && *text(vm, "failover_reason"))
		printf("  no automatic failover: %s\n",
		       clean(vm, "failover_reason", buf, sizeof(buf)));
	if (*text(vm, "next_action"))
		printf("  next: %s\n", clean(vm, "next_action", buf, sizeof(buf)));
	json_array_foreach(json_object_get(vm, "kept"), i, k)
		printf("  kept: QEMU pid %.0f, generation %.0f, %.0f MiB of memory, %.0f MiB of "
		       "images: %s\n",
		       number(k, "pid"), number(k, "generation"),
		       number(k, "memory_bytes") / (1 << 20), number(k, "image_bytes") / (1 << 20),
		       clean(k, "reason", buf, sizeof(buf)));
}

/* Would a failover succeed; whole: and what was tried last, of each kind. */
static void tried(json_t *vm, double now_s, bool whole)
{
	json_t *ready = json_object_get(vm, "ready"), *one, *last;
	char buf[700], result[20], reason[500], ago[TOP_WORD], name[40];
	bool yes = json_is_true(json_object_get(ready, "ready"));
	const char *kind;

	if (ready && !yes)
		printf("  ready to fail over: no: %s\n", clean(ready, "why", buf, sizeof(buf)));
	else if (ready && whole)
		puts("  ready to fail over: yes");
	json_object_foreach(json_object_get(vm, "rehearsals"), kind, one) {
		last = json_object_get(one, "last");
		if (!whole || !last)
			continue;
		top_clean(name, sizeof(name), kind, true);
		top_duration(ago, now_s - number(last, "ended"));
		clean(last, "reason", reason, sizeof(reason));
		printf("  last %s: %s, %s ago%s%s\n", name,
		       clean(last, "result", result, sizeof(result)), ago, *reason ? ": " : "",
		       reason);
	}
}

/* whole: one VM was asked for. */
static void line(json_t *vm, double now_s, bool whole)
{
	bool backup = !strcmp(text(vm, "role"), "backup");
	bool copies =
		!strcmp(text(vm, "state"), "protected") || !strcmp(text(vm, "state"), "syncing");
	char name[200], peer[200], state[40], since[TOP_WORD], reason[700];

	top_duration(since, now_s - number(vm, "state_since"));
	printf("%-16s %-7s ", clean(vm, "name", name, sizeof(name)), text(vm, "role"));
	if (*text(vm, "peer") && (backup || copies))
		printf("%s %-10s ", backup ? "<-" : "->", clean(vm, "peer", peer, sizeof(peer)));
	printf("%s", clean(vm, "state", state, sizeof(state)));
	if (number(vm, "state_since") > 0)
		printf(" for %s", since);
	numbers(vm, backup, copies);
	if (*text(vm, "reason"))
		printf("  (%s)", clean(vm, "reason", reason, sizeof(reason)));
	putchar('\n');
	more(vm);
	tried(vm, now_s, whole);
	if (whole)
		disks(vm);
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
	setlocale(LC_CTYPE, ""); /* which characters can be printed */
	req = json_pack("{ss}", "op", "status");
	if (optind < argc)
		json_object_set_new(req, "vm", json_string(argv[optind]));
	rc = cli_call(c, req, NULL, &last);
	vms = json_object_get(last, "vms");
	if (!rc && c->json) {
		/* With VM its object, else all of them as an array. */
		cli_print(c, json_incref(optind < argc ? json_array_get(vms, 0) : vms));
	} else if (!rc) {
		if (json_is_true(json_object_get(last, "maintenance")))
			printf("this host (%s) is in maintenance: see 'twinvm maintenance status'\n",
			       text(last, "host"));
		if (!json_array_size(vms))
			puts("this host has no protected VMs and no standbys");
		json_array_foreach(vms, i, vm)
			line(vm, number(last, "time"), optind < argc);
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
