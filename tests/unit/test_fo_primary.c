/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary's engine, event by event. */
#include "tests/unit/fo_kit.h"

static void output_follows_commits_and_lease(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	p_epoch(&x);
	p_epoch(&x);
	assert_false(fo_primary_may_capture(&x.p)); /* two in flight */
	p_pass(&x, 50 * MS, true);
	assert_int_equal(x.v.released, 1);
	assert_int_equal(p_commit(&x, 2), 0);
	assert_int_equal(x.v.released, 2);
	/* a commit that comes when the lease is over releases with the next echo, not before */
	x.now += x.t.lease_ns;
	assert_int_equal(p_commit(&x, 3), 0);
	assert_int_equal(x.v.released, 2);
	fo_primary_tick(&x.p, x.now, x.now);
	p_echo(&x);
	assert_int_equal(x.v.released, 3);
	/* frozen in the middle of a turn: the owner's second look at the clock shows it */
	p_epoch(&x);
	x.v.clock = x.now + x.t.lease_ns;
	assert_int_equal(p_commit(&x, 4), 0);
	assert_int_equal(x.v.released, 3);
	x.now = x.v.clock;
	fo_primary_tick(&x.p, x.now, x.now);
	p_echo(&x);
	assert_int_equal(x.v.released, 4);
}

/* QEMU stands in a pause: the owner refuses, and says when that is over. */
static void an_owner_that_cannot_release_now_is_asked_again(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	p_epoch(&x);
	x.v.clock = INT64_MAX;
	assert_int_equal(p_commit(&x, 2), 0);
	assert_int_equal(x.v.released, 1);
	x.v.clock = x.now;
	fo_primary_try_release(&x.p, x.now);
	assert_int_equal(x.v.released, 2);
	x.v.released = 0;
	fo_primary_try_release(&x.p, x.now); /* once */
	assert_int_equal(x.v.released, 0);
	/* The lease of that moment counts: the host was frozen in the pause. */
	p_epoch(&x);
	x.v.clock = INT64_MAX;
	assert_int_equal(p_commit(&x, 3), 0);
	x.now += x.t.lease_ns;
	x.v.clock = x.now;
	fo_primary_try_release(&x.p, x.now);
	assert_int_equal(x.v.released, 0);
}

static void commits_out_of_order_are_violations(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	assert_int_equal(p_commit(&x, 2), TV_E_PROTOCOL); /* not sent */
	p_epoch(&x);
	p_epoch(&x);
	assert_int_equal(p_commit(&x, 3), TV_E_PROTOCOL); /* not the next */
	assert_int_equal(p_commit(&x, 1), TV_E_PROTOCOL); /* twice */
	assert_int_equal(p_receive(&x, (struct fo_msg){.kind = FO_M_BYE}), TV_E_PROTOCOL);
	assert_int_equal(x.p.epoch_committed, 1);
}

static void the_vm_stops_with_its_lease(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	/* messages come, but no heartbeat comes back: the backup may ask for the VM */
	for (int i = 0; i < 100 && x.p.state == FO_P_PROTECTED; i++) {
		x.now += x.t.tick_ns;
		fo_primary_tick(&x.p, x.now, x.now);
	}
	assert_int_equal(x.p.state, FO_P_SUSPENDED);
	assert_true(x.now - START < x.t.suspect_ns + 20 * MS);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 1);
	assert_false(fo_primary_may_capture(&x.p));
}

static void forged_echoes_are_no_lease(void **state)
{
	struct primary x;
	int64_t lease;

	(void)state;
	p_protect(&x, true);
	lease = x.p.lease_from_ns;
	assert_int_equal(
		p_receive(&x, (struct fo_msg){.kind = FO_M_ECHO, .seq = 1, .sent_ns = x.now + 1}),
		0);
	assert_int_equal(
		p_receive(&x,
			  (struct fo_msg){.kind = FO_M_ECHO, .seq = x.p.seq + 1, .sent_ns = x.now}),
		0);
	assert_int_equal(x.p.lease_from_ns, lease);
}

static void a_lost_backup_is_asked_about(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	p_pass(&x, x.t.backup_lost_ns + 30 * MS, false);
	assert_int_equal(x.p.state, FO_P_HELD);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 1);
	assert_int_equal(x.v.acted[FO_ACTION_LEAVE], 0);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, -ETIMEDOUT);
	p_pass(&x, x.t.retry_ns + 30 * MS, false);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 2);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.p.state, FO_P_ALONE);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 1);
	assert_int_equal(x.v.acted[FO_ACTION_LEAVE], 1);
	/* nothing counts any more */
	fo_primary_event(&x.p, x.now, FO_PE_VM_DIED);
	assert_int_equal(x.v.acted[FO_ACTION_END], 0);
}

/* The answer is late, the retry falls into the moment in which the VM is stopped. */
static void a_retry_survives_the_end_of_the_lease(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	fo_primary_event(&x.p, x.now, FO_PE_PEER_LOST);
	assert_int_equal(x.p.state, FO_P_ASKING);
	p_pass(&x, x.t.lease_ns - 50 * MS, false);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, -EIO);
	p_pass(&x, 100 * MS, false);
	assert_int_equal(x.p.state, FO_P_HELD);
	p_pass(&x, x.t.retry_ns, false);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 2);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, TV_E_LOST);
	assert_int_equal(x.p.state, FO_P_FENCED);
}

static void without_an_arbiter_no_lease_stops_the_vm(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, false);
	p_pass(&x, x.t.backup_lost_ns - 20 * MS, false);
	assert_int_equal(x.p.state, FO_P_PROTECTED);
	p_pass(&x, 60 * MS, false);
	assert_int_equal(x.p.state, FO_P_ASKING);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 0);
}

static void generations_fence(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	/* an older one is refused, and its sender learns the generation */
	assert_int_equal(
		p_receive(&x, (struct fo_msg){.kind = FO_M_COMMITTED, .generation = 4, .epoch = 2}),
		0);
	assert_int_equal(x.v.sent[FO_M_FENCED], 1);
	assert_int_equal(x.v.last[FO_M_FENCED].generation, 5);
	/* a higher one that is sure stops the VM for good, whatever an answer grants later; what
	 * messages report: test_fo_doubt.c */
	fo_primary_event(&x.p, x.now, FO_PE_PEER_LOST);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 1);
	fo_primary_event(&x.p, x.now, FO_PE_STALE);
	assert_int_equal(x.p.state, FO_P_FENCED);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 1);
	assert_false(fo_primary_may_capture(&x.p));
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.p.state, FO_P_FENCED);
}

static void switch_until_asked(struct primary *x, bool arbiter)
{
	uint64_t n;

	p_protect(x, arbiter);
	p_epoch(x);
	fo_primary_event(&x->p, x->now, FO_PE_SWITCH);
	assert_int_equal(x->v.acted[FO_ACTION_LAST_EPOCH], 1);
	assert_false(fo_primary_last_epoch(&x->p)); /* epoch 2 is under way */
	assert_int_equal(p_commit(x, 2), 0);
	assert_int_equal(x->v.sent[FO_M_TAKE_OVER], 0);
	assert_true(fo_primary_last_epoch(&x->p));
	n = fo_primary_capture(&x->p);
	assert_int_equal(n, 3);
	fo_primary_captured(&x->p, true);
	assert_false(fo_primary_last_epoch(&x->p));
	fo_primary_sent(&x->p, n);
	assert_int_equal(p_commit(x, 3), 0);
	assert_int_equal(x->v.released, 3);
	assert_int_equal(x->p.state, FO_P_YIELDING);
	assert_int_equal(x->v.last[FO_M_TAKE_OVER].epoch, 3);
}

/* The capture thread's answer and the connection are two descriptors: the loop may see either first. */
static void the_last_commit_may_overtake_its_capture(void **state)
{
	struct primary x;
	uint64_t n;

	(void)state;
	p_protect(&x, true);
	fo_primary_event(&x.p, x.now, FO_PE_SWITCH);
	n = fo_primary_capture(&x.p);
	fo_primary_sent(&x.p, n);
	assert_int_equal(p_commit(&x, n), 0);
	assert_int_equal(x.p.state, FO_P_YIELDING);
	assert_int_equal(x.v.last[FO_M_TAKE_OVER].epoch, n);
	fo_primary_captured(&x.p, true);
	assert_int_equal(x.p.epoch_captured, n);
}

static void a_switch_ends_with_the_backups_report(void **state)
{
	struct primary x;

	(void)state;
	switch_until_asked(&x, true);
	assert_int_equal(p_receive(&x, (struct fo_msg){.kind = FO_M_FENCED, .generation = 6}), 0);
	assert_int_equal(x.p.state, FO_P_CHECKING);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, TV_E_LOST); /* to the backup */
	assert_int_equal(x.p.state, FO_P_YIELDED);
	assert_int_equal(x.v.acted[FO_ACTION_QUIT_VM], 0); /* it may still fail to start there */
	assert_int_equal(
		p_receive(&x,
			  (struct fo_msg){.kind = FO_M_FENCED, .generation = 6, .running = true}),
		0);
	assert_int_equal(x.p.state, FO_P_SWITCHED);
	assert_int_equal(x.v.acted[FO_ACTION_QUIT_VM], 1);
}

static void a_switch_is_called_off_by_record_only(void **state)
{
	struct primary x;

	(void)state;
	switch_until_asked(&x, true);
	p_pass(&x, x.t.switch_ns + 30 * MS, true);
	assert_int_equal(x.p.state, FO_P_HELD);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 1);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 0);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 1);

	/* without an arbiter the word cannot be taken back */
	switch_until_asked(&x, false);
	p_pass(&x, x.t.switch_ns + 30 * MS, true);
	assert_int_equal(x.p.state, FO_P_YIELDING);
	fo_primary_event(&x.p, x.now, FO_PE_PEER_LOST);
	assert_int_equal(x.p.state, FO_P_FENCED);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 0);
}

static void an_offer_is_taken_by_record_only(void **state)
{
	struct fo_msg fenced = {.kind = FO_M_FENCED, .generation = 6}, offer = fenced;
	struct primary x;

	(void)state;
	offer.offered = true;
	switch_until_asked(&x, true);
	assert_int_equal(p_receive(&x, fenced), 0);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, TV_E_LOST);
	p_pass(&x, x.t.switch_ns + 30 * MS, true);
	assert_int_equal(x.p.state, FO_P_YIELDED); /* waits for the backup as long as it answers */
	assert_int_equal(p_receive(&x, offer), 0);
	assert_int_equal(x.p.state, FO_P_RETURNING);
	assert_int_equal(x.v.asked[FO_ASK_BACK], 1);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 0);
	fo_primary_answer(&x.p, x.now, FO_ASK_BACK, -EIO);
	p_pass(&x, x.t.retry_ns + 30 * MS, true);
	assert_int_equal(x.v.asked[FO_ASK_BACK], 2);
	assert_int_equal(p_receive(&x, fenced), 0); /* answers to heartbeats */
	assert_int_equal(x.p.state, FO_P_RETURNING);
	fo_primary_answer(&x.p, x.now, FO_ASK_BACK, 0);
	assert_int_equal(x.p.state, FO_P_ALONE);
	assert_int_equal(x.p.generation, 7);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 1);
	assert_int_equal(x.v.acted[FO_ACTION_LEAVE], 1);

	switch_until_asked(&x, true);
	assert_int_equal(p_receive(&x, fenced), 0);
	assert_int_equal(p_receive(&x, offer), 0); /* before the answer: it is asked next */
	assert_int_equal(x.v.asked[FO_ASK_BACK], 0);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, TV_E_LOST);
	assert_int_equal(x.p.state, FO_P_RETURNING);
	assert_int_equal(x.v.asked[FO_ASK_BACK], 1);
	fo_primary_answer(&x.p, x.now, FO_ASK_BACK, TV_E_LOST); /* an operator was faster there */
	assert_int_equal(x.p.state, FO_P_FENCED);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 0);

	/* one that is not expected is a higher generation like any other */
	p_protect(&x, true);
	assert_int_equal(p_receive(&x, offer), 0);
	assert_int_equal(x.p.state, FO_P_ASKING);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 1);
}

static void a_vm_that_dies_is_taken_over(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	fo_primary_event(&x.p, x.now, FO_PE_VM_DIED);
	assert_int_equal(x.v.sent[FO_M_TAKE_OVER], 1);
	assert_int_equal(x.v.last[FO_M_TAKE_OVER].epoch, 0);
	assert_int_equal(x.v.acted[FO_ACTION_END], 1);
}

/* One late tick may be our own fault; a primary that only has late ones must stop its VM too. */
static void always_late_is_no_excuse(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	x.now += 2 * x.t.lease_ns;
	fo_primary_tick(&x.p, x.now, x.now);
	assert_int_equal(x.p.state, FO_P_PROTECTED);
	x.now += 2 * x.t.heartbeat_ns;
	fo_primary_tick(&x.p, x.now, x.now);
	assert_int_equal(x.p.state, FO_P_SUSPENDED);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 1);
}

/* A loop that hangs does not live for ever in the eyes of its backup. */
static void a_thread_beats_only_for_a_loop_that_turns(void **state)
{
	struct primary x;
	struct fo_msg echo = {.kind = FO_M_ECHO, .seq = 1000, .datagram = true};

	(void)state;
	memset(&x, 0, sizeof(x));
	fo_times_init(&x.t, 100 * MS);
	fo_primary_init(&x.p, &x.t, &p_ops, &x.v, 5, true);
	assert_int_equal(fo_primary_beats_until(&x.p), 0); /* not yet welcomed */
	p_protect(&x, true);
	assert_int_equal(fo_primary_beats_until(&x.p), x.now + x.t.commit_deadline_ns);
	x.now += 3 * x.t.heartbeat_ns; /* it hangs, the thread beats on */
	assert_int_equal(fo_primary_beats_until(&x.p),
			 x.now - 3 * x.t.heartbeat_ns + x.t.commit_deadline_ns);
	/* what came back meanwhile is the lease; the thread knows which numbers it sent */
	echo.sent_ns = x.now - MS;
	assert_int_equal(p_receive(&x, echo), 0);
	assert_int_equal(x.p.lease_from_ns, x.now - MS);
	fo_primary_tick(&x.p, x.now, x.now);
	assert_int_equal(x.p.state, FO_P_PROTECTED);
	echo.sent_ns = x.now + MS; /* never sent */
	assert_int_equal(p_receive(&x, echo), 0);
	assert_int_equal(x.p.lease_from_ns, x.now - MS);
	/* held: the backup, if it lives, is to ask */
	p_pass(&x, x.t.backup_lost_ns + 50 * MS, false);
	assert_int_equal(x.p.state, FO_P_HELD);
	assert_int_equal(fo_primary_beats_until(&x.p), 0);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, TV_E_LOST);
	assert_int_equal(x.p.state, FO_P_FENCED);
	assert_int_equal(fo_primary_beats_until(&x.p), 0);
}

/* Echoes come all along; nothing else does. */
static void a_commit_has_a_deadline(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	p_pass(&x, 3 * x.t.commit_deadline_ns, true);
	assert_int_equal(x.p.state, FO_P_PROTECTED); /* nothing is uncommitted */
	p_epoch(&x);
	p_pass(&x, x.t.commit_deadline_ns - 20 * MS, true);
	assert_int_equal(x.p.state, FO_P_PROTECTED);
	p_pass(&x, 50 * MS, true);
	assert_int_equal(x.p.state, FO_P_ASKING);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 1);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 0); /* the lease runs */
	p_pass(&x, x.t.commit_deadline_ns, true);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.v.acted[FO_ACTION_LEAVE], 1);

	p_protect(&x, false);
	p_epoch(&x);
	p_pass(&x, x.t.commit_deadline_ns + 50 * MS, true);
	assert_int_equal(x.p.state, FO_P_ASKING);
}

/* A slow link and a slow disk move: for as long as they like. */
static void progress_extends_the_deadline(void **state)
{
	struct fo_msg echo = {.kind = FO_M_ECHO, .seq = 1, .sent_ns = START};
	struct primary x;

	(void)state;
	p_protect(&x, true);
	p_epoch(&x);
	for (int i = 0; i < 10; i++) {
		p_pass(&x, x.t.commit_deadline_ns - 50 * MS, true);
		if (i % 2)
			fo_primary_progress(&x.p, x.now);
		else {
			echo.moved++;
			assert_int_equal(p_receive(&x, echo), 0);
		}
		assert_int_equal(x.p.state, FO_P_PROTECTED);
	}
	/* the same number again is no progress */
	p_pass(&x, x.t.commit_deadline_ns - 50 * MS, true);
	assert_int_equal(p_receive(&x, echo), 0);
	p_pass(&x, 80 * MS, true);
	assert_int_equal(x.p.state, FO_P_ASKING);
}

/* What a stalled process did not see is not the backup's delay. */
static void own_stalls_extend_the_deadline(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	p_epoch(&x);
	p_pass(&x, 100 * MS, true);
	x.now += 2 * x.t.commit_deadline_ns;
	fo_primary_tick(&x.p, x.now, x.now);
	p_echo(&x);
	p_pass(&x, 500 * MS, true);
	assert_int_equal(x.p.state, FO_P_PROTECTED);
	p_pass(&x, x.t.commit_deadline_ns, true);
	assert_int_equal(x.p.state, FO_P_ASKING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_follows_commits_and_lease),
		cmocka_unit_test(an_owner_that_cannot_release_now_is_asked_again),
		cmocka_unit_test(commits_out_of_order_are_violations),
		cmocka_unit_test(the_vm_stops_with_its_lease),
		cmocka_unit_test(forged_echoes_are_no_lease),
		cmocka_unit_test(a_lost_backup_is_asked_about),
		cmocka_unit_test(a_retry_survives_the_end_of_the_lease),
		cmocka_unit_test(without_an_arbiter_no_lease_stops_the_vm),
		cmocka_unit_test(generations_fence),
		cmocka_unit_test(the_last_commit_may_overtake_its_capture),
		cmocka_unit_test(a_switch_ends_with_the_backups_report),
		cmocka_unit_test(a_switch_is_called_off_by_record_only),
		cmocka_unit_test(an_offer_is_taken_by_record_only),
		cmocka_unit_test(a_vm_that_dies_is_taken_over),
		cmocka_unit_test(always_late_is_no_excuse),
		cmocka_unit_test(a_thread_beats_only_for_a_loop_that_turns),
		cmocka_unit_test(a_commit_has_a_deadline),
		cmocka_unit_test(progress_extends_the_deadline),
		cmocka_unit_test(own_stalls_extend_the_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
