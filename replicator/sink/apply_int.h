/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the apply thread's files share. Private to replicator/sink; the outside is apply.h. */
#ifndef REPLICATOR_SINK_APPLY_INT_H
#define REPLICATOR_SINK_APPLY_INT_H

#include "replicator/sink/apply.h"

struct apply {
	struct apply_conf conf;
	apply_answer_cb answer;
	void *arg;
	struct hv_standby *sb; /* NULL: not started, ended, or promoted */
	struct ckpt_dec *dec;
	struct ckpt_mem mem;
	struct sink_still *still; /* NULL: none */
	struct ckpt_rep *rep;	  /* NULL: no writable disks */
	struct ckpt_room *room;
	json_t *desc;	       /* until the standby has started */
	struct copies *copies; /* of files; NULL: not opened */
	bool started;
	const char *replicas[CKPT_MAX_DISKS];
	int pidfd;
	bool suspended; /* in the epoch that was applied last */
	struct apply_time applied;
	struct ckpt_mended mended; /* not reported yet */
	bool failed;
	struct tv_err why;  /* of the first failure */
	int64_t weighed_ns; /* what the images take */
	unsigned hash_disk; /* how far APPLY_HASH has come */
	uint64_t hash_next;
};

/* ---- apply_still.c ---- */
/* The standby's memory, as checkpoint/ sees it. */
void apply_mem_init(struct apply *a);
/* ckpt_rep_before; arg is the apply. */
void apply_disk_before(void *arg, unsigned disk, uint64_t offset, uint64_t bytes);
/* Before a piece of work: a VM that runs from the replica writes to it, and no still would know. */
void apply_end_still(struct apply *a, enum apply_kind kind);

#endif
