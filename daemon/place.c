/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/place.h"

#include <stdio.h>

void place_names(const char *vm_id, unsigned place, struct place_names *out)
{
	if (!place) {
		snprintf(out->id, sizeof(out->id), "%s", vm_id);
		snprintf(out->tap_prefix, sizeof(out->tap_prefix), "tv%.6s", vm_id);
		return;
	}
	snprintf(out->id, sizeof(out->id), "%s-%u", vm_id, place);
	/* A letter that is no hexadecimal digit: never part of another VM's id. */
	snprintf(out->tap_prefix, sizeof(out->tap_prefix), "tv%.6s%c", vm_id,
		 'g' + (int)(place % PLACES));
}
