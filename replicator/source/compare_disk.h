/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the primary's disks hold, as keyed hashes, for a comparison with the backup's images (theory of
 * operation: compare_disk.c). */
#ifndef REPLICATOR_SOURCE_COMPARE_DISK_H
#define REPLICATOR_SOURCE_COMPARE_DISK_H

#include "checkpoint/checkpoint.h"
#include "nbd/nbd.h"

#define CDISK_BLOCKS 64u /* wanted at once: 4 MiB */
#define CDISK_HASH_BYTES 8u

struct cdisk;
struct cdisk_want {
	unsigned disk, n;
	bool repair;		       /* not to be compared: to be sent again */
	uint64_t blocks[CDISK_BLOCKS]; /* of CKPT_BLOCK_BYTES */
};
struct cdisk_out {
	uint64_t epoch;
	unsigned disk, n, nagain;
	uint64_t blocks[CDISK_BLOCKS]; /* as they are at the end of that epoch */
	uint8_t hashes[CDISK_BLOCKS * CDISK_HASH_BYTES];
	uint64_t again[CDISK_BLOCKS]; /* not read yet, or written to since */
	bool written[CDISK_BLOCKS];   /* of those: written to */
	unsigned nsent;
	uint64_t sent[CDISK_BLOCKS]; /* again, in this epoch or before */
	int rc;			     /* not 0: they could not be read */
};

/* -ENOMEM */
int cdisk_new(struct cdisk **out) TV_MUST_CHECK;
/* NULL is allowed. */
void cdisk_free(struct cdisk *c);

/* ---- loop ---- */
/*
 * Makes a listening socket in dir for QEMU, in *listen_fd (the caller's), and n connections to it, with which
 * the reading begins as soon as QEMU has exports under these names. Nobody else can connect.
 */
int cdisk_connect(struct cdisk *c, const char *dir, unsigned n, int *listen_fd,
		  struct tv_err *e) TV_MUST_CHECK;
/* QEMU has them: begins, with hashes under that key. -ENOMEM. */
/* send: in the thread that reads, of what is to be sent again; -EAGAIN: not now. */
typedef int cdisk_send(void *arg, unsigned disk, uint64_t offset, const void *data, uint32_t bytes);
int cdisk_begin(struct cdisk *c, const uint8_t key[CKPT_HASH_KEY_BYTES], cdisk_send *send,
		void *arg) TV_MUST_CHECK;
/* Waits for its thread, which ends at once, and closes the connections. */
void cdisk_end(struct cdisk *c);
/* Is nothing wanted, or has it been taken? */
bool cdisk_is_idle(struct cdisk *c);
void cdisk_want(struct cdisk *c, const struct cdisk_want *w);
/* The end of that epoch has been sent. False: nothing was ready at its end. Idle when true. */
bool cdisk_take(struct cdisk *c, uint64_t epoch, struct cdisk_out *out);

/* ---- other threads ---- */
/* A write to a disk has come from its mirror, and is not answered yet. */
void cdisk_written(struct cdisk *c, unsigned disk, uint64_t offset, uint64_t bytes);
/* HOT. A pause is about to be asked for, or is over: nothing new is read. */
void cdisk_pausing(struct cdisk *c, bool on);
/* HOT. The VM is paused: the end of an epoch. */
void cdisk_barrier(struct cdisk *c, uint64_t epoch);

#endif
