/* SPDX-License-Identifier: GPL-2.0-or-later */
/* failover/reprotect.c: who is tried when, and who is stale. */
#include "failover/failover.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct fo_candidate hosts[] = {
	{"b", "10.0.0.2", 1}, {"c", "10.0.0.3", 1}, {"d", "10.0.0.4", 1}};
static struct fo_times times;

static int set_times(void **state)
{
	(void)state;
	fo_times_init(&times, 100 * TV_NS_PER_MS);
	return 0;
}

/* The next n tries' hosts as letters; "-" for none. Time goes from one to the next as it is due. */
static void tries(struct fo_reprotect *k, unsigned n_hosts, unsigned n, enum fo_reprotect_end how,
		  int64_t *now, char *out)
{
	for (unsigned i = 0; i < n; i++) {
		int at;

		assert_true(fo_reprotect_due(k) >= *now);
		*now = fo_reprotect_due(k);
		at = fo_reprotect_choose(k, hosts, n_hosts, *now);
		*out++ = at < 0 ? '-' : hosts[at].name[0];
		if (at < 0)
			continue;
		assert_true(fo_reprotect_due(k) == INT64_MAX); /* one at a time */
		fo_reprotect_ended(k, how, *now);
	}
	*out = 0;
}

static void the_last_one_first_then_in_turns(void **state)
{
	struct fo_reprotect k = {0};
	int64_t now = 5;
	char got[32];

	(void)state;
	assert_true(fo_reprotect_due(&k) == INT64_MAX); /* wants nothing */
	fo_reprotect_start(&k, &times, "c", now);
	tries(&k, 3, 12, FO_REPROTECT_FAILED, &now, got);
	assert_string_equal(got, "ccccbcdcbcdc");
	/* protected by d: d is the one to come back to */
	fo_reprotect_protected(&k, "d", now);
	assert_true(fo_reprotect_due(&k) == INT64_MAX);
	fo_reprotect_ended(&k, FO_REPROTECT_LOST, now);
	tries(&k, 3, 6, FO_REPROTECT_FAILED, &now, got);
	assert_string_equal(got, "ddddbd");
}

static void alone_in_the_world(void **state)
{
	struct fo_reprotect k = {0};
	int64_t now = 0, before;
	char got[32];

	(void)state;
	fo_reprotect_start(&k, &times, "b", now);
	tries(&k, 1, 8, FO_REPROTECT_FAILED, &now, got);
	assert_string_equal(got, "bbbbbbbb");
	/* no host to try: looked for again, not at once, and found when it is there */
	before = now = fo_reprotect_due(&k);
	tries(&k, 0, 2, FO_REPROTECT_FAILED, &now, got);
	assert_string_equal(got, "--");
	assert_true(now - before >= times.reprotect_first_ns);
	/* the last one's address is not known: the others are tried at once */
	fo_reprotect_start(&k, &times, "x", now);
	tries(&k, 2, 4, FO_REPROTECT_FAILED, &now, got);
	assert_string_equal(got, "bcbc");
}

static void waits_grow_and_never_end(void **state)
{
	struct fo_reprotect k = {0};
	int64_t now = 0, last = 0;

	(void)state;
	fo_reprotect_start(&k, &times, "b", now);
	for (unsigned i = 0; i < 10000; i++) {
		int64_t wait;

		now = fo_reprotect_due(&k);
		assert_int_equal(fo_reprotect_choose(&k, hosts, 1, now), 0);
		fo_reprotect_ended(&k, FO_REPROTECT_FAILED, now);
		wait = fo_reprotect_due(&k) - now;
		assert_true(wait >= last && wait >= times.reprotect_first_ns &&
			    wait <= times.reprotect_last_ns);
		last = wait;
	}
	assert_true(last == times.reprotect_last_ns);
	/* refusals: slower still, and quick again once something else happens */
	for (unsigned i = 0; i < 20; i++) {
		now = fo_reprotect_due(&k);
		assert_int_equal(fo_reprotect_choose(&k, hosts, 1, now), 0);
		fo_reprotect_ended(&k, FO_REPROTECT_REFUSED, now);
	}
	assert_true(fo_reprotect_due(&k) - now == times.reprotect_refused_ns);
	fo_reprotect_protected(&k, "b", now);
	fo_reprotect_ended(&k, FO_REPROTECT_LOST, now);
	assert_true(fo_reprotect_due(&k) - now == times.reprotect_first_ns);
	/* the user's word ends it */
	fo_reprotect_stop(&k);
	assert_true(fo_reprotect_due(&k) == INT64_MAX);
}

/* A loose cable: each loss makes the next try later, until the VM was protected for long enough. */
static void losses_are_damped(void **state)
{
	struct fo_reprotect k = {0};
	int64_t now = 0, wait = 0;

	(void)state;
	fo_reprotect_start(&k, &times, "b", now);
	for (int i = 0; i < 8; i++) {
		now = fo_reprotect_due(&k);
		assert_int_equal(fo_reprotect_choose(&k, hosts, 1, now), 0);
		fo_reprotect_protected(&k, "b", now);
		now += TV_NS_PER_S;
		fo_reprotect_ended(&k, FO_REPROTECT_LOST, now);
		assert_int_equal(k.losses, i + 1);
		assert_true(fo_reprotect_due(&k) - now > wait || wait == times.reprotect_last_ns);
		wait = fo_reprotect_due(&k) - now;
	}
	assert_true(wait == times.reprotect_last_ns);
	/* a failed try in between does not shorten it */
	now = fo_reprotect_due(&k);
	assert_int_equal(fo_reprotect_choose(&k, hosts, 1, now), 0);
	fo_reprotect_ended(&k, FO_REPROTECT_FAILED, now);
	assert_true(fo_reprotect_due(&k) - now == wait);
	/* calm */
	fo_reprotect_protected(&k, "b", now);
	now += times.reprotect_calm_ns;
	fo_reprotect_ended(&k, FO_REPROTECT_LOST, now);
	assert_int_equal(k.losses, 1);
	assert_true(fo_reprotect_due(&k) - now == times.reprotect_first_ns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(losses_are_damped),
		cmocka_unit_test(the_last_one_first_then_in_turns),
		cmocka_unit_test(alone_in_the_world),
		cmocka_unit_test(waits_grow_and_never_end),
	};

	return cmocka_run_group_tests(tests, set_times, NULL);
}
