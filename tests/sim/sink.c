/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: the replicator on the backup, as thin as replicator/sink/sink.c lets it be. The applier is a queue
 * that takes time: check an epoch, report it, put it into the replica. Memory and disks arrive by
 * themselves and are one epoch's or damaged.
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

static void end(struct sink *k, const char *why)
{
	if (!k->p.alive)
		return;
	k->ending = true;
	note(k->h, "standby ends: %s", why);
	check_last_copy(k);
	if (k->conn)
		conn_close(k->conn, 1);
	k->p.alive = false;
	sink_ended(k);
}

void sink_discard(struct sink *k, const char *why)
{
	/* Asked of the record once more: only another host's name there ends the last copy. */
	if (fo_backup_owns(&k->e))
		fo_backup_replaced(&k->e, turn_now(&k->p));
	else
		end(k, why);
}

bool sink_retry(struct sink *k)
{
	if (!k->p.alive || k->ending || !fo_backup_retry(&k->e, turn_now(&k->p)))
		return false;
	note(k->h, "the promotion is tried again");
	k->session->forced = true;
	return true;
}

static void allow_echoes(struct sink *k)
{
	k->echoes_until = k->ending ? 0 : fo_backup_echoes_until(&k->e);
}

/* ---- what the engine asks for ---- */
static void op_send(void *arg, const struct fo_msg *m)
{
	struct sink *k = arg;
	struct msg x = {.kind = M_FO, .fo = *m};

	if (!step(&k->p) || !k->conn)
		return;
	if (m->kind == FO_M_COMMITTED) {
		/* The lease covers what a broken rule would let out here, so it is looked at. */
		if (k->e.state == FO_B_ASKING || k->e.state == FO_B_PROMOTING)
			violation(2, "%s commits epoch %llu and has asked for the VM itself",
				  k->h->name, (unsigned long long)m->epoch);
		sim.stats.commits++;
	}
	conn_send(k->conn, 1, &x);
}

static void answered(void *arg, const struct ask *a)
{
	struct sink *k = arg;

	if (k->ending)
		return;
	note(k->h, "answer to promote: %s",
	     !a->rc		  ? "won"
	     : a->rc == TV_E_LOST ? "lost"
				  : "not known");
	check_answer(k, a);
	fo_backup_answer(&k->e, turn_now(&k->p), a->rc, a->rc ? 0 : a->rec.generation);
}

static void op_ask(void *arg, enum fo_question q)
{
	struct sink *k = arg;
	struct fo_claim c = {.generation = k->e.generation};

	if (!step(&k->p))
		return;
	snprintf(c.vm_id, sizeof(c.vm_id), VM_ID);
	snprintf(c.self, sizeof(c.self), "%s", k->h->name);
	snprintf(c.peer, sizeof(c.peer), "%s", k->peer->name);
	snprintf(c.session, sizeof(c.session), "%s", k->session->id);
	c.had_record = true;
	note(k->h, "asks for the VM");
	ask_start(&k->asker, &k->p, q, &c, answered, k);
}

static void promoted(void *arg, uint64_t rc)
{
	struct sink *k = arg;

	fo_backup_promoted(&k->e, turn_now(&k->p), rc ? TV_E_QMP : 0);
}

/* The applier has done all that it was given before. */
static void job_promote(void *arg, uint64_t generation)
{
	struct sink *k = arg;

	unsigned per_mille = k->tried ? 300 : k->e.planned ? 150 : 30;

	if (!(sim.quiet && k->tried) && chance(per_mille)) {
		k->tried = true;
		note(k->h, "FAULT promotion fails");
		after(between(10000, 2 * MS), &k->p, promoted, k, 1);
		return;
	}
	check_resumed_state(k, &k->replica, k->replica_epoch);
	note(k->h, "VM runs here from epoch %llu, generation %llu",
	     (unsigned long long)k->replica_epoch, (unsigned long long)generation);
	sim.stats.promotions++;
	k->vm = inst_new(k->h, generation, &k->replica);
	k->h->vm = k->vm;
	check_stops(k->vm);
	after(between(10000, 2 * MS), &k->p, promoted, k, 0);
}

static void op_act(void *arg, enum fo_action a, uint64_t generation)
{
	struct sink *k = arg;

	if (!step(&k->p))
		return;
	switch (a) {
	case FO_ACTION_PROMOTE:
		check_promote(k, generation);
		if (k->apply_busy < sim.now)
			k->apply_busy = sim.now;
		k->apply_busy += between(15 * MS, 80 * MS);
		at(k->apply_busy, &k->p, job_promote, k, generation);
		break;
	case FO_ACTION_DISCARD:
		end(k, "discarded");
		break;
	case FO_ACTION_HAND_OVER:
		k->ending = true;
		if (k->conn)
			conn_close(k->conn, 1);
		k->p.alive = false;
		sink_handed_over(k);
		break;
	default:
		break;
	}
}

static void op_changed(void *arg, enum fo_backup_event ev, enum fo_backup_state from)
{
	struct sink *k = arg;

	sim.stats.backup_rows[from][ev]++;
	note(k->h, "backup: %s: %s -> %s (generation %llu, epoch %llu)", fo_backup_event_name(ev),
	     fo_backup_state_name(from), fo_backup_state_name(k->e.state),
	     (unsigned long long)k->e.generation, (unsigned long long)k->e.epoch_committed);
	allow_echoes(k);
	sim.stats.kept += k->e.state == FO_B_KEPT && from != FO_B_KEPT;
}

static const struct fo_backup_ops ops = {op_send, op_ask, op_act, op_changed};

/* ---- the applier ---- */
static void refuse(struct sink *k, const char *why)
{
	struct msg x = {.kind = M_REFUSE, .fo = {.kind = FO_M_ECHO, .generation = k->e.generation}};

	if (k->conn)
		conn_send(k->conn, 1, &x);
	end(k, why);
}

static void checked(void *arg, uint64_t word)
{
	struct sink *k = arg;
	uint64_t epoch = word >> 1;

	k->moved++;
	if (k->ending || k->broken)
		return;
	if (word & 1) {
		k->broken = true; /* what comes after rests on it */
		/* The epochs before are whole: a standby that is about to run stays. */
		if (k->e.state == FO_B_SYNCING ||
		    (k->conn && (k->e.state == FO_B_STANDBY || k->e.state == FO_B_WAITING)))
			refuse(k, "an epoch does not match its checksum");
		return;
	}
	check_commit(k->session, epoch);
	k->session->committed = epoch;
	k->replica = k->checked[epoch % 4];
	k->replica_epoch = epoch;
	fo_backup_verified(&k->e, turn_now(&k->p), epoch);
}

/* ---- what comes ---- */
/* As in_order() of replicator/sink/link.c: false, and the message has no effect. */
static bool in_order(struct sink *k, const char *what, int rc)
{
	if (rc == TV_E_PROTOCOL && k->p.alive)
		violation(9, "the backup's engine refuses %s in state %s", what,
			  fo_backup_state_name(k->e.state));
	return !rc && k->p.alive;
}

static void on_end(struct sink *k, const struct msg *m)
{
	bool broken = k->open_bad || k->have_mem != m->epoch || k->have_disk != m->epoch;

	if (!in_order(k, "the end of an epoch",
		      fo_backup_epoch_end(&k->e, m->generation, m->epoch)))
		return;
	if (memcmp(&k->mem, &k->disk, sizeof(k->mem)) != 0)
		violation(3, "memory and disks of epoch %llu are two epochs'",
			  (unsigned long long)m->epoch);
	k->checked[m->epoch % 4] = k->mem;
	if (k->apply_busy < sim.now)
		k->apply_busy = sim.now;
	k->apply_busy += between(50000, chance(50) ? 15 * MS : 2 * MS);
	at(k->apply_busy, &k->p, checked, k, m->epoch << 1 | broken);
}

static void receive(struct sink *k, const struct fo_msg *m)
{
	if (m->kind == FO_M_TAKE_OVER)
		k->session->asked = true;
	in_order(k, "a message", fo_backup_message(&k->e, turn_now(&k->p), m));
}

/* ---- the thread of heartbeats, as replicator/link/beat.c ---- */
static void look_at_beats(void *arg, uint64_t n)
{
	struct sink *k = arg;

	(void)n;
	if (!k->has_beat || k->ending || !k->conn)
		return;
	k->has_beat = false;
	receive(k, &k->beat);
}

void sink_datagram(void *arg, const struct msg *m)
{
	struct sink *k = arg;
	struct msg x = *m;

	if (!k->p.alive)
		return;
	if (m->fo.generation == k->session->generation) {
		k->beat_rx_ns = host_now(k->h);
		x.fo.kind = FO_M_ECHO;
		x.fo.moved = k->moved;
		if (host_now(k->h) < k->echoes_until)
			datagram(k->h, &k->source->beats, source_datagram, k->source, &x);
	}
	k->beat = m->fo;
	if (!k->has_beat)
		after(between(1000, 100000), &k->p, look_at_beats, k, 0);
	k->has_beat = true;
}

static void on_msg(void *arg, const struct msg *m)
{
	struct sink *k = arg;

	if (k->ending)
		return;
	k->rx_ns = turn_now(&k->p);
	switch (m->kind) {
	case M_SYNC_END:
		in_order(k, "the end of the first copy", fo_backup_sync_end(&k->e, m->generation));
		break;
	case M_BEGIN:
		if (!in_order(k, "an epoch", fo_backup_epoch_begin(&k->e, m->generation, m->epoch)))
			break;
		k->open_epoch = m->epoch;
		k->open_bad = false;
		break;
	case M_MEM:
		k->mem = m->st;
		k->have_mem = m->epoch;
		k->open_bad |= m->bad;
		break;
	case M_DISK:
		k->disk = m->st;
		k->have_disk = m->epoch;
		break;
	case M_END:
		on_end(k, m);
		break;
	case M_FO:
		receive(k, &m->fo);
		break;
	default:
		break;
	}
}

static void on_closed(void *arg)
{
	struct sink *k = arg;

	k->conn = NULL;
	if (k->ending)
		return;
	note(k->h, "connection to %s is closed", k->peer->name);
	if (!k->e.welcomed)
		end(k, "the primary went away");
	else
		fo_backup_closed(&k->e, turn_now(&k->p));
	allow_echoes(k);
}

static void tick(void *arg, uint64_t n)
{
	struct sink *k = arg;

	(void)n;
	timer(&k->p, sim.times.tick_ns, tick, k, 0);
	if (k->ending)
		return;
	fo_backup_moved(&k->e, turn_now(&k->p), k->moved, k->apply_busy > sim.now);
	fo_backup_tick(&k->e, turn_now(&k->p), k->beat_rx_ns > k->rx_ns ? k->beat_rx_ns : k->rx_ns);
	allow_echoes(k);
}

static void standby_is_there(void *arg, uint64_t n)
{
	struct sink *k = arg;
	struct msg x = {.kind = M_WELCOME, .sink = k, .generation = k->e.generation};

	(void)n;
	if (k->ending || !k->conn)
		return;
	conn_send(k->conn, 1, &x);
	k->rx_ns = turn_now(&k->p);
	fo_backup_welcomed(&k->e, k->rx_ns);
	allow_echoes(k);
}

bool sink_force(struct sink *k)
{
	k->session->forced = true;
	note(k->h, "the operator forces promotion");
	return fo_backup_force(&k->e, turn_now(&k->p));
}

void sink_start(struct host *h, struct conn *c, const struct msg *hello)
{
	struct sink *k = sim_alloc(sizeof(*k));

	proc_init(&k->p, h, P_SINK);
	proc_init(&k->beats, h, P_BEATS);
	k->p.thread = &k->beats;
	k->h = h;
	k->peer = hello->source->h;
	k->source = hello->source;
	k->session = hello->session;
	k->conn = c;
	k->introduced = true;
	h->sink = k;
	ask_init(&k->asker);
	fo_backup_init(&k->e, &sim.times, &ops, k, hello->generation, sim.arbiter);
	conn_attach(c, 1, &k->p, on_msg, on_closed, k);
	after(between(10 * MS, 100 * MS), &k->p, standby_is_there, k, 0);
	timer(&k->p, sim.times.tick_ns, tick, k, 0);
}
