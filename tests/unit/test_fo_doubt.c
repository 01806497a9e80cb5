/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary's engine when a peer reports a higher generation: a claim, which the record confirms
 * or not; without an arbiter, who is believed with what. */
#include "tests/unit/fo_kit.h"

static void claim(struct primary *x, enum fo_msg_kind kind, uint64_t generation)
{
	struct fo_msg m = {.kind = kind, .generation = generation, .seq = 1, .epoch = 1};

	assert_int_equal(p_receive(x, m), 0);
}

/* Of the record, in each state that streams; in whatever message it comes. */
static void the_record_decides(void **state)
{
	static const enum fo_msg_kind kinds[] = {FO_M_FENCED, FO_M_ECHO, FO_M_COMMITTED};
	static const uint64_t numbers[] = {6, 7, INT64_MAX};
	struct primary x;

	(void)state;
	for (int k = 0; k < 3; k++)
		for (int n = 0; n < 3; n++) {
			p_protect(&x, true);
			claim(&x, kinds[k], numbers[n]);
			assert_int_equal(x.p.state, FO_P_ASKING);
			assert_int_equal(x.v.asked[FO_ASK_ALONE], 1);
			assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 0); /* the lease runs */
			assert_false(x.p.releasing);
			fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, n ? 0 : TV_E_LOST);
			assert_int_equal(x.p.state, n ? FO_P_ALONE : FO_P_FENCED);
			assert_int_equal(x.v.acted[FO_ACTION_LEAVE], n ? 1 : 0);
		}
}

/* Rules 3 and 4: nothing leaves, and the VM stops when its lease is over. It is asked again. */
static void without_an_answer_it_is_held(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	claim(&x, FO_M_FENCED, 9);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, -ETIMEDOUT);
	p_pass(&x, x.t.lease_ns + 30 * MS, false);
	assert_int_equal(x.p.state, FO_P_HELD);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 1);
	p_pass(&x, x.t.retry_ns, false);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 2);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 1);
	assert_int_equal(x.v.acted[FO_ACTION_LEAVE], 1);

	/* no lease at that moment: it stops at once */
	p_protect(&x, true);
	x.now += 2 * x.t.lease_ns;
	claim(&x, FO_M_FENCED, 9);
	assert_int_equal(x.p.state, FO_P_HELD);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 1);
}

/* By record it runs alone, so nobody else can: it runs on while the record is asked. */
static void during_the_first_copy_it_runs_on(void **state)
{
	struct primary x;

	(void)state;
	p_start(&x, true);
	claim(&x, FO_M_FENCED, INT64_MAX);
	assert_int_equal(x.p.state, FO_P_DOUBTING);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, -ETIMEDOUT);
	p_pass(&x, 3 * x.t.lease_ns, false);
	assert_int_equal(x.p.state, FO_P_DOUBTING);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 2);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.p.state, FO_P_ALONE);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 0);

	p_start(&x, true);
	claim(&x, FO_M_FENCED, 6);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, TV_E_LOST);
	assert_int_equal(x.p.state, FO_P_FENCED);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 1);

	/* before the Welcome, when nothing but questions has a time */
	memset(&x, 0, sizeof(x));
	x.now = START;
	fo_times_init(&x.t, 100 * MS);
	fo_primary_init(&x.p, &x.t, &p_ops, &x.v, 5, true);
	fo_primary_begin(&x.p);
	claim(&x, FO_M_FENCED, 6); /* before the Hello: what was asked decides */
	assert_int_equal(x.p.state, FO_P_DOUBTING);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, -EIO);
	p_pass(&x, x.t.retry_ns + 30 * MS, false);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 2);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.p.state, FO_P_ALONE);
	assert_int_equal(x.v.acted[FO_ACTION_HELLO], 0);
}

/* Nothing is offered before the record is there; without it the session ends, and the VM runs. */
static void no_hello_without_a_record(void **state)
{
	struct primary x = {.now = START};

	(void)state;
	for (int i = 0; i < 3; i++) {
		static const int rcs[] = {-ETIMEDOUT, -ENODATA, TV_E_LOST};

		memset(&x.v, 0, sizeof(x.v));
		fo_times_init(&x.t, 100 * MS);
		fo_primary_init(&x.p, &x.t, &p_ops, &x.v, 5, true);
		fo_primary_begin(&x.p);
		fo_primary_tick(&x.p, x.now, x.now);
		assert_false(x.p.recorded);
		fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, rcs[i]);
		assert_int_equal(x.v.acted[FO_ACTION_HELLO], 0);
		assert_int_equal(x.p.state, i < 2 ? FO_P_ALONE : FO_P_FENCED);
		assert_int_equal(x.v.acted[FO_ACTION_LEAVE], i < 2 ? 1 : 0);
	}
}

static void until_asked_to_take_over(struct primary *x, bool arbiter)
{
	p_protect(x, arbiter);
	fo_primary_event(&x->p, x->now, FO_PE_SWITCH);
	fo_primary_sent(&x->p, fo_primary_capture(&x->p));
	fo_primary_captured(&x->p, true);
	assert_int_equal(p_commit(x, 2), 0);
	assert_int_equal(x->p.state, FO_P_YIELDING);
}

/* The backup was asked to take over; what it reports still has to be on record. */
static void a_switch_is_believed_by_record(void **state)
{
	struct fo_msg runs = {.kind = FO_M_FENCED, .generation = 6, .running = true};
	struct primary x;

	(void)state;
	until_asked_to_take_over(&x, true);
	assert_int_equal(p_receive(&x, runs), 0);
	assert_int_equal(x.p.state, FO_P_QUITTING);
	assert_int_equal(x.v.acted[FO_ACTION_QUIT_VM], 0);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, -EIO);
	p_pass(&x, x.t.retry_ns + 30 * MS, true);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 2);
	fo_primary_event(&x.p, x.now, FO_PE_PEER_LOST); /* it has closed */
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, TV_E_LOST);
	assert_int_equal(x.p.state, FO_P_SWITCHED);
	assert_int_equal(x.v.acted[FO_ACTION_QUIT_VM], 1);

	/* it was not true: the VM is this host's, by record */
	until_asked_to_take_over(&x, true);
	assert_int_equal(p_receive(&x, runs), 0);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.p.state, FO_P_ALONE);
	assert_int_equal(x.v.acted[FO_ACTION_QUIT_VM], 0);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 1);

	until_asked_to_take_over(&x, true);
	claim(&x, FO_M_FENCED, 6);
	assert_int_equal(x.p.state, FO_P_CHECKING);
	fo_primary_event(&x.p, x.now, FO_PE_PEER_LOST);
	assert_int_equal(x.p.state, FO_P_HELD);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 1);

	/* the report that it runs may come before the answer about its record */
	until_asked_to_take_over(&x, true);
	claim(&x, FO_M_FENCED, 6);
	assert_int_equal(p_receive(&x, runs), 0);
	assert_int_equal(x.p.state, FO_P_QUITTING);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 1);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, TV_E_LOST);
	assert_int_equal(x.p.state, FO_P_SWITCHED);
}

/* Only the host that is or was the backup, and only the next generation. */
static void without_an_arbiter_the_backup_is_believed(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, false);
	claim(&x, FO_M_FENCED, 6);
	assert_int_equal(x.p.state, FO_P_FENCED);

	p_protect(&x, false);
	claim(&x, FO_M_FENCED, 7);
	assert_int_equal(x.p.state, FO_P_ASKING); /* it is no backup any more */
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 0);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.v.acted[FO_ACTION_LEAVE], 1);

	p_start(&x, false); /* a host that never was the backup */
	claim(&x, FO_M_FENCED, 6);
	assert_int_equal(x.p.state, FO_P_ALONE);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 0);

	p_start(&x, false);
	x.p.was_backup = true;
	claim(&x, FO_M_FENCED, 6);
	assert_int_equal(x.p.state, FO_P_FENCED);

	until_asked_to_take_over(&x, false);
	claim(&x, FO_M_FENCED, 6);
	assert_int_equal(x.p.state, FO_P_YIELDED);
	assert_int_equal(
		p_receive(&x,
			  (struct fo_msg){.kind = FO_M_FENCED, .generation = 6, .running = true}),
		0);
	assert_int_equal(x.p.state, FO_P_SWITCHED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_record_decides),
		cmocka_unit_test(without_an_answer_it_is_held),
		cmocka_unit_test(during_the_first_copy_it_runs_on),
		cmocka_unit_test(no_hello_without_a_record),
		cmocka_unit_test(a_switch_is_believed_by_record),
		cmocka_unit_test(without_an_arbiter_the_backup_is_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
