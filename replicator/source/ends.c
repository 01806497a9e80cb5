/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "replicator/source/ends.h"

void ends_note(struct ends *x, uint64_t epoch, int64_t end_ns)
{
	x->end_ns[epoch % ENDS_EPOCHS] = end_ns;
}

uint64_t ends_before(const struct ends *x, uint64_t captured, uint64_t committed, int64_t at_ns)
{
	while (captured > committed && x->end_ns[captured % ENDS_EPOCHS] >= at_ns)
		captured--;
	return captured;
}
