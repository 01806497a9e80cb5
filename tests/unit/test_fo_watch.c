/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is the record still there while all is well: when it is looked for, and what is found. */
#include "failover/arbiter/arbiter.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS TV_NS_PER_MS

static const struct fo_claim claim = {.self = "B", .peer = "A", .session = "s1"};
static const struct fo_record ours = {.primary = "A", .session = "s1", .generation = 2},
			      other = {.primary = "A", .session = "s0", .generation = 2};

static void one_look_at_a_time(void **state)
{
	struct fo_watch w = {0};
	struct fo_times t;

	(void)state;
	fo_times_init(&t, 100 * MS);
	assert_true(fo_watch_due(&w, &t, MS));
	assert_false(fo_watch_due(&w, &t, MS + 10 * t.announce_ns)); /* an answer is due */
	assert_false(fo_watch_answer(&w, "B", &claim, 0, &ours, ""));
	assert_false(fo_watch_due(&w, &t, t.announce_ns));
	assert_true(fo_watch_due(&w, &t, MS + t.announce_ns));
}

static void what_is_wrong_is_a_warning(void **state)
{
	struct fo_watch w = {0};

	(void)state;
	assert_true(fo_watch_answer(&w, "B", &claim, -ENODATA, NULL, "there is none"));
	assert_string_equal(w.warning.text, "as B sees it, there is none");
	assert_false(fo_watch_answer(&w, "B", &claim, -ENODATA, NULL, "there is none"));
	assert_true(fo_watch_answer(&w, "B", &claim, 0, &other, ""));
	assert_non_null(strstr(w.warning.text, "of another session of this VM (A, generation 2)"));
	assert_true(fo_watch_answer(&w, "B", &claim, 0, &ours, ""));
	assert_string_equal(w.warning.text, "");
	assert_false(fo_watch_answer(&w, "B", &claim, 0, &ours, ""));
}

static void whether_it_answers(void **state)
{
	struct fo_watch w = {0};

	(void)state;
	assert_string_equal(fo_arbiter_seen_name(w.seen), "");
	fo_watch_seen(&w, -ETIMEDOUT, 5);
	fo_watch_seen(&w, -EIO, 7);
	assert_string_equal(fo_arbiter_seen_name(w.seen), "unreachable");
	assert_int_equal(w.since_ns, 5);
	fo_watch_seen(&w, -EAGAIN, 8); /* it was not asked */
	assert_int_equal(w.seen, FO_ARBITER_UNREACHABLE);
	fo_watch_seen(&w, TV_E_LOST, 9); /* an answer */
	assert_int_equal(w.seen, FO_ARBITER_REACHABLE);
	assert_int_equal(w.since_ns, 9);
	fo_watch_answer(&w, "B", &claim, 0, &other, "");
	assert_string_equal(fo_arbiter_seen_name(w.seen), "no record");
	fo_watch_answer(&w, "B", &claim, 0, &ours, "");
	assert_string_equal(fo_arbiter_seen_name(w.seen), "reachable");
	fo_watch_answer(&w, "B", &claim, -ENODATA, NULL, "none");
	assert_string_equal(fo_arbiter_seen_name(w.seen), "no record");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_look_at_a_time),
		cmocka_unit_test(what_is_wrong_is_a_warning),
		cmocka_unit_test(whether_it_answers),
	};

	return cmocka_run_group_tests_name("fo_watch", tests, NULL, NULL);
}
