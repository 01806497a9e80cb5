/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is kept of one applied epoch while later ones are applied: theory of operation in keep_mem.c
 * and keep_disk.c. The owner calls ckpt_keep_*_before for every write, before it is made. A failure
 * is the copy's, never the replica's: it is kept (ckpt_keep_*_failed), and nothing more is copied.
 * One thread at a time, that which applies; but for ckpt_keep_disk_read.
 */
#ifndef CHECKPOINT_KEEP_H
#define CHECKPOINT_KEEP_H

#include "checkpoint/checkpoint.h"

/* ---- memory ---- */
struct ckpt_keep_mem;
/*
 * A copy of a mapped memory file (map, fd, bytes: a multiple of a page), as it is at the end of this
 * call, that fills while that changes. Where fd has a hole the copy has one. -ENOMEM, -errno.
 */
int ckpt_keep_mem_new(const uint8_t *map, int fd, uint64_t bytes,
		      struct ckpt_keep_mem **out) TV_MUST_CHECK;
/* The page at that offset is about to be written. */
void ckpt_keep_mem_before(struct ckpt_keep_mem *k, uint64_t offset);
/* Looks at pages until max_bytes were copied. 1: there is more; 0: the copy is whole; or as failed. */
int ckpt_keep_mem_step(struct ckpt_keep_mem *k, uint64_t max_bytes) TV_MUST_CHECK;
int ckpt_keep_mem_failed(const struct ckpt_keep_mem *k);
/* The memfd; stays the copy's. */
int ckpt_keep_mem_fd(const struct ckpt_keep_mem *k);
struct ckpt_keep_counts {
	uint64_t total;		/* of memory to copy, as far as was known at the beginning */
	uint64_t seen;		/* of it, done */
	uint64_t copied, saved; /* bytes by steps; before writes */
};
void ckpt_keep_mem_counts(const struct ckpt_keep_mem *k, struct ckpt_keep_counts *out);
/* Gives the memory back, piece by piece, so that nothing waits long for the kernel; any thread, and
 * while others still call. Whoever has it mapped gets SIGBUS. The copy is worth nothing then. */
void ckpt_keep_mem_cut(struct ckpt_keep_mem *k);
/* NULL is allowed. */
void ckpt_keep_mem_free(struct ckpt_keep_mem *k);

/* All blocks but `without`, one behind the other, copied at once into a memfd, which is the caller's,
 * also after a failure. */
int ckpt_keep_blocks(const struct ckpt_mem *mem, uint32_t without, int *fd) TV_MUST_CHECK;

/* ---- disks ---- */
struct ckpt_keep_room {		/* of all disks of a VM; zero but for the first two */
	uint64_t limit_bytes;	/* at most kept, in files */
	struct ckpt_room *room; /* nor is its reserve touched; NULL: no file system is asked */
	uint64_t used_bytes;
};
struct ckpt_keep_disk;
/* Of the image in path; what is overwritten is kept in an unlinked file in dir. room outlives it. */
int ckpt_keep_disk_new(const char *path, const char *dir, uint64_t bytes,
		       struct ckpt_keep_room *room, struct ckpt_keep_disk **out,
		       struct tv_err *e) TV_MUST_CHECK;
/* n bytes are about to be written, or to become zero. One call keeps at most CKPT_KEEP_AT_ONCE. */
#define CKPT_KEEP_AT_ONCE (256u << 20)
void ckpt_keep_disk_before(struct ckpt_keep_disk *k, uint64_t offset, uint64_t n);
/* The disk as it was. Any thread, at any time. -EIO: also when it has failed. */
int ckpt_keep_disk_read(struct ckpt_keep_disk *k, uint64_t offset, void *p, size_t n) TV_MUST_CHECK;
/* -ENOSPC over the limit, or the room has none. */
int ckpt_keep_disk_failed(const struct ckpt_keep_disk *k);
/* Fails it: what is read from now on is an error. Any thread. */
void ckpt_keep_disk_cut(struct ckpt_keep_disk *k);
/* No thread may read any more. NULL is allowed. */
void ckpt_keep_disk_free(struct ckpt_keep_disk *k);

#endif
