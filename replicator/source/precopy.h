/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is an epoch's memory copied before its pause, too? Decided by what the last epochs did. Pure. */
#ifndef REPLICATOR_SOURCE_PRECOPY_H
#define REPLICATOR_SOURCE_PRECOPY_H

#include <stdbool.h>
#include <stdint.h>

#define PRECOPY_EPOCHS 3 /* that are looked back at */

/* All zeroes: nothing is known, nothing is copied ahead. */
struct precopy {
	uint64_t pages[PRECOPY_EPOCHS]; /* of each of the last epochs, the newest first */
	unsigned rests;			/* epochs for which it is not tried */
	unsigned vain;			/* tries in a row that were in vain */
};

/* An epoch is about to be captured that nobody waits for. slot_pages: what one slot of the staging buffer
 * has room for. */
bool precopy_wanted(const struct precopy *p, uint64_t slot_pages);
/* It was captured: pages in all; of these so many were copied ahead (0: it was not tried), and so many of
 * those were copied again in the pause. */
void precopy_note(struct precopy *p, uint64_t pages, uint64_t ahead, uint64_t again);

#endif
