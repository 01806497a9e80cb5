/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a drill's report takes from sessions and from events. Pure. */
#include "daemon/drills.h"

#include <string.h>

json_t *drill_numbers(const struct session_stats *s)
{
	return json_pack("{sf sf sf sf}", "lag_ms", s->lag_ms, "pause_p50_ms", s->pause_ms.p50,
			 "pause_p99_ms", s->pause_ms.p99, "pause_max_ms", s->pause_ms.max);
}

json_t *drill_outage_of(const json_t *events, const char *vm_id, uint64_t generation)
{
	static const char *const names[] = {"outage_ms", "silence_ms", "record_ms", "apply_ms",
					    "load_ms"};
	json_t *o, *data, *to;
	const char *id, *cause;
	size_t i;

	json_array_foreach(events, i, o) {
		id = json_string_value(json_object_get(o, "vm_id"));
		data = json_object_get(o, "data");
		cause = json_string_value(json_object_get(data, "cause"));
		if (!id || strcmp(id, vm_id) != 0 ||
		    (uint64_t)json_integer_value(json_object_get(o, "generation")) != generation)
			continue;
		to = json_pack("{sb}", "planned", (int)(cause && !strcmp(cause, "planned")));
		for (size_t n = 0; n < sizeof(names) / sizeof(*names); n++)
			if (json_is_number(json_object_get(data, names[n])))
				(void)!json_object_set(to, names[n],
						       json_object_get(data, names[n]));
		return to;
	}
	return NULL;
}
