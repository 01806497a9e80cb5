/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: the replicator on the primary, as thin as daemon/source*.c lets it be: events in, ops out;
 * capture thread and encoder are queues that take time. Every op is a step at which the process may
 * die.
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

#define WELCOME_NS (2000 * MS)

static void allow_beats(struct source *s)
{
	s->beats_until = s->conn && !s->leaving ? fo_primary_beats_until(&s->e) : 0;
}

/* ---- what the engine asks for ---- */
static void op_send(void *arg, const struct fo_msg *m)
{
	struct source *s = arg;
	struct msg x = {.kind = M_FO, .fo = *m};

	if (!step(&s->p) || !s->conn)
		return;
	if (m->kind == FO_M_TAKE_OVER) {
		s->vm->given =
			!sim.arbiter; /* noted where it outlives this process, before it is sent */
		s->session->asked = true;
		fault_at_take_over(s->h, s->peer);
		note(s->h, "asks %s to take over from epoch %llu", s->peer->name,
		     (unsigned long long)m->epoch);
	}
	conn_send(s->conn, 0, &x);
}

/* The VM is this host's again, in a generation of its own. */
void source_took_back(struct host *h, struct inst *v, uint64_t generation)
{
	if (!sim.arbiter)
		check_take_back(h, generation);
	h->generation = v->generation = generation;
	daemon_note(h, generation, h, NULL);
	v->given = false;
	sim.stats.taken_back++;
}

static void answered(void *arg, const struct ask *k)
{
	struct source *s = arg;

	if (s->leaving)
		return;
	note(s->h, "answer to %s: %s",
	     k->q == FO_ASK_PAIR   ? "pair"
	     : k->q == FO_ASK_BACK ? "take back"
				   : "alone",
	     !k->rc		  ? "recorded"
	     : k->rc == TV_E_LOST ? "lost"
				  : "not known");
	if (k->q == FO_ASK_BACK && !k->rc)
		source_took_back(s->h, s->vm, k->rec.generation);
	fo_primary_answer(&s->e, turn_now(&s->p), k->q, k->rc);
	source_schedule(s);
}

static void op_ask(void *arg, enum fo_question q)
{
	struct source *s = arg;
	struct fo_claim c = {.generation = s->e.generation};

	if (!step(&s->p))
		return;
	snprintf(c.vm_id, sizeof(c.vm_id), VM_ID);
	snprintf(c.self, sizeof(c.self), "%s", s->h->name);
	snprintf(c.peer, sizeof(c.peer), "%s", s->peer->name);
	snprintf(c.session, sizeof(c.session), "%s", s->session->id);
	c.had_record = s->h->had_record || s->e.recorded;
	note(s->h, "asks to be recorded %s",
	     q == FO_ASK_PAIR	? "as a pair"
	     : q == FO_ASK_BACK ? "as the one that took the VM back"
				: "alone");
	ask_start(&s->asker, &s->p, q, &c, answered, s);
}

static bool op_release(void *arg, uint64_t generation, uint64_t epoch, int64_t until_ns)
{
	struct source *s = arg;

	(void)generation;
	if (!step(&s->p) || host_now(s->h) >= until_ns)
		return false;
	check_release(s, epoch);
	nb_do_release(s->vm, epoch);
	return true;
}

/* ---- the end of the session ---- */
void source_finish(struct source *s, enum source_end how)
{
	static const char *const names[] = {"alone",  "left",	  "failed", "refused",
					    "fenced", "switched", "VM gone"};

	if (!s->p.alive)
		return;
	s->leaving = true;
	note(s->h, "session ends: %s", names[how]);
	if (s->conn) {
		if (how == END_ALONE || how == END_LEFT) {
			struct msg x = {.kind = M_FO,
					.fo = {.kind = FO_M_BYE, .generation = s->e.generation}};

			conn_send(s->conn, 0, &x);
		}
		conn_close(s->conn, 0);
	}
	s->p.alive = false;
	source_ended(s, how);
}

static void detached(void *arg, uint64_t n)
{
	source_finish(arg, (enum source_end)n);
}

static void offer(struct source *s)
{
	struct msg hello = {.kind = M_CONNECT,
			    .generation = s->e.generation,
			    .recorded = sim.arbiter,
			    .session = s->session,
			    .source = s};

	if (s->conn && s->conn->end[1].p)
		conn_send(s->conn, 0, &hello);
}

static void op_act(void *arg, enum fo_action a)
{
	struct source *s = arg;

	if (!step(&s->p))
		return;
	switch (a) {
	case FO_ACTION_HELLO:
		offer(s);
		break;
	case FO_ACTION_STOP_VM:
		job_later(s, chance(900) ? between(200000, 3 * MS) : between(3 * MS, 20 * MS),
			  job_stop, 0);
		break;
	case FO_ACTION_RESUME_VM:
		job_later(s, between(200000, 3 * MS), job_resume, 0);
		break;
	case FO_ACTION_LEAVE:
		if (s->leaving)
			break;
		s->leaving = true;
		if (!sim.arbiter)
			s->session->alone_after = true;
		nb_do_pass(s->vm);
		job_later(s, between(MS, 10 * MS), detached,
			  s->user_leave	     ? END_LEFT
			  : s->has_protected ? END_ALONE
					     : END_FAILED);
		break;
	case FO_ACTION_QUIT_VM:
		s->leaving = true;
		job_later(s, between(MS, 10 * MS), job_quit, 0);
		break;
	case FO_ACTION_END:
		s->leaving = true;
		after(between(MS, 10 * MS), &s->p, detached, s,
		      s->e.epoch_committed && s->conn ? END_SWITCHED : END_VM_GONE);
		break;
	default:
		break;
	}
}

static void op_changed(void *arg, enum fo_primary_event ev, enum fo_primary_state from)
{
	struct source *s = arg;

	if (!s->p.alive)
		return;
	sim.stats.primary_rows[from][ev]++;
	note(s->h, "primary: %s: %s -> %s (generation %llu, epoch %llu)", fo_primary_event_name(ev),
	     fo_primary_state_name(from), fo_primary_state_name(s->e.state),
	     (unsigned long long)s->e.generation, (unsigned long long)s->e.epoch_committed);
	allow_beats(s);
	switch (s->e.state) {
	case FO_P_PROTECTED:
		s->has_protected = true;
		s->h->had_record = sim.arbiter;
		daemon_note(s->h, s->e.generation, s->h, sim.arbiter ? NULL : s->peer);
		if (from == FO_P_PAIRING)
			fo_reprotect_protected(&s->h->reprotect, s->peer->name, host_now(s->h));
		sim.stats.protected_again += from == FO_P_PAIRING;
		break;
	case FO_P_SUSPENDED:
		sim.stats.suspended++;
		break;
	case FO_P_FENCED:
		sim.stats.fenced++;
		if (from != FO_P_FENCED)
			check_fenced(s->h);
		break;
	case FO_P_SWITCHED:
		sim.stats.switches++;
		break;
	case FO_P_ALONE:
		sim.stats.alone++;
		break;
	default:
		break;
	}
	/* As replicator/source/decide.c: nothing that a lost backup still says counts. */
	if ((ev == FO_PE_PEER_LOST || ev == FO_PE_HIGHER_GENERATION) && s->conn &&
	    (s->e.state == FO_P_ASKING || s->e.state == FO_P_HELD || s->e.state == FO_P_DOUBTING)) {
		conn_close(s->conn, 0);
		s->conn = NULL;
	}
}

static const struct fo_primary_ops ops = {op_send, op_ask, op_release, op_act, op_changed};

/* ---- events ---- */
void source_event(struct source *s, enum fo_primary_event ev)
{
	if (s->leaving || !s->p.alive)
		return;
	fo_primary_event(&s->e, turn_now(&s->p), ev);
	source_schedule(s);
}

/*
 * Rule 3: a primary that learns of a higher generation does not continue as before: it stops its VM
 * for good, or the record decides.
 */
static void heeded_by_now(void *arg, uint64_t generation)
{
	struct source *s = arg;

	if (s->e.ended || s->leaving)
		return;
	switch (s->e.state) {
	case FO_P_SYNCING:
	case FO_P_PAIRING:
	case FO_P_PROTECTED:
	case FO_P_SUSPENDED:
	case FO_P_REPAIRING:
	case FO_P_SWITCHING:
		break;
	default:
		return;
	}
	violation(1, "%s received generation %llu and is %s", s->h->name,
		  (unsigned long long)generation, fo_primary_state_name(s->e.state));
}

void source_outdated(struct source *s, uint64_t generation)
{
	if (s->leaving || !s->p.alive)
		return;
	after(50 * MS, &s->p, heeded_by_now, s, generation);
	source_event(s, FO_PE_STALE);
}

static void look_at_beats(void *arg, uint64_t n);

static void tick(void *arg, uint64_t n)
{
	struct source *s = arg;

	(void)n;
	timer(&s->p, sim.times.tick_ns, tick, s, 0);
	if (s->leaving)
		return;
	if (!s->e.welcomed && s->e.state != FO_P_DOUBTING && s->e.state != FO_P_FENCED &&
	    turn_now(&s->p) - s->started_ns > WELCOME_NS) {
		source_finish(s, END_FAILED);
		return;
	}
	if (s->conn && conn_acked(s->conn, 0) > s->acked) {
		s->acked = conn_acked(s->conn, 0);
		fo_primary_progress(&s->e, turn_now(&s->p));
	}
	look_at_beats(s, 0);
	fo_primary_tick(&s->e, turn_now(&s->p),
			s->beat_rx_ns > s->rx_ns ? s->beat_rx_ns : s->rx_ns);
	allow_beats(s);
	source_schedule(s);
}

static void receive(struct source *s, const struct fo_msg *m)
{
	int rc;

	if (m->generation > s->e.generation)
		after(50 * MS, &s->p, heeded_by_now, s, m->generation);
	rc = fo_primary_message(&s->e, turn_now(&s->p), m);
	if (rc == TV_E_PROTOCOL && s->p.alive)
		violation(9, "the primary's engine finds message kind %d out of place in %s",
			  m->kind, fo_primary_state_name(s->e.state));
	source_schedule(s);
}

/* ---- the thread of heartbeats, as replicator/link/beat.c ---- */
static void look_at_beats(void *arg, uint64_t n)
{
	struct source *s = arg;

	(void)n;
	if (!s->has_echo || s->leaving || !s->conn)
		return;
	s->has_echo = false;
	receive(s, &s->echo);
}

void source_datagram(void *arg, const struct msg *m)
{
	struct source *s = arg;

	if (!s->p.alive || m->fo.seq > s->beat_seq)
		return;
	if (m->fo.generation == s->e.generation)
		s->beat_rx_ns = host_now(s->h);
	s->echo = m->fo;
	if (!s->has_echo)
		after(between(1000, 100000), &s->p, look_at_beats, s, 0);
	s->has_echo = true;
}

static void beat(void *arg, uint64_t n)
{
	struct source *s = arg;
	struct msg x = {.kind = M_FO,
			.fo = {.kind = FO_M_HEARTBEAT,
			       .generation = s->session->generation,
			       .sent_ns = turn_now(&s->beats),
			       .datagram = true}};

	(void)n;
	if (!s->p.alive)
		return;
	timer(&s->beats, sim.times.beat_ns, beat, s, 0);
	if (turn_now(&s->beats) >= s->beats_until)
		return;
	x.fo.seq = ++s->beat_seq;
	datagram(s->h, &s->sink->beats, sink_datagram, s->sink, &x);
}

static void sync_more(void *arg, uint64_t n)
{
	struct source *s = arg;
	struct msg x = {.kind = M_SYNC_END, .generation = s->e.generation};

	(void)n;
	if (s->leaving)
		return;
	if (!s->vm->p.alive || s->vm->fenced) {
		source_finish(s, END_VM_GONE);
		return;
	}
	if (s->sync_left--) {
		after(between(2 * MS, 40 * MS), &s->p, sync_more, s, 0);
		return;
	}
	if (s->conn)
		conn_send(s->conn, 0, &x);
	nb_do_hold(s->vm, s->session);
	fo_primary_synced(&s->e);
	source_schedule(s);
}

static void on_msg(void *arg, const struct msg *m)
{
	struct source *s = arg;

	if (s->leaving)
		return;
	s->rx_ns = turn_now(&s->p);
	switch (m->kind) {
	case M_WELCOME:
		note(s->h, "is welcome on %s", s->peer->name);
		s->sink = m->sink;
		fo_primary_welcomed(&s->e, turn_now(&s->p));
		allow_beats(s);
		beat(s, 0);
		s->sync_left = 1 + (unsigned)rnd(8);
		sync_more(s, 0);
		break;
	case M_REFUSE:
		note(s->h, "refused by %s", s->peer->name);
		if (m->fo.kind == FO_M_FENCED && m->fo.generation > s->e.generation)
			receive(s, &m->fo);
		else if (!s->e.welcomed && s->e.state == FO_P_SYNCING)
			source_finish(s, END_REFUSED);
		else
			source_event(s, FO_PE_PEER_LOST);
		break;
	case M_FO:
		receive(s, &m->fo);
		break;
	default:
		break;
	}
}

static void on_closed(void *arg)
{
	struct source *s = arg;

	s->conn = NULL;
	if (s->leaving)
		return;
	note(s->h, "connection to %s is closed", s->peer->name);
	if (!s->e.welcomed && s->e.state != FO_P_DOUBTING && s->e.state != FO_P_FENCED)
		source_finish(s, END_FAILED);
	else
		source_event(s, FO_PE_PEER_LOST);
}

struct source *source_start(struct host *h, struct host *peer)
{
	struct source *s = sim_alloc(sizeof(*s));
	struct session *x = sim_alloc(sizeof(*x));

	snprintf(x->id, sizeof(x->id), "%04u", ++sim.sessions);
	*x = (struct session){.primary = h, .backup = peer, .generation = h->generation};
	snprintf(x->id, sizeof(x->id), "%04u", sim.sessions);
	sim.stats.sessions++;
	sim.last_session = x;
	proc_init(&s->p, h, P_SOURCE);
	proc_init(&s->beats, h, P_BEATS);
	s->p.thread = &s->beats;
	s->h = h;
	s->peer = peer;
	s->vm = h->vm;
	s->session = x;
	ask_init(&s->asker);
	fo_primary_init(&s->e, &sim.times, &ops, s, h->generation, sim.arbiter);
	s->e.was_backup = !strcmp(h->known.backup, peer->name);
	s->e.in_flight_max = 1 + (unsigned)rnd(FO_MAX_IN_FLIGHT);
	s->started_ns = s->rx_ns = host_now(h);
	s->conn = conn_new(h, peer);
	conn_attach(s->conn, 0, &s->p, on_msg, on_closed, s);
	note(h, "session %s with %s begins, generation %llu", x->id, peer->name,
	     (unsigned long long)h->generation);
	if (peer->up && peer->daemon) {
		void daemon_listens(struct host * p, struct conn * c);

		daemon_listens(peer, s->conn);
	}
	fo_primary_begin(&s->e);
	timer(&s->p, sim.times.tick_ns, tick, s, 0);
	return s;
}
