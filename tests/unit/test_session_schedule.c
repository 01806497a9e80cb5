/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Schedules of rehearsals: what the configuration may say, and when that is, by a calendar that stands
 * still. */
#include "replicator/session/schedule.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct schedule of(enum schedule_what what, const char *text)
{
	struct schedule s;
	struct tv_err e = {0};

	if (schedule_parse(what, text, &s, &e))
		fail_msg("'%s': %s", text, e.text);
	return s;
}

static void what_is_right_is_taken(void **state)
{
	struct schedule s = of(SCHEDULE_DRILL, "weekly Sun 03:00");

	(void)state;
	assert_int_equal(s.every, SCHEDULE_WEEKLY);
	assert_int_equal(s.day, 0);
	assert_int_equal(s.minute, 180);
	assert_int_equal(s.within_s, SCHEDULE_WITHIN_S);
	s = of(SCHEDULE_VERIFY, "  daily   23:59 within=90m  rate=20 repair=yes");
	assert_int_equal(s.every, SCHEDULE_DAILY);
	assert_int_equal(s.minute, 1439);
	assert_int_equal(s.within_s, 5400);
	s = of(SCHEDULE_TEST_FAILOVER, "monthly 28 0:05 for=60");
	assert_int_equal(s.day, 28);
	assert_int_equal(s.minute, 5);
	assert_int_equal(of(SCHEDULE_DRILL, "no").every, SCHEDULE_NEVER);
}

static void options_become_a_request(void **state)
{
	struct schedule s =
		of(SCHEDULE_TEST_FAILOVER,
		   "daily 03:00 probe=tcp:6379 within=1h for=60 probe=\"/opt/check -v 1\"");
	json_t *o = schedule_options(&s), *probes = json_object_get(o, "probe");

	(void)state;
	assert_int_equal(json_object_size(o), 2);
	assert_int_equal(json_array_size(probes), 2);
	assert_string_equal(json_string_value(json_array_get(probes, 0)), "tcp:6379");
	assert_string_equal(json_string_value(json_array_get(probes, 1)), "/opt/check -v 1");
	assert_int_equal(json_integer_value(json_object_get(o, "for")), 60);
	json_decref(o);
	s = of(SCHEDULE_VERIFY, "daily 03:00 repair=no");
	o = schedule_options(&s);
	assert_true(json_is_false(json_object_get(o, "repair")));
	json_decref(o);
}

static void refused(enum schedule_what what, const char *text, const char *why)
{
	struct schedule s;
	struct tv_err e = {0};

	if (schedule_parse(what, text, &s, &e) != -EINVAL)
		fail_msg("'%s' is taken", text);
	if (!strstr(e.text, why))
		fail_msg("'%s': '%s' lacks '%s'", text, e.text, why);
}

static void what_is_wrong_is_named(void **state)
{
	char text[900];

	(void)state;
	refused(SCHEDULE_DRILL, "", "expected");
	refused(SCHEDULE_DRILL, "yearly 03:00", "yearly");
	refused(SCHEDULE_DRILL, "no 03:00", "'no'");
	refused(SCHEDULE_DRILL, "weekly", "a day is missing");
	refused(SCHEDULE_DRILL, "weekly someday 03:00", "someday");
	refused(SCHEDULE_DRILL, "weekly 03:00", "no day of the week");
	refused(SCHEDULE_DRILL, "monthly 29 03:00", "1 to 28");
	refused(SCHEDULE_DRILL, "monthly x 03:00", "1 to 28");
	refused(SCHEDULE_DRILL, "daily", "time of day is missing");
	refused(SCHEDULE_DRILL, "daily 24:00", "24:00");
	refused(SCHEDULE_DRILL, "daily 3", "no time of day");
	refused(SCHEDULE_DRILL, "daily 03:60", "03:60");
	refused(SCHEDULE_DRILL, "daily 03:00x", "03:00x");
	refused(SCHEDULE_DRILL, "daily -1:00", "-1:00");
	refused(SCHEDULE_DRILL, "daily 03:00 soon", "OPTION=VALUE");
	refused(SCHEDULE_DRILL, "daily 03:00 probe=tcp:1", "drill has no option 'probe'");
	refused(SCHEDULE_DRILL, "daily 03:00 ping=", "ping=");
	refused(SCHEDULE_DRILL, "daily 03:00 within=5", "1m to 24h");
	refused(SCHEDULE_DRILL, "daily 03:00 within=25h", "1m to 24h");
	refused(SCHEDULE_DRILL, "daily 03:00 within=0m", "1m to 24h");
	refused(SCHEDULE_DRILL, "daily 03:00 within=99999999999h", "1m to 24h");
	refused(SCHEDULE_VERIFY, "daily 03:00 rate=fast", "number above 0");
	refused(SCHEDULE_VERIFY, "daily 03:00 rate=0", "number above 0");
	refused(SCHEDULE_VERIFY, "daily 03:00 rate=99999999999", "number above 0");
	refused(SCHEDULE_VERIFY, "daily 03:00 repair=perhaps", "yes or no");
	refused(SCHEDULE_TEST_FAILOVER, "daily 03:00 probe=\"a b", "quote");
	memset(text, 'x', sizeof(text));
	memcpy(text, "daily 03:00 probe=", 18);
	text[sizeof(text) - 1] = 0;
	refused(SCHEDULE_TEST_FAILOVER, text, "too long");
	refused(SCHEDULE_DRILL, text + 18, "expected");
}

/* UTC, in seconds since 1970. */
static time_t at(int y, int mon, int day, int hour, int min)
{
	struct tm tm = {.tm_year = y - 1900,
			.tm_mon = mon - 1,
			.tm_mday = day,
			.tm_hour = hour,
			.tm_min = min,
			.tm_isdst = -1};

	return mktime(&tm);
}

static void the_calendar(void **state)
{
	struct schedule s = of(SCHEDULE_DRILL, "weekly sun 03:00");

	(void)state;
	/* 2026-11-29 is a Sunday. */
	assert_int_equal(schedule_last(&s, at(2026, 11, 29, 3, 0)), at(2026, 11, 29, 3, 0));
	assert_int_equal(schedule_last(&s, at(2026, 11, 29, 2, 59)), at(2026, 11, 22, 3, 0));
	assert_int_equal(schedule_next(&s, at(2026, 11, 29, 2, 59)), at(2026, 11, 29, 3, 0));
	assert_int_equal(schedule_next(&s, at(2026, 11, 29, 3, 0)), at(2026, 12, 6, 3, 0));
	s = of(SCHEDULE_DRILL, "monthly 28 23:30");
	assert_int_equal(schedule_last(&s, at(2027, 3, 1, 0, 0)), at(2027, 2, 28, 23, 30));
	assert_int_equal(schedule_next(&s, at(2026, 12, 31, 12, 0)), at(2027, 1, 28, 23, 30));
	s = of(SCHEDULE_DRILL, "daily 00:00");
	assert_int_equal(schedule_last(&s, at(2028, 3, 1, 0, 0)), at(2028, 3, 1, 0, 0));
	assert_int_equal(schedule_next(&s, at(2028, 2, 28, 0, 0)), at(2028, 2, 29, 0, 0));
	s = of(SCHEDULE_DRILL, "no");
	assert_int_equal(schedule_last(&s, at(2026, 1, 1, 0, 0)), 0);
	assert_int_equal(schedule_next(&s, at(2026, 1, 1, 0, 0)), 0);
}

/* The clocks go back at 03:00, and forward at 02:00: once each, never twice. */
static void summer_time(void **state)
{
	struct schedule s = of(SCHEDULE_DRILL, "daily 02:30");
	time_t first, second;

	(void)state;
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	first = schedule_last(&s, at(2026, 10, 25, 12, 0));
	second = schedule_next(&s, first);
	assert_true(second - first >= 24 * 3600 && second - first <= 25 * 3600);
	assert_int_equal(schedule_last(&s, second - 1), first);
	first = schedule_last(&s, at(2026, 3, 29, 12, 0));
	assert_true(first > at(2026, 3, 29, 0, 0) && first < at(2026, 3, 29, 12, 0));
	setenv("TZ", "UTC", 1);
	tzset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_right_is_taken),
		cmocka_unit_test(options_become_a_request),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(the_calendar),
		cmocka_unit_test(summer_time),
	};

	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
