/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One port's gate: up to which position of the captured stream frames may leave. Epochs are
 * positions here: a barrier says that all bytes up to a position belong to an epoch (and to no
 * earlier one). Not locked and without memory of its own: the caller holds the lock (relay.c).
 */
#ifndef NETBUFFER_GATE_H
#define NETBUFFER_GATE_H

#include "common/common.h"

/* Unreleased epochs: two are in flight by design; the rest is room for a backup that is slow. */
#define GATE_BARRIERS 16

struct gate {
	bool holding;
	uint64_t hold_pos;	       /* of the first barrier: before it the VM was alone */
	uint64_t open_pos, open_epoch; /* while holding: up to here all may leave, and why */
	uint64_t last_pos;	       /* of the last barrier */
	struct {
		uint64_t pos, epoch;
	} ring[GATE_BARRIERS];
	unsigned first, count;
};

/* The first barrier: from here on frames wait. */
void gate_hold(struct gate *g, uint64_t pos, uint64_t epoch);
static inline bool gate_full(const struct gate *g)
{
	return g->count == GATE_BARRIERS;
}
/* Not when full. Positions do not shrink, epochs grow. */
void gate_barrier(struct gate *g, uint64_t pos, uint64_t epoch);
void gate_release(struct gate *g, uint64_t epoch);
void gate_pass(struct gate *g);
/* The position up to which frames may leave when `epoch` is released. */
uint64_t gate_pos_of(const struct gate *g, uint64_t epoch);
/* The position up to which frames may leave now. */
uint64_t gate_open_pos(const struct gate *g);
/*
 * Rule 1, asserted for each frame as it is written: the VM is alone, or the frame lies before a
 * barrier whose epoch has been released. Aborts otherwise: no output is better than output too
 * early.
 */
void gate_assert_may_leave(const struct gate *g, uint64_t end_pos, uint64_t released_epoch);

#endif
