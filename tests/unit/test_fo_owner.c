/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose a VM is, when another host offers it: by the record, and by memory without an arbiter. */
#include "failover/failover.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST ((uint64_t)INT64_MAX)

static struct fo_own knows(uint64_t highest, const char *host)
{
	struct fo_own own = {.highest = highest};

	snprintf(own.host, sizeof(own.host), "%s", host);
	return own;
}

static struct fo_own runs(uint64_t generation, bool arbiter)
{
	struct fo_own own = knows(generation, "self");

	own.running = true;
	own.arbiter = arbiter;
	own.generation = own.ran = generation;
	return own;
}

/* record 0: the arbiter has none. */
static enum fo_verdict offered(const struct fo_own *own, const char *host, uint64_t generation,
			       uint64_t record, const char *record_host)
{
	struct fo_offer o = {.generation = generation,
			     .arbiter = true,
			     .recorded = record != 0,
			     .record.generation = record};

	snprintf(o.host, sizeof(o.host), "%s", host);
	snprintf(o.record.primary, sizeof(o.record.primary), "%s", record_host);
	return fo_judge(own, &o);
}

static enum fo_verdict claimed(const struct fo_own *own, const char *host, uint64_t generation)
{
	struct fo_offer o = {.generation = generation};

	snprintf(o.host, sizeof(o.host), "%s", host);
	return fo_judge(own, &o);
}

/* Whatever this host remembers, also what a liar once made an older version write down. */
static void the_record_decides(void **state)
{
	struct fo_own known[] = {knows(0, ""), knows(1, "A"), knows(3, "C"), knows(MOST, "C")};
	struct fo_own own;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		for (uint64_t theirs = 1; theirs <= 4; theirs++)
			for (uint64_t record = 1; record <= 4; record++) {
				enum fo_verdict a = offered(&known[i], "A", theirs, record, "A");
				enum fo_verdict c = offered(&known[i], "C", theirs, record, "A");

				assert_int_equal(a, theirs == record  ? FO_ACCEPT
						    : theirs < record ? FO_STALE
								      : FO_NOT_OWNER);
				assert_int_equal(c, theirs < record ? FO_STALE : FO_NOT_OWNER);
			}
	assert_int_equal(offered(&known[0], "C", MOST, 1, "A"), FO_NOT_OWNER);
	/* this host's own VM stops for the record, and for nothing else */
	own = runs(1, true);
	assert_int_equal(offered(&own, "B", 2, 2, "B"), FO_YIELD);
	assert_int_equal(offered(&own, "B", 2, 1, "self"), FO_NOT_OWNER);
	assert_int_equal(offered(&own, "C", MOST, 1, "self"), FO_NOT_OWNER);
	assert_int_equal(offered(&own, "C", 2, 2, "B"), FO_NOT_OWNER);
	assert_int_equal(offered(&own, "B", 1, 1, "self"), FO_RUNS_HERE);
	own = runs(2, true);
	assert_int_equal(offered(&own, "A", 1, 2, "self"), FO_STALE);
}

/* A VM at its beginning, of a primary that records it later, and only where nothing is known. */
static void no_record_speaks_for_nobody(void **state)
{
	struct fo_own none = knows(0, ""), a = knows(1, "A"), own = runs(1, true);

	(void)state;
	assert_int_equal(offered(&none, "A", 1, 0, ""), FO_ACCEPT);
	assert_int_equal(offered(&none, "A", 2, 0, ""), FO_NOT_OWNER);
	assert_int_equal(offered(&none, "C", MOST, 0, ""), FO_NOT_OWNER);
	assert_int_equal(offered(&a, "A", 1, 0, ""), FO_ACCEPT);
	assert_int_equal(offered(&a, "C", 1, 0, ""), FO_NOT_OWNER);
	assert_int_equal(offered(&a, "C", 2, 0, ""), FO_NOT_OWNER);
	assert_int_equal(offered(&own, "C", 2, 0, ""), FO_NOT_OWNER);
}

static void without_an_arbiter_it_is_remembered(void **state)
{
	struct fo_own none = knows(0, ""), a = knows(3, "A"), old = knows(3, ""), own;

	(void)state;
	assert_int_equal(claimed(&none, "C", 7), FO_ACCEPT); /* nothing is known of it */
	assert_int_equal(claimed(&a, "A", 3), FO_ACCEPT);
	assert_int_equal(claimed(&a, "A", 5), FO_ACCEPT); /* a switch was called off */
	assert_int_equal(claimed(&a, "A", 6), FO_NOT_OWNER);
	assert_int_equal(claimed(&a, "A", MOST), FO_NOT_OWNER);
	assert_int_equal(claimed(&a, "A", 2), FO_NOT_OWNER);
	assert_int_equal(claimed(&a, "C", 3), FO_NOT_OWNER);
	assert_int_equal(claimed(&a, "C", 4), FO_NOT_OWNER);
	assert_int_equal(claimed(&old, "A", 3), FO_ACCEPT); /* a note of an older version */
	/* what was this host's: its backup, with the next generation, and nobody else */
	own = runs(3, false);
	strcpy(own.backup, "B");
	for (int running = 1; running >= 0; running--) {
		own.running = running;
		assert_int_equal(claimed(&own, "B", 4), running ? FO_YIELD : FO_ACCEPT);
		assert_int_equal(claimed(&own, "B", 5), FO_NOT_OWNER);
		assert_int_equal(claimed(&own, "B", MOST), FO_NOT_OWNER);
		assert_int_equal(claimed(&own, "C", 4), FO_NOT_OWNER);
		assert_int_equal(claimed(&own, "B", 2), FO_STALE);
	}
	/* a VM that has an arbiter does not stop for an offer that names none */
	own.running = own.arbiter = true;
	assert_int_equal(claimed(&own, "B", 4), FO_NOT_OWNER);
}

static void the_stale_one_learns_what_it_can_check(void **state)
{
	struct fo_own own = runs(7, false), idle = knows(9, "self");
	struct fo_offer o = {.host = "A", .generation = 2};

	(void)state;
	assert_int_equal(fo_fenced_by(&own, &o), 3); /* all that it can believe */
	o.arbiter = true;
	assert_int_equal(fo_fenced_by(&own, &o), 7);
	o.recorded = true;
	o.record.generation = 8;
	assert_int_equal(fo_fenced_by(&own, &o), 8);
	assert_int_equal(fo_fenced_by(&idle, &o), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_record_decides),
		cmocka_unit_test(no_record_speaks_for_nobody),
		cmocka_unit_test(without_an_arbiter_it_is_remembered),
		cmocka_unit_test(the_stale_one_learns_what_it_can_check),
	};

	return cmocka_run_group_tests_name("fo_owner", tests, NULL, NULL);
}
