/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One disk's image on the backup, a raw file. */
#include "checkpoint/image.h"
#include "checkpoint/room.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(const struct ckpt_image *im, const char *what, int rc, struct tv_err *e)
{
	return tv_fail(e, rc, "replica image %s: %s: %s", im->path, what, tv_strerror(rc));
}

/* A VM that runs from an image holds locks on it (QEMU's image locking). */
static bool is_in_use(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};

	return !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}

int ckpt_image_path(const char *dir, const char *vm_id, unsigned disk, char *out, size_t room)
{
	int n = snprintf(out, room, "%s/%s-%u.raw", dir, vm_id, disk);

	return n >= 0 && (size_t)n < room ? 0 : -ENAMETOOLONG;
}

int ckpt_image_open(struct ckpt_image *im, const struct ckpt_rep_conf *c, unsigned disk,
		    struct tv_err *e)
{
	struct stat st;

	im->room = c->room;
	if (ckpt_image_path(c->dir, c->vm_id, disk, im->path, sizeof(im->path)))
		return tv_fail(e, -ENAMETOOLONG,
			       "the name of the folder for replicas is too long: %s", c->dir);
	im->fd = open(im->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (im->fd < 0)
		return failed(im, "open", -errno, e);
	if (fstat(im->fd, &st) || !S_ISREG(st.st_mode))
		return failed(im, "not a regular file", -EINVAL, e);
	if (is_in_use(im->fd))
		return tv_fail(e, -EBUSY, "replica image %s is in use by a running VM", im->path);
	im->old = c->hash_key && (uint64_t)st.st_size == c->bytes[disk] && st.st_blocks;
	/* Empty, then long: all holes. */
	if ((!im->old && ftruncate(im->fd, 0)) || ftruncate(im->fd, (off_t)c->bytes[disk]))
		return failed(im, "set size", -errno, e);
	return 0;
}

/* Has all of it its blocks already? Then a write takes no room. */
static bool is_allocated(const struct ckpt_image *im, uint64_t offset, size_t n)
{
	off_t hole = lseek(im->fd, (off_t)offset, SEEK_HOLE);

	return hole >= 0 && (uint64_t)hole >= offset + n;
}

int ckpt_image_write(struct ckpt_image *im, uint64_t offset, const uint8_t *p, size_t n,
		     struct tv_err *e)
{
	int rc = ckpt_room_grow(im->room, n);

	if (rc && !is_allocated(im, offset, n))
		return tv_fail(e, rc, "replica image %s: %s", im->path,
			       ckpt_room_why(im->room, rc));
	while (n) {
		ssize_t r;

		if (tv_fault("replica_write"))
			return failed(im, "write", -ENOSPC, e);
		r = pwrite(im->fd, p, n, (off_t)offset);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return failed(im, "write", r ? -errno : -EIO, e);
		offset += (uint64_t)r;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

int ckpt_image_zero(struct ckpt_image *im, uint64_t offset, uint64_t n, const uint8_t *zeroes,
		    struct tv_err *e)
{
	if (!fallocate(im->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)n))
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return failed(im, "make a hole", -errno, e);
	while (n) {
		size_t k = n < CKPT_DISK_PIECE_BYTES ? (size_t)n : CKPT_DISK_PIECE_BYTES;
		int rc = ckpt_image_write(im, offset, zeroes, k, e);

		if (rc)
			return rc;
		offset += k;
		n -= k;
	}
	return 0;
}

int ckpt_image_read(struct ckpt_image *im, uint64_t offset, uint8_t *p, size_t n, struct tv_err *e)
{
	while (n) {
		ssize_t k = pread(im->fd, p, n, (off_t)offset);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return failed(im, "read", k ? -errno : -EIO, e);
		offset += (uint64_t)k;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

bool ckpt_image_is_hole(const struct ckpt_image *im, uint64_t at, size_t bytes, uint64_t end,
			uint64_t *until)
{
	off_t data;

	if (at >= *until) {
		data = lseek(im->fd, (off_t)at, SEEK_DATA);
		*until = data >= 0 ? (uint64_t)data : errno == ENXIO ? end : at;
	}
	return at + bytes <= *until;
}

int ckpt_image_sync(struct ckpt_image *im, struct tv_err *e)
{
	if (tv_fault("replica_sync"))
		return failed(im, "sync", -EIO, e);
	return fdatasync(im->fd) ? failed(im, "sync", -errno, e) : 0;
}
