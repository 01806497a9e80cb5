/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decision core: what must hold in every (state, event), with and without an arbiter. */
#include "failover/failover.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Our VM does not run in these, whatever ran before. */
static bool stopped(enum fo_primary_state s)
{
	return s == FO_P_SUSPENDED || s == FO_P_HELD || s == FO_P_FENCED || s == FO_P_YIELDING ||
	       s == FO_P_CHECKING || s == FO_P_YIELDED || s == FO_P_QUITTING ||
	       s == FO_P_RETURNING || s == FO_P_SWITCHED;
}

/* Since the session began nobody but this host may change the record: it runs alone by that. */
static bool before_the_pair(enum fo_primary_state s)
{
	return s == FO_P_OPENING || s == FO_P_SYNCING || s == FO_P_DOUBTING;
}

static bool over(enum fo_primary_state s)
{
	return s == FO_P_ALONE || s == FO_P_FENCED || s == FO_P_SWITCHED;
}

static bool switching(enum fo_primary_state s)
{
	return s == FO_P_YIELDING || s == FO_P_CHECKING || s == FO_P_YIELDED ||
	       s == FO_P_QUITTING || s == FO_P_RETURNING;
}

/* The record is being asked, or the answer was that the backup has the VM. */
static bool asks(enum fo_primary_state s)
{
	return s == FO_P_OPENING || s == FO_P_DOUBTING || s == FO_P_SUSPENDED || s == FO_P_ASKING ||
	       s == FO_P_HELD || s == FO_P_LEAVING || s == FO_P_CHECKING || s == FO_P_YIELDED ||
	       s == FO_P_QUITTING || s == FO_P_RETURNING;
}

static void check_primary(enum fo_primary_state s, enum fo_primary_event e, bool arbiter)
{
	struct fo_step st = fo_primary_step(s, e, arbiter);
	enum fo_primary_state next = (enum fo_primary_state)st.next;
	unsigned a = st.actions;

	assert_in_range(st.next, 0, FO_P_COUNT - 1);
	assert_int_equal(a >> FO_ACTION_COUNT, 0);
	/* rule 4: once a pair may be on record, alone only after the record states it */
	if (next == FO_P_ALONE && a & FO_A(LEAVE))
		assert_true(e == FO_PE_ALONE_RECORDED || before_the_pair(s));
	if (a & FO_A(RESUME_VM))
		assert_true(e == FO_PE_ALONE_RECORDED ||
			    (s == FO_P_SUSPENDED && e == FO_PE_LEASE_BACK));
	/* rule 1: releasing begins with the pair's record, nowhere else */
	if (a & FO_A(RELEASE))
		assert_true(s == FO_P_PAIRING && e == FO_PE_PAIR_RECORDED);
	/* rule 3: a higher generation that is sure stops the VM for good, unless it was given away;
	 * then the record decides, and it is asked */
	if (e == FO_PE_STALE && !over(s) && !switching(s))
		assert_true(next == FO_P_FENCED && a & FO_A(STOP_VM));
	/* one that is only reported stops nothing for good, and is not passed over */
	if (e == FO_PE_HIGHER_GENERATION && !over(s)) {
		assert_true(!over(next) && !(a & FO_A(QUIT_VM)));
		if (arbiter)
			assert_true(a & FO_A(ASK_ALONE) || asks(s));
	}
	/* nothing is offered before the record is there */
	if (a & FO_A(HELLO))
		assert_true(s == FO_P_OPENING && e == FO_PE_ALONE_RECORDED);
	/* rule 3: without a lease nothing runs that a backup might start */
	if (e == FO_PE_LEASE_OVER && arbiter && !before_the_pair(s) && !over(s))
		assert_true(stopped(next));
	if (e == FO_PE_LEASE_OVER && !arbiter)
		assert_true(next == s && !a);
	/* a VM that is to be stopped is stopped on the way in, one that runs again was resumed */
	if (stopped(next) && !stopped(s) && next != FO_P_YIELDING)
		assert_true(a & FO_A(STOP_VM));
	if (stopped(s) && !stopped(next) && !(a & (FO_A(END) | FO_A(TAKE_OVER))))
		assert_true(a & FO_A(RESUME_VM));
	/* this instance ends only when the backup reports that it runs, and has it on record */
	if (a & FO_A(QUIT_VM))
		assert_true(s == FO_P_QUITTING
				    ? e == FO_PE_RECORD_LOST
				    : e == FO_PE_PEER_RUNS && (s == FO_P_YIELDED || !arbiter));
	/* without an arbiter, the word to take over cannot be called back */
	if (s == FO_P_YIELDING && !arbiter)
		assert_true(!(a & FO_A(RESUME_VM)) && next != FO_P_HELD && next != FO_P_ASKING);
	/* nothing leads out of an end */
	if (over(s))
		assert_true(next == s && !a);
	/* the end of QEMU's process ends every session */
	if (e == FO_PE_VM_DIED && !over(s))
		assert_true(next == FO_P_ALONE && a & FO_A(END));
	/* after a memory error nothing more is captured, and the VM stops before it is given away */
	if (e == FO_PE_POISON) {
		assert_true(!(a & (FO_A(LAST_EPOCH) | FO_A(TAKE_OVER) | FO_A(RESUME_VM))));
		assert_true(!over(s) || !a);
		assert_int_equal(!!(a & FO_A(STOP_VM)), s == FO_P_PROTECTED || s == FO_P_SWITCHING);
	}
	/* a host that asks the arbiter continues to ask */
	if (e == FO_PE_ARBITER_UNREACHABLE &&
	    (s == FO_P_ASKING || s == FO_P_HELD || s == FO_P_LEAVING || s == FO_P_RETURNING ||
	     s == FO_P_DOUBTING || s == FO_P_CHECKING || s == FO_P_QUITTING))
		assert_true(next == s && a == FO_A(ASK_LATER));
}

static void primary_table_keeps_the_rules(void **state)
{
	(void)state;
	for (int arbiter = 0; arbiter < 2; arbiter++)
		for (int s = 0; s < FO_P_COUNT; s++)
			for (int e = 0; e < FO_PE_COUNT; e++)
				check_primary(s, e, arbiter);
}

static void check_backup(enum fo_backup_state s, enum fo_backup_event e, bool arbiter)
{
	struct fo_step st = fo_backup_step(s, e, arbiter);

	assert_in_range(st.next, 0, FO_B_COUNT - 1);
	/* rule 3: promotion after a won compare-and-swap; without an arbiter the operator's or the
	 * primary's own request */
	if (st.actions & FO_A(PROMOTE)) {
		assert_int_equal(st.next, FO_B_PROMOTING);
		if (arbiter)
			assert_true(e == FO_BE_WON && s == FO_B_ASKING);
		else
			assert_true(e == FO_BE_FORCE || e == FO_BE_TAKE_OVER || e == FO_BE_RETRY);
	}
	/* rule 2: nothing to run before the first commit */
	if (s == FO_B_SYNCING)
		assert_true(st.next == FO_B_SYNCING || st.next == FO_B_STANDBY ||
			    st.next == FO_B_GONE);
	/* a lost question ends the standby: another host runs the VM */
	if (arbiter && s == FO_B_ASKING && e == FO_BE_LOST)
		assert_true(st.next == FO_B_GONE && st.actions == FO_A(DISCARD));
	/* a promotion that has begun is not called off by any message */
	if (s == FO_B_PROMOTING && e != FO_BE_PROMOTE_DONE && e != FO_BE_PROMOTE_FAILED &&
	    e != FO_BE_SWITCH_FAILED)
		assert_true(st.next == (int)s && !st.actions);
	/* one that failed leaves the last copy: only another host's record, or that the primary has
	 * taken the VM back, removes it */
	if (s == FO_B_PROMOTING || s == FO_B_OFFERED || s == FO_B_KEPT)
		assert_true(!(st.actions & FO_A(DISCARD)) || (e == FO_BE_TAKEN_BACK && !arbiter));
	if (st.next == FO_B_GONE && s != FO_B_GONE)
		assert_true(st.actions & FO_A(DISCARD));
	if (s == FO_B_GONE || s == FO_B_PROMOTED)
		assert_true(st.next == (int)s && !st.actions);
}

static void backup_table_keeps_the_rules(void **state)
{
	(void)state;
	for (int arbiter = 0; arbiter < 2; arbiter++)
		for (int s = 0; s < FO_B_COUNT; s++)
			for (int e = 0; e < FO_BE_COUNT; e++)
				check_backup(s, e, arbiter);
}

/* No state without a way in, none but the ends without a way out. */
static void every_state_is_reached_and_left(void **state)
{
	bool reached[FO_P_COUNT] = {[FO_P_OPENING] = true}, b_reached[FO_B_COUNT] = {true};

	(void)state;
	for (int s = 0; s < FO_P_COUNT; s++) {
		bool left = false;

		for (int e = 0; e < FO_PE_COUNT; e++) {
			int next = fo_primary_step(s, e, true).next;

			reached[next] |= next != s;
			left |= next != s;
		}
		assert_true(left || over(s));
	}
	for (int i = 0; i < 2 * FO_B_COUNT * FO_BE_COUNT; i++) {
		int s = i / 2 / FO_BE_COUNT, next;

		next = fo_backup_step(s, i / 2 % FO_BE_COUNT, i % 2).next;
		b_reached[next] |= next != s;
	}
	for (int s = 0; s < FO_P_COUNT; s++)
		assert_true(reached[s]);
	for (int s = 0; s < FO_B_COUNT; s++)
		assert_true(b_reached[s]);
}

static void everything_has_a_name(void **state)
{
	(void)state;
	for (int i = 0; i < FO_P_COUNT; i++)
		assert_true(strlen(fo_primary_state_name(i)) > 3);
	for (int i = 0; i < FO_PE_COUNT; i++)
		assert_true(strlen(fo_primary_event_name(i)) > 3);
	for (int i = 0; i < FO_B_COUNT; i++)
		assert_true(strlen(fo_backup_state_name(i)) > 3);
	for (int i = 0; i < FO_BE_COUNT; i++)
		assert_true(strlen(fo_backup_event_name(i)) > 2);
	for (int i = 0; i < FO_ACTION_COUNT; i++)
		assert_true(strlen(fo_action_name(i)) > 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(primary_table_keeps_the_rules),
		cmocka_unit_test(backup_table_keeps_the_rules),
		cmocka_unit_test(every_state_is_reached_and_left),
		cmocka_unit_test(everything_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
