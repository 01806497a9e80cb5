/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the backup's engine
 *
 * One session: the first copy, epochs that are committed once they were received whole and checked,
 * and the end. See core.c for the table and timeouts.c for the time-outs.
 *
 * After silence, when the connection stays closed, or at the primary's request, this host asks the
 * arbiter for the VM. From then on no commit is acknowledged and no heartbeat echoed: the primary
 * must neither release output nor have its lease renewed by a backup that is about to run the VM
 * itself. An epoch that is verified later is whole and may be run; the primary only never learns of
 * it.
 *
 * A promotion that fails leaves what may be the last copy of the VM, so nothing is removed. After a
 * planned switch the primary waits with a whole copy: the VM is offered back, and the primary takes
 * it with a compare-and-swap of its own. Else an operator tries again, which takes the record's next
 * generation: of the two, the arbiter lets one win.
 *
 * A backup whose apply thread does not move although it has work (a disk that hangs) does not echo
 * either: what it acknowledged before is safe, but it is no backup any more.
 */
#include "failover/failover.h"
#include "failover/mutant.h"

#include <errno.h>

void fo_backup_init(struct fo_backup *b, const struct fo_times *t, const struct fo_backup_ops *ops,
		    void *arg, uint64_t generation, bool arbiter)
{
	*b = (struct fo_backup){.times = t,
				.ops = ops,
				.arg = arg,
				.session_generation = generation,
				.generation = generation,
				.arbiter = arbiter};
}

/* Heartbeats are echoed and commits sent: the primary may rely on them. */
static bool listens_in(enum fo_backup_state s)
{
	return s == FO_B_SYNCING || s == FO_B_STANDBY || s == FO_B_WAITING;
}

/* ---- what holds between any two calls ---- */
static void check(const struct fo_backup *b)
{
	bool has_vm = b->state == FO_B_PROMOTING || b->state == FO_B_PROMOTED ||
		      b->state == FO_B_OFFERED || b->state == FO_B_KEPT;

	/* Only epochs whose end has come are committed, and only such are run (rule 2). */
	FO_ASSERT(b->epoch_committed + b->in_epoch <= b->epoch_open);
	FO_ASSERT(b->epoch_committed || b->state == FO_B_SYNCING || b->state == FO_B_GONE);
	FO_ASSERT(b->generation >= b->session_generation);
	FO_ASSERT(!has_vm || fo_backup_owns(b));
	FO_ASSERT(b->state != (b->arbiter ? FO_B_WAITING : FO_B_ASKING));
	FO_ASSERT(!b->promote.open || b->state == FO_B_ASKING);
	FO_ASSERT(!b->retry_at_ns || (b->state == FO_B_ASKING && !b->promote.open));
	FO_ASSERT(b->ended == (b->state == FO_B_GONE || b->state == FO_B_PROMOTED));
	FO_ASSERT(b->over == b->ended);
}

/* Rules 2 and 3: a whole epoch, and a generation of its own, from the record if there is one. */
static void check_promote(const struct fo_backup *b)
{
	FO_ASSERT(!b->over && b->state == FO_B_PROMOTING);
	FO_ASSERT(b->epoch_committed && b->generation > b->session_generation);
	FO_ASSERT(!b->arbiter || b->promote.won);
}

/* What may be the last copy is removed only for another host's record, or the primary's. */
static void check_discard(const struct fo_backup *b, enum fo_backup_event ev, unsigned actions)
{
	FO_ASSERT(!(actions & FO_A(DISCARD)) || !fo_backup_owns(b) || ev == FO_BE_LOST ||
		  ev == FO_BE_TAKEN_BACK);
}

static void tell(struct fo_backup *b, struct fo_msg m)
{
	if (m.kind == FO_M_ECHO || m.kind == FO_M_COMMITTED)
		FO_ASSERT(listens_in(b->state) && b->generation == b->session_generation);
	m.generation = b->generation;
	b->ops->send(b->arg, &m);
}

/* ---- decisions ---- */
static void ask(struct fo_backup *b)
{
	FO_ASSERT(b->state == FO_B_ASKING && !b->promote.open);
	b->promote.asked = b->promote.open = true;
	b->ops->ask(b->arg, FO_ASK_PROMOTE);
}

static void act(struct fo_backup *b, unsigned a, int64_t now_ns)
{
	FO_ASSERT(!b->over);
	if (a & FO_A(ASK_PROMOTE))
		ask(b);
	if (a & FO_A(ASK_LATER))
		b->retry_at_ns = now_ns + b->times->retry_ns;
	if (a & FO_A(PROMOTE)) {
		if (!b->arbiter) /* an operator or the primary's request takes the record's place */
			b->generation++;
		check_promote(b);
		/* Before the VM runs: a primary that receives it stops its own. */
		tell(b, (struct fo_msg){.kind = FO_M_FENCED});
		b->ops->act(b->arg, FO_ACTION_PROMOTE, b->generation);
	}
	if (a & FO_A(OFFER))
		tell(b, (struct fo_msg){.kind = FO_M_FENCED, .offered = true});
	if (a & FO_A(DISCARD))
		b->ops->act(b->arg, FO_ACTION_DISCARD, b->generation);
	if (a & FO_A(HAND_OVER)) {
		tell(b, (struct fo_msg){.kind = FO_M_FENCED, .running = true});
		b->ops->act(b->arg, FO_ACTION_HAND_OVER, b->generation);
	}
}

static void event(struct fo_backup *b, int64_t now_ns, enum fo_backup_event ev)
{
	struct fo_step st = fo_backup_step(b->state, ev, b->arbiter);
	enum fo_backup_state from = b->state;

	if (b->ended || ((int)from == st.next && !st.actions))
		return;
	if (FO_BROKEN(promote_without_arbiter) && st.actions & FO_A(ASK_PROMOTE))
		st = (struct fo_step){FO_B_PROMOTING, FO_A(PROMOTE)};
	if (FO_BROKEN(discard_after_won) &&
	    (ev == FO_BE_PROMOTE_FAILED || ev == FO_BE_SWITCH_FAILED))
		st = (struct fo_step){FO_B_GONE, FO_A(DISCARD)};
	check_discard(b, ev, st.actions);
	b->state = (enum fo_backup_state)st.next;
	b->retry_at_ns = 0;
	b->ended = b->state == FO_B_GONE || b->state == FO_B_PROMOTED;
	act(b, st.actions, now_ns);
	b->over = b->ended;
	b->ops->changed(b->arg, ev, from);
	check(b);
}

void fo_backup_answer(struct fo_backup *b, int64_t now_ns, int rc, uint64_t generation)
{
	if (FO_BROKEN(lost_is_won) && rc == TV_E_LOST) {
		rc = 0;
		generation = b->generation + 1;
	}
	FO_ASSERT(b->promote.open && b->state == FO_B_ASKING);
	b->promote.open = false;
	b->promote.won = !rc;
	if (rc) {
		event(b, now_ns, rc == TV_E_LOST ? FO_BE_LOST : FO_BE_UNREACHABLE);
		return;
	}
	FO_ASSERT(generation > b->generation);
	b->generation = generation;
	event(b, now_ns, FO_BE_WON);
}

void fo_backup_promoted(struct fo_backup *b, int64_t now_ns, int rc)
{
	FO_ASSERT(b->state == FO_B_PROMOTING);
	event(b, now_ns,
	      !rc			 ? FO_BE_PROMOTE_DONE
	      : b->planned && !b->closed ? FO_BE_SWITCH_FAILED
					 : FO_BE_PROMOTE_FAILED);
}

bool fo_backup_retry(struct fo_backup *b, int64_t now_ns)
{
	if (b->state != FO_B_KEPT && b->state != FO_B_OFFERED)
		return false;
	b->planned = false; /* the record that the primary could take back is taken anew */
	event(b, now_ns, FO_BE_RETRY);
	return true;
}

void fo_backup_replaced(struct fo_backup *b, int64_t now_ns)
{
	if (b->arbiter)
		(void)fo_backup_retry(b, now_ns);
	else
		event(b, now_ns, FO_BE_TAKEN_BACK);
}

bool fo_backup_force(struct fo_backup *b, int64_t now_ns)
{
	/* The operator states that the primary is dead: a closed connection counts like silence. */
	if (b->state == FO_B_STANDBY && b->closed && !b->arbiter)
		event(b, now_ns, FO_BE_GRACE_OVER);
	if (b->state != FO_B_WAITING)
		return false;
	event(b, now_ns, FO_BE_FORCE);
	return true;
}

/* ---- silence ---- */
void fo_backup_welcomed(struct fo_backup *b, int64_t now_ns)
{
	FO_ASSERT(!b->welcomed);
	b->welcomed = b->syncing = true;
	b->last_tick_ns = now_ns;
}

void fo_backup_closed(struct fo_backup *b, int64_t now_ns)
{
	b->closed = true;
	if (b->state == FO_B_SYNCING)
		event(b, now_ns, FO_BE_SILENCE);
	else
		b->grace_at_ns = now_ns + b->times->reconnect_grace_ns;
}

void fo_backup_moved(struct fo_backup *b, int64_t now_ns, uint64_t moved, bool has_work)
{
	if (!has_work || moved > b->moved)
		b->moved_ns = now_ns;
	b->moved = moved;
}

/* The first copy may wait for a disk: nothing is held for it. */
static bool is_stuck(const struct fo_backup *b, int64_t now_ns)
{
	return b->state != FO_B_SYNCING && b->moved_ns &&
	       now_ns - b->moved_ns > b->times->commit_deadline_ns;
}

/*
 * As fo_primary_beats_until(): a loop that does not turn commits nothing, and the primary does not
 * wait for it for ever.
 */
int64_t fo_backup_echoes_until(const struct fo_backup *b)
{
	if (FO_BROKEN(echo_after_asking))
		return INT64_MAX;
	if (!b->welcomed || b->ended || b->closed || !listens_in(b->state) ||
	    is_stuck(b, b->last_tick_ns))
		return 0;
	return b->last_tick_ns + b->times->commit_deadline_ns;
}

void fo_backup_tick(struct fo_backup *b, int64_t now_ns, int64_t rx_ns)
{
	/*
	 * A stall of this process is not silence: what waits in the sockets is read first. Excused
	 * once: a host that is always late would never take over.
	 */
	bool late =
		b->last_tick_ns && now_ns - b->last_tick_ns > b->times->heartbeat_ns && !b->excused;
	/* Before the first commit there is nothing to hurry for. */
	int64_t patience_ns =
		b->state == FO_B_SYNCING ? b->times->reconnect_grace_ns : b->times->suspect_ns;

	check(b);
	b->last_tick_ns = now_ns;
	b->excused = late;
	if (b->ended || late || !b->welcomed)
		return;
	if (!b->closed && now_ns - rx_ns > patience_ns)
		event(b, now_ns, FO_BE_SILENCE);
	if (b->grace_at_ns && now_ns >= b->grace_at_ns) {
		b->grace_at_ns = 0;
		event(b, now_ns, FO_BE_GRACE_OVER);
	}
	if (b->retry_at_ns && now_ns >= b->retry_at_ns) {
		b->retry_at_ns = 0;
		ask(b);
	}
}

/* ---- messages ---- */
static int generation_check(struct fo_backup *b, int64_t now_ns, uint64_t generation)
{
	if (generation == b->generation)
		return 0;
	if (fo_backup_owns(b) && generation == b->generation + 1) { /* what was offered */
		fo_backup_replaced(b, now_ns);
		return -ESTALE;
	}
	if (generation > b->generation)
		return TV_E_PROTOCOL; /* its hello had the session's */
	tell(b, (struct fo_msg){.kind = FO_M_FENCED, .running = b->state == FO_B_PROMOTED});
	return -ESTALE;
}

int fo_backup_message(struct fo_backup *b, int64_t now_ns, const struct fo_msg *m)
{
	int rc = generation_check(b, now_ns, m->generation);

	if (rc || b->ended)
		return rc;
	event(b, now_ns, FO_BE_TRAFFIC);
	switch (m->kind) {
	case FO_M_HEARTBEAT:
		if (m->datagram) /* the owner's thread has echoed it */
			return 0;
		if ((listens_in(b->state) && !is_stuck(b, now_ns)) || FO_BROKEN(echo_after_asking))
			tell(b, (struct fo_msg){.kind = FO_M_ECHO,
						.seq = m->seq,
						.sent_ns = m->sent_ns,
						.moved = b->moved});
		return 0;
	case FO_M_TAKE_OVER:
		/* A planned switch is about one epoch, and it is committed here. */
		if (m->epoch && m->epoch != b->epoch_committed)
			return TV_E_PROTOCOL;
		b->planned = m->epoch != 0;
		b->poisoned = m->poisoned;
		event(b, now_ns, FO_BE_TAKE_OVER);
		return 0;
	case FO_M_BYE:
		event(b, now_ns, FO_BE_BYE);
		return 0;
	case FO_M_FENCED:
		return 0;
	default:
		return TV_E_PROTOCOL;
	}
}

/* ---- the stream's marks ---- */
int fo_backup_sync_end(struct fo_backup *b, uint64_t generation)
{
	int rc = generation_check(b, b->last_tick_ns, generation);

	if (rc)
		return rc;
	if (!b->syncing)
		return TV_E_PROTOCOL;
	b->syncing = false;
	return 0;
}

int fo_backup_epoch_begin(struct fo_backup *b, uint64_t generation, uint64_t epoch)
{
	int rc = generation_check(b, b->last_tick_ns, generation);

	if (rc)
		return rc;
	if (!b->welcomed || b->syncing || b->in_epoch || epoch != b->epoch_open + 1)
		return TV_E_PROTOCOL;
	b->in_epoch = true;
	b->epoch_open = epoch;
	return 0;
}

int fo_backup_epoch_end(struct fo_backup *b, uint64_t generation, uint64_t epoch)
{
	int rc = generation_check(b, b->last_tick_ns, generation);

	if (rc)
		return rc;
	if (!b->in_epoch || epoch != b->epoch_open)
		return TV_E_PROTOCOL;
	b->in_epoch = false;
	if (FO_BROKEN(commit_unverified))
		fo_backup_verified(b, b->last_tick_ns, epoch);
	return 0;
}

void fo_backup_verified(struct fo_backup *b, int64_t now_ns, uint64_t epoch)
{
	if (epoch <= b->epoch_committed || b->ended)
		return;
	/* The next one, and its end has come: the commit side of the output rule. */
	FO_ASSERT(epoch == b->epoch_committed + 1 && epoch + b->in_epoch <= b->epoch_open);
	b->epoch_committed = epoch;
	if (b->state == FO_B_SYNCING)
		event(b, now_ns, FO_BE_FIRST_COMMIT);
	if (listens_in(b->state) || FO_BROKEN(commit_after_asking))
		tell(b, (struct fo_msg){.kind = FO_M_COMMITTED, .epoch = epoch});
}
