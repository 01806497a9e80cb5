/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: memory of one epoch, kept
 *
 * A private mapping of the memory file would be no copy: a page that nobody has written through it
 * shows what the file has now. So there is a second file. It fills in steps, when the thread that
 * applies has nothing else to do, and before a page is written that was not copied yet. A bitmap has
 * what is done. Both are done by one thread: there is no lock, and no page is seen half written.
 *
 * Zero is what a memfd has where nothing was written: pages of zeroes are not written, and holes of
 * the original are not even read, which would make them resident. Data that come into a hole later
 * come through ckpt_keep_mem_before, so a range that was once found to be a hole stays done.
 *
 * The copy is written with pwrite and not mapped here: giving back a mapping of many gigabytes would
 * hold this process's mmap lock, and the next owner of the CPU is a promotion.
 */
#include "checkpoint/keep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_BYTES (64u << 10) /* pages that are written with one call, at most */
#define CUT_BYTES (16u << 20)  /* given back at once: some ms */
#define GLANCE_PAGES 1024u     /* looked at in one step, though nothing was to be copied */

struct ckpt_keep_mem {
	const uint8_t *map;
	int src_fd, fd;
	uint64_t pages, at;  /* at: all before it are done */
	uint64_t data_until; /* from `at` on there are data up to there; at: not known */
	uint64_t *done;	     /* a bit for each page */
	struct ckpt_keep_counts n;
	int failed;
};

static bool is_done(const struct ckpt_keep_mem *k, uint64_t page)
{
	return k->done[page / 64] >> (page % 64) & 1;
}

static void set_done(struct ckpt_keep_mem *k, uint64_t page)
{
	k->done[page / 64] |= UINT64_C(1) << (page % 64);
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return !*p && !memcmp(p, p + 1, n - 1);
}

static int put(struct ckpt_keep_mem *k, uint64_t page, uint64_t n)
{
	const uint8_t *p = k->map + page * TV_PAGE_BYTES;
	size_t left = n * TV_PAGE_BYTES;
	off_t to = (off_t)(page * TV_PAGE_BYTES);

	while (left) {
		ssize_t r = pwrite(k->fd, p, left, to);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r ? -errno : -EIO;
		p += r;
		to += r;
		left -= (size_t)r;
	}
	return 0;
}

/* ---- steps ---- */

/* The next pages from `at` that may have data; false: there are none. */
static bool find_data(struct ckpt_keep_mem *k)
{
	off_t from, until;

	if (k->at < k->data_until)
		return true;
	from = lseek(k->src_fd, (off_t)(k->at * TV_PAGE_BYTES), SEEK_DATA);
	if (from < 0 && errno == ENXIO) {
		k->at = k->pages;
		return false;
	}
	until = from < 0 ? -1 : lseek(k->src_fd, from, SEEK_HOLE);
	if (from >= 0)
		k->at = (uint64_t)from / TV_PAGE_BYTES;
	k->data_until = until > from ? ((uint64_t)until + TV_PAGE_BYTES - 1) / TV_PAGE_BYTES
				     : k->pages; /* a file system that does not know */
	if (k->data_until > k->pages)
		k->data_until = k->pages;
	return k->at < k->pages;
}

/* How many pages from `at` on are to be written in one piece. */
static uint64_t piece(const struct ckpt_keep_mem *k)
{
	uint64_t n = 0;

	while (n < LOOK_BYTES / TV_PAGE_BYTES && k->at + n < k->data_until &&
	       !is_done(k, k->at + n) &&
	       !is_zero(k->map + (k->at + n) * TV_PAGE_BYTES, TV_PAGE_BYTES))
		n++;
	return n;
}

int ckpt_keep_mem_step(struct ckpt_keep_mem *k, uint64_t max_bytes)
{
	uint64_t copied = 0, looked = 0;

	while (!k->failed && k->at < k->pages && copied < max_bytes && looked < GLANCE_PAGES) {
		uint64_t n;

		if (!find_data(k))
			break;
		n = piece(k);
		if (n)
			k->failed = put(k, k->at, n);
		for (uint64_t i = 0; i < n; i++)
			set_done(k, k->at + i);
		copied += n * TV_PAGE_BYTES;
		k->n.copied += n * TV_PAGE_BYTES;
		n += !n; /* done before, or zero */
		looked += n;
		k->n.seen += n * TV_PAGE_BYTES;
		k->at += n;
	}
	if (k->failed)
		return k->failed;
	return k->at < k->pages;
}

void ckpt_keep_mem_before(struct ckpt_keep_mem *k, uint64_t offset)
{
	uint64_t page = offset / TV_PAGE_BYTES;

	if (k->failed || page < k->at || page >= k->pages || is_done(k, page))
		return;
	set_done(k, page);
	if (is_zero(k->map + page * TV_PAGE_BYTES, TV_PAGE_BYTES))
		return;
	k->failed = put(k, page, 1);
	k->n.saved += TV_PAGE_BYTES;
}

/* ---- beginning and end ---- */
int ckpt_keep_mem_new(const uint8_t *map, int fd, uint64_t bytes, struct ckpt_keep_mem **out)
{
	struct ckpt_keep_mem *k = calloc(1, sizeof(*k));
	struct stat st;
	int rc = 0;

	*out = NULL;
	if (!k)
		return -ENOMEM;
	*k = (struct ckpt_keep_mem){
		.map = map, .src_fd = fd, .fd = -1, .pages = bytes / TV_PAGE_BYTES};
	k->done = calloc(k->pages / 64 + 1, sizeof(*k->done));
	k->fd = memfd_create("twinvm-still", MFD_CLOEXEC);
	if (!k->done)
		rc = -ENOMEM;
	else if (k->fd < 0 || fstat(fd, &st) || ftruncate(k->fd, (off_t)bytes))
		rc = -errno;
	if (rc) {
		ckpt_keep_mem_free(k);
		return rc;
	}
	k->n.total = (uint64_t)st.st_blocks * 512;
	*out = k;
	return 0;
}

int ckpt_keep_mem_failed(const struct ckpt_keep_mem *k)
{
	return k->failed;
}

int ckpt_keep_mem_fd(const struct ckpt_keep_mem *k)
{
	return k->fd;
}

void ckpt_keep_mem_counts(const struct ckpt_keep_mem *k, struct ckpt_keep_counts *out)
{
	*out = k->n;
	if (k->at == k->pages || out->seen > out->total)
		out->seen = out->total;
}

void ckpt_keep_mem_cut(struct ckpt_keep_mem *k)
{
	for (uint64_t left = k->pages * TV_PAGE_BYTES; left;) {
		left = left > CUT_BYTES ? left - CUT_BYTES : 0;
		if (ftruncate(k->fd, (off_t)left))
			return;
	}
}

void ckpt_keep_mem_free(struct ckpt_keep_mem *k)
{
	if (!k)
		return;
	tv_close_fd(&k->fd);
	free(k->done);
	free(k);
}

/* ---- the other blocks ---- */
static int copy_block(const struct ckpt_mem *mem, uint32_t block, int fd, uint64_t to,
		      uint8_t *piece)
{
	uint64_t bytes = mem->block_bytes(mem->arg, block);

	for (uint64_t at = 0; at < bytes; at += LOOK_BYTES) {
		size_t n = bytes - at < LOOK_BYTES ? (size_t)(bytes - at) : LOOK_BYTES;
		int rc = mem->read(mem->arg, block, at, piece, n);

		if (rc)
			return rc;
		if (!is_zero(piece, n) && pwrite(fd, piece, n, (off_t)(to + at)) != (ssize_t)n)
			return -EIO;
	}
	return 0;
}

int ckpt_keep_blocks(const struct ckpt_mem *mem, uint32_t without, int *fd)
{
	TV_FREE uint8_t *piece = malloc(LOOK_BYTES);
	uint64_t end = 0;
	int rc = 0;

	*fd = memfd_create("twinvm-still-blocks", MFD_CLOEXEC);
	if (!piece || *fd < 0)
		return piece ? -errno : -ENOMEM;
	for (uint32_t i = 0; i < mem->blocks && !rc; i++) {
		if (i == without)
			continue;
		rc = copy_block(mem, i, *fd, end, piece);
		end += mem->block_bytes(mem->arg, i);
	}
	return rc || !ftruncate(*fd, (off_t)end) ? rc : -errno;
}
