/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the backup's apply thread does, one piece of work at a time: starts the standby, applies the
 * first copy, checks and applies epochs, promotes, ends the standby. All calls block, and belong to
 * one thread, applier.c's.
 */
#ifndef REPLICATOR_SINK_APPLY_H
#define REPLICATOR_SINK_APPLY_H

#include "checkpoint/checkpoint.h"
#include "common/common.h"
#include "hv/hv_standby.h"
#include "replicator/sink/compared.h"
#include "replicator/sink/copies.h"
#include "replicator/sink/still.h"

#include <stdatomic.h>

enum apply_kind {
	APPLY_START, /* text: description -> WANT or START; first of all, once */
	APPLY_FILE, /* bytes of the part that was wanted -> when they are complete, WANT or START */
	APPLY_WANT, /* only an answer: a part of a file is wanted */
	APPLY_HASH, /* the next hashes of what the disks' images hold -> HASH */
	APPLY_SYNC, /* bytes of the first copy; answered only when it fails */
	APPLY_SYNC_END, /* sums; the first copy must be whole; answered only when it is not */
	APPLY_BEGIN,	/* epoch */
	APPLY_EPOCH,	/* bytes of the epoch; answered only when it fails */
	APPLY_DISK,	/* bytes of an epoch's disk records (0: first copy); answered only when it
			 * fails */
	APPLY_END,	/* epoch, sums -> END as soon as it is checked, then it is applied */
	APPLY_COMPARE,	/* a compared_ask, behind the END of its epoch -> COMPARE, always rc 0 */
	APPLY_PROMOTE,	/* epoch 1: planned, the primary waits -> PROMOTE; after a failure it may be
			 * asked for again */
	APPLY_KILL,	/* the standby is ended; epoch 1: the disks' replicas are removed -> KILL */
};
struct apply_sums { /* what the sender counted */
	uint64_t records, checksum, disk_records, disk_checksum;
	bool suspended; /* APPLY_END: an operator had suspended the VM */
};
struct apply_work {
	enum apply_kind kind;
	uint64_t epoch;
	struct apply_sums sums;
	const uint8_t *data;
	size_t n;
};
struct apply_time {	/* for the trace */
	uint64_t epoch; /* 0: none */
	int64_t from_ns, until_ns;
};
struct apply_answer {
	enum apply_kind kind;
	int rc; /* not 0: nothing is applied any more; only KILL is still answered */
	uint64_t epoch;
	struct tv_err e;    /* PROMOTE that succeeded: why the VM has no network, or "" */
	struct hv_vm_id vm; /* START, PROMOTE */
	bool has_old;	    /* START: APPLY_HASH makes sense */
	bool suspended;	    /* END, PROMOTE: an operator had suspended the VM: it stands still */
	int64_t load_ns, ran_ns;    /* PROMOTE that succeeded: when it began to load, and ran */
	struct apply_time verified; /* END */
	struct apply_time applied;  /* END, PROMOTE: the epoch that was applied last before */
	int pidfd;		    /* START: readable when the standby's process has ended; not the
			     * receiver's to close */
	/* HASH: allocated, the receiver frees them; blocks of one disk from first on.
	 * COMPARE: in their place, which hashes differ (uint32_t), of ask; e: nothing was compared */
	struct compared_ask ask;
	struct ckpt_mended mended; /* COMPARE of the device state: since the one before */
	uint8_t *hashes;
	size_t hashes_bytes;
	unsigned disk;
	uint64_t first;
	bool last;
	struct copies_want want; /* WANT */
};
/* Written by the apply thread now and then, read by the loop. */
struct apply_images {
	atomic_uint_fast64_t bytes[CKPT_MAX_DISKS]; /* what each takes; 0: not known */
};
struct apply_conf {
	struct hv_standby_conf standby; /* but for its replicas */
	const char *replica_dir, *session;
	const char *spool_dir;
	uint64_t files_bytes; /* most that copies of files may have */
	uint64_t spool_bytes,
		reserve_bytes;	     /* reserve: of a twentieth of the file system at most */
	const uint8_t *hash_key;     /* of the primary, or NULL; must stay */
	struct apply_images *images; /* NULL: nobody wants to know; must stay */
	int promote_timeout_ms, planned_timeout_ms; /* one try */
};
typedef void (*apply_answer_cb)(const struct apply_answer *a, void *arg);

struct apply;
/* answer is called from inside apply_run, at most twice for one piece of work: an epoch that was
 * checked may still fail to be applied. NULL: no memory. */
struct apply *apply_new(const struct apply_conf *conf, apply_answer_cb answer, void *arg);
void apply_run(struct apply *a, const struct apply_work *w);
/* From here on the replica as it is now is kept in s, until that is over. */
void apply_freeze(struct apply *a, struct sink_still *s);
/* No work waits: does a little of what has time. False: there is none. */
bool apply_idle(struct apply *a);
/* The standby is left as it is. NULL is allowed. */
void apply_free(struct apply *a);

#endif
