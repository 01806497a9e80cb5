/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: a disk of one epoch, kept
 *
 * The image itself is the copy, until it is overwritten: then the block of 64 KiB that is hit is
 * first copied to the same place of a file beside it, which has holes elsewhere, and a bit is set.
 * A reader takes a block from that file when its bit is set, else from the image, and looks at the
 * bit again afterwards: the writer sets it before it touches the image, so a bit that is still unset
 * proves that what was read is old. No one waits for a disk that another reads.
 *
 * Blocks that lie in a hole of the image are not copied: the file has a hole there as well.
 *
 * The image is opened read-only, and the reader has no other way to it.
 */
#include "checkpoint/keep.h"
#include "checkpoint/room.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* So much more than the reserve stays free: the replica itself is to grow first. */
#define MARGIN_BYTES (64u << 20)

struct ckpt_keep_disk {
	int image_fd, fd;
	uint64_t bytes, blocks;
	struct ckpt_keep_room *room;
	uint8_t *scratch;	    /* the writer's */
	atomic_uint_fast64_t *kept; /* a bit for each block */
	atomic_int failed;
};

static bool is_kept(const struct ckpt_keep_disk *k, uint64_t block)
{
	return atomic_load(&k->kept[block / 64]) >> (block % 64) & 1;
}

static int transfer(int fd, bool write, uint8_t *p, size_t n, uint64_t at)
{
	while (n) {
		ssize_t r = write ? pwrite(fd, p, n, (off_t)at) : pread(fd, p, n, (off_t)at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EIO;
		at += (uint64_t)r;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

/* ---- the writer ---- */
static int take_room(struct ckpt_keep_room *r, uint64_t n)
{
	if (n > r->limit_bytes - r->used_bytes)
		return -ENOSPC;
	r->used_bytes += n;
	return ckpt_room_grow(r->room, n + MARGIN_BYTES);
}

static int keep(struct ckpt_keep_disk *k, uint64_t block, uint64_t *budget)
{
	uint64_t at = block * CKPT_BLOCK_BYTES;
	size_t n = k->bytes - at < CKPT_BLOCK_BYTES ? (size_t)(k->bytes - at) : CKPT_BLOCK_BYTES;
	off_t data = lseek(k->image_fd, (off_t)at, SEEK_DATA);
	int rc = 0;

	if (data < 0 ? errno != ENXIO : (uint64_t)data < at + n) {
		if (n > *budget)
			return -ENOSPC;
		*budget -= n;
		rc = take_room(k->room, n);
		if (!rc)
			rc = transfer(k->image_fd, false, k->scratch, n, at);
		if (!rc)
			rc = transfer(k->fd, true, k->scratch, n, at);
	}
	if (!rc)
		atomic_fetch_or(&k->kept[block / 64], UINT64_C(1) << (block % 64));
	return rc;
}

void ckpt_keep_disk_before(struct ckpt_keep_disk *k, uint64_t offset, uint64_t n)
{
	uint64_t first = offset / CKPT_BLOCK_BYTES, budget = CKPT_KEEP_AT_ONCE;
	int rc = 0;

	if (!n || offset >= k->bytes || n > k->bytes - offset)
		return;
	for (uint64_t b = first; b <= (offset + n - 1) / CKPT_BLOCK_BYTES && !rc; b++)
		if (!atomic_load(&k->failed) && !is_kept(k, b))
			rc = keep(k, b, &budget);
	if (rc)
		atomic_store(&k->failed, rc);
}

/* ---- the reader ---- */
static int read_block(struct ckpt_keep_disk *k, uint64_t block, uint64_t at, uint8_t *p, size_t n)
{
	int rc;

	if (!is_kept(k, block)) {
		rc = transfer(k->image_fd, false, p, n, at);
		/* A copy that has failed is not complete: its bits prove nothing. */
		if (rc || (!is_kept(k, block) && !atomic_load(&k->failed)))
			return rc;
	}
	rc = transfer(k->fd, false, p, n, at);
	return atomic_load(&k->failed) ? -EIO : rc;
}

int ckpt_keep_disk_read(struct ckpt_keep_disk *k, uint64_t offset, void *p, size_t n)
{
	uint8_t *to = p;
	int rc = 0;

	if (offset > k->bytes || n > k->bytes - offset)
		return -EIO;
	while (n && !rc) {
		uint64_t block = offset / CKPT_BLOCK_BYTES;
		uint64_t left = (block + 1) * CKPT_BLOCK_BYTES - offset;
		size_t piece = n < left ? n : (size_t)left;

		rc = read_block(k, block, offset, to, piece);
		offset += piece;
		to += piece;
		n -= piece;
	}
	return rc;
}

/* ---- beginning and end ---- */
static int open_file(const char *dir, uint64_t bytes, int *fd)
{
	char path[PATH_MAX];

	*fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	/* As spool.c: room.c removes what a host that died left of that name. */
	if (*fd < 0) {
		if (snprintf(path, sizeof(path), "%s/twinvm-spool-XXXXXX", dir) >=
		    (int)sizeof(path))
			return -ENAMETOOLONG;
		*fd = mkostemp(path, O_CLOEXEC);
		if (*fd >= 0)
			unlink(path);
	}
	return *fd < 0 || ftruncate(*fd, (off_t)bytes) ? -errno : 0;
}

int ckpt_keep_disk_new(const char *path, const char *dir, uint64_t bytes,
		       struct ckpt_keep_room *room, struct ckpt_keep_disk **out, struct tv_err *e)
{
	struct ckpt_keep_disk *k = calloc(1, sizeof(*k));
	int rc = 0;

	*out = NULL;
	if (!k)
		return tv_fail(e, -ENOMEM, "no memory");
	*k = (struct ckpt_keep_disk){.image_fd = -1, .fd = -1, .bytes = bytes, .room = room};
	k->blocks = (bytes + CKPT_BLOCK_BYTES - 1) / CKPT_BLOCK_BYTES;
	k->scratch = malloc(CKPT_BLOCK_BYTES);
	k->kept = calloc(k->blocks / 64 + 1, sizeof(*k->kept));
	k->image_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (!k->scratch || !k->kept)
		rc = tv_fail(e, -ENOMEM, "no memory");
	else if (k->image_fd < 0)
		rc = tv_fail(e, -errno, "replica image %s: %s", path, tv_strerror(-errno));
	else if ((rc = open_file(dir, bytes, &k->fd)))
		tv_fail(e, rc, "a file in %s: %s", dir, tv_strerror(rc));
	if (rc) {
		ckpt_keep_disk_free(k);
		return rc;
	}
	*out = k;
	return 0;
}

int ckpt_keep_disk_failed(const struct ckpt_keep_disk *k)
{
	return atomic_load(&k->failed);
}

void ckpt_keep_disk_cut(struct ckpt_keep_disk *k)
{
	int none = 0;

	atomic_compare_exchange_strong(&k->failed, &none, -ECANCELED);
}

void ckpt_keep_disk_free(struct ckpt_keep_disk *k)
{
	if (!k)
		return;
	tv_close_fd(&k->image_fd);
	tv_close_fd(&k->fd);
	free(k->scratch);
	free(k->kept);
	free(k);
}
