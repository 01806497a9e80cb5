/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of this room share: the ring's layout, and the tracks. Private to trace/. */
#ifndef TRACE_TRACE_INT_H
#define TRACE_TRACE_INT_H

#include "trace/trace.h"

#include <stdatomic.h>

#define TRACE_MAGIC UINT64_C(0x31656361725476a5) /* little-endian, version 1 */
#define TRACE_HEAD_BYTES 4096u

/*
 * The writer fills a slot, then counts it in done. A reader reads done, the slots, and done again: what the
 * second is TRACE_SLOTS or more ahead of may have been written over meanwhile, and so may the slot that is
 * being filled. TRACE_MARGIN stands for that one, and for a processor that shows writes out of order. So no
 * one waits for the other.
 */
#define TRACE_MARGIN 64u
struct trace_head {
	uint64_t magic;
	uint32_t slots, slot_bytes, role, unused;
	uint64_t generation;
	int64_t wall_ms_at_0;
	char vm[128], host[64], peer[64];
	_Atomic uint64_t refused;
	_Atomic uint64_t done;
};
_Static_assert(sizeof(struct trace_head) <= TRACE_HEAD_BYTES, "one page");

struct trace_slot {
	uint64_t number; /* of the event, from 0 on */
	uint64_t epoch;
	int64_t start_ns, length_ns, value;
	uint32_t phase, peers; /* peers: it is of the peer */
};
_Static_assert(sizeof(struct trace_slot) == 48, "the ring's layout");
#define TRACE_BYTES (TRACE_HEAD_BYTES + (size_t)TRACE_SLOTS * sizeof(struct trace_slot))

/* In the order in which they are shown, of each host. Two epochs wait for their commit at a time (ACK): two
 * tracks. */
enum trace_track {
	TRACE_TRACK_TRIGGER = 1,
	TRACE_TRACK_PAUSE,
	TRACE_TRACK_CHECK,
	TRACE_TRACK_ENCODE,
	TRACE_TRACK_SEND,
	TRACE_TRACK_ACK,
	TRACE_TRACK_ACK_ODD,
	TRACE_TRACK_RELEASE,
	TRACE_TRACK_CLOCK,
	TRACE_TRACK_RECEIVE,
	TRACE_TRACK_APPLY,
	TRACE_TRACK_COMMIT,
	TRACE_TRACK_END,
};
enum trace_track trace_track_of(enum trace_phase phase);

#endif
