/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Discarded pages of shared RAM. A balloon, free page reporting or virtio-mem has QEMU punch holes
 * into a memory file. The kernel keeps a page's write protection over that, and a later read maps
 * a fresh page of zeroes, protected still: no kernel reports it.
 *
 * So the file is mapped here as well, read-only. A hole that is punched takes the page out of every
 * page table, and what QEMU's touch brings back into its own does not come back into ours: a page
 * that was mapped here and is no longer may have been discarded. That holds only if nothing but
 * hv_witness_copy maps pages here. Nobody reads through this mapping, and the kernel must not map
 * a neighbour together with a page: a userfaultfd's range has no fault-around, and a mapping that is
 * off by a page against the file's huge pages cannot have one of these.
 *
 * For each page, one of these holds at the end of hv_witness_copy:
 * - known: the page was mapped here, and then it was copied. A discard after that is seen.
 * - not known: it was protected, and then it was read as zeroes. A discard leaves zeroes, and a
 *   write is reported by the kernel. So a hole needs no page here, and is not filled by us: it is
 *   read from the file, where a read through a mapping would fill it.
 * A page that is known and not mapped is made unprotected at the begin of a round: the harvest that
 * follows reports it like one that was written. Pages that the host swaps out look the same, and are
 * copied once in vain.
 *
 * The pause. QEMU discards on a guest's request only, in one piece, under its big lock. So while the
 * VM is stopped none comes, and the round's scan has all of them. The scan takes the time of another
 * harvest of clean pages, so an inotify watch on the file leaves it out where nothing was discarded.
 * That counts only where QEMU's own descriptor sends events: since Linux 6.14 that of memfd_create
 * does not, one that was opened by a name does, /proc/self/fd/N of a promoted standby too.
 */
#include "hv/dirty/dirty_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <unistd.h>

#define WORD_BITS 64
#define HUGE_BYTES (UINT64_C(2) << 20)
/* Unprotecting costs a system call, and a page in between the copy of a page. */
#define GAP_PAGES 4

static uint64_t pages_of(const struct hv_block *b)
{
	return b->bytes >> TV_PAGE_SHIFT;
}

static bool is_known(const struct hv_witness *w, uint64_t page)
{
	return w->known[page / WORD_BITS] >> page % WORD_BITS & 1;
}

/* ---- setup ---- */

/* Does this kernel send events for what is done by memfd_create's own descriptor? */
static bool memfd_sends_events(void)
{
	TV_CLOSE int fd = memfd_create(HV_PREFIX "-probe", MFD_CLOEXEC);
	TV_CLOSE int events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	struct inotify_event ev[8];
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return fd >= 0 && events >= 0 && !ftruncate(fd, TV_PAGE_BYTES) &&
	       inotify_add_watch(events, path, IN_MODIFY) >= 0 &&
	       !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, TV_PAGE_BYTES) &&
	       read(events, ev, sizeof(ev)) > 0;
}

/* Adds the file of a witness to the watch, or gives the watch up: then every round scans. */
static void watch_file(struct hv_dirty *d, const struct hv_witness *w, const struct hv_map *m)
{
	bool by_name = !hv_shared_is_unnamed(w->fd) || strstr(m->path, HV_RAM_FILE);
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", w->fd);
	if (d->discards_fd >= 0 && ((!by_name && !memfd_sends_events()) ||
				    inotify_add_watch(d->discards_fd, path, IN_MODIFY) < 0))
		tv_close_fd(&d->discards_fd);
}

/* Off by one page against the file's huge pages, so that none of them can be mapped whole. */
static int map_file(struct hv_dirty *d, struct hv_witness *w, uint64_t bytes, uint64_t file_at)
{
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_WP};
	uint8_t *room = mmap(NULL, bytes + 2 * HUGE_BYTES, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t skip;
	int rc = 0;

	if (room == MAP_FAILED)
		return -errno;
	skip = (file_at + TV_PAGE_BYTES - (uintptr_t)room) % HUGE_BYTES;
	if (mmap(room + skip, bytes, PROT_READ, MAP_SHARED | MAP_FIXED, w->fd, (off_t)file_at) ==
	    MAP_FAILED)
		rc = -errno;
	if (rc || munmap(room + skip + bytes, 2 * HUGE_BYTES - skip) ||
	    (skip && munmap(room, skip))) {
		rc = rc ? rc : -errno;
		munmap(room, bytes + 2 * HUGE_BYTES);
		return rc;
	}
	w->map = room + skip;
	reg.range = (struct uffdio_range){(uintptr_t)w->map, bytes};
	if (madvise((void *)w->map, bytes, MADV_DONTFORK) ||
	    madvise((void *)w->map, bytes, MADV_DONTDUMP) ||
	    ioctl(d->own_uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	return 0;
}

bool hv_dirty_sees_discards(const struct hv_vm *vm, const struct hv_block *b,
			    const struct hv_map *m)
{
	TV_CLOSE int fd = -1;

	if (!vm->features.pagemap_scan || m->end < b->host.v + b->bytes)
		return false;
	/* For writing, though nobody does: the kernel wants that of a userfaultfd's file. */
	fd = hv_ramfile_open(vm->id.pid, m, O_RDWR);
	return fd >= 0;
}

static int add_block(struct hv_vm *vm, unsigned i, const struct hv_map *m)
{
	struct hv_dirty *d = vm->dirty;
	struct hv_witness *w = &d->witness[i];
	const struct hv_block *b = &vm->blocks[i];

	if (m->end < b->host.v + b->bytes)
		return -ENOTSUP;
	w->fd = hv_ramfile_open(vm->id.pid, m, O_RDWR);
	if (w->fd < 0)
		return w->fd;
	d->file_at[i] = m->offset + (b->host.v - m->start);
	w->known = calloc(pages_of(b) / WORD_BITS + 1, sizeof(*w->known));
	if (!w->known)
		return -ENOMEM;
	watch_file(d, w, m);
	return map_file(d, w, b->bytes, d->file_at[i]);
}

int hv_witness_setup(struct hv_vm *vm, struct tv_err *e)
{
	struct uffdio_api api = {.api = UFFD_API, .features = HV_UFFD_FEATURES};
	struct hv_dirty *d = vm->dirty;
	struct hv_maps maps;
	int rc = hv_maps_read(vm->id.pid, &maps);

	if (rc)
		return tv_fail(e, rc, "cannot read QEMU's memory map: %s", tv_strerror(rc));
	d->discards_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	d->own_pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	d->own_uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (d->own_pagemap_fd < 0 || d->own_uffd < 0 || ioctl(d->own_uffd, UFFDIO_API, &api))
		rc = tv_fail(e, -errno, "cannot look for discarded pages: %s", strerror(errno));
	for (unsigned i = 0; i < vm->n_blocks && !rc; i++) {
		const struct hv_map *m = hv_maps_at(&maps, vm->blocks[i].host.v);

		if (m && m->shared && (rc = add_block(vm, i, m)))
			tv_fail(e, rc, "cannot look for discarded pages of the RAM block %s: %s",
				vm->blocks[i].name, tv_strerror(rc));
	}
	hv_maps_dispose(&maps);
	return rc;
}

void hv_witness_teardown(struct hv_vm *vm)
{
	struct hv_dirty *d = vm->dirty;

	for (unsigned i = 0; i < vm->n_blocks; i++) {
		struct hv_witness *w = &d->witness[i];

		if (w->map)
			munmap((void *)w->map, vm->blocks[i].bytes);
		tv_close_fd(&w->fd);
		free(w->known);
		w->map = NULL;
		w->known = NULL;
	}
	tv_close_fd(&d->own_uffd);
	tv_close_fd(&d->own_pagemap_fd);
	tv_close_fd(&d->discards_fd);
}

/* ---- a round ---- */

/* Has any file changed by a system call? All that was sent is read before anything is scanned. */
static bool was_discarded(const struct hv_dirty *d)
{
	struct inotify_event ev[64];
	bool any = d->discards_fd < 0;
	ssize_t r;

	while (d->discards_fd >= 0 &&
	       ((r = read(d->discards_fd, ev, sizeof(ev))) > 0 || (r < 0 && errno == EINTR)))
		any = true;
	return any;
}

/* The harvest that follows reports [first, end), and protects it again. */
static int unprotect(struct hv_vm *vm, unsigned block, uint64_t first, uint64_t end)
{
	struct uffdio_writeprotect wp = {
		.range = {vm->blocks[block].host.v + (first << TV_PAGE_SHIFT),
			  (end - first) << TV_PAGE_SHIFT},
	};

	return ioctl(vm->dirty->uffd, UFFDIO_WRITEPROTECT, &wp) ? -errno : 0;
}

/* The first known page of [from, end), or end. */
static uint64_t next_known(const struct hv_witness *w, uint64_t from, uint64_t end)
{
	while (from < end) {
		uint64_t word = w->known[from / WORD_BITS] >> from % WORD_BITS;

		if (word) {
			from += (uint64_t)__builtin_ctzll(word);
			return from < end ? from : end;
		}
		from = (from / WORD_BITS + 1) * WORD_BITS;
	}
	return end;
}

/* Pages [from, end) are not mapped here: those that were are gone. */
static int lose(struct hv_vm *vm, unsigned block, uint64_t from, uint64_t end)
{
	struct hv_witness *w = &vm->dirty->witness[block];
	uint64_t page = next_known(w, from, end);
	int rc = 0;

	while (page < end && !rc) {
		uint64_t first = page, stop;

		do {
			w->known[page / WORD_BITS] &= ~(UINT64_C(1) << page % WORD_BITS);
			stop = page + 1;
			page = next_known(w, stop, end);
		} while (page < end && page - stop < GAP_PAGES);
		rc = unprotect(vm, block, first, stop);
	}
	return rc;
}

/* Fills vm->dirty->regions with what is mapped here of [from, end); how many. */
static int scan(struct hv_dirty *d, uint64_t from, uint64_t end)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = from,
		.end = end,
		.vec = (uintptr_t)d->regions,
		.vec_len = HV_REGIONS,
		.category_mask = PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_PRESENT,
	};
	int n;

	do {
		n = ioctl(d->own_pagemap_fd, PAGEMAP_SCAN, &arg);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int round_of_block(struct hv_vm *vm, unsigned block)
{
	struct hv_dirty *d = vm->dirty;
	uint64_t base = (uintptr_t)d->witness[block].map, end = base + vm->blocks[block].bytes;
	uint64_t at = base;
	int rc = 0, n;

	do {
		n = scan(d, at, end);
		for (int i = 0; i < n && !rc; i++) {
			rc = lose(vm, block, (at - base) >> TV_PAGE_SHIFT,
				  (d->regions[i].start - base) >> TV_PAGE_SHIFT);
			at = d->regions[i].end;
		}
		/* A scan that filled its buffer is not at the end, whatever walk_end has. */
	} while (n == HV_REGIONS && !rc);
	if (n < 0 || rc)
		return n < 0 ? n : rc;
	return lose(vm, block, (at - base) >> TV_PAGE_SHIFT, (end - base) >> TV_PAGE_SHIFT);
}

int hv_witness_round(struct hv_vm *vm)
{
	int rc = 0;

	if (!was_discarded(vm->dirty))
		return 0;
	for (unsigned i = 0; i < vm->n_blocks && !rc; i++)
		if (vm->dirty->witness[i].map)
			rc = round_of_block(vm, i);
	return rc;
}

/* ---- copying ---- */

static int read_file(const struct hv_witness *w, uint64_t at, uint8_t *dst, uint64_t bytes)
{
	while (bytes) {
		ssize_t r = pread(w->fd, dst, bytes, (off_t)at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EFAULT;
		dst += r;
		at += (uint64_t)r;
		bytes -= (uint64_t)r;
	}
	return 0;
}

static bool is_new(const struct hv_witness *w, uint64_t page, const uint8_t *contents)
{
	return !is_known(w, page) &&
	       (*contents || memcmp(contents, contents + 1, TV_PAGE_BYTES - 1));
}

/* Maps the pages [first, end) here, and only then copies them. */
static int learn(struct hv_witness *w, uint64_t first, uint64_t end, uint64_t file_at, uint8_t *dst)
{
	uint64_t bytes = (end - first) << TV_PAGE_SHIFT;

	if (madvise((void *)(w->map + (first << TV_PAGE_SHIFT)), bytes, MADV_POPULATE_READ))
		return -errno;
	for (uint64_t page = first; page < end; page++)
		w->known[page / WORD_BITS] |= UINT64_C(1) << page % WORD_BITS;
	return read_file(w, file_at + (first << TV_PAGE_SHIFT), dst, bytes);
}

int hv_witness_copy(struct hv_vm *vm, const struct hv_run *run, uint8_t *dst)
{
	struct hv_witness *w = &vm->dirty->witness[run->block];
	uint64_t file_at = vm->dirty->file_at[run->block];
	uint64_t first = run->offset >> TV_PAGE_SHIFT, end = first + run->pages;
	int rc = read_file(w, file_at + run->offset, dst, (uint64_t)run->pages << TV_PAGE_SHIFT);

	for (uint64_t page = first; page < end && !rc;) {
		uint8_t *at = dst + ((page - first) << TV_PAGE_SHIFT);
		uint64_t stop = page;

		while (stop < end && is_new(w, stop, dst + ((stop - first) << TV_PAGE_SHIFT)))
			stop++;
		if (stop > page)
			rc = learn(w, page, stop, file_at, at);
		page = stop + 1;
	}
	return rc;
}
