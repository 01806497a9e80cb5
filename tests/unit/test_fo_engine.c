/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engines of a session's two ends, event by event, with a clock of our own. */
#include "failover/failover.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS TV_NS_PER_MS
#define START (1000 * MS)

/* ---- what the engines asked for ---- */
struct seen {
	struct fo_msg last[FO_M_BYE + 1];
	unsigned sent[FO_M_BYE + 1], asked[FO_ASK_PROMOTE + 1], acted[FO_ACTION_COUNT];
	uint64_t released, release_generation, promoted_generation;
	int64_t clock; /* what the owner finds when it looks again; 0: still in time */
};

static void on_send(void *arg, const struct fo_msg *m)
{
	struct seen *v = arg;

	v->last[m->kind] = *m;
	v->sent[m->kind]++;
}

static void on_ask(void *arg, enum fo_question q)
{
	((struct seen *)arg)->asked[q]++;
}

static bool on_release(void *arg, uint64_t generation, uint64_t epoch, int64_t until_ns)
{
	struct seen *v = arg;

	if (v->clock >= until_ns)
		return false;
	v->released = epoch;
	v->release_generation = generation;
	return true;
}

static void on_p_act(void *arg, enum fo_action a)
{
	((struct seen *)arg)->acted[a]++;
}

static void on_b_act(void *arg, enum fo_action a, uint64_t generation)
{
	struct seen *v = arg;

	v->acted[a]++;
	if (a == FO_ACTION_PROMOTE)
		v->promoted_generation = generation;
}

static void on_p_changed(void *arg, enum fo_primary_event ev, enum fo_primary_state from)
{
	(void)arg;
	(void)ev;
	(void)from;
}

static void on_b_changed(void *arg, enum fo_backup_event ev, enum fo_backup_state from)
{
	(void)arg;
	(void)ev;
	(void)from;
}

static const struct fo_primary_ops p_ops = {on_send, on_ask, on_release, on_p_act, on_p_changed};
static const struct fo_backup_ops b_ops = {on_send, on_ask, on_b_act, on_b_changed};

struct primary {
	struct fo_primary p;
	struct fo_times t;
	struct seen v;
	int64_t now, heard;
};

static void p_start(struct primary *x, bool arbiter)
{
	memset(x, 0, sizeof(*x));
	x->now = x->heard = START;
	fo_times_init(&x->t, 100 * MS);
	fo_primary_init(&x->p, &x->t, &p_ops, &x->v, 5, arbiter);
	fo_primary_welcomed(&x->p, x->now);
	fo_primary_tick(&x->p, x->now, x->now);
}

static int p_hear(struct primary *x, struct fo_msg m)
{
	if (!m.generation)
		m.generation = 5;
	return fo_primary_message(&x->p, x->now, &m);
}

/* The newest heartbeat comes back. */
static void p_echo(struct primary *x)
{
	struct fo_msg m = x->v.last[FO_M_HEARTBEAT];

	m.kind = FO_M_ECHO;
	assert_int_equal(p_hear(x, m), 0);
}

/* Time passes in ticks; heard: the backup answers all along. */
static void p_pass(struct primary *x, int64_t ns, bool heard)
{
	int64_t end = x->now + ns;

	while (x->now < end) {
		x->now += x->t.tick_ns;
		x->heard = heard ? x->now : x->heard;
		fo_primary_tick(&x->p, x->now, x->heard);
		if (heard)
			p_echo(x);
	}
}

static void p_epoch(struct primary *x)
{
	uint64_t n;

	assert_true(fo_primary_may_capture(&x->p));
	n = fo_primary_capture(&x->p);
	assert_false(fo_primary_may_capture(&x->p));
	fo_primary_captured(&x->p, true);
	fo_primary_sent(&x->p, n);
}

static int p_commit(struct primary *x, uint64_t epoch)
{
	return p_hear(x, (struct fo_msg){.kind = FO_M_COMMITTED, .epoch = epoch});
}

static void p_protect(struct primary *x, bool arbiter)
{
	p_start(x, arbiter);
	p_echo(x);
	assert_false(fo_primary_may_capture(&x->p));
	fo_primary_synced(&x->p);
	p_epoch(x);
	assert_int_equal(p_commit(x, 1), 0);
	assert_int_equal(x->p.state, FO_P_PAIRING);
	p_pass(x, 20 * MS, true);
	assert_int_equal(x->v.released, 0); /* committed and leased, not on record */
	fo_primary_answer(&x->p, x->now, FO_ASK_PAIR, 0);
	assert_int_equal(x->p.state, FO_P_PROTECTED);
	assert_int_equal(x->v.released, 1);
	assert_int_equal(x->v.release_generation, 5);
}

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
	/* frozen in the middle of a turn: the owner's second look at the clock says so */
	p_epoch(&x);
	x.v.clock = x.now + x.t.lease_ns;
	assert_int_equal(p_commit(&x, 4), 0);
	assert_int_equal(x.v.released, 3);
	x.now = x.v.clock;
	fo_primary_tick(&x.p, x.now, x.now);
	p_echo(&x);
	assert_int_equal(x.v.released, 4);
}

static void commits_out_of_order_are_an_offence(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	assert_int_equal(p_commit(&x, 2), TV_E_PROTOCOL); /* not sent */
	p_epoch(&x);
	p_epoch(&x);
	assert_int_equal(p_commit(&x, 3), TV_E_PROTOCOL); /* not the next */
	assert_int_equal(p_commit(&x, 1), TV_E_PROTOCOL); /* twice */
	assert_int_equal(p_hear(&x, (struct fo_msg){.kind = FO_M_BYE}), TV_E_PROTOCOL);
	assert_int_equal(x.p.epoch_committed, 1);
}

static void the_vm_stops_with_its_lease(void **state)
{
	struct primary x;

	(void)state;
	p_protect(&x, true);
	/* heard, but our heartbeats do not come back: the backup may think us dead */
	for (int i = 0; i < 100 && x.p.state == FO_P_PROTECTED; i++) {
		x.now += x.t.tick_ns;
		fo_primary_tick(&x.p, x.now, x.now);
	}
	assert_int_equal(x.p.state, FO_P_SUSPENDED);
	assert_true(x.now - START < x.t.suspect_ns + 20 * MS);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 1);
	assert_false(fo_primary_may_capture(&x.p));
	p_echo(&x);
	assert_int_equal(x.p.state, FO_P_PROTECTED);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 1);
}

static void forged_echoes_are_no_lease(void **state)
{
	struct primary x;
	int64_t lease;

	(void)state;
	p_protect(&x, true);
	lease = x.p.lease_from_ns;
	assert_int_equal(
		p_hear(&x, (struct fo_msg){.kind = FO_M_ECHO, .seq = 1, .sent_ns = x.now + 1}), 0);
	assert_int_equal(
		p_hear(&x,
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
	/* an older one is refused and told */
	assert_int_equal(
		p_hear(&x, (struct fo_msg){.kind = FO_M_COMMITTED, .generation = 4, .epoch = 2}),
		0);
	assert_int_equal(x.v.sent[FO_M_FENCED], 1);
	assert_int_equal(x.v.last[FO_M_FENCED].generation, 5);
	/* a higher one, in whatever message, stops the VM for good */
	assert_int_equal(p_hear(&x, (struct fo_msg){.kind = FO_M_ECHO, .generation = 6}), 0);
	assert_int_equal(x.p.state, FO_P_FENCED);
	assert_int_equal(x.v.acted[FO_ACTION_STOP_VM], 1);
	assert_false(fo_primary_may_capture(&x.p));
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.p.state, FO_P_FENCED);
}

static void switch_until_told(struct primary *x, bool arbiter)
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

static void a_switch_ends_with_the_backups_word(void **state)
{
	struct primary x;

	(void)state;
	switch_until_told(&x, true);
	assert_int_equal(p_hear(&x, (struct fo_msg){.kind = FO_M_FENCED, .generation = 6}), 0);
	assert_int_equal(x.p.state, FO_P_YIELDED);
	assert_int_equal(x.v.acted[FO_ACTION_QUIT_VM], 0); /* it may still fail to start there */
	assert_int_equal(
		p_hear(&x, (struct fo_msg){.kind = FO_M_FENCED, .generation = 6, .running = true}),
		0);
	assert_int_equal(x.p.state, FO_P_SWITCHED);
	assert_int_equal(x.v.acted[FO_ACTION_QUIT_VM], 1);
}

static void a_switch_is_called_off_by_record_only(void **state)
{
	struct primary x;

	(void)state;
	switch_until_told(&x, true);
	p_pass(&x, x.t.switch_ns + 30 * MS, true);
	assert_int_equal(x.p.state, FO_P_HELD);
	assert_int_equal(x.v.asked[FO_ASK_ALONE], 1);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 0);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 1);

	/* without an arbiter the word cannot be taken back */
	switch_until_told(&x, false);
	p_pass(&x, x.t.switch_ns + 30 * MS, true);
	assert_int_equal(x.p.state, FO_P_YIELDING);
	fo_primary_event(&x.p, x.now, FO_PE_PEER_LOST);
	assert_int_equal(x.p.state, FO_P_FENCED);
	assert_int_equal(x.v.acted[FO_ACTION_RESUME_VM], 0);
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

/* ---- the backup ---- */
struct backup {
	struct fo_backup b;
	struct fo_times t;
	struct seen v;
	int64_t now, heard;
};

static void b_start(struct backup *x, bool arbiter)
{
	memset(x, 0, sizeof(*x));
	x->now = x->heard = START;
	fo_times_init(&x->t, 100 * MS);
	fo_backup_init(&x->b, &x->t, &b_ops, &x->v, 5, arbiter);
	fo_backup_welcomed(&x->b, x->now);
	fo_backup_tick(&x->b, x->now, x->now);
}

static int b_hear(struct backup *x, struct fo_msg m)
{
	if (!m.generation)
		m.generation = 5;
	x->heard = x->now;
	return fo_backup_message(&x->b, x->now, &m);
}

static void b_pass(struct backup *x, int64_t ns)
{
	int64_t end = x->now + ns;

	while (x->now < end) {
		x->now += x->t.tick_ns;
		fo_backup_tick(&x->b, x->now, x->heard);
	}
}

static void b_epoch(struct backup *x, uint64_t n)
{
	assert_int_equal(fo_backup_epoch_begin(&x->b, 5, n), 0);
	assert_int_equal(fo_backup_epoch_end(&x->b, 5, n), 0);
}

static void b_protect(struct backup *x, bool arbiter)
{
	b_start(x, arbiter);
	assert_int_equal(fo_backup_sync_end(&x->b, 5), 0);
	b_epoch(x, 1);
	assert_int_equal(x->v.sent[FO_M_COMMITTED], 0); /* here, but not checked */
	fo_backup_verified(&x->b, x->now, 1);
	assert_int_equal(x->v.last[FO_M_COMMITTED].epoch, 1);
	assert_int_equal(x->b.state, FO_B_STANDBY);
}

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
	assert_int_equal(b_hear(&x, beat), 0);
	assert_int_equal(x.v.last[FO_M_ECHO].sent_ns, 77);
	b_pass(&x, x.t.suspect_ns - 20 * MS);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 0);
	b_pass(&x, 50 * MS);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 1);
	/* no commit, no echo from here on */
	b_epoch(&x, 2);
	fo_backup_verified(&x.b, x.now, 2);
	assert_int_equal(b_hear(&x, beat), 0);
	assert_int_equal(x.v.sent[FO_M_COMMITTED], 1);
	assert_int_equal(x.v.sent[FO_M_ECHO], 1);
	fo_backup_answer(&x.b, x.now, -EIO, 0);
	b_pass(&x, x.t.retry_ns + 20 * MS);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 2);
	fo_backup_answer(&x.b, x.now, 0, 6);
	assert_int_equal(x.v.promoted_generation, 6);
	assert_int_equal(x.v.last[FO_M_FENCED].generation, 6);
	assert_false(x.v.last[FO_M_FENCED].running);
	/* a stale primary is told */
	assert_int_equal(b_hear(&x, beat), -ESTALE);
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

static void own_stalls_are_nobodys_silence(void **state)
{
	struct backup x;

	(void)state;
	b_protect(&x, true);
	x.now += 10 * x.t.suspect_ns;
	fo_backup_tick(&x.b, x.now, x.heard);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 0);
	x.now += x.t.tick_ns;
	fo_backup_tick(&x.b, x.now, x.heard);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 1);
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

static void without_an_arbiter_a_person_decides(void **state)
{
	struct backup x;

	(void)state;
	b_protect(&x, false);
	assert_false(fo_backup_force(&x.b, x.now)); /* the primary lives */
	b_pass(&x, x.t.suspect_ns + 20 * MS);
	assert_int_equal(x.b.state, FO_B_WAITING);
	assert_int_equal(b_hear(&x, (struct fo_msg){.kind = FO_M_HEARTBEAT}), 0);
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

static void the_primarys_word_to_take_over(void **state)
{
	struct backup x;

	(void)state;
	b_protect(&x, true);
	assert_int_equal(b_hear(&x, (struct fo_msg){.kind = FO_M_TAKE_OVER, .epoch = 2}),
			 TV_E_PROTOCOL); /* an epoch that is not here */
	assert_int_equal(x.b.state, FO_B_STANDBY);
	assert_int_equal(b_hear(&x, (struct fo_msg){.kind = FO_M_TAKE_OVER, .epoch = 1}), 0);
	assert_int_equal(x.v.asked[FO_ASK_PROMOTE], 1);
	b_protect(&x, false);
	assert_int_equal(b_hear(&x, (struct fo_msg){.kind = FO_M_TAKE_OVER}), 0);
	assert_int_equal(x.v.promoted_generation, 6);
	b_protect(&x, true);
	assert_int_equal(b_hear(&x, (struct fo_msg){.kind = FO_M_BYE}), 0);
	assert_int_equal(x.b.state, FO_B_GONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_follows_commits_and_lease),
		cmocka_unit_test(commits_out_of_order_are_an_offence),
		cmocka_unit_test(the_vm_stops_with_its_lease),
		cmocka_unit_test(forged_echoes_are_no_lease),
		cmocka_unit_test(a_lost_backup_is_asked_about),
		cmocka_unit_test(a_retry_survives_the_end_of_the_lease),
		cmocka_unit_test(without_an_arbiter_no_lease_stops_the_vm),
		cmocka_unit_test(generations_fence),
		cmocka_unit_test(a_switch_ends_with_the_backups_word),
		cmocka_unit_test(a_switch_is_called_off_by_record_only),
		cmocka_unit_test(a_vm_that_dies_is_taken_over),
		cmocka_unit_test(marks_come_in_order),
		cmocka_unit_test(silence_makes_it_ask_and_fall_silent),
		cmocka_unit_test(a_lost_question_ends_the_standby),
		cmocka_unit_test(a_closed_connection_gets_grace),
		cmocka_unit_test(own_stalls_are_nobodys_silence),
		cmocka_unit_test(always_late_is_no_excuse),
		cmocka_unit_test(without_an_arbiter_a_person_decides),
		cmocka_unit_test(the_primarys_word_to_take_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
