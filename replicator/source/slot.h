/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A part of the staging buffer: pages of one epoch in two lists, those that were copied ahead of the
 * pause (most slots have none) and those that were copied in it. Both ascend by block and offset. A page
 * of both counts as the second has it: that was copied later, because it was written in between.
 */
#ifndef REPLICATOR_SOURCE_SLOT_H
#define REPLICATOR_SOURCE_SLOT_H

#include "hv/hv.h"
#include "replicator/source/compare.h"

struct slot {
	uint8_t *pages;
	uint64_t max_pages;
	struct hv_run *runs;
	unsigned max_runs;
	/* filled by the capture thread: */
	unsigned nahead;    /* runs [0, nahead) were copied ahead, their pages are the first ones */
	unsigned first_run; /* runs [first_run, nruns): the others */
	uint64_t first_page; /* of the others */
	unsigned nruns;
	uint64_t npages; /* of both lists, but for what slot_split has taken away */
	uint64_t epoch;	 /* 0: first copy */
	bool first, last;
	bool still;	     /* with last: the VM was suspended by an operator */
	int64_t captured_ns; /* when the VM was paused for it, with last */
	struct compare
		*compare; /* gets what the epoch takes of what is compared; NULL: nothing is */
	uint8_t *state;	  /* device state, with last */
	size_t state_bytes, state_room_bytes;
	bool busy;
};

/* No pages are in it. */
void slot_clear(struct slot *s);
/* HOT. Those that are in it now were copied ahead; others follow. */
void slot_ahead_done(struct slot *s);
/* HOT. What was copied ahead at that place and behind it becomes so in `to`, which is empty: the others of
 * `to` will begin there. */
void slot_split(struct slot *s, struct slot *to, uint32_t block, uint64_t offset);
/* Pages that are in both lists. */
uint64_t slot_twice(const struct slot *s);

/* All pages of a slot, ascending, each once. */
struct slot_list {
	const struct hv_run *run, *end;
	uint32_t k; /* of run's pages */
	const uint8_t *page;
};
struct slot_walk {
	struct slot_list ahead, then;
};
struct slot_page {
	uint32_t block;
	uint64_t offset;
	const uint8_t *contents;
};
void slot_walk_begin(const struct slot *s, struct slot_walk *w);
/* False: there are no more. */
bool slot_walk_next(struct slot_walk *w, struct slot_page *out);

#endif
