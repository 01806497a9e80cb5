/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Moments as people write them (common/when.c). */
#include "common/common.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define S INT64_C(1000)
#define NOW (INT64_C(1795722038) * S + 250) /* 2026-11-26T19:40:38.250Z */

static int64_t when(const char *text)
{
	int64_t ms = -1;

	return tv_when(text, NOW, &ms) ? -1 : ms;
}

static void zone(const char *tz)
{
	setenv("TZ", tz, 1);
	tzset();
}

static int set_up(void **state)
{
	(void)state;
	zone("UTC0");
	return 0;
}

static void so_long_ago(void **state)
{
	(void)state;
	assert_int_equal(when("now"), NOW);
	assert_int_equal(when("30s"), NOW - 30 * S);
	assert_int_equal(when("10m"), NOW - 600 * S);
	assert_int_equal(when("10min"), NOW - 600 * S);
	assert_int_equal(when("2h"), NOW - 7200 * S);
	assert_int_equal(when("1d"), NOW - 86400 * S);
	assert_int_equal(when("3w"), NOW - 3 * 604800 * S);
	assert_int_equal(when("0s"), NOW);
}

static void days(void **state)
{
	const int64_t day = INT64_C(1795651200) * S; /* 2026-11-26T00:00:00Z */

	(void)state;
	assert_int_equal(when("today"), day);
	assert_int_equal(when("yesterday"), day - 86400 * S);
	assert_int_equal(when("2026-11-26"), day);
	assert_int_equal(when("14:05"), day + (14 * 3600 + 5 * 60) * S);
	assert_int_equal(when("14:05:09"), day + (14 * 3600 + 5 * 60 + 9) * S);
}

static void dates_with_a_time(void **state)
{
	(void)state;
	assert_int_equal(when("2026-11-26T19:40:38.250Z"), NOW);
	assert_int_equal(when("2026-11-26 19:40:38.25"), NOW);
	assert_int_equal(when("2026-11-26T20:40:38.250+01:00"), NOW);
	assert_int_equal(when("2026-11-26T14:10:38.250-0530"), NOW);
	assert_int_equal(when("2026-11-26T19:40Z"), NOW - 38 * S - 250);
	assert_int_equal(when("2024-02-29T00:00Z"), INT64_C(1709164800) * S);
	assert_int_equal(when("1970-01-01T00:00Z"), 0);
}

/* What has no zone is of the local clock; a day with a change of it begins at its midnight. */
static void local_clock(void **state)
{
	int64_t ms;

	(void)state;
	zone("CET-1CEST,M3.5.0,M10.5.0/3");
	assert_int_equal(when("2026-11-26T20:40:38.250"), NOW);
	assert_int_equal(when("2026-11-26T19:40:38.250Z"), NOW);
	assert_int_equal(when("2026-07-01T12:00"), when("2026-07-01T10:00Z"));
	assert_int_equal(when("today"), when("2026-11-25T23:00Z"));
	/* On the 25th of October 2026 there are 25 hours. */
	assert_int_equal(tv_when("yesterday", when("2026-10-26T12:00"), &ms), 0);
	assert_int_equal(ms, when("2026-10-24T22:00Z"));
	zone("UTC0");
}

static void nothing_else(void **state)
{
	static const char *const bad[] = {"",
					  " ",
					  "m",
					  "10",
					  "-10m",
					  "+1h",
					  "1.5h",
					  "10 m",
					  "10mm",
					  "99999999999999999999m",
					  "999999999w",
					  "tomorrow",
					  "2026",
					  "2026-1-1",
					  "2026-13-01",
					  "2026-00-10",
					  "2026-02-30",
					  "2026-02-29",
					  "2026-11-26T",
					  "2026-11-26T24:00",
					  "2026-11-26T12",
					  "2026-11-26T12:60",
					  "2026-11-26T12:00:",
					  "2026-11-26T12:00:61",
					  "2026-11-26T12:00:00.",
					  "2026-11-26T12:00Zz",
					  "2026-11-26T12:00+1",
					  "2026-11-26T12:00+25:00",
					  "2026-11-26x",
					  "1969-12-31",
					  "0000-01-01",
					  "25:00",
					  "12:5",
					  "12:00x"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (when(bad[i]) != -1)
			fail_msg("'%s' is a time", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(so_long_ago),	     cmocka_unit_test(days),
		cmocka_unit_test(dates_with_a_time), cmocka_unit_test(local_clock),
		cmocka_unit_test(nothing_else),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
