/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: a host and its daemon's part, after daemon/supervise.c, recover.c and keeper.c: sessions are
 * begun, answered, and begun again; what a dead replicator leaves is cleaned up, by record first.
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

#define RECOVER_AGAIN_NS (300 * MS)
#define INTRODUCTION_NS (1500 * MS)

/* What the daemon is told it hears, or else the next one does. */
struct news {
	ev_fn fn;
	uint64_t n;
	struct news *next;
};

static void hear_news(void *arg, uint64_t n)
{
	struct host *h = arg;

	(void)n;
	while (h->news) {
		struct news *x = h->news;

		h->news = x->next;
		x->fn(h, x->n);
	}
}

static void tell(struct host *h, ev_fn fn, uint64_t n)
{
	struct news *x = sim_alloc(sizeof(*x)), **end = &h->news;

	*x = (struct news){fn, n, NULL};
	while (*end)
		end = &(*end)->next;
	*end = x;
	if (h->daemon)
		after(between(100000, 3 * MS), h->daemon, hear_news, h, 0);
}

/* ---- protected again, without being asked: the real keeper's policy ---- */
static void on_due(void *arg, uint64_t n);

static void keep(struct host *h)
{
	int64_t due = fo_keeper_due(&h->keeper);

	if (h->daemon && due != INT64_MAX)
		timer(h->daemon, due > host_now(h) ? due - host_now(h) : 0, on_due, h, 0);
}

static void on_due(void *arg, uint64_t n)
{
	struct fo_candidate others[HOSTS] = {0};
	struct host *h = arg, *by_index[HOSTS];
	unsigned count = 0;
	int chosen;

	(void)n;
	if (h->role != R_PRIMARY || !h->wanted || h->source || h->recovering ||
	    fo_keeper_due(&h->keeper) > host_now(h))
		return;
	if (!h->vm) {
		note(h, "the VM has ended while it ran alone: forgotten");
		h->role = R_NONE;
		return;
	}
	for (unsigned i = 0; i < sim.hosts; i++)
		if (&sim.host[i] != h) {
			by_index[count] = &sim.host[i];
			snprintf(others[count++].name, sizeof(others[0].name), "%s",
				 sim.host[i].name);
		}
	chosen = fo_keeper_choose(&h->keeper, others, count, host_now(h));
	if (chosen < 0)
		keep(h);
	else
		h->source = source_start(h, by_index[chosen]);
}

static void try_again(struct host *h, enum fo_keep_end how)
{
	fo_keeper_ended(&h->keeper, how, host_now(h));
	keep(h);
}

void protect_again(struct host *h, const struct host *last)
{
	h->wanted = true;
	h->unprotected = false;
	fo_keeper_start(&h->keeper, &sim.times, last ? last->name : "", host_now(h));
	keep(h);
}

/* ---- what a dead replicator leaves ---- */
static void recover_start(struct host *h);

static void recover_again(void *arg, uint64_t n)
{
	(void)n;
	recover_start(arg);
}

static void recovered(void *arg, uint64_t code)
{
	struct host *h = arg;

	h->recover = NULL;
	h->recovering = code == 1;
	if (code == 1) {
		timer(h->daemon, RECOVER_AGAIN_NS, recover_again, h, 0);
	} else if (code == 2) {
		h->role = R_FENCED;
		h->wanted = false;
	} else if (!h->vm) {
		h->role = R_NONE;
	} else {
		try_again(h, FO_KEEP_LOST);
	}
}

static void recover_ends(struct recover *r, uint64_t code)
{
	if (!r->p.alive)
		return;
	r->p.alive = false;
	if (r->h->recover == r)
		tell(r->h, recovered, code);
}

static void cleaned_up(void *arg, uint64_t n)
{
	struct recover *r = arg;

	(void)n;
	if (!r->vm->p.alive) {
		recover_ends(r, 0);
		return;
	}
	if (r->vm->given) {
		note(r->h, "recovery: the backup was given our word, a person looks");
		r->vm->stopped = r->vm->fenced = true;
		recover_ends(r, 2);
	} else if (r->result == TV_E_LOST) {
		note(r->h, "recovery: another host runs the VM");
		r->vm->stopped = r->vm->fenced = true;
		inst_changed(r->vm);
		recover_ends(r, 2);
	} else if (r->result) {
		recover_ends(r, 1);
	} else {
		note(r->h, "recovery: the VM is let go, alone by record");
		if (!sim.arbiter)
			r->session->alone_after = true;
		r->vm->stopped = r->vm->paused = false;
		nb_do_drop(r->vm, NB_PASSES);
		inst_changed(r->vm);
		recover_ends(r, 0);
	}
}

static void claimed(void *arg, const struct ask *k)
{
	struct recover *r = arg;

	r->result = k->rc;
	after(between(200000, 5 * MS), &r->p, cleaned_up, r, 0);
}

static void recover_asks(void *arg, uint64_t n)
{
	struct recover *r = arg;
	struct fo_claim c = {.generation = r->h->generation};

	(void)n;
	if (!r->vm->p.alive) {
		recover_ends(r, 0);
		return;
	}
	/* Nobody looks after the lease any more: without the record the VM must not run. */
	if (sim.arbiter) {
		r->vm->stopped = true;
		inst_changed(r->vm);
	}
	snprintf(c.vm_id, sizeof(c.vm_id), VM_ID);
	snprintf(c.self, sizeof(c.self), "%s", r->h->name);
	snprintf(c.peer, sizeof(c.peer), "%s", r->session->backup->name);
	snprintf(c.session, sizeof(c.session), "%s", r->session->id);
	ask_start(&r->asker, &r->p, FO_ASK_ALONE, &c, claimed, r);
}

static void recover_start(struct host *h)
{
	struct recover *r = sim_alloc(sizeof(*r));

	if (h->recover)
		return;
	if (!h->vm || h->role != R_PRIMARY) {
		if (!h->vm && h->role == R_PRIMARY)
			h->role = R_NONE;
		h->recovering = false;
		return;
	}
	h->recovering = true;
	sim.stats.recoveries++;
	proc_init(&r->p, h, P_RECOVER);
	r->h = h;
	r->vm = h->vm;
	r->session = h->vm->held_for ? h->vm->held_for : sim.last_session;
	ask_init(&r->asker);
	h->recover = r;
	note(h, "recovery begins");
	after(between(MS, 8 * MS), &r->p, recover_asks, r, 0);
}

static void source_died(void *arg, uint64_t n)
{
	struct host *h = arg;

	(void)n;
	if (h->source && !h->source->p.alive)
		h->source = NULL;
	if (!h->source)
		recover_start(h);
}

static void start_waiting(struct host *h)
{
	struct conn *c = h->waiting_conn;

	h->waiting_conn = NULL;
	if (!c || c->end[1].gone)
		return;
	h->role = R_BACKUP;
	sink_start(h, c, &h->waiting_hello);
}

static void sink_gone(void *arg, uint64_t n)
{
	struct host *h = arg;

	(void)n;
	if (h->sink && !h->sink->p.alive) {
		if (h->sink->vm && h->sink->vm->p.alive) /* as sink_ended: the standby is ended */
			inst_die(h->sink->vm);
		h->sink = NULL;
		if (h->role == R_BACKUP)
			h->role = R_NONE;
	}
	if (!h->sink)
		start_waiting(h);
}

void replicator_died(struct proc *p)
{
	struct host *h = p->h;

	p->alive = false;
	conns_of_dead(p, false);
	if (p->kind == P_SOURCE) {
		if (h->vm)
			nb_do_drop(h->vm, NB_DRAINS);
		tell(h, source_died, 0);
	} else if (p->kind == P_SINK) {
		tell(h, sink_gone, 0);
	} else if (p->kind == P_RECOVER) {
		tell(h, recovered, 1);
	}
}

/* ---- how sessions end ---- */
static void session_done(void *arg, uint64_t how)
{
	struct host *h = arg;

	h->source = NULL;
	switch (how) {
	case END_FENCED:
		h->role = R_FENCED;
		h->wanted = false;
		break;
	case END_SWITCHED:
		h->role = R_NONE;
		break;
	case END_VM_GONE:
		if (h->generation == 1) /* a record of a change of hosts stays */
			arbiter_forget(h);
		h->role = R_NONE;
		break;
	case END_LEFT:
		if (h->generation == 1)
			arbiter_forget(h);
		h->wanted = false;
		h->unprotected = true;
		break;
	default:
		if (!h->vm)
			h->role = R_NONE;
		else
			try_again(h, how == END_REFUSED ? FO_KEEP_REFUSED
				     : how == END_ALONE ? FO_KEEP_LOST
							: FO_KEEP_FAILED);
		break;
	}
}

void source_ended(struct source *s, enum source_end how)
{
	tell(s->h, session_done, how);
}

void sink_ended(struct sink *k)
{
	tell(k->h, sink_gone, 0);
}

static void handed_over(void *arg, uint64_t generation)
{
	struct host *h = arg, *last;

	last = h->sink->peer;
	h->sink = NULL;
	h->role = R_PRIMARY;
	h->generation = generation;
	if (generation > h->highest)
		h->highest = generation;
	note(h, "the daemon has the VM, generation %llu", (unsigned long long)generation);
	protect_again(h, last);
}

void sink_handed_over(struct sink *k)
{
	tell(k->h, handed_over, k->e.generation);
}

/* ---- a primary offers itself ---- */
static void refuse(struct conn *c, uint64_t generation)
{
	struct msg x = {.kind = M_REFUSE, .fo = {.kind = FO_M_ECHO}};

	if (generation)
		x.fo = (struct fo_msg){.kind = FO_M_FENCED, .generation = generation};
	conn_send(c, 1, &x);
	conn_close(c, 1);
}

static void yield(struct host *h, uint64_t generation)
{
	note(h, "hears of generation %llu, ours is %llu", (unsigned long long)generation,
	     (unsigned long long)h->generation);
	h->highest = generation;
	if (h->source) {
		source_told(h->source, generation);
	} else if (!h->recovering) {
		h->vm->stopped = h->vm->fenced = true;
		nb_do_drop(h->vm, NB_DRAINS);
		inst_changed(h->vm);
		h->role = R_FENCED;
		h->wanted = false;
	}
}

void daemon_connect(struct host *h, struct conn *c, const struct msg *hello)
{
	bool running = h->role == R_PRIMARY && h->vm;
	uint64_t g = hello->generation;
	struct fo_own own = {running, h->generation, h->highest};

	switch (fo_judge(&own, g)) {
	case FO_STALE:
		refuse(c, running && h->generation > h->highest ? h->generation : h->highest);
		return;
	case FO_YIELD:
		yield(h, g);
		refuse(c, 0);
		return;
	case FO_RUNS_HERE:
		refuse(c, 0);
		return;
	case FO_ACCEPT:
		break;
	}
	if (h->source || h->recovering) { /* it has not been heard yet that our VM has ended */
		refuse(c, 0);
		return;
	}
	if (h->sink && (h->sink->e.state == FO_B_PROMOTING || h->sink->e.state == FO_B_PROMOTED)) {
		refuse(c, 0);
		return;
	}
	if (h->sink && !h->sink->introduced) {
		/* This daemon has not met it yet, and only ends what it finds of its standby. */
		h->sink = NULL;
		h->role = R_NONE;
	}
	h->highest = g;
	h->waiting_conn = c;
	h->waiting_hello = *hello;
	if (h->vm) { /* what an earlier life of this host left */
		note(h, "our old copy of the VM is removed");
		inst_die(h->vm);
	}
	if (h->sink)
		sink_discard(h->sink, "replaced by a newer synchronisation");
	else
		start_waiting(h);
}

static void listener_msg(void *arg, const struct msg *m)
{
	struct conn *c = arg;

	if (m->kind == M_CONNECT)
		daemon_connect(c->end[1].h, c, m);
}

static void listener_closed(void *arg)
{
	(void)arg;
}

void daemon_listens(struct host *p, struct conn *c);
void daemon_listens(struct host *p, struct conn *c)
{
	conn_attach(c, 1, p->daemon, listener_msg, listener_closed, c);
}

/* ---- lives of hosts and daemons ---- */
static void introduced(void *arg, uint64_t n)
{
	struct sink *k = arg;

	(void)n;
	k->introduced = true;
	if (k->h->sink != k && !k->ending && k->e.state != FO_B_PROMOTING)
		sink_discard(k, "a newer synchronisation has its place");
}

static void not_introduced(void *arg, uint64_t n)
{
	struct host *h = arg;

	(void)n;
	hear_news(h, 0);
	if (h->source && !h->source->p.alive)
		h->source = NULL;
	if (h->recover && !h->recover->p.alive)
		h->recover = NULL;
	if (h->role == R_BACKUP && h->sink && !h->sink->p.alive)
		sink_gone(h, 0);
	else if (h->role == R_PRIMARY && !h->source && !h->recover && h->wanted)
		recover_start(h);
}

void daemon_start(struct host *h)
{
	if (h->daemon || !h->up)
		return;
	h->daemon = sim_alloc(sizeof(*h->daemon));
	proc_init(h->daemon, h, P_DAEMON);
	keep(h);
	note(h, "daemon starts");
	after(between(MS, 20 * MS), h->daemon, hear_news, h, 0);
	if (h->sink && h->sink->p.alive)
		after(between(MS, chance(500) ? 100 * MS : 1400 * MS), &h->sink->p, introduced,
		      h->sink, 0);
	if (h->role != R_NONE)
		timer(h->daemon, INTRODUCTION_NS, not_introduced, h, 0);
}

void daemon_kill(struct host *h)
{
	if (!h->daemon)
		return;
	note(h, "FAULT daemon killed");
	h->daemon->alive = false;
	if (h->sink)
		h->sink->introduced = false;
	conns_of_dead(h->daemon, false);
	h->daemon = NULL;
	h->waiting_conn = NULL;
}

void host_cut(struct host *h)
{
	if (!h->up)
		return;
	note(h, "FAULT power cut");
	h->up = h->frozen = false;
	for (struct proc *p = sim.procs; p; p = p->next)
		if (p->h == h && p->alive) {
			p->alive = false;
			conns_of_dead(p, true);
		}
	if (h->vm)
		inst_die(h->vm);
	h->source = NULL;
	h->sink = NULL;
	h->recover = NULL;
	h->recovering = false;
	h->daemon = NULL;
	h->waiting_conn = NULL;
	h->news = NULL;
}

void host_boot(struct host *h)
{
	if (h->up)
		return;
	note(h, "host is back");
	h->up = true;
	h->role = R_NONE;
	h->highest = 0;
	h->wanted = false;
	daemon_start(h);
}

void host_init(int id)
{
	struct host *h = &sim.host[id];

	*h = (struct host){.id = id,
			   .up = true,
			   .rate_ppm = between(-50000, 50000),
			   .offset_ns = between(0, 1000 * TV_NS_PER_S)};
	h->name[0] = (char)('A' + id);
	daemon_start(h);
}

void host_freeze(struct host *h)
{
	if (h->frozen || !h->up)
		return;
	note(h, "FAULT frozen");
	h->frozen = true;
	for (struct proc *p = sim.procs; p; p = p->next)
		if (p->h == h && p->alive)
			proc_freeze(p);
}

void host_thaw(struct host *h)
{
	if (!h->frozen || !h->up)
		return;
	note(h, "thaws");
	h->frozen = false;
	h->blind_at = sim.now;
	for (struct proc *p = sim.procs; p; p = p->next)
		if (p->h == h && p->alive && p->frozen)
			proc_thaw(p);
}

/* Nobody here could have stopped the VM in the time of a lease. */
bool host_blind(const struct host *h)
{
	if (h->frozen || (h->blind_at && sim.now - h->blind_at < 300 * MS))
		return true;
	if (h->source && h->source->p.alive)
		return h->source->p.frozen;
	return !h->daemon || h->daemon->frozen || (h->recover && h->recover->p.frozen);
}
