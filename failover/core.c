/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decision core: two tables, one per role. A row says what an event means in a state; what has
 * no row changes nothing. Rules of the design (docs/ARCHITECTURE.md) that a row rests on are named
 * there.
 */
#include "failover/failover.h"

struct row {
	bool set;
	struct fo_step step;
};
#define P(s, e, n, a) [FO_P_##s][FO_PE_##e] = {true, {FO_P_##n, (a)}}
#define B(s, e, n, a) [FO_B_##s][FO_BE_##e] = {true, {FO_B_##n, (a)}}

static const struct row primary_table[FO_P_COUNT][FO_PE_COUNT] = {
	P(SYNCING, FIRST_COMMIT, PAIRING, FO_A_ASK_PAIR),
	P(SYNCING, PEER_LOST, ALONE, FO_A_LEAVE),
	P(SYNCING, LEAVE, ALONE, FO_A_LEAVE),
	P(SYNCING, HIGHER_GENERATION, FENCED, FO_A_STOP_VM),
	P(SYNCING, VM_DIED, ALONE, FO_A_END),

	/* Rule 4: once the pair may be on record, only the record can say that we run alone. */
	P(PAIRING, PAIR_RECORDED, PROTECTED, FO_A_RELEASE),
	P(PAIRING, RECORD_LOST, FENCED, FO_A_STOP_VM),
	P(PAIRING, ARBITER_UNREACHABLE, ASKING, FO_A_ASK_LATER), /* it may have been recorded */
	P(PAIRING, PEER_LOST, ASKING, FO_A_ASK_ALONE),
	P(PAIRING, LEAVE, LEAVING, FO_A_ASK_ALONE),
	P(PAIRING, HIGHER_GENERATION, FENCED, FO_A_STOP_VM),
	P(PAIRING, VM_DIED, ALONE, FO_A_END),

	P(PROTECTED, PEER_LOST, ASKING, FO_A_ASK_ALONE),
	P(PROTECTED, LEAVE, LEAVING, FO_A_ASK_ALONE),
	P(PROTECTED, HIGHER_GENERATION, FENCED, FO_A_STOP_VM),
	P(PROTECTED, VM_DIED, ALONE, FO_A_TAKE_OVER | FO_A_END),

	P(ASKING, ALONE_RECORDED, ALONE, FO_A_LEAVE),
	P(ASKING, RECORD_LOST, FENCED, FO_A_STOP_VM),
	P(ASKING, ARBITER_UNREACHABLE, ASKING, FO_A_ASK_LATER),
	P(ASKING, HOLD_OVER, HELD, FO_A_STOP_VM),
	P(ASKING, HIGHER_GENERATION, FENCED, FO_A_STOP_VM),
	P(ASKING, VM_DIED, ALONE, FO_A_END),

	P(HELD, ALONE_RECORDED, ALONE, FO_A_RESUME_VM | FO_A_LEAVE),
	P(HELD, RECORD_LOST, FENCED, 0),
	P(HELD, ARBITER_UNREACHABLE, HELD, FO_A_ASK_LATER),
	P(HELD, HIGHER_GENERATION, FENCED, 0),
	P(HELD, VM_DIED, ALONE, FO_A_END),

	P(LEAVING, ALONE_RECORDED, ALONE, FO_A_LEAVE),
	P(LEAVING, RECORD_LOST, FENCED, FO_A_STOP_VM),
	P(LEAVING, ARBITER_UNREACHABLE, LEAVING, FO_A_ASK_LATER),
	P(LEAVING, HOLD_OVER, HELD, FO_A_STOP_VM),
	P(LEAVING, HIGHER_GENERATION, FENCED, FO_A_STOP_VM),
	P(LEAVING, VM_DIED, ALONE, FO_A_END),
};

static const struct row backup_table[FO_B_COUNT][FO_BE_COUNT] = {
	/* Without a committed epoch there is nothing to run (rule 2). */
	B(SYNCING, FIRST_COMMIT, STANDBY, 0),
	B(SYNCING, SILENCE, GONE, FO_A_DISCARD),
	B(SYNCING, GRACE_OVER, GONE, FO_A_DISCARD),
	B(SYNCING, BYE, GONE, FO_A_DISCARD),

	/* Rule 3: promotion only after the arbiter's compare-and-swap. */
	B(STANDBY, SILENCE, ASKING, FO_A_ASK_PROMOTE),
	B(STANDBY, GRACE_OVER, ASKING, FO_A_ASK_PROMOTE),
	B(STANDBY, TAKE_OVER, ASKING, FO_A_ASK_PROMOTE),
	B(STANDBY, BYE, GONE, FO_A_DISCARD),

	B(ASKING, WON, PROMOTING, FO_A_PROMOTE),
	B(ASKING, LOST, GONE, FO_A_DISCARD),
	B(ASKING, UNREACHABLE, ASKING, FO_A_ASK_LATER),

	/* No arbiter: a person decides, or the primary comes back. */
	B(WAITING, FORCE, PROMOTING, FO_A_PROMOTE),
	B(WAITING, TRAFFIC, STANDBY, 0),
	B(WAITING, BYE, GONE, FO_A_DISCARD),

	B(PROMOTING, PROMOTE_DONE, PROMOTED, FO_A_HAND_OVER),
	B(PROMOTING, PROMOTE_FAILED, GONE, FO_A_DISCARD),
};

struct fo_step fo_primary_step(enum fo_primary_state s, enum fo_primary_event ev)
{
	const struct row *r = &primary_table[s][ev];

	return r->set ? r->step : (struct fo_step){(int)s, 0};
}

struct fo_step fo_backup_step(enum fo_backup_state s, enum fo_backup_event ev, bool arbiter)
{
	const struct row *r = &backup_table[s][ev];

	if (!r->set)
		return (struct fo_step){(int)s, 0};
	if (r->step.actions & FO_A_ASK_PROMOTE && !arbiter) {
		/* The primary itself yields: nobody else can run the VM, no person is needed. */
		if (ev == FO_BE_TAKE_OVER)
			return (struct fo_step){FO_B_PROMOTING, FO_A_PROMOTE};
		return (struct fo_step){FO_B_WAITING, 0};
	}
	return r->step;
}

#define NAME(n) #n,
const char *fo_primary_state_name(enum fo_primary_state s)
{
	static const char *const names[] = {FO_PRIMARY_STATES(NAME)};

	return names[s];
}

const char *fo_primary_event_name(enum fo_primary_event ev)
{
	static const char *const names[] = {FO_PRIMARY_EVENTS(NAME)};

	return names[ev];
}

const char *fo_backup_state_name(enum fo_backup_state s)
{
	static const char *const names[] = {FO_BACKUP_STATES(NAME)};

	return names[s];
}

const char *fo_backup_event_name(enum fo_backup_event ev)
{
	static const char *const names[] = {FO_BACKUP_EVENTS(NAME)};

	return names[ev];
}
