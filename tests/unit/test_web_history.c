/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The last hour of a VM: what is not known is a gap, and memory is bounded. */
#include "web/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef"

/* A snapshot of this host alone, with one VM. */
static json_t *snapshot(const char *id, const char *role, const char *state, double raw_bytes)
{
	return json_pack("{s{sf s[{ss ss ss sb sf sf sf s{sf sf}}]} s[]}", "self", "time_ms",
			 5000.0, "vms", "id", id, "role", role, "state", state, "live", 1,
			 "raw_bytes", raw_bytes, "last_commit_time", 4.96, "uncommitted_bytes", 7.0,
			 "pause_ms", "p50", 2.5, "p99", 3.5, "others");
}

static void add(struct history *h, json_t *s, double wall_s)
{
	assert_non_null(s);
	history_add(h, s, wall_s);
	json_decref(s);
}

/* The caller's. */
static json_t *written(const struct history *h, const char *id)
{
	struct evbuffer *out = evbuffer_new();
	json_t *o;

	assert_int_equal(history_write(h, id, out), 0);
	o = json_loadb((char *)evbuffer_pullup(out, -1), evbuffer_get_length(out), 0, NULL);
	evbuffer_free(out);
	assert_non_null(o);
	return o;
}

static json_t *value(json_t *o, const char *series, size_t i)
{
	return json_array_get(json_object_get(json_object_get(o, "series"), series), i);
}

static void numbers_and_gaps(void **state)
{
	struct history *h;
	json_t *o;

	(void)state;
	assert_int_equal(history_new(&h), 0);
	add(h, snapshot(ID, "primary", "protected", 1000), 100);
	add(h, snapshot(ID, "primary", "protected", 1000), 101); /* too early: passed over */
	add(h, snapshot(ID, "primary", "alone", 1000), 102);
	add(h, snapshot(ID, "backup", "protected", 1000), 104); /* only its primary counts */
	o = written(h, ID);
	assert_int_equal(json_array_size(json_object_get(o, "time")), 2);
	assert_true(json_number_value(value(o, "lag_ms", 0)) > 39 &&
		    json_number_value(value(o, "lag_ms", 0)) < 41);
	assert_true(json_number_value(value(o, "pause_p99_ms", 0)) > 3);
	assert_true(json_is_null(value(o, "held_ms", 0))); /* no host reports it */
	assert_true(json_is_null(value(o, "lag_ms", 1)));  /* a VM that runs alone has none */
	json_decref(o);
	o = written(h, "");
	assert_int_equal(json_array_size(json_object_get(o, "time")), 0);
	json_decref(o);
	history_free(h);
}

static void an_hour_and_no_more(void **state)
{
	struct history *h;
	json_t *o;

	(void)state;
	assert_int_equal(history_new(&h), 0);
	for (int i = 0; i < HISTORY_SAMPLES + 5; i++)
		add(h, snapshot(ID, "primary", "protected", 1000), 100 + i * HISTORY_STEP_S);
	o = written(h, ID);
	assert_int_equal(json_array_size(json_object_get(o, "time")), HISTORY_SAMPLES);
	assert_int_equal(json_number_value(json_array_get(json_object_get(o, "time"), 0)),
			 100 + 5 * HISTORY_STEP_S);
	json_decref(o);
	history_free(h);
}

static void too_many_vms(void **state)
{
	struct history *h;
	char id[33];
	json_t *o;

	(void)state;
	assert_int_equal(history_new(&h), 0);
	for (int i = 0; i <= HISTORY_VMS; i++) {
		snprintf(id, sizeof(id), "%032x", (unsigned)i);
		add(h, snapshot(id, "primary", "protected", 1000), 100 + i * HISTORY_STEP_S);
	}
	o = written(h, id);
	assert_int_equal(json_array_size(json_object_get(o, "time")), 1);
	json_decref(o);
	o = written(h, "00000000000000000000000000000000"); /* was seen longest ago */
	assert_int_equal(json_array_size(json_object_get(o, "time")), 0);
	json_decref(o);
	history_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_and_gaps),
		cmocka_unit_test(an_hour_and_no_more),
		cmocka_unit_test(too_many_vms),
	};

	return cmocka_run_group_tests_name("web_history", tests, NULL, NULL);
}
