/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owners of the failover engines that only note what they are asked, with a clock of the test's. */
#ifndef TESTS_UNIT_FO_KIT_H
#define TESTS_UNIT_FO_KIT_H

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
	unsigned sent[FO_M_BYE + 1], asked[FO_QUESTIONS], acted[FO_ACTION_COUNT];
	uint64_t released, release_generation, promoted_generation;
	int64_t clock; /* what the owner finds when it looks again; 0: still in time */
};

static inline void on_send(void *arg, const struct fo_msg *m)
{
	struct seen *v = arg;

	v->last[m->kind] = *m;
	v->sent[m->kind]++;
}

static inline void on_ask(void *arg, enum fo_question q)
{
	((struct seen *)arg)->asked[q]++;
}

/* ---- a primary ---- */
static inline bool on_release(void *arg, uint64_t generation, uint64_t epoch, int64_t until_ns)
{
	struct seen *v = arg;

	if (v->clock >= until_ns)
		return false;
	v->released = epoch;
	v->release_generation = generation;
	return true;
}

static inline void on_p_act(void *arg, enum fo_action a)
{
	((struct seen *)arg)->acted[a]++;
}

static inline void on_p_changed(void *arg, enum fo_primary_event ev, enum fo_primary_state from)
{
	(void)arg;
	(void)ev;
	(void)from;
}

static const struct fo_primary_ops p_ops = {on_send, on_ask, on_release, on_p_act, on_p_changed};

struct primary {
	struct fo_primary p;
	struct fo_times t;
	struct seen v;
	int64_t now, rx_ns;
};

static inline void p_start(struct primary *x, bool arbiter)
{
	memset(x, 0, sizeof(*x));
	x->now = x->rx_ns = START;
	fo_times_init(&x->t, 100 * MS);
	fo_primary_init(&x->p, &x->t, &p_ops, &x->v, 5, arbiter);
	fo_primary_begin(&x->p);
	assert_int_equal(x->v.asked[FO_ASK_ALONE], 1);
	assert_int_equal(x->v.acted[FO_ACTION_HELLO], 0);
	fo_primary_answer(&x->p, x->now, FO_ASK_ALONE, 0);
	assert_int_equal(x->v.acted[FO_ACTION_HELLO], 1);
	x->v = (struct seen){0};
	fo_primary_welcomed(&x->p, x->now);
	fo_primary_tick(&x->p, x->now, x->now);
}

static inline int p_receive(struct primary *x, struct fo_msg m)
{
	if (!m.generation)
		m.generation = 5;
	return fo_primary_message(&x->p, x->now, &m);
}

/* The newest heartbeat comes back. */
static inline void p_echo(struct primary *x)
{
	struct fo_msg m = x->v.last[FO_M_HEARTBEAT];

	m.kind = FO_M_ECHO;
	assert_int_equal(p_receive(x, m), 0);
}

/* Time passes in ticks; answered: the backup answers all along. */
static inline void p_pass(struct primary *x, int64_t ns, bool answered)
{
	int64_t end = x->now + ns;

	while (x->now < end) {
		x->now += x->t.tick_ns;
		x->rx_ns = answered ? x->now : x->rx_ns;
		fo_primary_tick(&x->p, x->now, x->rx_ns);
		if (answered)
			p_echo(x);
	}
}

static inline void p_epoch(struct primary *x)
{
	uint64_t n;

	assert_true(fo_primary_may_capture(&x->p));
	n = fo_primary_capture(&x->p);
	assert_false(fo_primary_may_capture(&x->p));
	fo_primary_captured(&x->p, true);
	fo_primary_sent(&x->p, n);
}

static inline int p_commit(struct primary *x, uint64_t epoch)
{
	return p_receive(x, (struct fo_msg){.kind = FO_M_COMMITTED, .epoch = epoch});
}

static inline void p_pair(struct primary *x, bool arbiter)
{
	p_start(x, arbiter);
	p_echo(x);
	assert_false(fo_primary_may_capture(&x->p));
	fo_primary_synced(&x->p);
	p_epoch(x);
	assert_int_equal(p_commit(x, 1), 0);
	assert_int_equal(x->p.state, FO_P_PAIRING);
}

static inline void p_protect(struct primary *x, bool arbiter)
{
	p_pair(x, arbiter);
	p_pass(x, 20 * MS, true);
	assert_int_equal(x->v.released, 0); /* committed and leased, not on record */
	fo_primary_answer(&x->p, x->now, FO_ASK_PAIR, 0);
	assert_int_equal(x->p.state, FO_P_PROTECTED);
	assert_int_equal(x->v.released, 1);
	assert_int_equal(x->v.release_generation, 5);
}

/* ---- a backup ---- */
static inline void on_b_act(void *arg, enum fo_action a, uint64_t generation)
{
	struct seen *v = arg;

	v->acted[a]++;
	if (a == FO_ACTION_PROMOTE)
		v->promoted_generation = generation;
}

static inline void on_b_changed(void *arg, enum fo_backup_event ev, enum fo_backup_state from)
{
	(void)arg;
	(void)ev;
	(void)from;
}

static const struct fo_backup_ops b_ops = {on_send, on_ask, on_b_act, on_b_changed};

struct backup {
	struct fo_backup b;
	struct fo_times t;
	struct seen v;
	int64_t now, rx_ns;
};

static inline void b_start(struct backup *x, bool arbiter)
{
	memset(x, 0, sizeof(*x));
	x->now = x->rx_ns = START;
	fo_times_init(&x->t, 100 * MS);
	fo_backup_init(&x->b, &x->t, &b_ops, &x->v, 5, arbiter);
	fo_backup_welcomed(&x->b, x->now);
	fo_backup_tick(&x->b, x->now, x->now);
}

static inline int b_receive(struct backup *x, struct fo_msg m)
{
	if (!m.generation)
		m.generation = 5;
	x->rx_ns = x->now;
	return fo_backup_message(&x->b, x->now, &m);
}

static inline void b_pass(struct backup *x, int64_t ns)
{
	int64_t end = x->now + ns;

	while (x->now < end) {
		x->now += x->t.tick_ns;
		fo_backup_tick(&x->b, x->now, x->rx_ns);
	}
}

static inline void b_epoch(struct backup *x, uint64_t n)
{
	assert_int_equal(fo_backup_epoch_begin(&x->b, 5, n), 0);
	assert_int_equal(fo_backup_epoch_end(&x->b, 5, n), 0);
}

static inline void b_protect(struct backup *x, bool arbiter)
{
	b_start(x, arbiter);
	assert_int_equal(fo_backup_sync_end(&x->b, 5), 0);
	b_epoch(x, 1);
	assert_int_equal(x->v.sent[FO_M_COMMITTED], 0); /* here, but not checked */
	fo_backup_verified(&x->b, x->now, 1);
	assert_int_equal(x->v.last[FO_M_COMMITTED].epoch, 1);
	assert_int_equal(x->b.state, FO_B_STANDBY);
}

#endif
