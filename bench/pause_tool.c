/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parts of the pause bench (bench/pause.sh):
 *   pause_tool hva QMP              host address of the VM's main RAM, and its QEMU's pid
 *   pause_tool dirty PID HVA N MS   writes N pages from HVA on, again every MS, until killed; the
 * guest must not use them (kernel parameter memmap=) pause_tool floor QMP COUNT MS   the floor:
 * QEMU's own stop, save device state, cont, COUNT times every MS; prints median and 99th percentile
 * in ms
 */
#include "hv/hv.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define QMP_TIMEOUT_MS 20000

static void wait_ms(int ms)
{
	poll(NULL, 0, ms); /* the bench's own rhythm, not a wait for anything */
}

static struct hv_vm *attach(const char *qmp)
{
	struct hv_refusals no = {0};
	struct hv_opts opts = {0};
	struct hv_vm_id id;
	struct tv_err e = {0};
	struct hv_vm *vm = NULL;

	if (hv_find(qmp, NULL, NULL, NULL, &id, &e) || hv_attach(&id, &opts, &vm, &no, &e)) {
		fprintf(stderr, "pause_tool: %s %s\n", e.text, no.n ? no.text[0] : "");
		exit(1);
	}
	return vm;
}

static int hva(const char *qmp)
{
	struct hv_vm *vm = attach(qmp);
	const struct hv_block *b;
	struct hv_vm_id id;
	unsigned n;

	if (hv_find(qmp, NULL, NULL, NULL, &id, NULL))
		return 1;
	b = hv_blocks(vm, &n);
	for (unsigned i = 0; i < n; i++)
		if (b[i].main_ram)
			printf("%llu %d\n", (unsigned long long)b[i].host.v, (int)id.pid);
	hv_detach(vm);
	return 0;
}

static int dirty(pid_t pid, uint64_t at, unsigned pages, int ms)
{
	uint64_t stamp = 0;

	for (;;) {
		for (unsigned i = 0; i < pages; i++) {
			struct iovec l = {&stamp, sizeof(stamp)};
			struct iovec r = {(void *)(uintptr_t)(at + (uint64_t)i * TV_PAGE_BYTES),
					  sizeof(stamp)};

			stamp = stamp * 6364136223846793005u + 1442695040888963407u;
			if (process_vm_writev(pid, &l, 1, &r, 1, 0) < 0)
				return errno == ESRCH ? 0 : 1;
		}
		wait_ms(ms);
	}
}

static int cmp(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static int floor_of(const char *qmp, unsigned count, int ms)
{
	struct hv_vm *vm = attach(qmp);
	int64_t *v = calloc(count, sizeof(*v));
	int rc = 0;

	for (unsigned i = 0; v && i < count && !rc; i++) {
		int64_t t0 = tv_now_ns();
		size_t bytes;

		rc = hv_pause(vm, QMP_TIMEOUT_MS);
		if (!rc)
			rc = hv_state_begin(vm);
		if (!rc)
			rc = hv_state_end(vm, QMP_TIMEOUT_MS, &bytes);
		if (!rc)
			rc = hv_resume(vm, QMP_TIMEOUT_MS);
		v[i] = tv_now_ns() - t0;
		wait_ms(ms);
	}
	hv_detach(vm);
	if (rc || !v) {
		fprintf(stderr, "pause_tool: %s\n", tv_strerror(rc));
		return 1;
	}
	qsort(v, count, sizeof(*v), cmp);
	printf("%.3f %.3f\n", (double)v[count / 2] / 1e6, (double)v[count * 99 / 100] / 1e6);
	free(v);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "hva"))
		return hva(argv[2]);
	if (argc == 6 && !strcmp(argv[1], "dirty"))
		return dirty(atoi(argv[2]), strtoull(argv[3], NULL, 0), (unsigned)atoi(argv[4]),
			     atoi(argv[5]));
	if (argc == 5 && !strcmp(argv[1], "floor"))
		return floor_of(argv[2], (unsigned)atoi(argv[3]), atoi(argv[4]));
	fprintf(stderr, "usage: see the top of bench/pause_tool.c\n");
	return 2;
}
