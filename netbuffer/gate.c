/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gate: barriers, release, and the assertion of the output rule. */
#include "netbuffer/gate.h"

#include <inttypes.h>
#include <stdlib.h>

void gate_hold(struct gate *g, uint64_t pos, uint64_t epoch)
{
	*g = (struct gate){
		.holding = true,
		.hold_pos = pos,
		.open_pos = pos,
		.open_epoch = epoch,
		.last_pos = pos,
	};
}

void gate_barrier(struct gate *g, uint64_t pos, uint64_t epoch)
{
	unsigned i = (g->first + g->count) % GATE_BARRIERS;

	g->ring[i].pos = pos;
	g->ring[i].epoch = epoch;
	g->count++;
	g->last_pos = pos;
}

void gate_release(struct gate *g, uint64_t epoch)
{
	while (g->count && g->ring[g->first].epoch <= epoch) {
		g->open_pos = g->ring[g->first].pos;
		g->open_epoch = g->ring[g->first].epoch;
		g->first = (g->first + 1) % GATE_BARRIERS;
		g->count--;
	}
}

uint64_t gate_pos_of(const struct gate *g, uint64_t epoch)
{
	uint64_t pos = g->open_pos;

	for (unsigned i = 0; i < g->count; i++)
		if (g->ring[(g->first + i) % GATE_BARRIERS].epoch <= epoch)
			pos = g->ring[(g->first + i) % GATE_BARRIERS].pos;
	return pos;
}

void gate_pass(struct gate *g)
{
	*g = (struct gate){0};
}

uint64_t gate_open_pos(const struct gate *g)
{
	return g->holding ? g->open_pos : UINT64_MAX;
}

void gate_assert_may_leave(const struct gate *g, uint64_t end_pos, uint64_t released_epoch)
{
	if (!g->holding)
		return;
	if (end_pos <= g->open_pos && g->open_epoch <= released_epoch)
		return;
	tv_log(TV_ERROR,
	       "output rule broken: a frame that ends at %" PRIu64
	       " would leave; the gate is open to %" PRIu64 " for epoch %" PRIu64
	       ", released is epoch %" PRIu64 "; aborting, output stays held",
	       end_pos, g->open_pos, g->open_epoch, released_epoch);
	abort();
}
