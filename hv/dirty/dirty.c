/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty pages. The kernel keeps one bit per page, "not write-protected by our userfaultfd", and
 * clears it by itself at the first write (WP_ASYNC). PAGEMAP_SCAN lists such pages and can protect
 * them again in the same walk, atomically per page: what is reported was protected, and what is
 * written after that is reported next time.
 *
 * Under KVM that one call would announce an invalidation of the whole range that it walks, and KVM
 * would drop all of the guest's mappings. There a read-only scan finds out where something is
 * dirty, and only those stretches are walked again, protecting. What that second walk reports
 * counts: the first one is a hint, and a page that it missed stays dirty for the next round.
 *
 * Memory that was never touched counts as written, and protecting it would cost page tables and
 * huge pages. So every 2 MiB of private memory start as "virgin": as long as nothing is populated
 * there, they are neither protected nor reported (they read as zero). Once something is, they are
 * ordinary for ever, so that what is discarded later is reported. Shared memory is never virgin,
 * because a page may be in the file without being mapped.
 *
 * What is discarded of shared memory is not reported as written: witness.c.
 *
 * Kernels before 6.7 have none of this: softdirty.c.
 *
 * category_mask and return_mask are both PAGE_IS_WRITTEN: with others, older kernels miss entries.
 */
#include "hv/dirty/dirty_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Protecting costs about 2 us a call and a guest fault for each page that it unmaps in vain. */
#define CLUSTER_GAP_BYTES (16 * TV_PAGE_BYTES)
/* process_vm_readv moves less than 2 GiB a call. */
#define COPY_CALL_BYTES (UINT64_C(1) << 30)

struct round {
	struct hv_vm *vm;
	struct hv_cursor *cursor;
	struct hv_run *runs;
	unsigned n, max_runs;
	uint64_t pages_left;
};

#define CHUNK_SHIFT 21
#define CHUNK_BYTES (UINT64_C(1) << CHUNK_SHIFT)

/*
 * Where a scan got to. The kernel's walk_end is not to be trusted once it has emptied its own buffer
 * of 512 regions in the call (fs/proc/task_mmu.c, do_pagemap_scan: it is set there, and not again at
 * the end): continuing there walks the rest twice, in the pause, and reports pages of a running VM
 * twice and out of order. A scan that filled neither our buffer nor its number of pages is at the
 * end, and all below the last region was walked.
 */
static uint64_t scanned_to(const struct pm_scan_arg *arg, const struct page_region *f, long n)
{
	uint64_t pages = 0;

	for (long i = 0; i < n; i++)
		pages += (f[i].end - f[i].start) >> TV_PAGE_SHIFT;
	if (n < (long)arg->vec_len && pages < arg->max_pages)
		return arg->end;
	return n && f[n - 1].end > arg->walk_end ? f[n - 1].end : arg->walk_end;
}

/* *at is where it got to, unless it fails. */
static long scan(struct hv_vm *vm, uint64_t flags, uint64_t start, uint64_t end, unsigned room,
		 uint64_t max_pages, uint64_t *at)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = flags | PM_SCAN_CHECK_WPASYNC,
		.start = start,
		.end = end,
		.vec = (uintptr_t)vm->dirty->regions,
		.vec_len = room,
		.max_pages = max_pages,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int n;

	do {
		n = ioctl(vm->dirty->pagemap_fd, PAGEMAP_SCAN, &arg);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*at = scanned_to(&arg, vm->dirty->regions, n);
	return n;
}

/* Appends what a protecting scan reported; room for it was made sure of before. */
static void add_runs(struct round *r, const struct page_region *found, long n)
{
	uint64_t host = r->vm->blocks[r->cursor->block].host.v;

	for (long i = 0; i < n; i++) {
		uint64_t pages = (found[i].end - found[i].start) >> TV_PAGE_SHIFT;

		r->runs[r->n++] = (struct hv_run){
			.block = r->cursor->block,
			.pages = (uint32_t)pages,
			.offset = found[i].start - host,
		};
		r->pages_left -= pages;
	}
}

/* Scans and protects [start, end) as far as there is room; *at is where it got to. */
static int protect(struct round *r, uint64_t start, uint64_t end, uint64_t *at)
{
	*at = start;
	while (*at < end && r->n < r->max_runs && r->pages_left) {
		unsigned room = r->max_runs - r->n;
		uint64_t max = r->pages_left < HV_RUN_PAGES ? r->pages_left : HV_RUN_PAGES;
		long n = scan(r->vm, PM_SCAN_WP_MATCHING, *at, end,
			      room < HV_REGIONS ? room : HV_REGIONS, max, at);

		if (n < 0)
			return (int)n;
		add_runs(r, r->vm->dirty->regions, n);
	}
	return 0;
}

/* Turns the regions of a read-only scan into clusters, in place. */
static long make_clusters(struct page_region *f, long n)
{
	long k = 0;

	for (long i = 1; i < n; i++) {
		if (f[i].start - f[k].end <= CLUSTER_GAP_BYTES)
			f[k].end = f[i].end;
		else
			f[++k] = f[i];
	}
	return n ? k + 1 : 0;
}

static int protect_clusters(struct round *r, uint64_t start, uint64_t end, uint64_t *at)
{
	struct page_region *clusters = r->vm->dirty->regions + HV_REGIONS;
	unsigned room = r->max_runs - r->n;
	uint64_t walk_end;
	long n;
	int rc;

	n = scan(r->vm, 0, start, end, room < HV_REGIONS ? room : HV_REGIONS, r->pages_left,
		 &walk_end);
	if (n < 0)
		return (int)n;
	memcpy(clusters, r->vm->dirty->regions, (size_t)n * sizeof(*clusters));
	n = make_clusters(clusters, n);
	for (long i = 0; i < n; i++) {
		rc = protect(r, clusters[i].start, clusters[i].end, at);
		if (rc || *at < clusters[i].end)
			return rc;
	}
	*at = walk_end;
	return 0;
}

/* Number of the chunk of b that addr lies in. */
static uint64_t chunk_of(const struct hv_block *b, uint64_t addr)
{
	return (addr >> CHUNK_SHIFT) - (b->host.v >> CHUNK_SHIFT);
}

/* Where the stretch of chunks that are alike from addr on ends. */
static uint64_t stretch_end(const uint8_t *virgin, const struct hv_block *b, uint64_t addr,
			    uint64_t end)
{
	uint64_t c = chunk_of(b, addr), last = chunk_of(b, end - 1);
	uint8_t kind = virgin[c];

	while (c <= last && virgin[c] == kind)
		c++;
	return c > last ? end : ((b->host.v >> CHUNK_SHIFT) + c) << CHUNK_SHIFT;
}

static void wake(uint8_t *virgin, const struct hv_block *b, uint64_t start, uint64_t end)
{
	for (uint64_t c = chunk_of(b, start); c <= chunk_of(b, end - 1); c++)
		virgin[c] = 0;
}

/* Makes ordinary what is populated in virgin private [start, end); *first is where that starts. */
static int wake_private(struct hv_vm *vm, uint32_t block, uint64_t start, uint64_t end,
			uint64_t *first)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (uintptr_t)vm->dirty->regions,
		.vec_len = HV_REGIONS,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT,
	};
	int n;

	do {
		n = ioctl(vm->dirty->pagemap_fd, PAGEMAP_SCAN, &arg);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++)
		wake(vm->dirty->virgin[block], &vm->blocks[block], vm->dirty->regions[i].start,
		     vm->dirty->regions[i].end);
	*first = n ? vm->dirty->regions[0].start : end;
	return 0;
}

/* The same for a shared memory file. */
static int wake_shared(struct hv_vm *vm, uint32_t block, uint64_t start, uint64_t end,
		       uint64_t *first)
{
	const struct hv_block *b = &vm->blocks[block];
	/* file position to address, modulo 2^64 */
	uint64_t shift = b->host.v - vm->dirty->file_at[block];
	int fd = vm->dirty->file_fds[block];
	uint64_t at = start - shift, from, to;
	int rc;

	*first = end;
	while ((rc = hv_ramfile_data(fd, at, end - shift, &from, &to)) > 0) {
		*first = *first == end ? from + shift : *first;
		wake(vm->dirty->virgin[block], b, from + shift, to + shift);
		at = to;
	}
	return rc;
}

/* Looks what was populated in virgin [*at, end); moves *at to the first chunk that is ordinary
 * now. */
static int wake_virgins(struct hv_vm *vm, uint32_t block, uint64_t *at, uint64_t end)
{
	uint64_t first = end;
	int rc = vm->dirty->file_fds[block] >= 0 ? wake_shared(vm, block, *at, end, &first)
						 : wake_private(vm, block, *at, end, &first);

	if (first < end)
		first &= ~(CHUNK_BYTES - 1);
	*at = first > *at ? first : *at;
	return rc;
}

/* Harvests [*at, end) of the cursor's block as far as there is room. */
static int harvest_block(struct round *r, uint64_t *at, uint64_t end)
{
	const struct hv_block *b = &r->vm->blocks[r->cursor->block];
	uint8_t *virgin = r->vm->dirty->virgin[r->cursor->block];
	int rc = 0;

	while (!rc && *at < end && r->n < r->max_runs && r->pages_left) {
		uint64_t start = *at, to = virgin ? stretch_end(virgin, b, start, end) : end;

		if (virgin && virgin[chunk_of(b, start)])
			rc = wake_virgins(r->vm, r->cursor->block, at, to);
		else if (r->vm->dirty->two_step)
			rc = protect_clusters(r, start, to, at);
		else
			rc = protect(r, start, to, at);
	}
	return rc;
}

int hv_harvest(struct hv_vm *vm, struct hv_cursor *cursor, struct hv_run *runs, unsigned max_runs,
	       uint64_t max_pages)
{
	struct round r = {
		.vm = vm,
		.cursor = cursor,
		.runs = runs,
		.max_runs = max_runs,
		.pages_left = max_pages,
	};

	if (!max_runs || !max_pages)
		return -EINVAL;
	if (vm->dirty->soft)
		return hv_soft_harvest(vm, cursor, runs, max_runs, max_pages);
	while (cursor->block < vm->n_blocks && r.n < max_runs && r.pages_left) {
		const struct hv_block *b = &vm->blocks[cursor->block];
		uint64_t at = b->host.v + cursor->offset, end = b->host.v + b->bytes;
		int rc = harvest_block(&r, &at, end);

		if (rc)
			return rc;
		cursor->offset = at - b->host.v;
		if (at >= end) {
			cursor->block++;
			cursor->offset = 0;
		}
	}
	cursor->done = cursor->block >= vm->n_blocks;
	return (int)r.n;
}

/* One call's worth: what n iovs name, bytes long in all, to dst. */
static int copy_batch(struct hv_vm *vm, unsigned n, uint64_t bytes, uint8_t *dst)
{
	struct iovec local = {dst, bytes};
	ssize_t r = process_vm_readv(vm->id.pid, &local, 1, vm->dirty->iovs, n, 0);

	if (r < 0)
		return errno == ESRCH ? TV_E_GONE : -errno;
	return (uint64_t)r == bytes ? 0 : -EFAULT;
}

static int copy_runs(struct hv_vm *vm, const struct hv_run *runs, unsigned n, void *dst)
{
	uint64_t bytes = 0;
	uint8_t *to = dst;
	unsigned k = 0;
	int rc;

	for (unsigned i = 0; i < n; i++) {
		uint64_t run_bytes = (uint64_t)runs[i].pages << TV_PAGE_SHIFT;
		uint64_t addr = vm->blocks[runs[i].block].host.v + runs[i].offset;

		if (vm->dirty->witness[runs[i].block].map) {
			rc = hv_witness_copy(vm, &runs[i], to + bytes);
			if (!rc && k)
				rc = copy_batch(vm, k, bytes, to);
			if (rc)
				return rc;
			to += bytes + run_bytes;
			bytes = k = 0;
			continue;
		}
		if (k == HV_IOVS || (k && bytes + run_bytes > COPY_CALL_BYTES)) {
			rc = copy_batch(vm, k, bytes, to);
			if (rc)
				return rc;
			to += bytes;
			bytes = k = 0;
		}
		vm->dirty->iovs[k++] = (struct iovec){(void *)(uintptr_t)addr, run_bytes};
		bytes += run_bytes;
	}
	return k ? copy_batch(vm, k, bytes, to) : 0;
}

int hv_copy(struct hv_vm *vm, const struct hv_run *runs, unsigned n, void *dst)
{
	int rc = copy_runs(vm, runs, n, dst);

	/* EIO: of a memory file that is read as such (witness.c) */
	return rc == -EFAULT || rc == -EIO ? hv_unreadable_find(vm, runs, n, dst, rc) : rc;
}

static int register_block(struct hv_vm *vm, const struct hv_block *b, struct tv_err *e)
{
	struct uffdio_register reg = {
		.range = {b->host.v, b->bytes},
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	if (!ioctl(vm->dirty->uffd, UFFDIO_REGISTER, &reg))
		return 0;
	return tv_fail(e, -errno, "cannot watch the RAM block %s for writes: %s%s", b->name,
		       strerror(errno),
		       errno == EBUSY ? "; QEMU itself (postcopy, background snapshot) or another "
					"twinvm watches it already"
				      : "");
}

/* May the block have virgin chunks? That takes one mapping of memory that starts as zeroes. */
static bool may_be_virgin(struct hv_vm *vm, unsigned i, const struct hv_map *m)
{
	const struct hv_block *b = &vm->blocks[i];

	if (!m || m->end < b->host.v + b->bytes || b->bytes < CHUNK_BYTES)
		return false;
	if (!m->shared)
		return !*m->path;
	vm->dirty->file_at[i] = m->offset + (b->host.v - m->start);
	vm->dirty->file_fds[i] = hv_ramfile_open(vm->id.pid, m, O_RDONLY);
	return vm->dirty->file_fds[i] >= 0;
}

static int make_virgins(struct hv_vm *vm)
{
	struct hv_maps maps;
	int rc = hv_maps_read(vm->id.pid, &maps);

	for (unsigned i = 0; i < vm->n_blocks && !rc; i++) {
		const struct hv_block *b = &vm->blocks[i];
		uint64_t chunks = chunk_of(b, b->host.v + b->bytes - 1) + 1;

		if (!may_be_virgin(vm, i, hv_maps_at(&maps, b->host.v)))
			continue;
		vm->dirty->virgin[i] = malloc(chunks);
		if (!vm->dirty->virgin[i])
			rc = -ENOMEM;
		else
			memset(vm->dirty->virgin[i], 1, chunks);
	}
	hv_maps_dispose(&maps);
	return rc;
}

static struct hv_dirty *dirty_new(bool two_step)
{
	struct hv_dirty *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->two_step = two_step;
	d->pagemap_fd = d->uffd = d->clear_fd = -1;
	d->own_uffd = d->own_pagemap_fd = d->discards_fd = -1;
	for (unsigned i = 0; i < HV_MAX_BLOCKS; i++)
		d->file_fds[i] = d->witness[i].fd = -1;
	return d;
}

int hv_dirty_setup(struct hv_vm *vm, bool two_step, struct tv_err *e)
{
	struct uffdio_api api = {.api = UFFD_API, .features = HV_UFFD_FEATURES};
	struct hv_dirty *d = vm->dirty = dirty_new(two_step);
	char path[64];
	int rc;

	if (!d)
		return tv_fail(e, -ENOMEM, "no memory to track dirty pages");
	d->soft = !vm->features.pagemap_scan && vm->features.soft_dirty;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)vm->id.pid);
	d->pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (d->pagemap_fd < 0)
		return tv_fail(e, -errno, "cannot open %s: %s", path, strerror(errno));
	d->iovs = calloc(HV_IOVS, sizeof(*d->iovs));
	if (d->iovs && d->soft)
		return hv_soft_setup(vm, e);
	/* The second half holds the clusters of the two-step harvest. */
	d->regions = calloc(2 * HV_REGIONS, sizeof(*d->regions));
	if (!d->regions || !d->iovs)
		return tv_fail(e, -ENOMEM, "no memory to track dirty pages");
	memset(d->regions, 0xff, 2 * HV_REGIONS * sizeof(*d->regions)); /* fault it in now */
	rc = make_virgins(vm);
	if (rc)
		return tv_fail(e, rc, "cannot read QEMU's memory map: %s", tv_strerror(rc));
	rc = hv_inject_uffd(vm->id.pid, vm->pidfd, &d->uffd, e);
	if (rc)
		return rc;
	if (ioctl(d->uffd, UFFDIO_API, &api))
		return tv_fail(e, -errno, "this kernel's userfaultfd lacks WP_ASYNC: %s",
			       strerror(errno));
	for (unsigned i = 0; i < vm->n_blocks; i++) {
		rc = register_block(vm, &vm->blocks[i], e);
		if (rc)
			return rc;
	}
	return vm->discards ? hv_witness_setup(vm, e) : 0;
}

void hv_dirty_stop(struct hv_vm *vm)
{
	if (!vm->dirty)
		return;
	/* Closing the last descriptor unregisters everything. */
	tv_close_fd(&vm->dirty->uffd);
	hv_soft_teardown(vm);
}

void hv_dirty_teardown(struct hv_vm *vm)
{
	struct hv_dirty *d = vm->dirty;

	if (!d)
		return;
	hv_dirty_stop(vm);
	hv_witness_teardown(vm);
	tv_close_fd(&d->pagemap_fd);
	free(d->regions);
	free(d->iovs);
	for (unsigned i = 0; i < HV_MAX_BLOCKS; i++) {
		free(d->virgin[i]);
		tv_close_fd(&d->file_fds[i]);
	}
	free(d);
	vm->dirty = NULL;
}
