/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the primary's engine
 *
 * One session: from the first copy over the pair's record to its end. It decides what leaves this
 * host and whether its VM may run; see core.c for the table and timeouts.c for the time-outs.
 *
 * Output of epoch N is released when (a) the backup has acknowledged that it holds N, (b) the
 * arbiter's record names the backup, and (c) the lease runs: a heartbeat that was sent at most
 * lease_ns ago has come back. A backup that asks for the VM stops echoing and committing first, and
 * asks only after suspect_ns of silence, so (c) keeps the output of the two hosts apart in time,
 * also when this host was frozen in between.
 *
 * The VM itself is stopped when the lease is over (state SUSPENDED or HELD), suspect_ns - lease_ns
 * before the backup can ask: no other host starts it while it runs here. That is not needed for
 * rule 3, which is about output, but for output that netbuffer does not see. A host whose processes
 * were frozen cannot stop its VM in time; (c) covers that.
 */
#include "failover/mutant.h"
#include "failover/primary_int.h"

#include <errno.h>

#ifdef FO_MUTANTS
enum fo_mutant fo_mutant;
bool fo_unasserted;
#endif

/* ---- what the states mean ---- */
/* Is there a question that it asks until it has an answer, and which? */
bool fo_p_asks_in(enum fo_primary_state s, enum fo_question *q)
{
	*q = s == FO_P_REPAIRING ? FO_ASK_PAIR : s == FO_P_RETURNING ? FO_ASK_BACK : FO_ASK_ALONE;
	return s == FO_P_ASKING || s == FO_P_HELD || s == FO_P_LEAVING || s == FO_P_SUSPENDED ||
	       s == FO_P_REPAIRING || s == FO_P_RETURNING || s == FO_P_DOUBTING ||
	       s == FO_P_CHECKING || s == FO_P_QUITTING;
}

static bool releases_in(enum fo_primary_state s)
{
	return s == FO_P_PROTECTED || s == FO_P_SUSPENDED || s == FO_P_REPAIRING ||
	       s == FO_P_SWITCHING;
}

static bool switches_in(enum fo_primary_state s)
{
	return s == FO_P_SWITCHING || s == FO_P_YIELDING || s == FO_P_YIELDED;
}

static bool ends_in(enum fo_primary_state s)
{
	return s == FO_P_ALONE || s == FO_P_SWITCHED;
}

bool fo_p_lease_runs(const struct fo_primary *p, int64_t now_ns)
{
	return p->lease_from_ns && now_ns - p->lease_from_ns < p->times->lease_ns;
}

static bool question_open(const struct fo_primary *p)
{
	return p->pair.open || p->alone.open || p->back.open;
}

/* ---- what holds between any two calls ---- */
void fo_p_check(const struct fo_primary *p)
{
	enum fo_question q;

	FO_ASSERT(p->epoch_released <= p->epoch_committed);
	FO_ASSERT(p->epoch_committed <= p->epoch_sent);
	/* Its end may be sent before the loop has learned that its capture is over. */
	FO_ASSERT(p->epoch_sent <= p->epoch_captured + p->capturing);
	FO_ASSERT(p->epoch_captured <= p->epoch_committed + FO_MAX_IN_FLIGHT);
	FO_ASSERT(p->epoch_running == (p->synced ? p->epoch_captured + 1 : 0));
	FO_ASSERT(p->in_flight_max >= 1 && p->in_flight_max <= FO_MAX_IN_FLIGHT);
	FO_ASSERT(!p->releasing || (p->pair.won && releases_in(p->state)));
	FO_ASSERT(p->pair.open + p->alone.open + p->back.open <= 1);
	FO_ASSERT(!p->next || question_open(p));
	FO_ASSERT(!p->poisoned || p->epoch_sent <= p->poison_after);
	FO_ASSERT(!p->retry_at_ns || (fo_p_asks_in(p->state, &q) && !question_open(p)));
	FO_ASSERT(!p->overdue_at_ns || switches_in(p->state));
	FO_ASSERT(p->ended == ends_in(p->state) && p->over == p->ended);
}

/*
 * The output rule, at the moment of a release: epoch is committed here (a), the record names the
 * backup (b), the owner's limit is the lease's own (c), and nothing is released twice.
 */
static void check_release(const struct fo_primary *p, int64_t now_ns, uint64_t epoch,
			  int64_t until_ns)
{
	FO_ASSERT(epoch <= p->epoch_committed && epoch > p->epoch_released);
	FO_ASSERT(p->releasing && p->pair.won && releases_in(p->state));
	FO_ASSERT(fo_p_lease_runs(p, now_ns) && until_ns == p->lease_from_ns + p->times->lease_ns);
}

/* Rules 3 and 4, at the moment of an action. */
static void check_action(const struct fo_primary *p, int64_t now_ns, enum fo_action a)
{
	FO_ASSERT(!p->over);
	/* A pair that may be on record: alone only once the record states it. */
	if (a == FO_ACTION_LEAVE)
		FO_ASSERT(p->state == FO_P_ALONE &&
			  (!p->pair.asked || p->alone.won || p->back.won));
	if (a == FO_ACTION_RESUME_VM)
		FO_ASSERT(p->alone.won || p->back.won ||
			  (p->state == FO_P_REPAIRING && fo_p_lease_runs(p, now_ns)));
	if (a == FO_ACTION_QUIT_VM)
		FO_ASSERT(p->state == FO_P_SWITCHED);
}

void fo_primary_init(struct fo_primary *p, const struct fo_times *t,
		     const struct fo_primary_ops *ops, void *arg, uint64_t generation, bool arbiter)
{
	*p = (struct fo_primary){.times = t,
				 .ops = ops,
				 .arg = arg,
				 .generation = generation,
				 .arbiter = arbiter,
				 .in_flight_max = FO_MAX_IN_FLIGHT};
}

/* ---- what leaves ---- */
void fo_p_tell(struct fo_primary *p, enum fo_msg_kind kind, uint64_t epoch)
{
	struct fo_msg m = {.kind = kind,
			   .generation = p->generation,
			   .epoch = epoch,
			   .poisoned = kind == FO_M_TAKE_OVER && p->poisoned};

	p->ops->send(p->arg, &m);
}

void fo_p_try_release(struct fo_primary *p, int64_t now_ns)
{
	uint64_t upto = FO_BROKEN(release_early) ? p->epoch_sent : p->epoch_committed;
	int64_t until_ns = p->lease_from_ns + p->times->lease_ns;

	if (!p->releasing && !(FO_BROKEN(release_without_pair) && p->state == FO_P_PAIRING))
		return;
	if (p->epoch_released >= upto)
		return;
	if (FO_BROKEN(release_without_lease))
		until_ns = INT64_MAX;
	else if (!fo_p_lease_runs(p, now_ns))
		return; /* the next echo tries again */
	if (FO_BROKEN(release_by_old_clock))
		until_ns = INT64_MAX;
	/*
	 * now_ns was read when the turn began. A process that is frozen in the middle of a turn
	 * continues it after the backup has taken over, when the lease has long expired whatever
	 * now_ns says; so the owner reads the clock once more.
	 */
	check_release(p, now_ns, upto, until_ns);
	if (p->ops->release(p->arg, p->generation, upto, until_ns))
		p->epoch_released = upto;
}

/* ---- decisions ---- */
static struct fo_asked *question(struct fo_primary *p, enum fo_question q)
{
	FO_ASSERT(q == FO_ASK_PAIR || q == FO_ASK_ALONE || q == FO_ASK_BACK);
	return q == FO_ASK_PAIR ? &p->pair : q == FO_ASK_BACK ? &p->back : &p->alone;
}

/*
 * One at a time: what the record says in the end is what was asked last. A question that the open
 * one is in the way of is asked when that has its answer, which then counts only as a refusal.
 */
void fo_p_ask(struct fo_primary *p, enum fo_question q)
{
	struct fo_asked *k = question(p, q);

	FO_ASSERT(!p->over);
	p->retry_at_ns = 0;
	p->next = question_open(p) && !k->open;
	p->next_q = q;
	if (question_open(p))
		return;
	if (q == FO_ASK_PAIR)
		p->alone.won = false;
	k->asked = k->open = true;
	p->ops->ask(p->arg, q);
}

static void act(struct fo_primary *p, unsigned a, int64_t now_ns)
{
	static const enum fo_action owners[] = {
		FO_ACTION_HELLO,      FO_ACTION_STOP_VM, FO_ACTION_RESUME_VM, FO_ACTION_LEAVE,
		FO_ACTION_LAST_EPOCH, FO_ACTION_QUIT_VM, FO_ACTION_END};

	if (a & FO_A(ASK_PAIR))
		fo_p_ask(p, FO_ASK_PAIR);
	if (a & FO_A(ASK_ALONE))
		fo_p_ask(p, FO_ASK_ALONE);
	if (a & FO_A(ASK_BACK))
		fo_p_ask(p, FO_ASK_BACK);
	if (a & FO_A(ASK_LATER))
		p->retry_at_ns = now_ns + p->times->retry_ns;
	if (a & FO_A(RELEASE)) {
		p->releasing = true;
		fo_p_try_release(p, now_ns);
	}
	if (a & FO_A(TAKE_OVER))
		fo_p_tell(p, FO_M_TAKE_OVER, p->state == FO_P_YIELDING ? p->epoch_committed : 0);
	for (unsigned i = 0; i < sizeof(owners) / sizeof(*owners); i++)
		if (a & 1u << owners[i]) {
			check_action(p, now_ns, owners[i]);
			p->ops->act(p->arg, owners[i]);
		}
}

void fo_p_event(struct fo_primary *p, int64_t now_ns, enum fo_primary_event ev)
{
	struct fo_step st = fo_primary_step(p->state, ev, p->arbiter);
	enum fo_primary_state from = p->state;
	enum fo_question q;

	if (p->ended || ((int)from == st.next && !st.actions))
		return;
	FO_ASSERT(from != FO_P_FENCED);
	if (FO_BROKEN(run_without_lease) && ev == FO_PE_LEASE_OVER)
		return;
	if (FO_BROKEN(ignore_fence) && (ev == FO_PE_HIGHER_GENERATION || ev == FO_PE_STALE))
		return;
	if (FO_BROKEN(unconfirmed) && ev == FO_PE_HIGHER_GENERATION)
		st = (struct fo_step){FO_P_FENCED, FO_A(STOP_VM)};
	if (FO_BROKEN(poison_switched) && ev == FO_PE_POISON && from == FO_P_PROTECTED)
		st.actions = FO_A(LAST_EPOCH);
	if (FO_BROKEN(asks_late) && ev == FO_PE_LEASE_OVER && st.next == FO_P_SUSPENDED)
		st.actions = FO_A(STOP_VM) | FO_A(ASK_LATER);
	if (FO_BROKEN(unrepaired) && ev == FO_PE_LEASE_BACK)
		st = (struct fo_step){FO_P_PROTECTED, FO_A(RESUME_VM)};
	if (FO_BROKEN(alone_without_record) && st.actions & FO_A(ASK_ALONE) &&
	    st.next != FO_P_LEAVING)
		st = (struct fo_step){FO_P_ALONE, FO_A(RESUME_VM) | FO_A(LEAVE)};
	if (FO_BROKEN(resume_unasked) && ev == FO_PE_SWITCH_OVERDUE)
		st = (struct fo_step){FO_P_ALONE, FO_A(RESUME_VM) | FO_A(LEAVE)};
	if (FO_BROKEN(resume_offered) && ev == FO_PE_OFFERED)
		st = (struct fo_step){FO_P_ALONE, FO_A(RESUME_VM) | FO_A(LEAVE)};
	p->state = (enum fo_primary_state)st.next;
	if (!releases_in(p->state))
		p->releasing = false;
	if (!fo_p_asks_in(p->state, &q)) {
		p->retry_at_ns = 0;
		p->next = false;
	}
	p->overdue_at_ns = 0;
	if (switches_in(p->state))
		p->overdue_at_ns = now_ns + p->times->switch_ns;
	p->ended = ends_in(p->state);
	act(p, st.actions, now_ns);
	p->over = p->ended;
	p->ops->changed(p->arg, ev, from);
	fo_p_check(p);
	/* It was seen when nobody could take over. */
	if (p->poisoned && p->state == FO_P_PROTECTED)
		fo_p_event(p, now_ns, FO_PE_POISON);
}

void fo_primary_begin(struct fo_primary *p)
{
	FO_ASSERT(p->state == FO_P_OPENING && !p->alone.asked);
	fo_p_ask(p, FO_ASK_ALONE);
}

void fo_primary_event(struct fo_primary *p, int64_t now_ns, enum fo_primary_event ev)
{
	FO_ASSERT(ev == FO_PE_PEER_LOST || ev == FO_PE_LEAVE || ev == FO_PE_SWITCH ||
		  ev == FO_PE_VM_DIED || ev == FO_PE_STALE);
	fo_p_event(p, now_ns, ev);
}

void fo_primary_answer(struct fo_primary *p, int64_t now_ns, enum fo_question q, int rc)
{
	struct fo_asked *k = question(p, q);

	FO_ASSERT(k->open);
	k->open = false;
	p->recorded |= !rc;
	if (q == FO_ASK_PAIR) /* on record it stays the pair of this session, until it is lost */
		k->won |= !rc;
	else
		k->won = !rc;
	if (q == FO_ASK_BACK && !rc)
		p->generation += 2; /* the backup had the one between */
	if (rc == TV_E_LOST && !(p->next && p->next_q == FO_ASK_BACK)) {
		p->next = false;
		fo_p_event(p, now_ns, FO_PE_RECORD_LOST);
	} else if (p->next) {
		fo_p_ask(p, p->next_q);
	} else if (!rc) {
		fo_p_event(p, now_ns,
			   q == FO_ASK_PAIR ? FO_PE_PAIR_RECORDED : FO_PE_ALONE_RECORDED);
	} else {
		fo_p_event(p, now_ns, FO_PE_ARBITER_UNREACHABLE);
	}
}
