/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A saved device state by its sections, for a comparison that names them. */
#include "hv/attach/attach_int.h"
#include "hv/qemu/qemu.h"

#include <stdio.h>

/* What comes before the first section (magic, version) is the first one's. */
unsigned hv_state_parts(const void *state, size_t bytes, struct hv_state_part *out, unsigned max)
{
	struct hv_sections w = {.p = state, .bytes = bytes};
	size_t at = 0;
	unsigned n = 0;

	while (n + 1 < max && hv_sections_next(&w) > 0) {
		snprintf(out[n].name, sizeof(out[n].name), "%.*s", (int)sizeof(out[n].name) - 1,
			 w.name);
		out[n].offset = at;
		out[n++].bytes = w.at - at;
		at = w.at;
	}
	if (at < bytes)
		out[n++] = (struct hv_state_part){.offset = at, .bytes = bytes - at};
	return n;
}
