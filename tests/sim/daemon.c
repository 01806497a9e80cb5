/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: the daemon's part, after daemon/supervise.c, register.c, sessions.c and keeping.c: sessions
 * are begun, answered, and begun again.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define INTRODUCTION_NS (1500 * MS)

/* What is sent to the daemon is received by it, or else by the next one. */
struct news {
	ev_fn fn;
	uint64_t n;
	struct news *next;
};

static void receive_news(void *arg, uint64_t n)
{
	struct host *h = arg;

	(void)n;
	while (h->news) {
		struct news *x = h->news;

		h->news = x->next;
		x->fn(h, x->n);
	}
}

void daemon_event(struct host *h, ev_fn fn, uint64_t n)
{
	struct news *x = sim_alloc(sizeof(*x)), **end = &h->news;

	*x = (struct news){fn, n, NULL};
	while (*end)
		end = &(*end)->next;
	*end = x;
	if (h->daemon)
		after(between(100000, 3 * MS), h->daemon, receive_news, h, 0);
}

/* ---- whose the VM is, after daemon/generations.c ---- */
/* owner NULL: not known. */
void daemon_note(struct host *h, uint64_t generation, const struct host *owner,
		 const struct host *backup)
{
	struct fo_own *k = &h->known;

	if (owner == h && generation > k->ran)
		k->ran = generation;
	k->highest = generation;
	snprintf(k->host, sizeof(k->host), "%s", owner ? owner->name : "");
	snprintf(k->backup, sizeof(k->backup), "%s", backup ? backup->name : "");
}

/* ---- protected again, without being asked: the policy of failover/reprotect.c ---- */
static void on_due(void *arg, uint64_t n);

static void keep(struct host *h)
{
	int64_t due = fo_reprotect_due(&h->reprotect);

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
	    fo_reprotect_due(&h->reprotect) > host_now(h))
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
	chosen = fo_reprotect_choose(&h->reprotect, others, count, host_now(h));
	if (chosen < 0)
		keep(h);
	else
		h->source = source_start(h, by_index[chosen]);
}

void try_again(struct host *h, enum fo_reprotect_end how)
{
	fo_reprotect_ended(&h->reprotect, how, host_now(h));
	keep(h);
}

void protect_again(struct host *h, const struct host *last)
{
	h->wanted = true;
	h->unprotected = false;
	fo_reprotect_start(&h->reprotect, &sim.times, last ? last->name : "", host_now(h));
	keep(h);
}

/* ---- what a dead replicator leaves ---- */
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
		daemon_event(h, source_died, 0);
	} else if (p->kind == P_SINK) {
		daemon_event(h, sink_gone, 0);
	} else if (p->kind == P_RECOVER) {
		daemon_event(h, recovered, 1);
	}
}

/* ---- how sessions end ---- */
static void session_done(void *arg, uint64_t how)
{
	struct host *h = arg, *peer = h->source ? h->source->peer : NULL;

	h->source = NULL;
	switch (how) {
	case END_FENCED:
		daemon_note(h, h->generation + 1, peer, NULL);
		h->role = R_FENCED;
		h->wanted = false;
		break;
	case END_SWITCHED:
		daemon_note(h, h->generation + 1, peer, NULL);
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
		h->wanted = h->had_record = false;
		h->unprotected = true;
		break;
	default:
		if (!h->vm)
			h->role = R_NONE;
		else
			try_again(h, how == END_REFUSED ? FO_REPROTECT_REFUSED
				     : how == END_ALONE ? FO_REPROTECT_LOST
							: FO_REPROTECT_FAILED);
		break;
	}
}

void source_ended(struct source *s, enum source_end how)
{
	daemon_event(s->h, session_done, how);
}

void sink_ended(struct sink *k)
{
	daemon_event(k->h, sink_gone, 0);
}

static void handed_over(void *arg, uint64_t generation)
{
	struct host *h = arg;

	if (h->sink && !h->sink->p.alive)
		h->sink = NULL;
	h->role = R_PRIMARY;
	h->generation = generation;
	h->had_record = sim.arbiter;
	daemon_note(h, generation, h, NULL);
	note(h, "the daemon has the VM, generation %llu", (unsigned long long)generation);
	protect_again(h, h->old_primary);
}

void sink_handed_over(struct sink *k)
{
	k->h->old_primary = k->peer;
	daemon_event(k->h, handed_over, k->e.generation);
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

static void yield(struct host *h, uint64_t generation, const struct host *to)
{
	note(h, "learns of generation %llu, this host has %llu", (unsigned long long)generation,
	     (unsigned long long)h->generation);
	daemon_note(h, generation, to, NULL);
	if (h->source) {
		source_outdated(h->source, generation);
	} else if (!h->recovering) {
		h->vm->stopped = h->vm->fenced = true;
		nb_do_drop(h->vm, NB_DRAINS);
		inst_changed(h->vm);
		h->role = R_FENCED;
		h->wanted = false;
	}
}

/* As replicator/sink/record.c. */
static bool is_other_arbiter(const struct msg *hello, const struct ask *a)
{
	const struct fo_record *r = &a->rec;

	if (!sim.arbiter || !hello->recorded)
		return false;
	return a->rc ||
	       (!strcmp(r->primary, hello->source->h->name) && r->generation <= hello->generation &&
		(r->generation < hello->generation || strcmp(r->session, hello->session->id) != 0));
}

/* a: the record, as this host has read it. True: the other host's offer is taken. */
static bool judge(struct host *h, struct conn *c, const struct msg *hello, const struct ask *a)
{
	struct fo_offer offer = {.generation = hello->generation,
				 .arbiter = sim.arbiter,
				 .recorded = sim.arbiter && !a->rc,
				 .record = a->rec};
	struct fo_own own = h->known;

	own.running = h->role == R_PRIMARY && h->vm;
	own.arbiter = sim.arbiter;
	own.generation = own.running ? h->generation : 0;
	snprintf(offer.host, sizeof(offer.host), "%s", hello->source->h->name);
	if (is_other_arbiter(hello, a)) {
		refuse(c, 0);
		return false;
	}
	switch (fo_judge(&own, &offer)) {
	case FO_STALE:
		refuse(c, fo_fenced_by(&own, &offer));
		return false;
	case FO_YIELD:
		check_believed(h, hello, a);
		yield(h, hello->generation, hello->source->h);
		refuse(c, 0);
		return false;
	case FO_RUNS_HERE:
	case FO_NOT_OWNER:
		refuse(c, 0);
		return false;
	case FO_ACCEPT:
		check_believed(h, hello, a);
		return true;
	}
	return false;
}

static void connects(struct host *h, struct conn *c, const struct msg *hello, const struct ask *a)
{
	if (!judge(h, c, hello, a))
		return;
	if (h->source || h->recovering) { /* the end of this host's VM has not been noticed yet */
		refuse(c, 0);
		return;
	}
	if (h->sink && fo_backup_owns(&h->sink->e)) {
		sink_discard(h->sink, "the VM runs elsewhere");
		refuse(c, 0);
		return;
	}
	if (h->sink && !h->sink->introduced) {
		/* This daemon has not met it yet, and only ends what it finds of its standby. */
		h->sink = NULL;
		h->role = R_NONE;
	}
	daemon_note(h, hello->generation, hello->source->h, NULL);
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

/* The record is read before the offer is looked at. */
struct caller {
	struct conn *c;
	struct msg hello;
	struct asker asker;
};

static void looked(void *arg, const struct ask *a)
{
	struct caller *k = arg;

	if (k->c->end[1].gone)
		return;
	if (a->rc && a->rc != -ENOENT)
		refuse(k->c, 0);
	else
		connects(k->c->end[1].h, k->c, &k->hello, a);
}

static void listener_msg(void *arg, const struct msg *m)
{
	static const struct ask none;
	struct conn *c = arg;
	struct caller *k;

	if (m->kind != M_CONNECT)
		return;
	if (!sim.arbiter) {
		connects(c->end[1].h, c, m, &none);
		return;
	}
	k = sim_alloc(sizeof(*k));
	*k = (struct caller){.c = c, .hello = *m};
	ask_init(&k->asker);
	ask_look(&k->asker, c->end[1].p, looked, k);
}

static void listener_closed(void *arg)
{
	(void)arg;
}

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
	receive_news(h, 0);
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
	if (sim.now && !(h->source && h->source->p.alive))
		h->blind_at = sim.now; /* until now no process was there */
	after(between(MS, 20 * MS), h->daemon, receive_news, h, 0);
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
