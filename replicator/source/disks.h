/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary's disk writes on their way to the backup (theory of operation: disks.c). */
#ifndef REPLICATOR_SOURCE_DISKS_H
#define REPLICATOR_SOURCE_DISKS_H

#include "common/common.h"
#include "nbd/nbd.h"

#include <event2/event.h>

struct disks;
struct cdisk; /* compare_disk.h */
struct disks_conf {
	struct cdisk *compare; /* learns of each write and epoch; may be NULL */
	size_t queue_bytes;
	uint64_t hold_bytes;
	/* In the loop: there is something to send, or an epoch is complete that was not. */
	void (*ready)(void *arg);
	/* In the loop, once: the mirror of a disk has ended although nobody cut it. */
	void (*failed)(const char *why, void *arg);
	void *arg;
};
struct disks_sum { /* of an epoch */
	uint64_t records, checksum, bytes;
};
struct disks_stats {
	uint64_t raw_bytes;  /* contents that the guest wrote, zeroes not counted */
	uint64_t wire_bytes; /* what goes over the wire for it */
	uint64_t kept_bytes; /* of the first copy, not sent: the backup had it */
	bool copied;	     /* the first copy of all of them is done */
	/* of each disk: what the guest has written since, and the backup has not committed */
	uint64_t behind_bytes[NBD_MAX_DISKS];
};

int disks_new(struct event_base *base, const struct disks_conf *conf,
	      struct disks **out) TV_MUST_CHECK;
/* CKPT_HASH_KEY_BYTES: what the backup's hashes are made with. */
const uint8_t *disks_key(const struct disks *d);
/* Loop. The backup is going to send hashes of n disks of these sizes; some of them (in order for
 * each disk, and no more than it has blocks; TV_E_PROTOCOL, -ENOMEM); it has sent all. */
void disks_expect_hashes(struct disks *d, const uint64_t *bytes, unsigned n);
int disks_learn(struct disks *d, unsigned disk, uint64_t first, const uint8_t *hashes,
		size_t bytes) TV_MUST_CHECK;
void disks_learned(struct disks *d);
/* Any other thread. Until all hashes that were expected have come; -ECANCELED: the session is
 * over. */
int disks_await_hashes(struct disks *d) TV_MUST_CHECK;
/* Would it wait? */
bool disks_hashes_awaited(struct disks *d);
/* Any other thread, when all mirrors are ready, before disks_barrier(d, 0). */
void disks_copied(struct disks *d);
/* Serves one more disk; *fd is QEMU's end. Any thread. */
int disks_add(struct disks *d, uint64_t bytes, int *fd) TV_MUST_CHECK;
/*
 * One other thread. What a disk holds there, CKPT_DISK_PIECE_BYTES at most, is sent once more, as a write of the
 * open epoch. The caller sees to it that no write to that place comes meanwhile. -EAGAIN: not now; -ENOMEM.
 */
int disks_repair(struct disks *d, unsigned disk, uint64_t offset, const void *data,
		 uint32_t bytes) TV_MUST_CHECK;
/* Any other thread. Until each disk's mirror has sent a request. -ETIMEDOUT; -ECANCELED: the
 * session is over. */
int disks_await_begun(struct disks *d, int timeout_ms) TV_MUST_CHECK;
/* HOT, any thread. A pause is about to be asked for, or is over: answers do not wait for
 * commits. */
void disks_pausing(struct disks *d, bool on);
/* Any thread. QEMU owes an answer, or no more: its main loop may be in one of the writes that wait. */
void disks_owed(struct disks *d, bool on);
/* HOT, any thread, VM paused (epoch 0: running). What comes from now on is epoch + 1's. */
void disks_barrier(struct disks *d, uint64_t epoch);
/* Loop. The oldest bytes; false when there are none. They stay until disks_sent. */
bool disks_peek(struct disks *d, uint64_t *epoch, const uint8_t **p, size_t *n);
void disks_sent(struct disks *d);
/* Loop. True when all of an epoch was given out by disks_sent; its sum then. */
bool disks_complete(struct disks *d, uint64_t epoch, struct disks_sum *sum);
void disks_committed(struct disks *d, uint64_t epoch);
void disks_stats(struct disks *d, struct disks_stats *out);
/* Does a guest's write wait for a commit now? */
bool disks_waiting(struct disks *d);
/* The session is over, any thread: no epoch is complete any more, and no write waits. NULL is
 * allowed. */
void disks_discard(struct disks *d);
/* Ends the mirrors, if they are still there; the guest's disks keep working by themselves. */
void disks_free(struct disks *d);

#endif
