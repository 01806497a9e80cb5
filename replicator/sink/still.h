/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A still (still/still.h) as the sink makes it: theory of operation in still.c. The loop makes it
 * and ends it; the apply thread fills it, and calls it before every write.
 */
#ifndef REPLICATOR_SINK_STILL_H
#define REPLICATOR_SINK_STILL_H

#include "checkpoint/checkpoint.h"
#include "common/common.h"

#include <jansson.h>

struct sink_still;

/* ---- the loop's thread ---- */
struct sink_still_conf {
	json_t *about; /* taken over, also on failure: name, vm_id, session, generation, description */
	uint64_t extra_bytes, disk_bytes; /* as struct freeze_want (daemon/freeze.h) */
	const char *dir;		  /* for what is kept of disks; outlives it */
};
/* *holder is the holder's end of the socket, the caller's. -ENOMEM, -errno. */
int sink_still_new(const struct sink_still_conf *conf, struct sink_still **out,
		   int *holder) TV_MUST_CHECK;
/* Readable when the holder is gone, or when it has ended by itself. */
int sink_still_fd(const struct sink_still *s);
/*
 * Ends it, with the reason for the holder. Does not wait: a thread of its own gives back memory and
 * files, at the lowest priority, and frees it when the apply thread has left it, too. taken: it was
 * given to the apply thread. NULL is allowed.
 */
void sink_still_end(struct sink_still *s, const char *why, bool taken);

/* ---- the apply thread, between two epochs ---- */
struct sink_still_source { /* the replica as it is */
	const struct ckpt_mem *mem;
	int ram_fd; /* of the block that is mapped */
	const uint8_t *state;
	size_t state_bytes;
	struct ckpt_rep *rep; /* NULL: no disks */
	unsigned disks;
	struct ckpt_room *room;
	uint64_t epoch;
	bool suspended;
};
/* Begins: it is called before every write from now on. A failure ends it by itself. */
void sink_still_begin(struct sink_still *s, const struct sink_still_source *src);
/* NULL is allowed. */
void sink_still_before_page(struct sink_still *s, uint32_t block, uint64_t offset);
void sink_still_before_disk(struct sink_still *s, unsigned disk, uint64_t offset, uint64_t bytes);
/* Copies a little (half a millisecond); false: there is nothing to do now. */
bool sink_still_step(struct sink_still *s);
/* It has ended: the apply thread is to leave it. */
bool sink_still_is_over(struct sink_still *s);
/* The apply thread does not use it any more; *s becomes NULL, and may be. */
void sink_still_leave(struct sink_still **s);
/* It cannot continue. Any thread; NULL is allowed. */
void sink_still_fail(struct sink_still *s, int rc, const char *why);

#endif
