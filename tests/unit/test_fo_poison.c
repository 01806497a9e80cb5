/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary's engine after a memory error in its VM: the backup continues from an epoch before. */
#include "tests/unit/fo_kit.h"

static uint64_t begin_capture(struct primary *x)
{
	assert_true(fo_primary_may_capture(&x->p));
	return fo_primary_capture(&x->p);
}

static void is_given_away(struct primary *x, uint64_t epoch)
{
	assert_int_equal(x->p.state, FO_P_YIELDING);
	assert_int_equal(x->v.sent[FO_M_TAKE_OVER], 1);
	assert_int_equal(x->v.last[FO_M_TAKE_OVER].epoch, epoch);
	assert_int_equal(x->v.acted[FO_ACTION_LAST_EPOCH], 0);
}

static void the_epoch_before_it_is_given_away(void **state)
{
	struct primary x;

	for (int arbiter = 0; arbiter < 2; arbiter++) {
		p_protect(&x, arbiter);
		p_epoch(&x);
		(void)begin_capture(&x);
		fo_primary_poisoned(&x.p, x.now, 2);
		assert_int_equal(x.p.state, FO_P_SWITCHING);
		assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 1);
		fo_primary_captured(&x.p, false);
		assert_false(fo_primary_may_capture(&x.p));
		assert_false(fo_primary_last_epoch(&x.p));
		fo_primary_halted(&x.p, x.now);
		assert_int_equal(x.v.sent[FO_M_TAKE_OVER], 0); /* epoch 2 is on its way */
		assert_int_equal(p_commit(&x, 2), 0);
		assert_int_equal(x.v.released, 2);
		is_given_away(&x, 2);
		/* The rest is as after a planned switch. */
		assert_int_equal(p_receive(&x, (struct fo_msg){.kind = FO_M_FENCED,
							       .generation = 6,
							       .running = true}),
				 0);
		if (arbiter)
			fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, TV_E_LOST);
		assert_int_equal(x.p.state, FO_P_SWITCHED);
		assert_int_equal(x.v.acted[FO_ACTION_QUIT_VM], 1);
	}
	(void)state;
}

static void it_is_not_given_away_while_it_runs(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	fo_primary_poisoned(&x.p, x.now, 1);
	p_pass(&x, 100 * MS, true);
	assert_int_equal(x.v.sent[FO_M_TAKE_OVER], 0);
	fo_primary_halted(&x.p, x.now);
	is_given_away(&x, 1);
}

/* Its end is not sent, also when the capture thread has found nothing. */
static void what_was_being_captured_does_not_count(void **state)
{
	struct primary x;
	uint64_t n;

	(void)state;
	p_protect(&x, true);
	n = begin_capture(&x);
	fo_primary_poisoned(&x.p, x.now, 1);
	fo_primary_captured(&x.p, true);
	assert_true(fo_primary_counts(&x.p, 1));
	assert_false(fo_primary_counts(&x.p, n));
	fo_primary_halted(&x.p, x.now);
	is_given_away(&x, 1);
}

/* An error that was seen late: an epoch that is captured, and not sent, does not count either. */
static void a_sign_may_be_older_than_a_capture(void **state)
{
	struct primary x;
	uint64_t n;

	(void)state;
	p_protect(&x, true);
	n = begin_capture(&x);
	fo_primary_captured(&x.p, true);
	fo_primary_poisoned(&x.p, x.now, n - 1);
	assert_false(fo_primary_counts(&x.p, n));
	fo_primary_halted(&x.p, x.now);
	is_given_away(&x, n - 1);

	/* What is sent is sent. */
	p_protect(&x, true);
	p_epoch(&x);
	fo_primary_poisoned(&x.p, x.now, 1);
	fo_primary_halted(&x.p, x.now);
	assert_int_equal(x.v.sent[FO_M_TAKE_OVER], 0);
	assert_int_equal(p_commit(&x, 2), 0);
	is_given_away(&x, 2);
}

static void the_last_epoch_of_a_switch_is_dropped(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	fo_primary_event(&x.p, x.now, FO_PE_SWITCH);
	assert_true(fo_primary_last_epoch(&x.p));
	(void)fo_primary_capture(&x.p);
	x.v.acted[FO_ACTION_LAST_EPOCH] = 0;
	fo_primary_poisoned(&x.p, x.now, 1);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 1);
	fo_primary_captured(&x.p, false);
	assert_false(fo_primary_last_epoch(&x.p));
	fo_primary_halted(&x.p, x.now);
	is_given_away(&x, 1);
}

/* The pair's record, or a lease, is missing: the event waits, and no epoch is taken. */
static void it_waits_until_the_backup_may_be_asked(void **state)
{
	struct primary x;

	(void)state;
	p_pair(&x, true);
	fo_primary_poisoned(&x.p, x.now, 1);
	assert_int_equal(x.p.state, FO_P_PAIRING);
	assert_false(fo_primary_may_capture(&x.p));
	p_pass(&x, 20 * MS, true);
	fo_primary_answer(&x.p, x.now, FO_ASK_PAIR, 0);
	assert_int_equal(x.p.state, FO_P_SWITCHING);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 1);

	p_protect(&x, true);
	for (int i = 0; i < 100 && x.p.state == FO_P_PROTECTED; i++) {
		x.now += x.t.tick_ns;
		fo_primary_tick(&x.p, x.now, x.now);
	}
	assert_int_equal(x.p.state, FO_P_SUSPENDED);
	fo_primary_poisoned(&x.p, x.now, 1);
	fo_primary_halted(&x.p, x.now); /* by the lease's end: not the stop that counts */
	p_echo(&x);
	assert_int_equal(x.p.state, FO_P_REPAIRING);
	assert_false(fo_primary_may_capture(&x.p));
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, -ETIMEDOUT);
	fo_primary_answer(&x.p, x.now, FO_ASK_PAIR, 0);
	assert_int_equal(x.p.state, FO_P_SWITCHING);
	assert_int_equal(x.v.sent[FO_M_TAKE_OVER], 0);
	fo_primary_halted(&x.p, x.now);
	is_given_away(&x, 1);
}

static void without_a_copy_the_guest_gets_it(void **state)
{
	struct primary x;

	(void)state;
	p_start(&x, true);
	fo_primary_poisoned(&x.p, x.now, 0);
	assert_int_equal(x.p.state, FO_P_ALONE);
	assert_int_equal(x.v.acted[FO_ACTION_LEAVE], 1);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 0);

	p_protect(&x, true);
	fo_primary_event(&x.p, x.now, FO_PE_PEER_LOST);
	fo_primary_poisoned(&x.p, x.now, 1);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 0);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.p.state, FO_P_ALONE);
	assert_int_equal(x.v.acted[FO_ACTION_LEAVE], 1);
}

/* The backup does not take over: this host continues, by record, and the guest gets its error. */
static void a_backup_that_does_not_answer(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	fo_primary_poisoned(&x.p, x.now, 1);
	fo_primary_halted(&x.p, x.now);
	is_given_away(&x, 1);
	p_pass(&x, x.t.switch_ns + 30 * MS, true);
	assert_int_equal(x.p.state, FO_P_HELD);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.p.state, FO_P_ALONE);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 1);
}

static void its_qemu_may_die_of_it(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	fo_primary_poisoned(&x.p, x.now, 1);
	fo_primary_event(&x.p, x.now, FO_PE_VM_DIED);
	assert_int_equal(x.v.sent[FO_M_TAKE_OVER], 1);
	assert_int_equal(x.v.acted[FO_ACTION_END], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_epoch_before_it_is_given_away),
		cmocka_unit_test(it_is_not_given_away_while_it_runs),
		cmocka_unit_test(what_was_being_captured_does_not_count),
		cmocka_unit_test(a_sign_may_be_older_than_a_capture),
		cmocka_unit_test(the_last_epoch_of_a_switch_is_dropped),
		cmocka_unit_test(it_waits_until_the_backup_may_be_asked),
		cmocka_unit_test(without_a_copy_the_guest_gets_it),
		cmocka_unit_test(a_backup_that_does_not_answer),
		cmocka_unit_test(its_qemu_may_die_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
