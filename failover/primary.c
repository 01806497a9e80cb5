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
#include "failover/failover.h"
#include "failover/mutant.h"

#include <errno.h>

#ifdef FO_MUTANTS
enum fo_mutant fo_mutant;
bool fo_unasserted;
#endif

/* ---- what the states mean ---- */
/* Is there a question that it asks until it has an answer, and which? */
static bool asks_in(enum fo_primary_state s, enum fo_question *q)
{
	*q = s == FO_P_REPAIRING ? FO_ASK_PAIR : s == FO_P_RETURNING ? FO_ASK_BACK : FO_ASK_ALONE;
	return s == FO_P_ASKING || s == FO_P_HELD || s == FO_P_LEAVING || s == FO_P_SUSPENDED ||
	       s == FO_P_REPAIRING || s == FO_P_RETURNING;
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

static bool streams_in(enum fo_primary_state s)
{
	return s == FO_P_SYNCING || s == FO_P_PAIRING || s == FO_P_PROTECTED || s == FO_P_REPAIRING;
}

/* The VM may run, and a backup by record may ask for it: only as long as the lease runs. */
static bool runs_on_lease_in(enum fo_primary_state s)
{
	return s == FO_P_PAIRING || s == FO_P_PROTECTED || s == FO_P_REPAIRING ||
	       s == FO_P_ASKING || s == FO_P_LEAVING || s == FO_P_SWITCHING;
}

static bool lease_runs(const struct fo_primary *p, int64_t now_ns)
{
	return p->lease_from_ns && now_ns - p->lease_from_ns < p->times->lease_ns;
}

static bool question_open(const struct fo_primary *p)
{
	return p->pair.open || p->alone.open || p->back.open;
}

/* ---- what holds between any two calls ---- */
static void check(const struct fo_primary *p)
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
	FO_ASSERT(!p->retry_at_ns || (asks_in(p->state, &q) && !question_open(p)));
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
	FO_ASSERT(lease_runs(p, now_ns) && until_ns == p->lease_from_ns + p->times->lease_ns);
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
			  (p->state == FO_P_REPAIRING && lease_runs(p, now_ns)));
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
static void tell(struct fo_primary *p, enum fo_msg_kind kind, uint64_t epoch)
{
	struct fo_msg m = {.kind = kind, .generation = p->generation, .epoch = epoch};

	p->ops->send(p->arg, &m);
}

static void try_release(struct fo_primary *p, int64_t now_ns)
{
	uint64_t upto = FO_BROKEN(release_early) ? p->epoch_sent : p->epoch_committed;
	int64_t until_ns = p->lease_from_ns + p->times->lease_ns;

	if (!p->releasing && !(FO_BROKEN(release_without_pair) && p->state == FO_P_PAIRING))
		return;
	if (p->epoch_released >= upto)
		return;
	if (FO_BROKEN(release_without_lease))
		until_ns = INT64_MAX;
	else if (!lease_runs(p, now_ns))
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
static void ask(struct fo_primary *p, enum fo_question q)
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
	static const enum fo_action owners[] = {FO_ACTION_STOP_VM, FO_ACTION_RESUME_VM,
						FO_ACTION_LEAVE,   FO_ACTION_LAST_EPOCH,
						FO_ACTION_QUIT_VM, FO_ACTION_END};

	if (a & FO_A(ASK_PAIR))
		ask(p, FO_ASK_PAIR);
	if (a & FO_A(ASK_ALONE))
		ask(p, FO_ASK_ALONE);
	if (a & FO_A(ASK_BACK))
		ask(p, FO_ASK_BACK);
	if (a & FO_A(ASK_LATER))
		p->retry_at_ns = now_ns + p->times->retry_ns;
	if (a & FO_A(RELEASE)) {
		p->releasing = true;
		try_release(p, now_ns);
	}
	if (a & FO_A(TAKE_OVER))
		tell(p, FO_M_TAKE_OVER, p->state == FO_P_YIELDING ? p->epoch_committed : 0);
	for (unsigned i = 0; i < sizeof(owners) / sizeof(*owners); i++)
		if (a & 1u << owners[i]) {
			check_action(p, now_ns, owners[i]);
			p->ops->act(p->arg, owners[i]);
		}
}

static void event(struct fo_primary *p, int64_t now_ns, enum fo_primary_event ev)
{
	struct fo_step st = fo_primary_step(p->state, ev, p->arbiter);
	enum fo_primary_state from = p->state;
	enum fo_question q;

	if (p->ended || ((int)from == st.next && !st.actions))
		return;
	FO_ASSERT(from != FO_P_FENCED);
	if (FO_BROKEN(run_without_lease) && ev == FO_PE_LEASE_OVER)
		return;
	if (FO_BROKEN(ignore_fence) && ev == FO_PE_HIGHER_GENERATION)
		return;
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
	if (!asks_in(p->state, &q)) {
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
	check(p);
}

void fo_primary_event(struct fo_primary *p, int64_t now_ns, enum fo_primary_event ev)
{
	FO_ASSERT(ev == FO_PE_PEER_LOST || ev == FO_PE_LEAVE || ev == FO_PE_SWITCH ||
		  ev == FO_PE_VM_DIED || ev == FO_PE_HIGHER_GENERATION);
	event(p, now_ns, ev);
}

void fo_primary_answer(struct fo_primary *p, int64_t now_ns, enum fo_question q, int rc)
{
	struct fo_asked *k = question(p, q);

	FO_ASSERT(k->open);
	k->open = false;
	if (q == FO_ASK_PAIR) /* on record it stays the pair of this session, until it is lost */
		k->won |= !rc;
	else
		k->won = !rc;
	if (q == FO_ASK_BACK && !rc)
		p->generation += 2; /* the backup had the one between */
	if (rc == TV_E_LOST) {
		p->next = false;
		event(p, now_ns, FO_PE_RECORD_LOST);
	} else if (p->next) {
		ask(p, p->next_q);
	} else if (!rc) {
		event(p, now_ns, q == FO_ASK_PAIR ? FO_PE_PAIR_RECORDED : FO_PE_ALONE_RECORDED);
	} else {
		event(p, now_ns, FO_PE_ARBITER_UNREACHABLE);
	}
}

/* ---- progress ---- */
static bool is_uncommitted(const struct fo_primary *p)
{
	return p->epoch_captured > p->epoch_committed;
}

void fo_primary_progress(struct fo_primary *p, int64_t now_ns)
{
	p->progress_ns = now_ns;
}

/* Echoes are not progress: they may travel where the stream does not (timeouts.c). */
static void check_deadline(struct fo_primary *p, int64_t now_ns)
{
	if (!is_uncommitted(p))
		p->progress_ns = now_ns;
	if (now_ns - p->progress_ns > p->times->commit_deadline_ns && !FO_BROKEN(deadline_ignored))
		event(p, now_ns, FO_PE_COMMIT_OVERDUE);
}

/* ---- heartbeats, lease, silence ---- */
void fo_primary_welcomed(struct fo_primary *p, int64_t now_ns)
{
	FO_ASSERT(!p->welcomed);
	p->welcomed = true;
	p->heartbeat_at_ns = p->last_tick_ns = now_ns;
}

/* A stopped VM that this host cannot resume: let the backup, if it is alive, ask for it. */
static bool beats_in(enum fo_primary_state s)
{
	return s != FO_P_HELD && s != FO_P_FENCED;
}

int64_t fo_primary_beats_until(const struct fo_primary *p)
{
	if (!p->welcomed || p->ended || !beats_in(p->state))
		return 0;
	return p->last_tick_ns + p->times->commit_deadline_ns;
}

static void heartbeat(struct fo_primary *p, int64_t now_ns)
{
	struct fo_msg m = {FO_M_HEARTBEAT, .generation = p->generation, .sent_ns = now_ns};

	if (now_ns < p->heartbeat_at_ns)
		return;
	m.seq = ++p->seq;
	p->ops->send(p->arg, &m);
	p->heartbeat_at_ns = now_ns + p->times->heartbeat_ns;
}

void fo_primary_tick(struct fo_primary *p, int64_t now_ns, int64_t rx_ns)
{
	/*
	 * After a stall of this process, what waits in the sockets is read before anything is
	 * concluded; heartbeats that are under way have come back by the next tick. Output needs no
	 * such care. Excused once: a host that is always late would never stop its VM.
	 */
	bool late = p->last_tick_ns && now_ns - p->last_tick_ns > p->times->heartbeat_ns &&
		    (!p->excused || FO_BROKEN(excused_for_ever));
	enum fo_question q;

	check(p);
	FO_ASSERT(!late || !p->excused);
	if (late) /* what this process did not see is not the backup's delay */
		p->progress_ns += now_ns - p->last_tick_ns;
	p->last_tick_ns = now_ns;
	p->excused = late;
	if (p->ended || !p->welcomed)
		return;
	if (beats_in(p->state))
		heartbeat(p, now_ns);
	if (p->retry_at_ns && now_ns >= p->retry_at_ns && asks_in(p->state, &q))
		ask(p, q);
	if (late)
		return;
	if (!lease_runs(p, now_ns))
		event(p, now_ns, FO_PE_LEASE_OVER);
	FO_ASSERT(!p->arbiter || lease_runs(p, now_ns) || !runs_on_lease_in(p->state));
	/* Before there is a pair nothing waits for the backup, and both hosts are busy copying. */
	if (now_ns - rx_ns >
	    (p->state == FO_P_SYNCING ? p->times->reconnect_grace_ns : p->times->backup_lost_ns))
		event(p, now_ns, FO_PE_PEER_LOST);
	check_deadline(p, now_ns);
	if (p->overdue_at_ns && now_ns >= p->overdue_at_ns)
		event(p, now_ns, FO_PE_SWITCH_OVERDUE);
}

static void on_echo(struct fo_primary *p, int64_t now_ns, const struct fo_msg *m)
{
	if (m->moved > p->moved) {
		p->moved = m->moved;
		fo_primary_progress(p, now_ns);
	}
	/* Only what was really sent (of datagrams the owner knows that): a stamp from the future
	 * would be a lease for ever. */
	if ((!m->datagram && m->seq > p->seq) || m->sent_ns > now_ns ||
	    m->sent_ns <= p->lease_from_ns)
		return;
	p->lease_from_ns = m->sent_ns;
	if (lease_runs(p, now_ns))
		event(p, now_ns, FO_PE_LEASE_BACK);
	try_release(p, now_ns);
}

/* ---- epochs ---- */
void fo_primary_synced(struct fo_primary *p)
{
	FO_ASSERT(p->welcomed && !p->synced);
	p->synced = true;
	p->epoch_running = 1;
}

bool fo_primary_may_capture(const struct fo_primary *p)
{
	return p->synced && !p->capturing && streams_in(p->state) &&
	       p->epoch_captured < p->epoch_committed + p->in_flight_max;
}

bool fo_primary_last_epoch(const struct fo_primary *p)
{
	return p->state == FO_P_SWITCHING && !p->last_taken && !p->capturing &&
	       p->epoch_captured == p->epoch_committed;
}

uint64_t fo_primary_capture(struct fo_primary *p)
{
	FO_ASSERT(fo_primary_may_capture(p) || fo_primary_last_epoch(p));
	p->last_taken = p->state == FO_P_SWITCHING;
	p->capturing = true;
	return p->epoch_running;
}

void fo_primary_captured(struct fo_primary *p, bool captured)
{
	FO_ASSERT(p->capturing);
	p->capturing = false;
	if (captured)
		p->epoch_captured = p->epoch_running++;
	else
		p->last_taken = false;
	check(p);
}

void fo_primary_sent(struct fo_primary *p, uint64_t epoch)
{
	FO_ASSERT(epoch == p->epoch_sent + 1);
	p->epoch_sent = epoch;
	check(p);
	if (FO_BROKEN(release_early))
		try_release(p, p->last_tick_ns);
}

static int on_committed(struct fo_primary *p, int64_t now_ns, uint64_t epoch)
{
	if (epoch != p->epoch_committed + 1 || epoch > p->epoch_sent)
		return TV_E_PROTOCOL;
	p->epoch_committed = epoch;
	fo_primary_progress(p, now_ns);
	check(p);
	if (epoch == 1)
		event(p, now_ns, FO_PE_FIRST_COMMIT);
	try_release(p, now_ns);
	if (p->last_taken && epoch == p->epoch_captured + p->capturing)
		event(p, now_ns, FO_PE_LAST_COMMIT);
	return 0;
}

/* What a message of a higher generation means; only a planned switch expects one. */
static enum fo_primary_event higher(const struct fo_primary *p, const struct fo_msg *m)
{
	bool expected =
		m->kind == FO_M_FENCED && (p->state == FO_P_YIELDING || p->state == FO_P_YIELDED);

	if (expected && m->running)
		return FO_PE_PEER_RUNS;
	if (expected && p->state == FO_P_YIELDED && m->offered &&
	    m->generation == p->generation + 1)
		return FO_PE_OFFERED;
	return FO_PE_HIGHER_GENERATION;
}

int fo_primary_message(struct fo_primary *p, int64_t now_ns, const struct fo_msg *m)
{
	if (p->ended)
		return 0;
	if (m->generation > p->generation) {
		event(p, now_ns, higher(p, m));
		FO_ASSERT(p->state == FO_P_FENCED || p->state == FO_P_YIELDED ||
			  p->state == FO_P_RETURNING || p->state == FO_P_SWITCHED ||
			  FO_BROKEN(resume_offered));
		return 0;
	}
	if (m->generation < p->generation) { /* refused; its sender learns the generation */
		tell(p, FO_M_FENCED, 0);
		return 0;
	}
	switch (m->kind) {
	case FO_M_ECHO:
		on_echo(p, now_ns, m);
		return 0;
	case FO_M_COMMITTED:
		return on_committed(p, now_ns, m->epoch);
	default:
		return TV_E_PROTOCOL;
	}
}
