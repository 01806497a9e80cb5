/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backup's engine, event by event. */
#include "tests/unit/fo_kit.h"

static void marks_come_in_order(void **state)
{
	struct backup x;

	(void)state;
	b_start(&x, true);
	assert_int_equal(fo_backup_epoch_begin(&x.b, 5, 1), TV_E_PROTOCOL); /* still syncing */
	assert_int_equal(fo_backup_sync_end(&x.b, 6), TV_E_PROTOCOL);
	assert_int_equal(fo_backup_sync_end(&x.b, 4), -ESTALE);
	assert_int_equal(x.v.last[FO_M_FENCED].generation, 5);
	assert_int_equal(fo_backup_sync_end(&x.b, 5), 0);
	assert_int_equal(fo_backup_sync_end(&x.b, 5), TV_E_PROTOCOL);
	assert_int_equal(fo_backup_epoch_end(&x.b, 5, 1), TV_E_PROTOCOL);
	assert_int_equal(fo_backup_epoch_begin(&x.b, 5, 2), TV_E_PROTOCOL);
	b_epoch(&x, 1);
	assert_int_equal(fo_backup_epoch_begin(&x.b, 4, 2), -ESTALE);
	assert_int_equal(fo_backup_epoch_begin(&x.b, 5, 2), 0);
	assert_int_equal(fo_backup_epoch_begin(&x.b, 5, 3), TV_E_PROTOCOL);
	assert_int_equal(fo_backup_epoch_end(&x.b, 4, 2), -ESTALE);
	assert_int_equal(fo_backup_epoch_end(&x.b, 5, 3), TV_E_PROTOCOL);
}

static void silence_makes_it_ask_and_fall_silent(void **state)
{
	struct fo_msg beat = {.kind = FO_M_HEARTBEAT, .seq = 9, .sent_ns = 77};
	struct backup x;

	(void)state;
	b_protect(&x, true);
	assert_int_equal(b_receive(&x, beat), 0);
	assert_int_equal(x.v.last[FO_M_ECHO].sent_ns, 77);
	b_pass(&x, x.t.suspect_ns - 20 * MS);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 0);
	b_pass(&x, 50 * MS);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 1);
	/* no commit, no echo from here on */
	b_epoch(&x, 2);
	fo_backup_verified(&x.b, x.now, 2);
	assert_int_equal(b_receive(&x, beat), 0);
	assert_int_equal(x.v.sent[FO_M_COMMITTED], 1);
	assert_int_equal(x.v.sent[FO_M_ECHO], 1);
	fo_backup_answer(&x.b, x.now, -EIO, 0);
	b_pass(&x, x.t.retry_ns + 20 * MS);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 2);
	fo_backup_answer(&x.b, x.now, 0, 6);
	assert_int_equal(x.v.promoted_generation, 6);
	assert_int_equal(x.v.last[FO_M_FENCED].generation, 6);
	assert_false(x.v.last[FO_M_FENCED].running);
	/* a stale primary learns the generation */
	assert_int_equal(b_receive(&x, beat), -ESTALE);
	fo_backup_promoted(&x.b, x.now, 0);
	assert_true(x.v.last[FO_M_FENCED].running);
	assert_int_equal(x.v.acted[FO_ACTION_HAND_OVER], 1);
}

static void a_lost_question_ends_the_standby(void **state)
{
	struct backup x;

	(void)state;
	b_protect(&x, true);
	b_pass(&x, x.t.suspect_ns + 20 * MS);
	fo_backup_answer(&x.b, x.now, TV_E_LOST, 0);
	assert_int_equal(x.b.state, FO_B_GONE);
	assert_int_equal(x.v.acted[FO_ACTION_DISCARD], 1);
	assert_int_equal(x.v.acted[FO_ACTION_PROMOTE], 0);
}

static void a_closed_connection_gets_grace(void **state)
{
	struct backup x;

	(void)state;
	b_protect(&x, true);
	fo_backup_closed(&x.b, x.now);
	b_pass(&x, x.t.reconnect_grace_ns - 20 * MS);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 0);
	b_pass(&x, 40 * MS);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 1);

	b_start(&x, true); /* nothing committed: nothing to wait for */
	fo_backup_closed(&x.b, x.now);
	assert_int_equal(x.b.state, FO_B_GONE);
}

static void own_stalls_are_not_silence(void **state)
{
	struct backup x;

	(void)state;
	b_protect(&x, true);
	x.now += 10 * x.t.suspect_ns;
	fo_backup_tick(&x.b, x.now, x.rx_ns);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 0);
	x.now += x.t.tick_ns;
	fo_backup_tick(&x.b, x.now, x.rx_ns);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 1);
}

/* One late tick may be this host's own fault; a loop that is always late must take over, too. */
static void always_late_is_no_excuse(void **state)
{
	struct backup x;

	(void)state;
	b_protect(&x, true);
	x.now += 2 * x.t.suspect_ns;
	fo_backup_tick(&x.b, x.now, x.rx_ns);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 0);
	x.now += 2 * x.t.heartbeat_ns;
	fo_backup_tick(&x.b, x.now, x.rx_ns);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 1);
}

/* What the thread may echo by itself: nothing once this host asks, nor for a loop that hangs. */
static void a_thread_echoes_only_for_a_backup(void **state)
{
	struct fo_msg beat = {.kind = FO_M_HEARTBEAT, .seq = 9, .sent_ns = 77, .datagram = true};
	struct backup x;

	(void)state;
	memset(&x, 0, sizeof(x));
	fo_times_init(&x.t, 100 * MS);
	fo_backup_init(&x.b, &x.t, &b_ops, &x.v, 5, true);
	assert_int_equal(fo_backup_echoes_until(&x.b), 0); /* not yet welcomed */
	b_protect(&x, true);
	b_pass(&x, 100 * MS);
	assert_int_equal(fo_backup_echoes_until(&x.b), x.now + x.t.commit_deadline_ns);
	assert_int_equal(b_receive(&x, beat), 0);
	assert_int_equal(x.v.sent[FO_M_ECHO], 0); /* the thread's */
	/* a hanging apply thread */
	fo_backup_moved(&x.b, x.now, 50, true);
	for (int i = 0; i < 12; i++) {
		b_pass(&x, 100 * MS);
		assert_int_equal(b_receive(&x, beat), 0);
		fo_backup_moved(&x.b, x.now, 50, true);
	}
	assert_int_equal(x.b.state, FO_B_STANDBY);
	assert_int_equal(fo_backup_echoes_until(&x.b), 0);
	fo_backup_moved(&x.b, x.now, 51, true);
	assert_true(fo_backup_echoes_until(&x.b) > x.now);
	/* the connection closes; silence */
	fo_backup_closed(&x.b, x.now);
	assert_int_equal(fo_backup_echoes_until(&x.b), 0);
	b_protect(&x, true);
	b_pass(&x, x.t.suspect_ns + 20 * MS);
	assert_int_equal(x.b.state, FO_B_ASKING);
	assert_int_equal(fo_backup_echoes_until(&x.b), 0);
	b_protect(&x, false);
	b_pass(&x, x.t.suspect_ns + 20 * MS);
	assert_int_equal(x.b.state, FO_B_WAITING); /* nobody else runs the VM before the operator */
	assert_true(fo_backup_echoes_until(&x.b) > x.now);
}

static void without_an_arbiter_the_operator_decides(void **state)
{
	struct backup x;

	(void)state;
	b_protect(&x, false);
	assert_false(fo_backup_force(&x.b, x.now)); /* the primary lives */
	b_pass(&x, x.t.suspect_ns + 20 * MS);
	assert_int_equal(x.b.state, FO_B_WAITING);
	assert_int_equal(b_receive(&x, (struct fo_msg){.kind = FO_M_HEARTBEAT}), 0);
	assert_int_equal(x.b.state, FO_B_STANDBY);
	b_pass(&x, x.t.suspect_ns + 20 * MS);
	assert_true(fo_backup_force(&x.b, x.now));
	assert_int_equal(x.v.promoted_generation, 6);

	b_protect(&x, false);
	fo_backup_closed(&x.b, x.now);
	assert_true(fo_backup_force(&x.b, x.now));
	b_protect(&x, true);
	fo_backup_closed(&x.b, x.now);
	assert_false(fo_backup_force(&x.b, x.now)); /* the arbiter decides */
}

static void the_primarys_request_to_take_over(void **state)
{
	struct backup x;

	(void)state;
	b_protect(&x, true);
	assert_int_equal(b_receive(&x, (struct fo_msg){.kind = FO_M_TAKE_OVER, .epoch = 2}),
			 TV_E_PROTOCOL); /* an epoch that is not here */
	assert_int_equal(x.b.state, FO_B_STANDBY);
	assert_int_equal(b_receive(&x, (struct fo_msg){.kind = FO_M_TAKE_OVER, .epoch = 1}), 0);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 1);
	b_protect(&x, false);
	assert_int_equal(b_receive(&x, (struct fo_msg){.kind = FO_M_TAKE_OVER}), 0);
	assert_int_equal(x.v.promoted_generation, 6);
	b_protect(&x, true);
	assert_int_equal(b_receive(&x, (struct fo_msg){.kind = FO_M_BYE}), 0);
	assert_int_equal(x.b.state, FO_B_GONE);
}

static void a_failed_promotion_keeps_the_copy(void **state)
{
	struct backup x;

	(void)state;
	b_protect(&x, true);
	assert_false(fo_backup_retry(&x.b, x.now)); /* none has failed */
	b_pass(&x, x.t.suspect_ns + 20 * MS);
	assert_false(fo_backup_owns(&x.b));
	fo_backup_answer(&x.b, x.now, 0, 6);
	fo_backup_promoted(&x.b, x.now, -EIO);
	assert_int_equal(x.b.state, FO_B_KEPT);
	assert_true(fo_backup_owns(&x.b));
	assert_int_equal(x.v.acted[FO_ACTION_DISCARD], 0);
	/* the operator's retry takes the next generation */
	assert_true(fo_backup_retry(&x.b, x.now));
	fo_backup_answer(&x.b, x.now, -EIO, 0);
	b_pass(&x, x.t.retry_ns + 20 * MS);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 3);
	fo_backup_answer(&x.b, x.now, 0, 7);
	assert_int_equal(x.v.promoted_generation, 7);
	fo_backup_promoted(&x.b, x.now, 0);
	assert_int_equal(x.b.state, FO_B_PROMOTED);
	assert_int_equal(x.v.acted[FO_ACTION_DISCARD], 0);
}

static void planned_and_failed(struct backup *x, bool arbiter)
{
	b_protect(x, arbiter);
	assert_int_equal(b_receive(x, (struct fo_msg){.kind = FO_M_TAKE_OVER, .epoch = 1}), 0);
	if (arbiter)
		fo_backup_answer(&x->b, x->now, 0, 6);
	fo_backup_promoted(&x->b, x->now, -EIO);
	assert_int_equal(x->b.state, FO_B_OFFERED);
	assert_true(x->v.last[FO_M_FENCED].offered);
}

static void a_planned_switch_that_fails_is_offered_back(void **state)
{
	struct fo_msg beat = {.kind = FO_M_HEARTBEAT, .generation = 7};
	struct backup x;

	(void)state;
	for (int arbiter = 0; arbiter < 2; arbiter++) {
		planned_and_failed(&x, arbiter);
		assert_int_equal(b_receive(&x, beat), -ESTALE); /* the primary has it again */
		if (arbiter) { /* which only the record proves: else it may be the last copy */
			assert_int_equal(x.b.state, FO_B_ASKING);
			assert_int_equal(x.v.acted[FO_ACTION_DISCARD], 0);
			fo_backup_answer(&x.b, x.now, TV_E_LOST, 0);
		}
		assert_int_equal(x.b.state, FO_B_GONE);

		planned_and_failed(&x, arbiter);
		fo_backup_closed(&x.b, x.now);
		b_pass(&x, x.t.reconnect_grace_ns + 20 * MS);
		assert_int_equal(x.b.state, FO_B_KEPT); /* it is not known to have it */
	}
	planned_and_failed(&x, false);
	fo_backup_replaced(&x.b, x.now); /* nobody asked this host to run it */
	assert_int_equal(x.b.state, FO_B_GONE);
	planned_and_failed(&x, true);
	fo_backup_replaced(&x.b, x.now);
	assert_int_equal(x.b.state, FO_B_ASKING);
	planned_and_failed(&x, true);
	assert_true(fo_backup_retry(&x.b, x.now));
	assert_int_equal(b_receive(&x, beat), -ESTALE);
	assert_int_equal(x.b.state, FO_B_ASKING); /* the record decides between the two */
	fo_backup_answer(&x.b, x.now, TV_E_LOST, 0);
	assert_int_equal(x.b.state, FO_B_GONE);
}

/* A hanging disk: the primary must not believe that it is protected. */
static void a_stuck_apply_thread_is_no_backup(void **state)
{
	struct fo_msg beat = {.kind = FO_M_HEARTBEAT, .seq = 9, .sent_ns = 77};
	struct backup x;

	(void)state;
	b_protect(&x, true);
	fo_backup_moved(&x.b, x.now, 50, true);
	x.now += x.t.commit_deadline_ns;
	fo_backup_moved(&x.b, x.now, 50, true);
	assert_int_equal(b_receive(&x, beat), 0);
	assert_int_equal(x.v.sent[FO_M_ECHO], 1);
	assert_int_equal(x.v.last[FO_M_ECHO].moved, 50);
	x.now += MS;
	fo_backup_moved(&x.b, x.now, 50, true);
	assert_int_equal(b_receive(&x, beat), 0);
	assert_int_equal(x.v.sent[FO_M_ECHO], 1);
	/* it moves again, or has nothing to do */
	fo_backup_moved(&x.b, x.now, 51, true);
	assert_int_equal(b_receive(&x, beat), 0);
	assert_int_equal(x.v.sent[FO_M_ECHO], 2);
	x.now += 2 * x.t.commit_deadline_ns;
	fo_backup_moved(&x.b, x.now, 51, false);
	assert_int_equal(b_receive(&x, beat), 0);
	assert_int_equal(x.v.sent[FO_M_ECHO], 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marks_come_in_order),
		cmocka_unit_test(silence_makes_it_ask_and_fall_silent),
		cmocka_unit_test(a_lost_question_ends_the_standby),
		cmocka_unit_test(a_closed_connection_gets_grace),
		cmocka_unit_test(own_stalls_are_not_silence),
		cmocka_unit_test(always_late_is_no_excuse),
		cmocka_unit_test(a_thread_echoes_only_for_a_backup),
		cmocka_unit_test(without_an_arbiter_the_operator_decides),
		cmocka_unit_test(the_primarys_request_to_take_over),
		cmocka_unit_test(a_stuck_apply_thread_is_no_backup),
		cmocka_unit_test(a_failed_promotion_keeps_the_copy),
		cmocka_unit_test(a_planned_switch_that_fails_is_offered_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
