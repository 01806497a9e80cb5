/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's apply thread: starts the standby, applies the first copy, checks and applies epochs,
 * promotes. Jobs are done in the order posted; answers come back in the loop.
 */
#ifndef REPLICATOR_SINK_APPLIER_H
#define REPLICATOR_SINK_APPLIER_H

#include "common/common.h"
#include "hv/hv_standby.h"
#include <event2/event.h>

enum apply_kind {
	APPLY_START,	/* text: description -> rc */
	APPLY_HASH,	/* the next hashes of what the disks' images hold -> hashes, last */
	APPLY_SYNC,	/* bytes of the first copy; answered only when it fails */
	APPLY_SYNC_END, /* sums; the first copy must be whole; answered only when it is not */
	APPLY_BEGIN,	/* epoch */
	APPLY_EPOCH,	/* bytes of the epoch; answered only when it fails */
	APPLY_DISK,	/* bytes of an epoch's disk records (0: first copy); answered only when it
			   fails */
	APPLY_END,	/* epoch, sums -> APPLY_END as soon as checked, then applied */
	APPLY_PROMOTE,	/* -> rc */
	APPLY_KILL,	/* the standby goes away; epoch 1: the disks' replicas, too -> 0 */
};
struct apply_sums { /* what the sender counted */
	uint64_t records, checksum, disk_records, disk_checksum;
};
struct apply_answer {
	enum apply_kind kind;
	int rc;
	uint64_t epoch;
	struct tv_err e;
	struct hv_vm_id vm; /* START, PROMOTE */
	bool has_old;	    /* START: APPLY_HASH makes sense */
	/* HASH: allocated, the receiver frees them; blocks of one disk from first on */
	uint8_t *hashes;
	size_t hashes_bytes;
	unsigned disk;
	uint64_t first;
	bool last;
};
struct applier_conf {
	struct hv_standby_conf standby; /* but for its replicas */
	const char *replica_dir, *session;
	const char *spool_dir;
	uint64_t spool_bytes;
	const uint8_t *hash_key; /* of the primary, or NULL; must stay */
	size_t queue_bytes;	 /* bytes waiting to be applied: above it applier_full is true */
	int promote_timeout_ms;
	void (*answer)(const struct apply_answer *a, void *arg);
	void (*drained)(void *arg); /* below half of queue_bytes again */
	void *arg;
};
struct applier;
int applier_new(struct event_base *base, const struct applier_conf *conf,
		struct applier **out) TV_MUST_CHECK;
/* Posts a job; data is copied; sums may be NULL. -ENOMEM. */
int applier_post(struct applier *a, enum apply_kind kind, const void *data, size_t n,
		 uint64_t epoch, const struct apply_sums *sums) TV_MUST_CHECK;
bool applier_full(struct applier *a);
/* Throws away what is queued but not begun (an epoch that will never be whole). */
void applier_drop_queued(struct applier *a);
/* Ends the thread after the job under way. The standby is left as it is. */
void applier_free(struct applier *a);
/* Readable when the standby's process has ended; -1 before START. The applier's, until it is
 * freed. */
int applier_pidfd(struct applier *a);

#endif
