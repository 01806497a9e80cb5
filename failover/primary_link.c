/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's engine: what comes from the clock, from the backup, and from the capture. What
 * follows from it is decided in primary.c.
 */
#include "failover/mutant.h"
#include "failover/primary_int.h"

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
		fo_p_event(p, now_ns, FO_PE_COMMIT_OVERDUE);
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

	fo_p_check(p);
	FO_ASSERT(!late || !p->excused);
	if (late) /* what this process did not see is not the backup's delay */
		p->progress_ns += now_ns - p->last_tick_ns;
	p->last_tick_ns = now_ns;
	p->excused = late;
	if (p->ended)
		return;
	if (p->retry_at_ns && now_ns >= p->retry_at_ns && fo_p_asks_in(p->state, &q))
		fo_p_ask(p, q);
	if (!p->welcomed)
		return;
	if (beats_in(p->state))
		heartbeat(p, now_ns);
	if (late)
		return;
	if (!fo_p_lease_runs(p, now_ns))
		fo_p_event(p, now_ns, FO_PE_LEASE_OVER);
	FO_ASSERT(!p->arbiter || fo_p_lease_runs(p, now_ns) || !runs_on_lease_in(p->state));
	/* Before there is a pair nothing waits for the backup, and both hosts are busy copying. */
	if (now_ns - rx_ns >
	    (p->state == FO_P_SYNCING ? p->times->reconnect_grace_ns : p->times->backup_lost_ns))
		fo_p_event(p, now_ns, FO_PE_PEER_LOST);
	check_deadline(p, now_ns);
	if (p->overdue_at_ns && now_ns >= p->overdue_at_ns)
		fo_p_event(p, now_ns, FO_PE_SWITCH_OVERDUE);
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
	if (fo_p_lease_runs(p, now_ns))
		fo_p_event(p, now_ns, FO_PE_LEASE_BACK);
	fo_p_try_release(p, now_ns);
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
	return p->synced && !p->capturing && !p->poisoned && streams_in(p->state) &&
	       p->epoch_captured < p->epoch_committed + p->in_flight_max;
}

bool fo_primary_last_epoch(const struct fo_primary *p)
{
	return p->state == FO_P_SWITCHING && !p->last_taken && !p->capturing &&
	       (!p->poisoned || FO_BROKEN(poison_switched)) &&
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
	fo_p_check(p);
}

void fo_primary_sent(struct fo_primary *p, uint64_t epoch)
{
	FO_ASSERT(epoch == p->epoch_sent + 1);
	p->epoch_sent = epoch;
	fo_p_check(p);
	if (FO_BROKEN(release_early))
		fo_p_try_release(p, p->last_tick_ns);
}

void fo_primary_try_release(struct fo_primary *p, int64_t now_ns)
{
	if (!p->ended)
		fo_p_try_release(p, now_ns);
}

/* After a memory error: is all there that the backup is to continue from? */
static void give_away(struct fo_primary *p, int64_t now_ns)
{
	if (p->poisoned && p->halted && p->epoch_committed >= p->poison_after)
		fo_p_event(p, now_ns, FO_PE_LAST_COMMIT);
}

static int on_committed(struct fo_primary *p, int64_t now_ns, uint64_t epoch)
{
	if (epoch != p->epoch_committed + 1 || epoch > p->epoch_sent)
		return TV_E_PROTOCOL;
	p->epoch_committed = epoch;
	fo_primary_progress(p, now_ns);
	fo_p_check(p);
	if (epoch == 1)
		fo_p_event(p, now_ns, FO_PE_FIRST_COMMIT);
	fo_p_try_release(p, now_ns);
	if (p->last_taken && !p->poisoned && epoch == p->epoch_captured + p->capturing)
		fo_p_event(p, now_ns, FO_PE_LAST_COMMIT);
	give_away(p, now_ns);
	return 0;
}

/* ---- a memory error ---- */
void fo_primary_poisoned(struct fo_primary *p, int64_t now_ns, uint64_t good)
{
	FO_ASSERT(good <= p->epoch_captured);
	if (p->poisoned || p->ended || FO_BROKEN(poison_ignored))
		return;
	p->poisoned = true;
	/* What is sent cannot be taken back: who learns of an error so late learns it too late. */
	p->poison_after = good > p->epoch_sent ? good : p->epoch_sent;
	fo_p_event(p, now_ns, FO_PE_POISON);
	fo_p_check(p);
}

void fo_primary_halted(struct fo_primary *p, int64_t now_ns)
{
	if (!p->poisoned || p->state != FO_P_SWITCHING)
		return;
	p->halted = true;
	give_away(p, now_ns);
}

bool fo_primary_counts(const struct fo_primary *p, uint64_t epoch)
{
	return !p->poisoned || epoch <= p->poison_after || FO_BROKEN(poison_sent) ||
	       FO_BROKEN(poison_switched);
}

/* ---- a higher generation ---- */
/*
 * Without an arbiter there is no record: only the host that is or was the backup is believed, as
 * only it can have been given the VM, and only the next generation, which is what it was given.
 */
static bool believed(const struct fo_primary *p, const struct fo_msg *m)
{
	return m->generation == p->generation + 1 && (p->was_backup || p->pair.asked);
}

/* What a message of a higher generation means. With an arbiter it is a claim that the record
 * confirms or not, also in a planned switch, where it is expected. */
static enum fo_primary_event higher(const struct fo_primary *p, const struct fo_msg *m)
{
	bool expected =
		m->kind == FO_M_FENCED && (p->state == FO_P_YIELDING || p->state == FO_P_CHECKING ||
					   p->state == FO_P_YIELDED);

	if (!p->arbiter && !believed(p, m))
		return FO_PE_PEER_LOST; /* what a good backup does not report */
	if (expected && m->running)
		return FO_PE_PEER_RUNS;
	if (expected && p->state != FO_P_YIELDING && m->offered &&
	    m->generation == p->generation + 1)
		return FO_PE_OFFERED;
	return p->arbiter ? FO_PE_HIGHER_GENERATION : FO_PE_STALE;
}

/* No output leaves as if nothing had been reported. */
static bool heeded_in(enum fo_primary_state s)
{
	return s != FO_P_SYNCING && s != FO_P_PAIRING && s != FO_P_PROTECTED &&
	       s != FO_P_SUSPENDED && s != FO_P_REPAIRING && s != FO_P_SWITCHING &&
	       s != FO_P_YIELDING;
}

static void on_higher(struct fo_primary *p, int64_t now_ns, const struct fo_msg *m)
{
	fo_p_event(p, now_ns, higher(p, m));
	FO_ASSERT(heeded_in(p->state));
	/* No proof, but without a lease nothing speaks against it. */
	if (p->welcomed && !p->ended && !fo_p_lease_runs(p, now_ns))
		fo_p_event(p, now_ns, FO_PE_LEASE_OVER);
}

int fo_primary_message(struct fo_primary *p, int64_t now_ns, const struct fo_msg *m)
{
	if (p->ended)
		return 0;
	if (m->generation > p->generation) {
		on_higher(p, now_ns, m);
		return 0;
	}
	if (m->generation < p->generation) { /* refused; its sender learns the generation */
		fo_p_tell(p, FO_M_FENCED, 0);
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
