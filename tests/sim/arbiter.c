/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: the arbiter, and the real fo_claim asking it. A question is a coroutine: it waits in its
 * read and in its compare-and-swap for as long as the network and the store take, while the rest
 * of the world continues. A request that its asker has given up may still be carried out; an answer may get
 * lost after the swap took place.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STACK_BYTES (128u << 10)
#define TIMEOUT_NS (400 * MS)

/* ---- the store ---- */
static int store_cas(const struct fo_record *next, uint64_t life)
{
	struct fo_record old = sim.record;
	bool had = sim.have_record;

	/* Not by the version alone: as etcd's revisions, a life distinguishes records of one number. */
	if (next->version != (had ? old.version : 0) + 1 || life != sim.record_life)
		return TV_E_LOST;
	check_record(&old, had, next);
	sim.record = *next;
	sim.have_record = true;
	note(NULL, "record %llu: %s runs on %s%s%s, generation %llu, session %.4s",
	     (unsigned long long)next->version, next->state == FO_ALONE ? "alone" : "paired",
	     next->primary, next->state == FO_ALONE ? "" : " with ", next->backup,
	     (unsigned long long)next->generation, next->session);
	return 0;
}

/* ---- requests ---- */
struct rpc {
	struct ask *k;
	uint64_t token;
	bool cas;
	uint64_t life; /* of the record that it has read */
	struct fo_record rec;
	int rc;
};

static void next_question(void *arg, uint64_t n);

static void finish(struct ask *k)
{
	struct asker *a = k->from;

	a->head = k->next;
	if (!a->head)
		a->tail = &a->head;
	else
		after(between(20000, 300000), k->p, next_question, a, 0);
	k->done(k->arg, k);
}

static void resume(struct ask *k, int rc)
{
	k->token = 0;
	k->reply_rc = rc;
	swapcontext(&sim.loop, &k->ctx);
	if (k->answered)
		finish(k);
}

static void on_reply(void *arg, uint64_t n)
{
	struct rpc *r = arg;

	(void)n;
	if (r->k->token != r->token)
		return; /* given up */
	r->k->reply = r->rec;
	r->k->life = r->life;
	resume(r->k, r->rc);
}

static void on_timeout(void *arg, uint64_t token)
{
	struct ask *k = arg;

	if (k->token == token)
		resume(k, -ETIMEDOUT);
}

static int64_t store_delay(int from, int to)
{
	return net_delay(from, to) + between(100000, MS) +
	       (sim.arbiter_slow_ns ? between(0, sim.arbiter_slow_ns) : 0);
}

/* Now and then a request is given up before it arrives. */
static int64_t retransmitted(void)
{
	return sim.arbiter_slow_ns && chance(150) ? between(200 * MS, TIMEOUT_NS + 200 * MS) : 0;
}

static void at_store(void *arg, uint64_t n)
{
	struct rpc *r = arg;
	int id = r->k->p->h->id;

	(void)n;
	if (sim.arbiter_down || !net_passes(id, NODE_ARBITER)) {
		sim.arbiter_bad_at = sim.now;
		return;
	}
	if (chance(3)) {
		r->rc = -EIO; /* refused before anything was done */
		sim.arbiter_bad_at = sim.now;
	} else if (r->k->p->h->sees_nothing) {
		r->rc = r->cas ? -EIO : -ENOENT;
		sim.arbiter_bad_at = sim.now;
	} else if (r->cas) {
		r->rc = store_cas(&r->rec, r->life);
	} else {
		r->rc = sim.have_record ? 0 : -ENOENT;
		r->rec = sim.record;
		r->life = sim.record_life;
	}
	if (!net_passes(NODE_ARBITER, id) || chance(5)) {
		sim.arbiter_bad_at = sim.now;
		return; /* the answer gets lost */
	}
	after(store_delay(NODE_ARBITER, id), r->k->p, on_reply, r, 0);
}

static int call(struct ask *k, bool cas, const struct fo_record *rec)
{
	struct rpc *r = sim_alloc(sizeof(*r));
	int id = k->p->h->id;

	*r = (struct rpc){.k = k, .token = ++sim.token, .cas = cas, .life = k->life};
	if (rec)
		r->rec = *rec;
	k->token = r->token;
	if (net_passes(id, NODE_ARBITER))
		after(store_delay(id, NODE_ARBITER) + retransmitted(), NULL, at_store, r, 0);
	else
		sim.arbiter_bad_at = sim.now;
	timer(k->p, TIMEOUT_NS, on_timeout, k, r->token);
	swapcontext(&k->ctx, &sim.loop);
	return k->reply_rc;
}

static struct ask *ask_of(struct fo_arbiter *a)
{
	return (struct ask *)((char *)a - offsetof(struct ask, door));
}

static int door_read(struct fo_arbiter *a, const char *vm_id, struct fo_record *out,
		     struct tv_err *e)
{
	struct ask *k = ask_of(a);
	int rc = call(k, false, NULL);

	(void)vm_id;
	(void)e;
	if (!rc)
		*out = k->reply;
	return rc;
}

static int door_cas(struct fo_arbiter *a, const char *vm_id, const struct fo_record *next,
		    struct tv_err *e)
{
	(void)vm_id;
	(void)e;
	return call(ask_of(a), true, next);
}

/* ---- questions ---- */
static void coroutine(unsigned hi, unsigned lo)
{
	struct ask *k = (struct ask *)((uintptr_t)hi << 32 | lo);
	struct tv_err e = {0};

	k->rc = k->look ? k->door.read(&k->door, VM_ID, &k->rec, &e)
			: fo_claim(&k->door, k->q, &k->claim, &k->rec, &e);
	k->answered = true;
	swapcontext(&k->ctx, &sim.loop);
}

static void begin(void *arg, uint64_t n)
{
	struct ask *k = arg;
	uintptr_t u = (uintptr_t)k;
	struct tv_err e = {0};

	(void)n;
	if (!sim.arbiter) {
		k->rc = fo_claim(NULL, k->q, &k->claim, &k->rec, &e);
		finish(k);
	} else {
		getcontext(&k->ctx);
		k->ctx.uc_stack.ss_sp = sim_alloc(STACK_BYTES);
		k->ctx.uc_stack.ss_size = STACK_BYTES;
		makecontext(&k->ctx, (void (*)(void))coroutine, 2, (unsigned)(u >> 32),
			    (unsigned)u);
		resume(k, 0);
	}
}

void ask_init(struct asker *a)
{
	a->head = NULL;
	a->tail = &a->head;
}

static void next_question(void *arg, uint64_t n)
{
	struct asker *a = arg;

	if (a->head && !a->head->ctx.uc_stack.ss_sp)
		begin(a->head, n);
}

static void enqueue(struct asker *a, struct ask *k)
{
	k->from = a;
	k->door = (struct fo_arbiter){.read = door_read, .cas = door_cas};
	*a->tail = k;
	a->tail = &k->next;
	if (a->head == k)
		after(between(20000, 300000), k->p, next_question, a, 0);
}

void ask_start(struct asker *a, struct proc *p, enum fo_question q, const struct fo_claim *c,
	       void (*done)(void *arg, const struct ask *k), void *arg)
{
	struct ask *k = sim_alloc(sizeof(*k));

	*k = (struct ask){.p = p, .q = q, .claim = *c, .done = done, .arg = arg};
	enqueue(a, k);
}

void ask_look(struct asker *a, struct proc *p, void (*done)(void *arg, const struct ask *k),
	      void *arg)
{
	struct ask *k = sim_alloc(sizeof(*k));

	*k = (struct ask){.p = p, .look = true, .done = done, .arg = arg};
	enqueue(a, k);
}

/* As settle_main() of daemon/recover.c, only that host's. And only the record of the session that has
 * ended: a later one is of a VM with another id. */
static void forgotten(void *arg, uint64_t version)
{
	const struct host *h = arg;

	if (sim.arbiter_down || !sim.have_record || sim.record.version != version ||
	    strcmp(sim.record.primary, h->name) != 0)
		return;
	note(NULL, "record is forgotten");
	sim.have_record = false;
	sim.record_life++;
	sim.record = (struct fo_record){0};
}

void arbiter_forget(struct host *h)
{
	if (sim.arbiter && net_passes(h->id, NODE_ARBITER))
		after(store_delay(h->id, NODE_ARBITER), NULL, forgotten, h, sim.record.version);
}
