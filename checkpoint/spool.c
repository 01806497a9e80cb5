/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The received bytes of one epoch: the first memory_bytes in memory, what follows in an unlinked
 * file. The file is read with pread through one window, never mapped: an epoch of many gigabytes
 * must not become resident on a host that also runs other VMs.
 */
#include "checkpoint/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Twice the largest record, so that a refill is at least half useful. */
#define WINDOW_BYTES (2 * (size_t)CKPT_MAX_RECORD_BYTES)

struct ckpt_spool {
	struct tv_buf memory;
	struct ckpt_room *room;	    /* NULL: memory only */
	uint64_t file_bytes, taken; /* taken: of the room */
	int fd;			    /* -1 until something spills */
	int failed;		    /* first error since clear */
	uint8_t *window;
	uint64_t window_pos;
	size_t window_bytes;
};

int ckpt_spool_new(size_t memory_bytes, struct ckpt_room *room, struct ckpt_spool **out)
{
	struct ckpt_spool *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->fd = -1;
	s->room = room;
	tv_buf_init(&s->memory, memory_bytes);
	s->window = malloc(WINDOW_BYTES);
	if (!s->window) {
		ckpt_spool_free(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void ckpt_spool_free(struct ckpt_spool *s)
{
	if (!s)
		return;
	tv_close_fd(&s->fd);
	ckpt_room_give(s->room, s->taken);
	tv_buf_dispose(&s->memory);
	free(s->window);
	free(s);
}

void ckpt_spool_clear(struct ckpt_spool *s)
{
	/* A file that cannot be truncated is given up; the next spill makes a new one. */
	if (s->file_bytes && ftruncate(s->fd, 0))
		tv_close_fd(&s->fd);
	s->file_bytes = 0;
	ckpt_room_give(s->room, s->taken);
	s->taken = 0;
	s->memory.bytes = 0;
	s->window_bytes = 0;
	s->failed = 0;
}

uint64_t ckpt_spool_bytes(const struct ckpt_spool *s)
{
	return s->memory.bytes + s->file_bytes;
}

/* A file that has no name, so that it cannot outlive this process. */
static int open_file(struct ckpt_spool *s)
{
	const char *dir = ckpt_room_dir(s->room);
	char path[PATH_MAX];

	s->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (s->fd >= 0)
		return 0;
	/* Not every file system knows O_TMPFILE; what is really wrong, mkostemp says as well. */
	if (snprintf(path, sizeof(path), "%s/twinvm-spool-XXXXXX", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	s->fd = mkostemp(path, O_CLOEXEC);
	if (s->fd < 0)
		return -errno;
	unlink(path);
	return 0;
}

static int write_file(struct ckpt_spool *s, const uint8_t *p, size_t n)
{
	int rc;

	rc = ckpt_room_take(s->room, n);
	if (rc)
		return rc;
	s->taken += n;
	if (s->fd < 0) {
		rc = open_file(s);
		if (rc)
			return rc;
	}
	while (n) {
		ssize_t r;

		if (tv_fault("ckpt_spool_write"))
			return -ENOSPC;
		r = pwrite(s->fd, p, n, (off_t)s->file_bytes);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0) /* a quota, a file size limit: all of it is "no room" to the caller */
			return errno == EDQUOT || errno == EFBIG ? -ENOSPC : -errno;
		s->file_bytes += (uint64_t)r;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

static int add(struct ckpt_spool *s, const uint8_t *p, size_t n)
{
	size_t room = s->memory.limit_bytes - s->memory.bytes, first = n < room ? n : room;
	int rc;

	/* The file is used once memory is full, and memory stays full: order is kept. */
	rc = tv_buf_add(&s->memory, p, first);
	if (rc)
		return rc;
	return n > first ? write_file(s, p + first, n - first) : 0;
}

int ckpt_spool_add(struct ckpt_spool *s, const void *p, size_t n)
{
	int rc;

	if (s->failed)
		return s->failed;
	rc = add(s, p, n);
	if (!rc)
		return 0;
	/* The epoch is lost; others may need the room it takes. */
	ckpt_spool_clear(s);
	s->failed = rc;
	return rc;
}

int ckpt_spool_failed(const struct ckpt_spool *s)
{
	return s->failed;
}

static int read_file(struct ckpt_spool *s, uint64_t pos, uint8_t *p, size_t n)
{
	while (n) {
		ssize_t r = pread(s->fd, p, n, (off_t)pos);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) /* an end of file here is a file that lost bytes */
			return r ? -errno : -EIO;
		pos += (uint64_t)r;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

/* Fills the window from pos on; what memory still has of it comes first. */
static int refill(struct ckpt_spool *s, uint64_t pos)
{
	uint64_t left = ckpt_spool_bytes(s) - pos;
	size_t n = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES, head = 0;
	int rc;

	if (pos < s->memory.bytes) {
		head = s->memory.bytes - (size_t)pos;
		head = head < n ? head : n;
		memcpy(s->window, s->memory.data + pos, head);
	}
	s->window_bytes = 0;
	rc = read_file(s, pos + head - s->memory.bytes, s->window + head, n - head);
	if (rc)
		return rc;
	s->window_pos = pos;
	s->window_bytes = n;
	return 0;
}

int ckpt_spool_at(struct ckpt_spool *s, uint64_t pos, size_t n, const uint8_t **out)
{
	int rc;

	if (n > CKPT_MAX_RECORD_BYTES || pos > ckpt_spool_bytes(s) || n > ckpt_spool_bytes(s) - pos)
		return -EINVAL;
	if (pos + n <= s->memory.bytes) {
		*out = s->memory.data + pos;
		return 0;
	}
	if (!s->window_bytes || pos < s->window_pos || pos + n > s->window_pos + s->window_bytes) {
		rc = refill(s, pos);
		if (rc)
			return rc;
	}
	*out = s->window + (pos - s->window_pos);
	return 0;
}
