/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's store of frames that may be said again after a promotion (netbuffer.h, replay.c).
 * Bounded: the oldest go first.
 */
#ifndef REPLICATOR_SINK_REPLAY_H
#define REPLICATOR_SINK_REPLAY_H

#include "common/common.h"

#define REPLAY_MAX_FRAME_BYTES 2058 /* virtio header included */
struct replay;
struct replay *replay_new(void); /* NULL: no memory */
/* Keeps a copy. epoch: that sent it, or that ran when it came in. -EBADMSG: no frame. */
int replay_add(struct replay *r, uint64_t epoch, bool output, const uint8_t *data,
	       size_t n) TV_MUST_CHECK;
/* What a VM at this epoch has long had behind it goes. */
void replay_committed(struct replay *r, uint64_t epoch);
/*
 * The VM runs from `epoch`: says its output and that of the epoch before once more (whether the old
 * primary still did is not known; both are committed, so rule 1 holds), then what had come in
 * since. Nothing of a later epoch's output: that future is discarded. Returns how many frames went.
 */
unsigned replay_run(struct replay *r, uint64_t epoch, const char *bridge);
void replay_free(struct replay *r);

#endif
