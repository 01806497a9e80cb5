/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Part of bench/libvirt.sh:
 *
 *   libvirt_tool socket|libvirt VM WATCH COUNT MS
 *
 * COUNT epochs of a VM every MS, by its QMP socket or through libvirt. WATCH is one more QMP socket,
 * on which its STOP and RESUME come, with QEMU's own time of each. Prints median and 99th percentile
 * of the pause by those, and of the whole epoch as its caller sees it, in ms.
 */
#include "hv/hv.h"
#include "hv/qemu/qmp.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QMP_TIMEOUT_MS 20000

static _Noreturn void give_up(const char *what, const char *why)
{
	fprintf(stderr, "libvirt_tool: %s: %s\n", what, why);
	exit(1);
}

static struct hv_vm *attach(const char *name, bool through)
{
	struct hv_refusals no = {0};
	struct hv_opts opts = {0};
	struct hv_vm_id id;
	struct tv_err e = {0};
	struct hv_vm *vm;

	if (hv_find(name, NULL, NULL, NULL, &id, &e))
		give_up(name, e.text);
	if (through)
		snprintf(id.qmp_path, sizeof(id.qmp_path), HV_LIBVIRT_PATH "%s", id.uuid);
	if (hv_attach(&id, &opts, &vm, &no, &e))
		give_up(name, no.n ? no.text[0] : e.text);
	if (hv_epoch_way(vm))
		give_up(name, hv_epoch_way(vm));
	return vm;
}

/* The time of the next event of that name. */
static int64_t time_of(struct hv_qmp *watch, const char *name)
{
	for (;;) {
		struct pollfd p = {hv_qmp_fd(watch), POLLIN, 0};
		json_t *ev = NULL, *at;
		int rc = hv_qmp_next_event(watch, &ev);
		const char *what = json_string_value(json_object_get(ev, "event"));
		int64_t us;

		if (rc < 0)
			give_up("the monitor that watches", tv_strerror(rc));
		if (rc == 0 && poll(&p, 1, QMP_TIMEOUT_MS) <= 0)
			give_up(name, "no such event");
		at = json_object_get(ev, "timestamp");
		us = json_integer_value(json_object_get(at, "seconds")) * 1000000 +
		     json_integer_value(json_object_get(at, "microseconds"));
		if (what && !strcmp(what, name)) {
			json_decref(ev);
			return us;
		}
		json_decref(ev);
	}
}

static int cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print(double *ms, unsigned n)
{
	qsort(ms, n, sizeof(*ms), cmp);
	printf("%.3f %.3f ", ms[n / 2], ms[n * 99 / 100]);
}

int main(int argc, char **argv)
{
	unsigned count = argc == 6 ? (unsigned)atoi(argv[4]) : 0;
	double *pause = calloc(count + 1, sizeof(*pause)),
	       *whole = calloc(count + 1, sizeof(*whole));
	struct tv_err e = {0};
	struct hv_qmp *watch;
	struct hv_vm *vm;

	if (!count || !pause || !whole)
		return 2;
	vm = attach(argv[2], !strcmp(argv[1], "libvirt"));
	if (hv_qmp_open(argv[3], 0, QMP_TIMEOUT_MS, &watch, &e))
		give_up(argv[3], e.text);
	for (unsigned i = 0; i < count; i++) {
		int64_t t0 = tv_now_ns(), stop;
		size_t bytes;
		int rc = hv_epoch_begin(vm, false, QMP_TIMEOUT_MS);

		if (!rc)
			rc = hv_epoch_end(vm, QMP_TIMEOUT_MS, &bytes);
		if (rc)
			give_up("an epoch", tv_strerror(rc));
		whole[i] = (double)(tv_now_ns() - t0) / 1e6;
		stop = time_of(watch, "STOP");
		pause[i] = (double)(time_of(watch, "RESUME") - stop) / 1e3;
		poll(NULL, 0, atoi(argv[5])); /* the bench's own rhythm, not a wait for anything */
	}
	hv_qmp_close(watch);
	hv_detach(vm);
	print(pause, count);
	print(whole, count);
	printf("\n");
	return 0;
}
