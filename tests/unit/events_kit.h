/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of events share: a daemon that keeps them in a folder of its own. */
#ifndef EVENTS_KIT_H
#define EVENTS_KIT_H

#include "daemon_session_kit.h"

#include "daemon/events_store.h"

__attribute__((unused)) static char newest[300], older[300];

KIT int set_up(void **state)
{
	int rc = kit_set_up(state);

	kit_path(newest, sizeof(newest), "events/events.jsonl");
	kit_path(older, sizeof(older), "events/events.old.jsonl");
	events_start(&d);
	return rc;
}

KIT int tear_down(void **state)
{
	events_stop(&d);
	return kit_tear_down(state);
}

KIT void restart(void)
{
	events_stop(&d);
	events_start(&d);
}

KIT json_t *read_all(void)
{
	const struct events_query q = {0};

	return events_read(&d, &q, NULL);
}

KIT const char *text_at(json_t *list, size_t i, const char *key)
{
	const char *s = json_string_value(json_object_get(json_array_get(list, i), key));

	return s ? s : "(none)";
}

KIT json_int_t id_at(json_t *list, size_t i)
{
	return json_integer_value(json_object_get(json_array_get(list, i), "id"));
}

KIT size_t count(void)
{
	json_t *list = read_all();
	size_t n = json_array_size(list);

	json_decref(list);
	return n;
}

#endif
