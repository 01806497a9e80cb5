/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: the invariants, checked on the simulator's own time and on what is really so (the record in
 * the store, the epochs that the backup really holds), not on what an engine believes.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const invariants[] = {
	"",
	"two instances release output",
	"output before commit or record",
	"not one whole committed epoch",
	"an acknowledged write is lost, or a discarded future was seen",
	"two instances run",
	"generations do not grow",
	"a promotion without permission",
	"not well again after the faults",
	"the two engines do not understand each other",
	"the last copy is removed",
	"output is held for too long",
	"a promotion while the primary lives",
	"a generation is believed that nothing confirms",
	"what a memory error has touched is committed",
};

void violation(int invariant, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	if (sim.failed)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	sim.failed = true;
	sim.invariant = invariant;
	snprintf(sim.message, sizeof(sim.message), "%s: %s", invariants[invariant], text);
	note(NULL, "VIOLATION of invariant %d: %s", invariant, sim.message);
}

/* ---- is there any excuse? ---- */
#define HELD_LOOK_NS (5 * MS)
#define LIVES_NS (600 * MS)	   /* a host that was held up sooner may be late */
#define ARBITER_BAD_NS (1000 * MS) /* after trouble, until no question of before is open */
/* The deadline by the slowest clock, then questions of which two may get lost. */
#define HELD_NS (sim.times.commit_deadline_ns + 2500 * MS)

static bool arbiter_answers(const struct host *h)
{
	return sim.arbiter && sim.now - sim.arbiter_bad_at > ARBITER_BAD_NS && !sim.arbiter_down &&
	       !sim.arbiter_slow_ns && net_passes(h->id, NODE_ARBITER) &&
	       net_passes(NODE_ARBITER, h->id);
}

/* Does a session of that host's decide at present whether output leaves? */
static bool decides(const struct host *h)
{
	const struct source *s = h->source;

	return h->up && !h->frozen && !h->slow && h->vm && s && s->p.alive && !s->p.frozen &&
	       !s->leaving && s->e.state != FO_P_SWITCHING && s->e.state != FO_P_YIELDING &&
	       s->e.state != FO_P_YIELDED;
}

static bool alone_by_record(const struct inst *v)
{
	if (!sim.arbiter || !sim.have_record)
		return true; /* invariant 1 says whose it is */
	return sim.record.state == FO_ALONE && !strcmp(sim.record.primary, v->h->name);
}

void check_frame(const struct inst *v, const struct frame *f, enum how how)
{
	if (v->generation < sim.top_generation || v->h != sim.owner)
		violation(1,
			  "a frame of generation %llu leaves %s after generation %llu was given "
			  "to %s",
			  (unsigned long long)v->generation, v->h->name,
			  (unsigned long long)sim.top_generation, sim.owner->name);
	if (how == BY_PASS && !alone_by_record(v))
		violation(2, "a frame leaves %s unheld while the record pairs it with %s",
			  v->h->name, sim.record.backup);
	if (how == BY_COMMIT && f->epoch > v->held_for->committed)
		violation(2, "a frame of epoch %llu leaves %s; %s holds epoch %llu",
			  (unsigned long long)f->epoch, v->h->name, v->held_for->backup->name,
			  (unsigned long long)v->held_for->committed);
	if (f->ops > sim.released_ops)
		sim.released_ops = f->ops;
}

/* A commit is worth something only when the record lets the one who holds it promote. */
void check_release(const struct source *s, uint64_t epoch)
{
	if (sim.arbiter && !s->session->paired)
		violation(2, "epoch %llu is released before the record names %s as backup",
			  (unsigned long long)epoch, s->peer->name);
}

/* ---- held output ---- */
/* What really moved: the stream, the apply thread, or the epochs. */
static uint64_t moved(const struct source *s)
{
	const struct sink *k = s ? s->sink : NULL;

	return !s ? 0
		  : s->e.epoch_committed + (s->conn ? s->conn->end[1].got : 0) +
			       (k && k->p.alive ? k->moved : 0);
}

void check_held(void *arg, uint64_t n)
{
	const struct host *h = sim.owner;
	uint64_t m = moved(h->source);
	int64_t from = sim.now;

	(void)arg;
	(void)n;
	for (unsigned i = 0; i < sim.hosts; i++)
		if (!arbiter_answers(&sim.host[i]) || !decides(&sim.host[i]))
			sim.excuse_at[i] = sim.now;
	if (arbiter_answers(h) && decides(h) && m == sim.held_moved && sim.held_from)
		from = sim.held_from;
	sim.held_from = from;
	sim.held_moved = m;
	if (decides(h) && nb_holds_frames(h->vm)) {
		if (h->vm->head->held_at > from)
			from = h->vm->head->held_at;
		if (sim.now - from > HELD_NS)
			violation(11, "%s holds a frame for %lld ms in state %s", h->name,
				  (long long)((sim.now - from) / MS),
				  fo_primary_state_name(h->source->e.state));
	}
	after(HELD_LOOK_NS, NULL, check_held, NULL, 0);
}

void check_runs(struct inst *v)
{
	if (v->fenced)
		violation(8, "a fenced VM runs again on %s", v->h->name);
	for (struct inst *o = sim.insts; o; o = o->next)
		if (o != v && inst_runs(o) && !host_blind(o->h) &&
		    !(host_blind(v->h) && v->counted_before))
			violation(5, "the VM begins to run on %s while it runs on %s", v->h->name,
				  o->h->name);
}

/* However slow its host, a VM that another host was given stops. */
static void stopped_by_now(void *arg, uint64_t generation)
{
	const struct inst *v = arg;
	const struct source *s = v->h->source;

	if (inst_runs(v) && s && s->p.alive && !v->h->frozen && v->generation < generation &&
	    v->h->slow)
		violation(5, "the VM still runs on %s, long after %s was given it", v->h->name,
			  sim.owner->name);
}

void check_stops(const struct inst *v)
{
	for (struct inst *o = sim.insts; o; o = o->next)
		if (o != v && inst_runs(o))
			after(1000 * MS, NULL, stopped_by_now, o, v->generation);
}

/*
 * Links are lost, hosts are not: when a backup takes the VM without having been asked to, its
 * primary did not live, or could not ask first.
 */
static void check_asked_first(const struct host *from, const struct host *to)
{
	const struct source *s = from->source;

	if (!arbiter_answers(from) || !decides(from) ||
	    sim.now - sim.excuse_at[from->id] < LIVES_NS || s->session->asked || s->peer != to ||
	    !s->vm->p.alive)
		return;
	violation(12, "%s takes the VM from %s, which lives and is %s", to->name, from->name,
		  fo_primary_state_name(s->e.state));
}

void check_record(const struct fo_record *old, bool had, const struct fo_record *next)
{
	struct host *to = sim.owner;

	for (unsigned i = 0; i < sim.hosts; i++)
		if (!strcmp(sim.host[i].name, next->primary))
			to = &sim.host[i];
	if (next->generation < sim.top_generation || (had && next->generation < old->generation))
		violation(6, "generation %llu is recorded after %llu",
			  (unsigned long long)next->generation,
			  (unsigned long long)sim.top_generation);
	if (to != sim.owner) {
		if (next->generation <= sim.top_generation)
			violation(6, "%s takes generation %llu, which %s had", to->name,
				  (unsigned long long)next->generation, sim.owner->name);
		if (had && old->state == FO_PAIRED && strcmp(old->backup, to->name) != 0)
			violation(7, "%s takes the VM, and %s is the backup by record", to->name,
				  old->backup);
		check_asked_first(sim.owner, to);
		sim.owner = to;
	}
	sim.top_generation = next->generation;
	if (next->state == FO_PAIRED)
		for (struct inst *v = sim.insts; v; v = v->next)
			if (v->held_for && !strcmp(v->held_for->id, next->session))
				v->held_for->paired = true;
}

void check_promote(struct sink *k, uint64_t generation)
{
	if (sim.arbiter) {
		if (sim.owner != k->h || sim.top_generation != generation)
			violation(7, "%s promotes to generation %llu without the record",
				  k->h->name, (unsigned long long)generation);
		return;
	}
	if (!k->session->asked && !k->session->forced)
		violation(7, "%s promotes without arbiter, operator or the primary's request",
			  k->h->name);
	if (generation <= sim.top_generation)
		violation(6, "generation %llu is taken after %llu", (unsigned long long)generation,
			  (unsigned long long)sim.top_generation);
	sim.top_generation = generation;
	sim.owner = k->h;
}

void check_resumed_state(struct sink *k, const struct state *st, uint64_t epoch)
{
	if (!epoch || epoch != k->session->committed || epoch != k->e.epoch_committed)
		violation(3, "%s resumes epoch %llu, committed was %llu (engine: %llu)", k->h->name,
			  (unsigned long long)epoch, (unsigned long long)k->session->committed,
			  (unsigned long long)k->e.epoch_committed);
	if (st->ops < sim.released_ops)
		violation(3, "%s resumes a state of %llu operations, output of %llu was released",
			  k->h->name, (unsigned long long)st->ops,
			  (unsigned long long)sim.released_ops);
}

/* Without an arbiter; with one the record is looked at. */
void check_take_back(struct host *h, uint64_t generation)
{
	if (generation <= sim.top_generation)
		violation(6, "%s takes the VM back as generation %llu after %llu", h->name,
			  (unsigned long long)generation, (unsigned long long)sim.top_generation);
	sim.top_generation = generation;
	sim.owner = h;
}

/*
 * A VM is stopped for good: the record does not say that it is this host's. Without an arbiter: the
 * VM was given away, or another host runs it.
 */
void check_fenced(const struct host *h)
{
	if (!h->vm)
		return;
	if (sim.arbiter ? sim.have_record && !strcmp(sim.record.primary, h->name) &&
				  sim.record.generation <= h->vm->generation
			: sim.owner == h && !h->vm->given)
		violation(13, "%s stops its VM for good, and has generation %llu by record",
			  h->name, (unsigned long long)h->vm->generation);
}

/* Another host's offer is taken, or this host's VM stopped for it. a: the record that was read. */
void check_believed(const struct host *h, const struct msg *hello, const struct ask *a)
{
	const struct host *from = hello->source->h;

	if (sim.arbiter) {
		if (!a->rc && (strcmp(a->rec.primary, from->name) != 0 ||
			       a->rec.generation != hello->generation))
			violation(13, "%s believes %s, which offers generation %llu; %s has %llu",
				  h->name, from->name, (unsigned long long)hello->generation,
				  a->rec.primary, (unsigned long long)a->rec.generation);
		else if (a->rc && hello->generation > 1)
			violation(13, "%s believes %s, which offers generation %llu", h->name,
				  from->name, (unsigned long long)hello->generation);
	} else if (hello->generation > sim.top_generation) {
		violation(13, "%s believes %s, which offers generation %llu after %llu", h->name,
			  from->name, (unsigned long long)hello->generation,
			  (unsigned long long)sim.top_generation);
	}
}

/* A standby ends: it is not the only copy of a VM that its host was given. */
void check_last_copy(const struct sink *k)
{
	if (fo_backup_owns(&k->e) && sim.owner == k->h && sim.top_generation == k->e.generation &&
	    !(k->vm && k->vm->p.alive))
		violation(10, "%s has generation %llu, could not start the VM and removes its copy",
			  k->h->name, (unsigned long long)k->e.generation);
}

/* That it knows nothing of a VM is no answer of an arbiter, and ends no standby. */
void check_answer(const struct sink *k, const struct ask *a)
{
	if (a->rc == TV_E_LOST && a->reply_rc == -ENOENT)
		violation(10, "%s removes its copy: the arbiter that it sees is empty", k->h->name);
}

/* ---- after the faults ---- */
static bool may_promote(const struct sink *k)
{
	if (!k || !k->p.alive || k->ending)
		return false;
	if (fo_backup_owns(&k->e))
		return sim.owner == k->h;
	if (k->e.state == FO_B_SYNCING || k->e.state == FO_B_GONE)
		return false;
	return sim.arbiter ? sim.have_record && sim.record.state == FO_PAIRED &&
				     !strcmp(sim.record.backup, k->h->name) &&
				     !strcmp(sim.record.session, k->session->id)
			   : !k->session->alone_after;
}

bool vm_is_lost(void)
{
	for (struct inst *v = sim.insts; v; v = v->next)
		if (v->p.alive && v->h == sim.owner && v->generation == sim.top_generation)
			return false;
	for (unsigned i = 0; i < sim.hosts; i++)
		if (may_promote(sim.host[i].sink))
			return false;
	return true;
}

bool all_is_well(char *why, size_t room)
{
	const struct host *o = sim.owner;
	unsigned running = 0;

	for (struct inst *v = sim.insts; v; v = v->next)
		running += inst_runs(v);
	if (running > 1)
		snprintf(why, room, "%u instances run", running);
	else if (!o->vm)
		snprintf(why, room, "%s is to run the VM and has none", o->name);
	else if (!o->source)
		snprintf(why, room, "%s has no session (role %d, source %d)", o->name, o->role,
			 o->recover != NULL);
	else if (o->source->e.state != FO_P_PROTECTED)
		snprintf(why, room, "the primary on %s is %s", o->name,
			 fo_primary_state_name(o->source->e.state));
	else if (sim.arbiter && (sim.record.state != FO_PAIRED ||
				 strcmp(sim.record.session, o->source->session->id) != 0))
		snprintf(why, room, "%s is protected, and the record knows of no backup", o->name);
	else if (clients_acked() < sim.acked_when_quiet + 20)
		snprintf(why, room, "clients got %llu answers",
			 (unsigned long long)(clients_acked() - sim.acked_when_quiet));
	else
		return true;
	return false;
}
