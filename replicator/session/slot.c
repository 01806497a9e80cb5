/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of a slot: see slot.h. */
#include "replicator/session/slot.h"

#include <stdio.h>

void slot_names(const char *vm_id, unsigned slot, struct slot_names *out)
{
	if (!slot) {
		snprintf(out->id, sizeof(out->id), "%s", vm_id);
		snprintf(out->tap_prefix, sizeof(out->tap_prefix), "tv%.6s", vm_id);
		return;
	}
	snprintf(out->id, sizeof(out->id), "%s-%u", vm_id, slot);
	/* A letter that is no hexadecimal digit: never part of another VM's id. */
	snprintf(out->tap_prefix, sizeof(out->tap_prefix), "tv%.6s%c", vm_id,
		 'g' + (int)(slot % SLOTS_MAX));
}
