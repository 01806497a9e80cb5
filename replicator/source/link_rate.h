/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the link to the backup carries: measured in stretches of at least LINK_RATE_STRETCH_NS during
 * which more waited to be sent all the time, so that nothing but the network and the backup set the
 * speed. Usual are those of the first copy. The newest one counts. Knows no connection.
 */
#ifndef REPLICATOR_SOURCE_LINK_RATE_H
#define REPLICATOR_SOURCE_LINK_RATE_H

#include "common/common.h"

#define LINK_RATE_STRETCH_NS (TV_NS_PER_S / 2)
#define LINK_RATE_STALL_NS (TV_NS_PER_S / 5) /* carries nothing: it is down, and not slow */

struct link_rate {
	double bytes_s;	  /* 0: never measured */
	int64_t since_ns; /* the stretch began; 0: there is none */
	uint64_t idles, acked_bytes;
	uint64_t seen_bytes; /* acked_bytes at the last tick, */
	int64_t moved_ns;    /* and when it grew */
};
/*
 * At each tick. waits: something waits to be sent; idles: how often nothing did (repl_idles);
 * acked_bytes: what the peer has acknowledged, which only grows.
 */
void link_rate_look(struct link_rate *r, bool waits, uint64_t idles, uint64_t acked_bytes,
		    int64_t now_ns);

#endif
