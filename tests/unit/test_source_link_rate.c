/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the link carries is known only from times in which sending waited for nothing else. */
#include "replicator/source/link_rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define TICK (TV_NS_PER_S / 20)

static struct link_rate r;
static int64_t now;
static uint64_t acked, idles;

/* So many ticks, in each of which so many bytes are acknowledged. */
static void run(unsigned ticks, bool waits, uint64_t bytes)
{
	for (unsigned i = 0; i < ticks; i++) {
		now += TICK;
		acked += bytes;
		link_rate_look(&r, waits, idles, acked, now);
	}
}

static int set_up(void **state)
{
	(void)state;
	r = (struct link_rate){0};
	now = TV_NS_PER_S;
	acked = idles = 0;
	return 0;
}

static void a_full_link_is_measured(void **state)
{
	(void)state;
	run(10, true, 1000);
	assert_true(r.bytes_s == 0); /* not long enough */
	run(1, true, 1000);
	assert_true(r.bytes_s > 19999 && r.bytes_s < 20001);
	run(10, true, 500); /* the newest counts */
	assert_true(r.bytes_s > 9999 && r.bytes_s < 10001);
	run(100, false, 1);
	assert_true(r.bytes_s > 9999);
}

static void a_link_that_pauses_is_not(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) { /* it ran dry between two looks */
		run(3, true, 1000);
		idles++;
	}
	assert_true(r.bytes_s == 0);
	for (int i = 0; i < 20; i++) {
		run(9, true, 1000);
		run(1, false, 1000);
	}
	assert_true(r.bytes_s == 0);
}

static void a_dead_link_is_not(void **state)
{
	(void)state;
	run(12, true, 1000);
	run(100, true, 0);
	assert_true(r.bytes_s > 18000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_full_link_is_measured, set_up),
		cmocka_unit_test_setup(a_link_that_pauses_is_not, set_up),
		cmocka_unit_test_setup(a_dead_link_is_not, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
