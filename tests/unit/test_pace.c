/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When epochs begin. */
#include "replicator/source/pace.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS TV_NS_PER_MS
static void pace_follows_its_mode(void **state)
{
	struct pace p = {.mode = PACE_REMUS, .epoch_ns = 25 * MS};
	enum pace_mode m;

	(void)state;
	pace_captured(&p, 100 * MS, 4 * MS);
	assert_int_equal(pace_due_ns(&p, 0), 125 * MS);
	assert_int_equal(pace_due_ns(&p, 101 * MS), 125 * MS); /* talk changes nothing */
	p.mode = PACE_KEMARI;
	assert_int_equal(pace_due_ns(&p, 107 * MS), 107 * MS);
	assert_int_equal(pace_due_ns(&p, 0), 1100 * MS);
	p.mode = PACE_ADAPTIVE;
	assert_int_equal(pace_due_ns(&p, 0), 200 * MS);
	assert_int_equal(pace_due_ns(&p, 105 * MS), 116 * MS); /* 104 ms plus three pauses */
	assert_int_equal(pace_due_ns(&p, 150 * MS), 150 * MS);
	assert_int_equal(pace_mode_parse("adaptive", &m), 0);
	assert_int_equal(m, PACE_ADAPTIVE);
	assert_int_equal(pace_mode_parse("fast", &m), -EINVAL);
	assert_string_equal(pace_mode_name(PACE_KEMARI), "kemari");
}

/* One flush of seconds moves the mean a little; flushes that stay slow space the pauses. */
static void pace_mean_forgets(void **state)
{
	struct pace p = {.mode = PACE_ADAPTIVE, .epoch_ns = 25 * MS};

	(void)state;
	pace_captured(&p, 0, 2 * MS);
	pace_captured(&p, 100 * MS, 6500 * MS);
	assert_in_range(p.pause_ns, 2 * MS, 3 * MS);
	assert_in_range(pace_due_ns(&p, 6601 * MS), 6606 * MS, 6609 * MS);
	for (int i = 0; i < 64; i++)
		pace_captured(&p, (7000 + i * 30) * MS, 2 * MS);
	assert_in_range(p.pause_ns, 2 * MS, 2 * MS + MS / 2);
	for (int i = 0; i < 64; i++)
		pace_captured(&p, (9000 + i * 1000) * MS, 300 * MS);
	assert_in_range(p.pause_ns, 270 * MS, 300 * MS);
	p.pause_ns = 0;
	pace_captured(&p, 0, 6500 * MS);
	assert_int_equal(p.pause_ns, 100 * MS);
}

/* Where a pause is longer than an epoch is to be, every mode lets the VM run. */
static void pace_leaves_half(void **state)
{
	struct pace p = {.mode = PACE_REMUS, .epoch_ns = 25 * MS, .pause_ns = 80 * MS};

	(void)state;
	pace_captured(&p, 1000 * MS, 80 * MS);
	assert_int_equal(pace_due_ns(&p, 0), 1160 * MS);
	p.mode = PACE_KEMARI;
	assert_int_equal(pace_due_ns(&p, 1081 * MS), 1160 * MS);
	assert_int_equal(pace_due_ns(&p, 1170 * MS), 1170 * MS);
	p.pause_ns = 4 * MS;
	assert_int_equal(pace_due_ns(&p, 1081 * MS), 1081 * MS);
}

static void expect_target(const struct pace *p, int64_t ns, const char *why)
{
	const char *got;

	assert_int_equal(pace_target_ns(p, &got), ns);
	assert_string_equal(got, why);
}

/* What status shows of it. */
static void pace_target_has_a_reason(void **state)
{
	struct pace p = {.mode = PACE_REMUS, .epoch_ns = 25 * MS, .pause_ns = 4 * MS};

	(void)state;
	pace_captured(&p, 1000 * MS, 4 * MS);
	expect_target(&p, 25 * MS, "timer");
	p.mode = PACE_ADAPTIVE;
	expect_target(&p, 100 * MS, "idle");
	p.mode = PACE_KEMARI;
	expect_target(&p, 1000 * MS, "idle");
	p.mode = PACE_ADAPTIVE;
	p.pause_ns = 80 * MS;
	p.last_end_ns = 1080 * MS;
	expect_target(&p, 320 * MS, "pause budget");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pace_follows_its_mode),
		cmocka_unit_test(pace_mean_forgets),
		cmocka_unit_test(pace_leaves_half),
		cmocka_unit_test(pace_target_has_a_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
