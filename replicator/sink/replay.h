/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's store of recent frames, which are replayed after a promotion (netbuffer.h,
 * recent.c). Bounded: the oldest are dropped first.
 */
#ifndef REPLICATOR_SINK_REPLAY_H
#define REPLICATOR_SINK_REPLAY_H

#include "common/common.h"

#define REPLAY_MAX_FRAME_BYTES 2058 /* virtio header included */
struct replay;
struct replay *replay_new(void); /* NULL: no memory */
/* Stores a copy. epoch: that sent it, or that ran when it came in. -EBADMSG: too short or too long
 * for a frame. Without memory the frame is left out. */
int replay_add(struct replay *r, uint64_t epoch, bool output, const uint8_t *data,
	       size_t n) TV_MUST_CHECK;
/* Drops what a VM at this epoch has sent or received long before. */
void replay_committed(struct replay *r, uint64_t epoch);
/*
 * The VM runs from `epoch`: sends its output and that of the epoch before once more (whether the
 * old primary still did is not known; both are committed, so rule 1 holds), then what had come in
 * since. Nothing of a later epoch's output: that future is discarded. send gets each frame with its
 * virtio header; not 0: it is lost, as a network may lose one. Returns how many were sent.
 */
unsigned replay_run(struct replay *r, uint64_t epoch,
		    int (*send)(void *arg, const void *frame, size_t bytes), void *arg);
void replay_free(struct replay *r);

#endif
