/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/tools/lib_hv_shadow.h"

#include <inttypes.h>
#include <string.h>
#include <sys/uio.h>

struct hv_run shadow_runs[SHADOW_RUNS];

uint64_t shadow_harvest(struct hv_vm *vm, struct shadow *s, int64_t *scan_ns, int64_t *copy_ns)
{
	static uint8_t buf[8 << 20];
	struct hv_cursor c = {0};
	uint64_t total = 0;

	bed_begin_round(vm);
	while (!c.done) {
		int64_t t0 = tv_now_ns(), t1;
		int n = hv_harvest(vm, &c, shadow_runs, SHADOW_RUNS, sizeof(buf) / TV_PAGE_BYTES);
		uint8_t *p = buf;

		MUST(n >= 0, "%s", tv_strerror(n));
		t1 = tv_now_ns();
		int rc = hv_copy(vm, shadow_runs, (unsigned)n, buf);
		MUST(!rc, "%s", tv_strerror(rc));
		if (scan_ns) {
			*scan_ns += t1 - t0;
			*copy_ns += tv_now_ns() - t1;
		}
		for (int i = 0; i < n; i++) {
			size_t bytes = (size_t)shadow_runs[i].pages * TV_PAGE_BYTES;

			if (i) /* ascending, not overlapping */
				MUST(shadow_runs[i].block > shadow_runs[i - 1].block ||
					     shadow_runs[i].offset >=
						     shadow_runs[i - 1].offset +
							     (uint64_t)shadow_runs[i - 1].pages *
								     TV_PAGE_BYTES,
				     "run %d is out of order", i);
			memcpy(s->mem[shadow_runs[i].block] + shadow_runs[i].offset, p, bytes);
			p += bytes;
			total += shadow_runs[i].pages;
		}
	}
	return total;
}

void shadow_init(struct shadow *s, struct hv_vm *vm)
{
	unsigned n;
	const struct hv_block *b = hv_blocks(vm, &n);

	for (unsigned i = 0; i < n; i++) {
		s->mem[i] = calloc(1, b[i].bytes);
		MUST(s->mem[i], "no memory");
	}
}

void shadow_dispose(struct shadow *s)
{
	for (unsigned i = 0; i < HV_MAX_BLOCKS; i++)
		free(s->mem[i]);
	*s = (struct shadow){0};
}

void shadow_must_equal(struct shadow *s, struct hv_vm *vm)
{
	static uint8_t page[1 << 20];
	unsigned n;
	const struct hv_block *b = hv_blocks(vm, &n);

	for (unsigned i = 0; i < n; i++)
		for (uint64_t at = 0; at < b[i].bytes; at += sizeof(page)) {
			size_t bytes =
				b[i].bytes - at < sizeof(page) ? b[i].bytes - at : sizeof(page);
			struct iovec l = {page, bytes}, r = {(void *)(b[i].host.v + at), bytes};

			MUST(process_vm_readv(bed.pid, &l, 1, &r, 1, 0) == (ssize_t)bytes, "%s",
			     b[i].name);
			MUST(!memcmp(page, s->mem[i] + at, bytes), "%s differs near 0x%" PRIx64,
			     b[i].name, at);
		}
}

int64_t shadow_epoch(struct hv_vm *vm, struct shadow *s, uint64_t *pages, size_t *bytes, bool check)
{
	int64_t t0 = tv_now_ns(), t;
	int rc;

	rc = hv_epoch_begin(vm, check, BED_MS);
	MUST(!rc, "pause: %s", tv_strerror(rc));
	*pages = shadow_harvest(vm, s, NULL, NULL);
	rc = hv_epoch_end(vm, BED_MS, bytes);
	MUST(!rc && *bytes > 100, "state: %s %s, %zu bytes", tv_strerror(rc), "", *bytes);
	MUST(hv_is_paused(vm) == (check || hv_epoch_way(vm)), "who resumes it?");
	if (check) {
		MUST(shadow_harvest(vm, s, NULL, NULL) == 0, "saving the devices dirtied RAM");
		shadow_must_equal(s, vm);
	}
	t = tv_now_ns();
	rc = hv_resume(vm, BED_MS);
	MUST(!rc, "resume: %s", tv_strerror(rc));
	return check ? t - t0 : tv_now_ns() - t0;
}
