/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: a VM's QEMU, and the netbuffer's stand-in, which keeps to what netbuffer.h says: holding
 * begins with a barrier, a barrier gives all frames since the last one their epoch, a release lets
 * an epoch and older ones out.
 *
 * Every instance that has the VM's NIC receives the clients' frames, also one that must not run.
 */
#include "tests/sim/sim.h"

#define MAX_INPUT 64

struct request {
	unsigned client;
	uint64_t id, key;
	bool write;
	struct request *next;
};

/* ---- held output ---- */
static void leaves(struct inst *v, struct frame *f, enum how how);

struct flight {
	struct frame f;
};

static void frame_arrives(void *arg, uint64_t n)
{
	(void)n;
	client_receives(&((struct flight *)arg)->f);
}

static void leaves(struct inst *v, struct frame *f, enum how how)
{
	struct flight *t;

	check_frame(v, f, how);
	if (chance(5)) /* the clients' network is only a network */
		return;
	t = sim_alloc(sizeof(*t));
	t->f = *f;
	after(net_delay(v->h->id, NODE_CLIENT), NULL, frame_arrives, t, 0);
}

static void output(struct inst *v, const struct frame *f)
{
	struct frame *held;

	if (v->nb == NB_DRAINS)
		return;
	held = sim_alloc(sizeof(*held));
	*held = *f;
	held->held_at = sim.now;
	if (v->nb == NB_PASSES) {
		leaves(v, held, BY_PASS);
		return;
	}
	*v->tail = held;
	v->tail = &held->next;
}

void nb_do_hold(struct inst *v, struct session *s)
{
	v->hold_next = true;
	v->held_for = s;
}

void nb_do_barrier(struct inst *v, uint64_t epoch)
{
	if (v->hold_next && v->nb == NB_PASSES)
		v->nb = NB_HOLDS;
	v->hold_next = false;
	for (struct frame *f = v->head; f; f = f->next)
		if (!f->epoch)
			f->epoch = epoch;
}

void nb_do_release(struct inst *v, uint64_t epoch)
{
	while (v->nb == NB_HOLDS && v->head && v->head->epoch && v->head->epoch <= epoch) {
		struct frame *f = v->head;

		v->head = f->next;
		if (!v->head)
			v->tail = &v->head;
		sim.stats.released++;
		leaves(v, f, BY_COMMIT);
	}
}

void nb_do_pass(struct inst *v)
{
	struct frame *f = v->head;

	v->nb = NB_PASSES;
	v->hold_next = false;
	v->head = NULL;
	v->tail = &v->head;
	for (; f; f = f->next)
		leaves(v, f, BY_PASS);
}

void nb_do_drop(struct inst *v, enum nb mode)
{
	v->nb = mode;
	v->hold_next = false;
	v->head = NULL;
	v->tail = &v->head;
}

bool nb_holds_frames(const struct inst *v)
{
	return v->nb == NB_HOLDS && v->head;
}

/* ---- the guest: answers requests; what it answers is also what it is ---- */
static void execute(struct inst *v, const struct request *r)
{
	struct frame f = {.client = r->client, .request = r->id};
	struct state *st = &v->st;

	if (r->id < st->request[r->client])
		return;
	if (r->id > st->request[r->client]) {
		st->request[r->client] = r->id;
		st->ops++;
		if (r->write) {
			/* The same write done again in another future is not the same. */
			st->value[r->client] = r->id;
			st->token[r->client] = rnd(1u << 30);
		}
	}
	f.key = r->write ? r->client : r->key;
	f.value = st->value[f.key];
	f.token = st->token[f.key];
	f.ops = st->ops;
	output(v, &f);
}

static void work(void *arg, uint64_t n)
{
	struct inst *v = arg;
	struct request *r = v->input;

	(void)n;
	if (!r || !inst_runs(v))
		return;
	v->input = r->next;
	if (!v->input)
		v->input_tail = &v->input;
	v->inputs--;
	execute(v, r);
	if (v->input)
		after(between(20000, 200000), &v->p, work, v, 0);
}

static void request_arrives(void *arg, uint64_t n)
{
	struct request *r = arg;

	(void)n;
	for (struct inst *v = sim.insts; v; v = v->next) {
		struct request *own;

		if (!v->p.alive || v->inputs >= MAX_INPUT)
			continue;
		own = sim_alloc(sizeof(*own));
		*own = *r;
		own->next = NULL;
		*v->input_tail = own;
		v->input_tail = &own->next;
		v->inputs++;
		after(between(20000, 500000), &v->p, work, v, 0);
	}
}

void vm_request(unsigned client, uint64_t request, bool write, uint64_t key)
{
	struct request *r = sim_alloc(sizeof(*r));

	*r = (struct request){.client = client, .id = request, .key = key, .write = write};
	after(between(50000, 400000), NULL, request_arrives, r, 0);
}

/* ---- instances ---- */
bool inst_runs(const struct inst *v)
{
	return v->p.alive && !v->paused && !v->stopped;
}

void inst_changed(struct inst *v)
{
	bool runs = inst_runs(v);

	if (runs && !v->counted) {
		check_runs(v);
		if (v->input)
			after(between(20000, 200000), &v->p, work, v, 0);
	}
	v->counted_before |= runs;
	v->counted = runs;
}

struct inst *inst_new(struct host *h, uint64_t generation, const struct state *st)
{
	struct inst *v = sim_alloc(sizeof(*v));

	proc_init(&v->p, h, P_VM);
	v->h = h;
	v->generation = generation;
	v->st = *st;
	v->tail = &v->head;
	v->input_tail = &v->input;
	v->next = sim.insts;
	sim.insts = v;
	inst_changed(v);
	return v;
}

void inst_die(struct inst *v)
{
	v->p.alive = false;
	v->counted = false;
	v->head = NULL;
	if (v->h->vm == v)
		v->h->vm = NULL;
}
