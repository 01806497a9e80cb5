/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One disk's image on the backup: a raw file that is opened, written, read and sized. Whether what
 * it holds is a state of the VM is for disk_replica.c to know. Sentences name the file.
 */
#ifndef CHECKPOINT_IMAGE_H
#define CHECKPOINT_IMAGE_H

#include "checkpoint/checkpoint.h"

struct ckpt_image {
	char path[512];
	int fd;
	struct ckpt_room *room; /* NULL: it may grow at will */
	bool old;		/* it holds something from before */
};

/*
 * Opens the image of disk number `disk`, makes it where there is none, and gives it its size
 * (conf's bytes). It becomes empty, unless conf has a hash_key and its size was right. -EBUSY: a
 * running VM uses it. im->fd is the caller's to close, also after a failure.
 */
int ckpt_image_open(struct ckpt_image *im, const struct ckpt_rep_conf *conf, unsigned disk,
		    struct tv_err *e) TV_MUST_CHECK;
int ckpt_image_write(struct ckpt_image *im, uint64_t offset, const uint8_t *p, size_t n,
		     struct tv_err *e) TV_MUST_CHECK;
/* A hole where the file system can make one, else zeroes (CKPT_DISK_PIECE_BYTES of them). */
int ckpt_image_zero(struct ckpt_image *im, uint64_t offset, uint64_t n, const uint8_t *zeroes,
		    struct tv_err *e) TV_MUST_CHECK;
int ckpt_image_read(struct ckpt_image *im, uint64_t offset, uint8_t *p, size_t n,
		    struct tv_err *e) TV_MUST_CHECK;
/* Are the bytes at `at` all in a hole? *until: what is known to be one from there on; 0 at
 * first. */
bool ckpt_image_is_hole(const struct ckpt_image *im, uint64_t at, size_t bytes, uint64_t end,
			uint64_t *until);
/* Makes what was written durable. */
int ckpt_image_sync(struct ckpt_image *im, struct tv_err *e) TV_MUST_CHECK;

#endif
