/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary's engine at the end of its lease: who asks, in which order, and which answer counts. */
#include "tests/unit/fo_kit.h"

static void lose_the_lease(struct primary *x)
{
	enum fo_primary_state from = x->p.state;

	for (int i = 0; i < 100 && x->p.state == from; i++) {
		x->now += x->t.tick_ns;
		fo_primary_tick(&x->p, x->now, x->now);
	}
	assert_int_equal(x->p.state, FO_P_SUSPENDED);
}

/* The link is lost, the backup's host perhaps not: who lives asks before the backup may. */
static void it_asks_first(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	lose_the_lease(&x);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 1);
	assert_true(x.now - START < x.t.suspect_ns + 20 * MS);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, -EIO);
	assert_int_equal(x.p.state, FO_P_SUSPENDED);
	p_pass(&x, x.t.retry_ns + 20 * MS, false);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 2);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.p.state, FO_P_ALONE);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 1);
	assert_int_equal(x.v.acted[FO_ACTION_LEAVE], 1);

	p_protect(&x, true);
	lose_the_lease(&x);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, TV_E_LOST);
	assert_int_equal(x.p.state, FO_P_FENCED);
}

/* The record may say alone by then: nothing is protected until it names the backup again. */
static void a_lease_that_is_back_is_repaired(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	p_epoch(&x);
	lose_the_lease(&x);
	p_echo(&x);
	assert_int_equal(x.p.state, FO_P_REPAIRING);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 1);
	assert_int_equal(p_commit(&x, 2), 0);
	assert_int_equal(x.v.released, 2);	     /* committed, and the lease runs */
	assert_int_equal(x.v.asked[FO_ASK_PAIR], 1); /* in turn */
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.p.state, FO_P_REPAIRING); /* an old answer */
	assert_int_equal(x.v.acted[FO_ACTION_LEAVE], 0);
	assert_int_equal(x.v.asked[FO_ASK_PAIR], 2);
	fo_primary_answer(&x.p, x.now, FO_ASK_PAIR, -ETIMEDOUT);
	p_pass(&x, x.t.retry_ns + 20 * MS, true);
	assert_int_equal(x.v.asked[FO_ASK_PAIR], 3);
	fo_primary_answer(&x.p, x.now, FO_ASK_PAIR, 0);
	assert_int_equal(x.p.state, FO_P_PROTECTED);
}

/* A loose cable: whatever was open, the newest question is the last one asked. */
static void the_newest_question_decides(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	lose_the_lease(&x);
	p_echo(&x);
	lose_the_lease(&x); /* the first question is still open, and the newest again */
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.v.asked[FO_ASK_PAIR], 1);
	assert_int_equal(x.p.state, FO_P_ALONE);

	p_protect(&x, true);
	lose_the_lease(&x);
	p_echo(&x);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	lose_the_lease(&x);
	fo_primary_answer(&x.p, x.now, FO_ASK_PAIR, 0);
	assert_int_equal(x.p.state, FO_P_SUSPENDED); /* an old answer */
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 2);
	p_echo(&x);
	fo_primary_event(&x.p, x.now, FO_PE_STALE);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.p.state, FO_P_FENCED);
	assert_int_equal(x.v.asked[FO_ASK_PAIR], 2);
}

/* ASK_ALONE waits for the answer to ASK_PAIR, which then only counts when it is a refusal. */
static void the_pairs_answer_is_overtaken(void **state)
{
	struct primary x;

	(void)state;
	p_pair(&x, true);
	fo_primary_event(&x.p, x.now, FO_PE_PEER_LOST);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 0);
	fo_primary_answer(&x.p, x.now, FO_ASK_PAIR, -ETIMEDOUT);
	assert_int_equal(x.p.state, FO_P_ASKING);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 1);
	p_pass(&x, 2 * x.t.retry_ns, false);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 1); /* still open */
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, -ETIMEDOUT);
	p_pass(&x, 2 * x.t.retry_ns, false);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 2);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.p.state, FO_P_ALONE);

	p_pair(&x, true);
	fo_primary_event(&x.p, x.now, FO_PE_PEER_LOST);
	fo_primary_answer(&x.p, x.now, FO_ASK_PAIR, TV_E_LOST);
	assert_int_equal(x.p.state, FO_P_FENCED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_asks_first),
		cmocka_unit_test(a_lease_that_is_back_is_repaired),
		cmocka_unit_test(the_newest_question_decides),
		cmocka_unit_test(the_pairs_answer_is_overtaken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
