/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The insides of disks.h; private to this room. Its files in layers, each calls only files of the
 * layers before: disks_queue; disks_serve; disks.
 */
#ifndef REPLICATOR_SOURCE_DISKS_INT_H
#define REPLICATOR_SOURCE_DISKS_INT_H

#include "checkpoint/checkpoint.h"
#include "common/mailbox.h"
#include "nbd/nbd.h"
#include "replicator/source/compare_disk.h"
#include "replicator/source/disks.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#define DISKS_CHUNK_BYTES CKPT_DISK_RECORD_BYTES /* takes one record of any size */
#define DISKS_EPOCHS 8				 /* open at once: more than are ever in flight */

struct chunk { /* consecutive records of one epoch */
	TAILQ_ENTRY(chunk) next;
	uint64_t epoch;
	size_t bytes;
	uint8_t data[DISKS_CHUNK_BYTES];
};
TAILQ_HEAD(chunk_list, chunk);

struct epoch_sum {
	struct ckpt_sum *sum;
	uint64_t records, bytes;
	unsigned unsent; /* chunks */
	uint64_t raw_bytes[NBD_MAX_DISKS];
};

/* A server thread's: its next record is received and made where it will be sent from. */
struct maker {
	struct chunk *chunk; /* NULL: no such disk */
	uint8_t *scratch;
	atomic_bool begun; /* a request has come */
};

/* Between a disk's server and its records while the disk is copied for the first time. */
struct first_copy {
	struct disks *d;
	unsigned disk;
	uint8_t *hashes;      /* received from the backup, until the disk is added */
	uint64_t known, most; /* how many there are, and may be */
	pthread_mutex_t lock; /* of the sieve; taken before that of disks */
	struct ckpt_sieve *sieve;
};

struct disks {
	struct disks_conf conf;
	struct nbd *nbd;
	pthread_mutex_t lock;
	pthread_cond_t room;
	/* the queue: disks_queue.c */
	struct chunk_list chunks, spares;
	unsigned nspares;
	size_t queued_bytes;
	uint64_t epoch, committed; /* open now; last one committed */
	struct epoch_sum sums[DISKS_EPOCHS];
	uint64_t uncommitted_bytes, uncommitted_raw[NBD_MAX_DISKS];
	unsigned waiting; /* server threads */
	bool pausing, owed, discard, head_taken;
	struct disks_stats stats;
	/* the servers: disks_serve.c */
	struct maker makers[NBD_MAX_DISKS];
	struct maker repairer; /* of disks_repair */
	struct first_copy copies[NBD_MAX_DISKS];
	uint8_t key[CKPT_HASH_KEY_BYTES];
	bool hashes_awaited;
	atomic_bool sieving; /* some disk has a sieve, or may get one */
	bool failed;
	char why[128];
	/* the loop is to look: disks.c */
	struct tv_wake wake;
	bool woken; /* and has not looked yet */
	struct event *ev;
};

/* ---- disks_queue.c ---- */
/* Under lock. */
void disks_wake(struct disks *d);
/* A server thread's record, n bytes in its chunk, joins the open epoch; waits for room. raw: what
 * the guest wrote of it. -ENOMEM. */
int disks_queue(struct disks *d, struct maker *m, size_t n, uint64_t raw) TV_MUST_CHECK;
/* The same outside of a disk's server, and without waiting: -EAGAIN. */
int disks_queue_now(struct disks *d, struct maker *m, size_t n) TV_MUST_CHECK;

/* ---- disks_serve.c ---- */
extern const struct nbd_ops disks_nbd_ops;
/* What the backup has of this disk is left out of its first copy. */
int disks_make_sieve(struct disks *d, unsigned disk, uint64_t bytes) TV_MUST_CHECK;

#endif
