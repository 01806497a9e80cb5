/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decision core: two tables, one per role. A row defines what an event does in a state; a pair
 * without a row changes nothing. A row that follows from a rule of the design
 * (docs/ARCHITECTURE.md) names it. docs/FAILOVER.md draws the tables (`make docs` writes it, a test
 * compares).
 */
#include "failover/failover.h"
#include "failover/mutant.h"

struct row {
	bool set;
	struct fo_step step;
};
#define DO(n) FO_A(n)
#define P(s, e, n, a) [FO_P_##s][FO_PE_##e] = {true, {FO_P_##n, (a)}}
#define B(s, e, n, a) [FO_B_##s][FO_BE_##e] = {true, {FO_B_##n, (a)}}

static const struct row primary_table[FO_P_COUNT][FO_PE_COUNT] = {
	/* The record names this host and the session before the VM is offered: the backup looks for
	 * it there, so it knows whose the VM is, and that both see one arbiter. */
	P(OPENING, ALONE_RECORDED, SYNCING, DO(HELLO)),
	P(OPENING, RECORD_LOST, FENCED, DO(STOP_VM)),
	P(OPENING, ARBITER_UNREACHABLE, ALONE, DO(LEAVE)),
	P(OPENING, PEER_LOST, ALONE, DO(LEAVE)),
	P(OPENING, LEAVE, ALONE, DO(LEAVE)),
	P(OPENING, HIGHER_GENERATION, DOUBTING, 0), /* what it has asked decides */
	P(OPENING, STALE, FENCED, DO(STOP_VM)),
	P(OPENING, POISON, ALONE, DO(LEAVE)),
	P(OPENING, VM_DIED, ALONE, DO(END)),

	P(SYNCING, FIRST_COMMIT, PAIRING, DO(ASK_PAIR)),
	P(SYNCING, PEER_LOST, ALONE, DO(LEAVE)),
	P(SYNCING, COMMIT_OVERDUE, ALONE, DO(LEAVE)),
	P(SYNCING, LEAVE, ALONE, DO(LEAVE)),
	P(SYNCING, HIGHER_GENERATION, DOUBTING, DO(ASK_ALONE)),
	P(SYNCING, STALE, FENCED, DO(STOP_VM)),
	P(SYNCING, POISON, ALONE, DO(LEAVE)), /* there is nothing to continue from yet */
	P(SYNCING, VM_DIED, ALONE, DO(END)),

	/* The record has named this host alone since the session began: only this host can change
	 * that. So the VM runs on, and only the record stops it. */
	P(DOUBTING, ALONE_RECORDED, ALONE, DO(LEAVE)),
	P(DOUBTING, RECORD_LOST, FENCED, DO(STOP_VM)),
	P(DOUBTING, ARBITER_UNREACHABLE, DOUBTING, DO(ASK_LATER)),
	P(DOUBTING, LEAVE, ALONE, DO(LEAVE)),
	P(DOUBTING, STALE, FENCED, DO(STOP_VM)),
	P(DOUBTING, VM_DIED, ALONE, DO(END)),

	/* Rule 4: once the pair may be on record, only the record makes this host run alone. */
	P(PAIRING, PAIR_RECORDED, PROTECTED, DO(RELEASE)),
	P(PAIRING, RECORD_LOST, FENCED, DO(STOP_VM)),
	P(PAIRING, ARBITER_UNREACHABLE, ASKING, DO(ASK_LATER)), /* it may have been recorded */
	P(PAIRING, PEER_LOST, ASKING, DO(ASK_ALONE)),
	P(PAIRING, COMMIT_OVERDUE, ASKING, DO(ASK_ALONE)),
	P(PAIRING, LEASE_OVER, HELD, DO(STOP_VM) | DO(ASK_ALONE)),
	P(PAIRING, LEAVE, LEAVING, DO(ASK_ALONE)),
	P(PAIRING, HIGHER_GENERATION, ASKING, DO(ASK_ALONE)),
	P(PAIRING, STALE, FENCED, DO(STOP_VM)),
	P(PAIRING, VM_DIED, ALONE, DO(END)),

	P(PROTECTED, PEER_LOST, ASKING, DO(ASK_ALONE)),
	P(PROTECTED, COMMIT_OVERDUE, ASKING, DO(ASK_ALONE)), /* echoes alone prove nothing */
	/* The backup is asking soon, or was cut off: this host, which lives, asks first. */
	P(PROTECTED, LEASE_OVER, SUSPENDED, DO(STOP_VM) | DO(ASK_ALONE)),
	P(PROTECTED, LEAVE, LEAVING, DO(ASK_ALONE)),
	P(PROTECTED, SWITCH, SWITCHING, DO(LAST_EPOCH)),
	/* A switch without a last epoch: that would hold the damage. Where the pair may not be on
	 * record, or the VM is stopped anyway, the event waits for this state (primary.c). */
	P(PROTECTED, POISON, SWITCHING, DO(STOP_VM)),
	/* A claim is no proof (the record is), but its sender is no backup any more. */
	P(PROTECTED, HIGHER_GENERATION, ASKING, DO(ASK_ALONE)),
	P(PROTECTED, STALE, FENCED, DO(STOP_VM)),
	P(PROTECTED, VM_DIED, ALONE, DO(TAKE_OVER) | DO(END)),

	/* Rule 3: the backup may be asking for the VM at this moment, so it does not run here. */
	P(SUSPENDED, ALONE_RECORDED, ALONE, DO(RESUME_VM) | DO(LEAVE)),
	P(SUSPENDED, RECORD_LOST, FENCED, DO(STOP_VM)),
	P(SUSPENDED, ARBITER_UNREACHABLE, SUSPENDED, DO(ASK_LATER)),
	P(SUSPENDED, LEASE_BACK, REPAIRING, DO(RESUME_VM) | DO(ASK_PAIR)),
	P(SUSPENDED, PEER_LOST, HELD, 0),
	P(SUSPENDED, COMMIT_OVERDUE, HELD, 0),
	P(SUSPENDED, LEAVE, HELD, 0),
	P(SUSPENDED, HIGHER_GENERATION, HELD, 0),
	P(SUSPENDED, STALE, FENCED, DO(STOP_VM)),
	P(SUSPENDED, VM_DIED, ALONE, DO(TAKE_OVER) | DO(END)),

	/* The record may state by now that this host runs alone: then no backup could take over.
	 * The lease runs, so the backup has not asked. */
	P(REPAIRING, PAIR_RECORDED, PROTECTED, 0),
	P(REPAIRING, RECORD_LOST, FENCED, DO(STOP_VM)),
	P(REPAIRING, ARBITER_UNREACHABLE, REPAIRING, DO(ASK_LATER)),
	P(REPAIRING, PEER_LOST, ASKING, DO(ASK_ALONE)),
	P(REPAIRING, COMMIT_OVERDUE, ASKING, DO(ASK_ALONE)),
	P(REPAIRING, LEASE_OVER, SUSPENDED, DO(STOP_VM) | DO(ASK_ALONE)),
	P(REPAIRING, LEAVE, LEAVING, DO(ASK_ALONE)),
	P(REPAIRING, HIGHER_GENERATION, ASKING, DO(ASK_ALONE)),
	P(REPAIRING, STALE, FENCED, DO(STOP_VM)),
	P(REPAIRING, VM_DIED, ALONE, DO(TAKE_OVER) | DO(END)),

	P(ASKING, ALONE_RECORDED, ALONE, DO(LEAVE)),
	P(ASKING, RECORD_LOST, FENCED, DO(STOP_VM)),
	P(ASKING, ARBITER_UNREACHABLE, ASKING, DO(ASK_LATER)),
	P(ASKING, LEASE_OVER, HELD, DO(STOP_VM)),
	P(ASKING, STALE, FENCED, DO(STOP_VM)),
	P(ASKING, VM_DIED, ALONE, DO(END)),

	P(HELD, ALONE_RECORDED, ALONE, DO(RESUME_VM) | DO(LEAVE)),
	P(HELD, RECORD_LOST, FENCED, DO(STOP_VM)),
	P(HELD, ARBITER_UNREACHABLE, HELD, DO(ASK_LATER)),
	P(HELD, STALE, FENCED, DO(STOP_VM)),
	P(HELD, VM_DIED, ALONE, DO(END)),

	P(LEAVING, ALONE_RECORDED, ALONE, DO(LEAVE)),
	P(LEAVING, RECORD_LOST, FENCED, DO(STOP_VM)),
	P(LEAVING, ARBITER_UNREACHABLE, LEAVING, DO(ASK_LATER)),
	P(LEAVING, LEASE_OVER, HELD, DO(STOP_VM)),
	P(LEAVING, STALE, FENCED, DO(STOP_VM)),
	P(LEAVING, VM_DIED, ALONE, DO(END)),

	/* A planned switch. This host may call it off, but only by record: the backup may have
	 * asked for the VM. */
	P(SWITCHING, LAST_COMMIT, YIELDING, DO(TAKE_OVER)),
	P(SWITCHING, POISON, SWITCHING, DO(STOP_VM)),
	P(SWITCHING, PEER_LOST, HELD, DO(STOP_VM) | DO(ASK_ALONE)),
	P(SWITCHING, COMMIT_OVERDUE, HELD, DO(STOP_VM) | DO(ASK_ALONE)),
	P(SWITCHING, LEASE_OVER, HELD, DO(STOP_VM) | DO(ASK_ALONE)),
	P(SWITCHING, SWITCH_OVERDUE, HELD, DO(STOP_VM) | DO(ASK_ALONE)),
	P(SWITCHING, HIGHER_GENERATION, HELD, DO(STOP_VM) | DO(ASK_ALONE)),
	P(SWITCHING, STALE, FENCED, DO(STOP_VM)),
	P(SWITCHING, VM_DIED, ALONE, DO(TAKE_OVER) | DO(END)),

	P(YIELDING, HIGHER_GENERATION, CHECKING, DO(ASK_ALONE)),
	P(YIELDING, STALE, CHECKING, DO(ASK_ALONE)),
	P(YIELDING, PEER_RUNS, QUITTING, DO(ASK_ALONE)),
	P(YIELDING, PEER_LOST, HELD, DO(ASK_ALONE)),
	P(YIELDING, SWITCH_OVERDUE, HELD, DO(ASK_ALONE)),
	P(YIELDING, VM_DIED, ALONE, DO(END)),

	/* What the backup reports is true when the question is lost; granted, it was not, and the VM
	 * is this host's. */
	P(CHECKING, RECORD_LOST, YIELDED, 0),
	P(CHECKING, ALONE_RECORDED, ALONE, DO(RESUME_VM) | DO(LEAVE)),
	P(CHECKING, ARBITER_UNREACHABLE, CHECKING, DO(ASK_LATER)),
	P(CHECKING, PEER_RUNS, QUITTING, 0),
	P(CHECKING, OFFERED, RETURNING, DO(ASK_BACK)),
	P(CHECKING, PEER_LOST, HELD, 0),
	P(CHECKING, VM_DIED, ALONE, DO(END)),

	P(QUITTING, RECORD_LOST, SWITCHED, DO(QUIT_VM)),
	P(QUITTING, ALONE_RECORDED, ALONE, DO(RESUME_VM) | DO(LEAVE)),
	P(QUITTING, ARBITER_UNREACHABLE, QUITTING, DO(ASK_LATER)),
	P(QUITTING, VM_DIED, ALONE, DO(END)),

	/* The backup has the record. This instance ends when the backup reports that it runs. */
	P(YIELDED, PEER_RUNS, SWITCHED, DO(QUIT_VM)),
	P(YIELDED, PEER_LOST, FENCED, DO(STOP_VM)),
	P(YIELDED, OFFERED, RETURNING, DO(ASK_BACK)),
	P(YIELDED, VM_DIED, ALONE, DO(END)),

	/* An offer is not enough (rule 3): the backup may try again meanwhile. */
	P(RETURNING, ALONE_RECORDED, ALONE, DO(RESUME_VM) | DO(LEAVE)),
	P(RETURNING, RECORD_LOST, FENCED, DO(STOP_VM)),
	P(RETURNING, ARBITER_UNREACHABLE, RETURNING, DO(ASK_LATER)),
	P(RETURNING, VM_DIED, ALONE, DO(END)),
};

static const struct row backup_table[FO_B_COUNT][FO_BE_COUNT] = {
	/* Without a committed epoch there is nothing to run (rule 2). */
	B(SYNCING, FIRST_COMMIT, STANDBY, 0),
	B(SYNCING, SILENCE, GONE, DO(DISCARD)),
	B(SYNCING, GRACE_OVER, GONE, DO(DISCARD)),
	B(SYNCING, BYE, GONE, DO(DISCARD)),

	/* Rule 3: promotion only after the arbiter's compare-and-swap. */
	B(STANDBY, SILENCE, ASKING, DO(ASK_PROMOTE)),
	B(STANDBY, GRACE_OVER, ASKING, DO(ASK_PROMOTE)),
	B(STANDBY, TAKE_OVER, ASKING, DO(ASK_PROMOTE)),
	B(STANDBY, BYE, GONE, DO(DISCARD)),

	B(ASKING, WON, PROMOTING, DO(PROMOTE)),
	B(ASKING, LOST, GONE, DO(DISCARD)),
	B(ASKING, UNREACHABLE, ASKING, DO(ASK_LATER)),

	/* No arbiter: an operator decides, or the primary comes back. */
	B(WAITING, FORCE, PROMOTING, DO(PROMOTE)),
	B(WAITING, TAKE_OVER, PROMOTING, DO(PROMOTE)),
	B(WAITING, TRAFFIC, STANDBY, 0),
	B(WAITING, BYE, GONE, DO(DISCARD)),

	B(PROMOTING, PROMOTE_DONE, PROMOTED, DO(HAND_OVER)),
	/* From here on this may be the VM's last copy: it goes when the record names another host,
	 * or, without an arbiter, when the primary has taken the VM back. */
	B(PROMOTING, PROMOTE_FAILED, KEPT, 0),
	B(PROMOTING, SWITCH_FAILED, OFFERED, DO(OFFER)),

	B(OFFERED, TAKEN_BACK, GONE, DO(DISCARD)),
	B(OFFERED, SILENCE, KEPT, 0),
	B(OFFERED, GRACE_OVER, KEPT, 0),
	B(OFFERED, RETRY, ASKING, DO(ASK_PROMOTE)),

	B(KEPT, TAKEN_BACK, GONE, DO(DISCARD)),
	B(KEPT, RETRY, ASKING, DO(ASK_PROMOTE)),
};

struct fo_step fo_primary_step(enum fo_primary_state s, enum fo_primary_event ev, bool arbiter)
{
	const struct row *r = &primary_table[s][ev];
	struct fo_step stay = {(int)s, 0};

	FO_ASSERT(s < FO_P_COUNT && ev < FO_PE_COUNT);
	if (arbiter)
		return r->set ? r->step : stay;
	/* No arbiter: no backup promotes by itself, so a lease has no meaning... */
	if (ev == FO_PE_LEASE_OVER || ev == FO_PE_LEASE_BACK)
		return stay;
	/* ...but a request to take over cannot be taken back: an operator decides. */
	if (s == FO_P_YIELDING && ev == FO_PE_PEER_LOST)
		return (struct fo_step){FO_P_FENCED, DO(STOP_VM)};
	if (s == FO_P_YIELDING && ev == FO_PE_SWITCH_OVERDUE)
		return stay;
	/* Without a record the engine believes the backup, or nobody (STALE, PEER_RUNS). */
	if (ev == FO_PE_HIGHER_GENERATION)
		return stay;
	if (s == FO_P_YIELDING && ev == FO_PE_STALE)
		return (struct fo_step){FO_P_YIELDED, 0};
	if (s == FO_P_YIELDING && ev == FO_PE_PEER_RUNS)
		return (struct fo_step){FO_P_SWITCHED, DO(QUIT_VM)};
	return r->set ? r->step : stay;
}

struct fo_step fo_backup_step(enum fo_backup_state s, enum fo_backup_event ev, bool arbiter)
{
	const struct row *r = &backup_table[s][ev];

	FO_ASSERT(s < FO_B_COUNT && ev < FO_BE_COUNT);
	if (!r->set)
		return (struct fo_step){(int)s, 0};
	/* With an arbiter nothing but its answer counts; without one there are no answers. */
	if (arbiter && ev == FO_BE_TAKEN_BACK)
		return (struct fo_step){(int)s, 0};
	if (s == (arbiter ? FO_B_WAITING : FO_B_ASKING))
		return (struct fo_step){(int)s, 0};
	if (r->step.actions & DO(ASK_PROMOTE) && !arbiter) {
		/* The primary itself yields: no other host runs the VM, no operator is needed. A
		 * retry is the operator's. */
		if (ev == FO_BE_TAKE_OVER || ev == FO_BE_RETRY)
			return (struct fo_step){FO_B_PROMOTING, DO(PROMOTE)};
		return (struct fo_step){FO_B_WAITING, 0};
	}
	return r->step;
}

#define NAME(n, why) #n,
#define WHY(n, why) why,
#define WORDS(function, type, LIST)                                    \
	const char *function##_name(enum type v)                       \
	{                                                              \
		static const char *const names[] = {LIST(NAME)};       \
                                                                       \
		FO_ASSERT((size_t)v < sizeof(names) / sizeof(*names)); \
		return names[v];                                       \
	}                                                              \
	const char *function##_why(enum type v)                        \
	{                                                              \
		static const char *const whys[] = {LIST(WHY)};         \
                                                                       \
		FO_ASSERT((size_t)v < sizeof(whys) / sizeof(*whys));   \
		return whys[v];                                        \
	}

WORDS(fo_primary_state, fo_primary_state, FO_PRIMARY_STATES)
WORDS(fo_primary_event, fo_primary_event, FO_PRIMARY_EVENTS)
WORDS(fo_backup_state, fo_backup_state, FO_BACKUP_STATES)
WORDS(fo_backup_event, fo_backup_event, FO_BACKUP_EVENTS)
WORDS(fo_action, fo_action, FO_ACTIONS)
