/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading guest RAM beside the epochs, for a comparison with the backup: nothing is marked, nothing
 * is protected, and no page comes into being. Reading a page that nobody has touched would fill a
 * shared memory file, and would make a virgin chunk ordinary (dirty.c), so such a page is known to
 * be zeroes without being read.
 *
 * Why a page that hv_harvest does not report is still what was peeked: the kernel protects a page,
 * or clears its bit, when it reports it, in the pause that ends the last round. From then on every
 * write to it, by a vCPU, by QEMU's device models, or by the kernel itself on behalf of vhost or of
 * a read from a disk, goes through QEMU's page table, and marks it before the write is done. So
 * whatever the peek saw of a write, and whatever came after it, is reported by the next round. A
 * page is only taken for untouched by what the round before had found, and touching it is reported
 * as well.
 */
#include "hv/dirty/dirty_int.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define POPULATED (UINT64_C(3) << 62) /* present or swapped */
#define CHUNK_SHIFT 21		      /* as in dirty.c */
#define WORD_BITS 64

static uint64_t chunk_of(const struct hv_block *b, uint64_t offset)
{
	return ((b->host.v + offset) >> CHUNK_SHIFT) - (b->host.v >> CHUNK_SHIFT);
}

static bool is_virgin(const struct hv_vm *vm, uint32_t block, uint64_t offset)
{
	const uint8_t *virgin = vm->dirty->virgin[block];

	return virgin && virgin[chunk_of(&vm->blocks[block], offset)];
}

static int read_file(struct hv_vm *vm, const struct hv_run *run, uint8_t *dst)
{
	uint64_t at = vm->dirty->file_at[run->block] + run->offset;
	size_t left = (size_t)run->pages << TV_PAGE_SHIFT;

	while (left) {
		ssize_t r = pread(vm->dirty->file_fds[run->block], dst, left, (off_t)at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EFAULT;
		dst += r;
		at += (uint64_t)r;
		left -= (size_t)r;
	}
	return 0;
}

/* Private memory that starts as zeroes: what is not populated is not read. */
static int read_private(struct hv_vm *vm, const struct hv_run *run, uint8_t *dst)
{
	uint64_t entries[HV_PEEK_PAGES];
	int rc = hv_soft_read(vm->dirty->pagemap_fd, vm->blocks[run->block].host.v + run->offset,
			      run->pages, entries);

	for (uint32_t i = 0, n; i < run->pages && !rc; i += n) {
		bool there = entries[i] & POPULATED;
		struct hv_run part = {run->block, 0, run->offset + ((uint64_t)i << TV_PAGE_SHIFT)};

		for (n = 1; i + n < run->pages && !(entries[i + n] & POPULATED) == !there;)
			n++;
		part.pages = n;
		if (there)
			rc = hv_copy(vm, &part, 1, dst + ((size_t)i << TV_PAGE_SHIFT));
		else
			memset(dst + ((size_t)i << TV_PAGE_SHIFT), 0, (size_t)n << TV_PAGE_SHIFT);
	}
	return rc;
}

int hv_peek(struct hv_vm *vm, const struct hv_run *run, void *dst)
{
	const struct hv_dirty *d = vm->dirty;
	uint64_t last = run->offset + ((uint64_t)(run->pages - 1) << TV_PAGE_SHIFT);
	uint64_t bytes = run->block < vm->n_blocks ? vm->blocks[run->block].bytes : 0;

	if (!run->pages || run->pages > HV_PEEK_PAGES || run->offset % TV_PAGE_BYTES ||
	    run->offset > bytes || run->pages > (bytes - run->offset) >> TV_PAGE_SHIFT)
		return -EINVAL;
	if (is_virgin(vm, run->block, run->offset) && is_virgin(vm, run->block, last)) {
		memset(dst, 0, (size_t)run->pages << TV_PAGE_SHIFT);
		return 0;
	}
	if (d->file_fds[run->block] >= 0)
		return read_file(vm, run, dst);
	return d->soft || d->virgin[run->block] ? read_private(vm, run, dst)
						: hv_copy(vm, run, 1, dst);
}

int hv_report(struct hv_vm *vm, uint32_t block, uint64_t offset)
{
	struct hv_dirty *d = vm->dirty;
	struct uffdio_writeprotect wp = {.range = {0, TV_PAGE_BYTES}};
	uint64_t page = offset >> TV_PAGE_SHIFT;

	if (block >= vm->n_blocks || offset % TV_PAGE_BYTES || offset >= vm->blocks[block].bytes)
		return -EINVAL;
	if (d->soft) {
		d->pending[block][page / WORD_BITS] |= UINT64_C(1) << page % WORD_BITS;
		return 0;
	}
	/* Of a virgin chunk everything is reported, once. */
	if (is_virgin(vm, block, offset)) {
		d->virgin[block][chunk_of(&vm->blocks[block], offset)] = 0;
		return 0;
	}
	wp.range.start = vm->blocks[block].host.v + offset;
	return ioctl(d->uffd, UFFDIO_WRITEPROTECT, &wp) ? -errno : 0;
}
