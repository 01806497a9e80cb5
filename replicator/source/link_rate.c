/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See link_rate.h. */
#include "replicator/source/link_rate.h"

static void begin(struct link_rate *r, uint64_t idles, uint64_t acked_bytes, int64_t now_ns)
{
	r->since_ns = now_ns;
	r->idles = idles;
	r->acked_bytes = acked_bytes;
}

void link_rate_look(struct link_rate *r, bool waits, uint64_t idles, uint64_t acked_bytes,
		    int64_t now_ns)
{
	bool moves;

	if (acked_bytes != r->seen_bytes || !r->since_ns)
		r->moved_ns = now_ns;
	r->seen_bytes = acked_bytes;
	moves = now_ns - r->moved_ns <= LINK_RATE_STALL_NS;
	if (!waits) {
		r->since_ns = 0;
	} else if (!r->since_ns || r->idles != idles || !moves) {
		begin(r, idles, acked_bytes, now_ns);
	} else if (now_ns - r->since_ns >= LINK_RATE_STRETCH_NS) {
		r->bytes_s = (double)(acked_bytes - r->acked_bytes) * (double)TV_NS_PER_S /
			     (double)(now_ns - r->since_ns);
		begin(r, idles, acked_bytes, now_ns);
	}
}
