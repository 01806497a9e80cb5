/* SPDX-License-Identifier: GPL-2.0-or-later */
/* This host's hardware as metrics have it, and as other hosts and pages see it: counts, and the worst causes. */
#include "daemon/daemon.h"
#include "daemon/health.h"
#include "daemon/moves.h"

#include <ctype.h>
#include <string.h>

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static json_int_t causes_of(const json_t *causes, const char *state)
{
	json_int_t n = 0;
	json_t *o;
	size_t i;

	json_array_foreach(causes, i, o)
		n += !strcmp(json_string_value(json_object_get(o, "state")), state);
	return n;
}

/* Also what has not happened yet: a counter that begins with its first error shows no increase. */
static void add_zeroes(json_t *errors)
{
	static const char *const names[] = {
#define NAME(name, text) #name,
		RAS_SEVERITIES(NAME)
#undef NAME
	};
	char key[24];

	for (int i = RAS_NOTHING + 1; i < RAS_SEVERITY_COUNT; i++) {
		tv_copy(key, sizeof(key), names[i]);
		for (char *p = key; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		if (!json_object_get(errors, key))
			(void)!json_object_set_new(errors, key, json_integer(0));
	}
	/* Records that name no error. */
	(void)!json_object_del(errors, "nothing");
}

json_t *health_metrics(const struct daemon *d)
{
	json_t *all = health_json(d), *causes = json_object_get(all, "causes");
	json_t *moves = moves_recent(), *corrupted = json_object_get(all, "corrupted_kib"), *o;

	o = json_pack("{sO sO s{sI sI} sI sI sI}", "state", json_object_get(all, "state"), "errors",
		      json_object_get(all, "errors"), "causes", "yellow",
		      causes_of(causes, "yellow"), "red", causes_of(causes, "red"), "reports_lost",
		      number(all, "lost") + number(all, "overrun") + number(all, "broken_pages"),
		      "malformed", number(all, "malformed"), "moves",
		      (json_int_t)json_array_size(moves));
	add_zeroes(json_object_get(o, "errors"));
	if (json_is_integer(corrupted))
		(void)!json_object_set_new(o, "taken_bytes",
					   json_integer(json_integer_value(corrupted) << 10));
	json_decref(moves);
	json_decref(all);
	return o;
}

json_t *health_worst(unsigned most)
{
	json_t *list = health_causes_json();

	while (json_array_size(list) > most)
		(void)!json_array_remove(list, json_array_size(list) - 1);
	return list;
}
