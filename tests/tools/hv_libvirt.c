/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A running domain through libvirt's passthrough, beside a second monitor of its own, which stands for
 * another program's:
 *
 *   hv_libvirt order DOMAIN N        N times stop and cont: their events come before their answers
 *   hv_libvirt torn DOMAIN N         N epochs each: of three commands with a foreign cont in it, which
 *                                    must not count; without; of one command; and after a foreign stop
 *
 * DOMAIN as for hv_find; it has a QMP socket, and runs.
 */
#include "hv/hv.h"
#include "hv/qemu/qmp.h"
#include "tests/tools/lib_hv_bed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct hv_vm_id own, through; /* by its socket, and by libvirt */

static void find(const char *what)
{
	struct tv_err e = {0};

	MUST(!hv_find(what, NULL, NULL, NULL, &own, &e), "%s", e.text);
	MUST(own.qmp_path[0] == '/' && *own.uuid, "%s has no QMP socket or UUID", what);
	through = own;
	snprintf(through.qmp_path, sizeof(through.qmp_path), HV_LIBVIRT_PATH "%s", own.uuid);
}

static struct hv_qmp *open_qmp(const struct hv_vm_id *id)
{
	struct tv_err e = {0};
	struct hv_qmp *q;

	MUST(!hv_qmp_open_any(id->qmp_path, id->pid, BED_MS, &q, &e), "%s", e.text);
	return q;
}

static void command(struct hv_qmp *q, const char *name)
{
	struct tv_err e = {0};

	MUST(!hv_qmp_cmd(q, name, NULL, NULL, BED_MS, &e), "%s", e.text);
}

static bool runs(struct hv_qmp *q)
{
	json_t *ret = NULL;
	struct tv_err e = {0};
	bool yes;

	MUST(!hv_qmp_cmd(q, "query-status", NULL, &ret, BED_MS, &e), "%s", e.text);
	yes = json_is_true(json_object_get(ret, "running"));
	json_decref(ret);
	return yes;
}

static void order(unsigned n)
{
	struct hv_qmp *q = open_qmp(&through);
	struct hv_qmp_runs was = hv_qmp_runs(q), now;
	unsigned late = 0;

	MUST(hv_qmp_is_late(q) && !was.stop_last, "it does not run");
	for (unsigned i = 1; i <= n; i++) {
		command(q, "stop");
		now = hv_qmp_runs(q);
		late += now.stops - was.stops != i;
		command(q, "cont");
		now = hv_qmp_runs(q);
		late += now.resumes - was.resumes != i;
	}
	hv_qmp_close(q);
	MUST(!late, "%u of %u answers came before their events", late, 2 * n);
	printf("%u answers, each behind its event\n", 2 * n);
}

/* The code of one epoch, in which another program may give a command. */
static int epoch(struct hv_vm *vm, struct hv_qmp *other, const char *foreign)
{
	size_t bytes = 0;
	int rc = hv_epoch_begin(vm, false, BED_MS), r;

	if (rc)
		return rc;
	if (foreign)
		command(other, foreign);
	rc = hv_epoch_end(vm, BED_MS, &bytes);
	r = hv_resume(vm, BED_MS);
	return rc ? rc : r;
}

static struct hv_vm *attach(bool three)
{
	struct hv_opts opts = {.three_commands = three};
	struct hv_refusals no = {0};
	struct tv_err e = {0};
	struct hv_vm *vm;

	MUST(!hv_attach(&through, &opts, &vm, &no, &e), "%s", e.text);
	MUST(three == (hv_epoch_way(vm) != NULL), "%s", hv_epoch_way(vm));
	return vm;
}

static void skip_event(enum hv_event ev, const char *name, void *arg)
{
	(void)ev;
	(void)name;
	(void)arg;
}

static void torn(unsigned n)
{
	struct hv_qmp *other = open_qmp(&own);
	struct hv_vm *vm = attach(true);
	unsigned stood = 0;
	int rc;

	for (unsigned i = 0; i < n; i++) {
		rc = epoch(vm, other, "cont");
		MUST(rc == -ESTALE, "round %u: a foreign cont: %s", i, tv_strerror(rc));
		MUST(runs(other), "round %u: it does not run after a foreign cont", i);
		rc = epoch(vm, other, NULL);
		MUST(rc == 0, "round %u: three commands: %s", i, tv_strerror(rc));
		MUST(runs(other), "round %u: it does not run after an epoch", i);
	}
	hv_detach(vm);
	vm = attach(false);
	for (unsigned i = 0; i < n; i++) {
		rc = epoch(vm, other, NULL);
		MUST(rc == 0, "round %u: one command: %s", i, tv_strerror(rc));
		MUST(runs(other), "round %u: it does not run after an epoch", i);
		/* Their stop is known, or its event is under way. */
		command(other, "stop");
		rc = epoch(vm, other, NULL);
		stood += rc == -EALREADY;
		MUST(rc == 0 || rc == -EALREADY, "round %u: a foreign stop: %s", i,
		     tv_strerror(rc));
		MUST(!runs(other), "round %u: a foreign stop was undone", i);
		MUST(hv_epoch_way(vm) == NULL, "round %u: %s", i, hv_epoch_way(vm));
		command(other, "cont");
		/* Whoever has seen the RESUME takes the VM for running. */
		rc = hv_events(vm, skip_event, NULL);
		MUST(rc == 0, "round %u: events: %s", i, tv_strerror(rc));
		do
			rc = epoch(vm, other, NULL);
		while (rc == -EALREADY || rc == -EAGAIN);
		MUST(rc == 0, "round %u: after a foreign cont: %s", i, tv_strerror(rc));
	}
	hv_detach(vm);
	hv_qmp_close(other);
	printf("%u epochs torn and thrown away; %u stops that stayed, %u known before the epoch\n",
	       n, n, stood);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	find(argv[2]);
	if (!strcmp(argv[1], "order"))
		order((unsigned)atoi(argv[3]));
	else if (!strcmp(argv[1], "torn"))
		torn((unsigned)atoi(argv[3]));
	else
		return 2;
	return 0;
}
