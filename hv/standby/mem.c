/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Access to a standby's memory: main RAM is mapped here, all else lies in the QEMU process. */
#include "hv/standby/standby_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES (64u << 10)

static bool in_block(const struct hv_standby *sb, uint32_t block, uint64_t offset, size_t n)
{
	return block < sb->n_blocks && offset <= sb->blocks[block].bytes &&
	       n <= sb->blocks[block].bytes - offset;
}

uint8_t *hv_standby_map(struct hv_standby *sb, uint32_t block)
{
	return block == sb->main_block ? sb->map : NULL;
}

int hv_standby_ram_fd(const struct hv_standby *sb)
{
	return sb->vm.ram_fd;
}

/* What is mapped read-only there is written, too. */
static int vm_io(struct hv_standby *sb, uint64_t addr, void *p, size_t n, bool write)
{
	while (n) {
		ssize_t r = write ? pwrite(sb->vm.fds.mem, p, n, (off_t)addr)
				  : pread(sb->vm.fds.mem, p, n, (off_t)addr);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : TV_E_GONE;
		p = (char *)p + r;
		addr += (uint64_t)r;
		n -= (size_t)r;
	}
	return 0;
}

/* In QEMU's own memory. What the kernel does not let us touch, although QEMU lives, it has taken away. */
static int other_io(struct hv_standby *sb, uint32_t block, uint64_t offset, void *p, size_t n,
		    bool write)
{
	const struct hv_block *b = &sb->blocks[block];
	int rc = vm_io(sb, b->host.v + offset, p, n, write);

	if ((rc == -EIO || rc == -EFAULT || rc == -EHWPOISON) && !hv_pidfd_ended(sb->vm.pidfd, 0))
		return hv_standby_lose(b, offset);
	return rc;
}

int hv_standby_write(struct hv_standby *sb, uint32_t block, uint64_t offset, const void *p,
		     size_t n)
{
	if (!in_block(sb, block, offset, n))
		return -ERANGE;
	if (block == sb->main_block) {
		memcpy(sb->map + offset, p, n);
		return 0;
	}
	return other_io(sb, block, offset, (void *)p, n, true);
}

int hv_standby_read(struct hv_standby *sb, uint32_t block, uint64_t offset, void *p, size_t n)
{
	if (!in_block(sb, block, offset, n))
		return -ERANGE;
	if (block == sb->main_block) {
		memcpy(p, sb->map + offset, n);
		return 0;
	}
	return other_io(sb, block, offset, p, n, false);
}

unsigned hv_standby_blocks(const struct hv_standby *sb)
{
	return sb->n_blocks;
}

uint64_t hv_standby_block_bytes(const struct hv_standby *sb, uint32_t block)
{
	return block < sb->n_blocks ? sb->blocks[block].bytes : 0;
}

/* ---- keeping, for a second try of a promotion ---- */
static int keep_block(struct hv_standby *sb, uint32_t block)
{
	uint64_t bytes = sb->blocks[block].bytes;
	uint8_t *copy = malloc(bytes);
	int rc = copy ? hv_standby_read(sb, block, 0, copy, bytes) : -ENOMEM;

	if (rc)
		free(copy);
	else
		sb->kept[block] = copy;
	return rc;
}

int hv_standby_keep(struct hv_standby *sb, struct tv_err *e)
{
	for (unsigned i = 0; i < sb->n_blocks; i++) {
		int rc = i == sb->main_block || sb->kept[i] ? 0 : keep_block(sb, i);

		if (rc)
			return tv_fail(e, rc, "cannot keep a copy of the memory block %s: %s",
				       sb->blocks[i].name, tv_strerror(rc));
	}
	return 0;
}

int hv_standby_refill(struct hv_standby *sb)
{
	int rc = 0;

	for (unsigned i = 0; i < sb->n_blocks && !rc; i++)
		if (sb->kept[i])
			rc = hv_standby_write(sb, i, 0, sb->kept[i], sb->blocks[i].bytes);
	return rc;
}

/* ---- clearing ---- */
static bool is_zero(const uint8_t *p, size_t n)
{
	return !n || (!*p && !memcmp(p, p + 1, n - 1));
}

static int zero_block(struct hv_standby *sb, uint32_t block, uint8_t *piece, const uint8_t *zeroes)
{
	uint64_t bytes = sb->blocks[block].bytes;
	int rc = 0;

	for (uint64_t at = 0; at < bytes && !rc; at += PIECE_BYTES) {
		size_t n = bytes - at < PIECE_BYTES ? (size_t)(bytes - at) : PIECE_BYTES;

		rc = hv_standby_read(sb, block, at, piece, n);
		if (!rc && !is_zero(piece, n))
			rc = hv_standby_write(sb, block, at, zeroes, n);
	}
	return rc;
}

int hv_standby_zero(struct hv_standby *sb)
{
	uint64_t main_bytes = sb->blocks[sb->main_block].bytes;
	TV_FREE uint8_t *piece = malloc(PIECE_BYTES), *zeroes = calloc(1, PIECE_BYTES);
	int rc = 0;

	if (!piece || !zeroes)
		return -ENOMEM;
	if (!sb->clone && fallocate(sb->vm.ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				    (off_t)main_bytes))
		return -errno;
	for (unsigned i = 0; i < sb->n_blocks && !rc; i++)
		if (i != sb->main_block)
			rc = zero_block(sb, i, piece, zeroes);
	return rc;
}
