/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A memory block from its file: holes are not read. */
#include "hv/dump/dump_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool dump_is_zero(const uint8_t *p, size_t n)
{
	return !n || (!*p && !memcmp(p, p + 1, n - 1));
}

static int read_piece(const struct hv_dump_block *b, uint64_t at, uint8_t *p, size_t n)
{
	while (n) {
		ssize_t r = pread(b->fd, p, n, (off_t)(b->offset + at));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r ? -errno : -EIO;
		at += (uint64_t)r;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

static uint64_t all_bytes(const struct hv_dump *d)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < d->n_blocks; i++)
		n += d->blocks[i].bytes;
	return n;
}

/* How far the hole at `at` goes, in the block; `at` when there is none. */
static uint64_t hole_until(const struct hv_dump_block *b, uint64_t at)
{
	off_t data = lseek(b->fd, (off_t)(b->offset + at), SEEK_DATA);

	if (data < 0)
		return errno == ENXIO ? b->bytes : at;
	if ((uint64_t)data - b->offset >= b->bytes)
		return b->bytes;
	return ((uint64_t)data - b->offset) / TV_PAGE_BYTES * TV_PAGE_BYTES;
}

int dump_walk(const struct hv_dump *d, const struct hv_dump_block *b, uint64_t *done,
	      dump_piece *piece, void *arg, struct tv_err *e)
{
	TV_FREE uint8_t *p = malloc(DUMP_PIECE_BYTES);
	uint64_t all = all_bytes(d);
	struct stat st;
	int rc = p ? 0 : -ENOMEM;

	for (uint64_t at = 0; at < b->bytes && !rc;) {
		uint64_t hole = hole_until(b, at), left = (hole > at ? hole : b->bytes) - at;
		size_t n = left < DUMP_PIECE_BYTES ? (size_t)left : DUMP_PIECE_BYTES;

		if (hole <= at)
			rc = read_piece(b, at, p, n);
		if (!rc)
			rc = piece(arg, b, at, hole > at ? NULL : p, n);
		at += n;
		*done += n;
		if (!rc && d->more && !d->more(d->arg, *done, all))
			rc = -ECANCELED;
	}
	/* What has been cut off would look like a hole. */
	if (!rc && (fstat(b->fd, &st) || (uint64_t)st.st_size < b->offset + b->bytes))
		rc = -EIO;
	return rc ? tv_fail(e, rc, "memory block %s: %s", b->name, tv_strerror(rc)) : 0;
}
