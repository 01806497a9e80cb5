/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: the network. Datagrams get lost, late, twice, out of order. Streams are reliable and in
 * order: what a partition keeps waits for its end (and some of TCP's retransmission time), a lost
 * segment costs 200 ms, a dead process's kernel closes, a dead host says nothing, and a host that
 * is back resets what it does not know.
 */
#include "tests/sim/sim.h"

struct pending {
	struct conn *c;
	int to;
	struct msg m;
	bool close;
	struct pending *next;
};

void net_init(void)
{
	unsigned loss = chance(500) ? 0 : (unsigned)rnd(60);

	for (int i = 0; i < NODES; i++)
		for (int j = 0; j < NODES; j++)
			sim.link[i][j] = (struct link){.loss = loss,
						       .delay_min = 100000,
						       .delay_max = between(200000, 2 * MS)};
}

bool net_passes(int from, int to)
{
	return !sim.link[from][to].blocked;
}

static bool stream_passes(int from, int to)
{
	return net_passes(from, to) && !sim.link[from][to].stalled;
}

int64_t net_delay(int from, int to)
{
	const struct link *l = &sim.link[from][to];

	return between(l->delay_min, l->delay_max);
}

static void arrive(void *arg, uint64_t n);
static void flush_link(int from, int to);

static void flush(void *arg, uint64_t to)
{
	struct conn *c = arg;
	struct conn_end *e = &c->end[to];
	struct pending *p = e->head;

	e->flushing = false;
	if (!stream_passes(c->end[1 - to].h->id, e->h->id))
		return;
	e->head = NULL;
	e->tail = &e->head;
	while (p) {
		struct pending *next = p->next;

		arrive(p, 0);
		p = next;
	}
}

/* Something that waits may get through now: TCP finds out when it retransmits. */
static void flush_later(struct conn *c, int to)
{
	struct conn_end *e = &c->end[to];

	if (!e->head || e->flushing)
		return;
	e->flushing = true;
	after(between(MS, chance(500) ? 20 * MS : 400 * MS), NULL, flush, c, (uint64_t)to);
}

void net_block(int from, int to)
{
	sim.link[from][to].blocked++;
}

void net_unblock(int from, int to)
{
	sim.link[from][to].blocked--;
	flush_link(from, to);
}

void net_stall(int from, int to)
{
	sim.link[from][to].stalled++;
}

void net_unstall(int from, int to)
{
	sim.link[from][to].stalled--;
	flush_link(from, to);
}

static void flush_link(int from, int to)
{
	if (!stream_passes(from, to))
		return;
	for (struct conn *c = sim.conns; c; c = c->next)
		for (int side = 0; side < 2; side++)
			if (c->end[side].h->id == to && c->end[1 - side].h->id == from)
				flush_later(c, side);
}

struct conn *conn_new(struct host *a, struct host *b)
{
	struct conn *c = sim_alloc(sizeof(*c));

	c->end[0].h = a;
	c->end[1].h = b;
	for (int i = 0; i < 2; i++)
		c->end[i].tail = &c->end[i].head;
	c->next = sim.conns;
	sim.conns = c;
	return c;
}

void conn_attach(struct conn *c, int side, struct proc *p,
		 void (*on_msg)(void *, const struct msg *), void (*on_closed)(void *), void *arg)
{
	c->end[side].p = p;
	c->end[side].on_msg = on_msg;
	c->end[side].on_closed = on_closed;
	c->end[side].arg = arg;
}

/* In the receiving process's own time. */
static void deliver(void *arg, uint64_t n)
{
	struct pending *p = arg;
	struct conn_end *e = &p->c->end[p->to];

	(void)n;
	if (e->gone)
		return;
	if (p->close) {
		e->gone = true;
		e->on_closed(e->arg);
	} else
		e->on_msg(e->arg, &p->m);
}

static void post(struct conn *c, int to, const struct msg *m)
{
	struct pending *p = sim_alloc(sizeof(*p));
	int from_id = c->end[1 - to].h->id, to_id = c->end[to].h->id;
	const struct link *l = &sim.link[from_id][to_id];
	int64_t when = sim.now + net_delay(from_id, to_id);

	*p = (struct pending){.c = c, .to = to};
	if (m)
		p->m = *m;
	else
		p->close = true;
	if (l->loss && rnd(4000) < l->loss) /* most losses are mended by the next segment's SACK */
		when += chance(300) ? 200 * MS : 3 * MS;
	if (when < c->end[to].last)
		when = c->end[to].last;
	c->end[to].last = when;
	at(when, NULL, arrive, p, 0);
}

static void arrive(void *arg, uint64_t n)
{
	struct pending *p = arg;
	struct conn *c = p->c;
	struct conn_end *e = &c->end[p->to];

	(void)n;
	if (e->head || !stream_passes(c->end[1 - p->to].h->id, e->h->id)) {
		p->next = NULL;
		*e->tail = p;
		e->tail = &p->next;
		if (stream_passes(c->end[1 - p->to].h->id, e->h->id))
			flush_later(c, p->to);
		return;
	}
	if (e->p && !e->p->alive) {
		if (e->h->up && !p->close) /* its kernel does not know this connection */
			post(c, 1 - p->to, NULL);
		return;
	}
	e->got += p->m.kind >= M_SYNC_END && p->m.kind <= M_END;
	if (e->p)
		at(sim.now, e->p, deliver, p, 0);
}

void conn_send(struct conn *c, int side, const struct msg *m)
{
	if (!c->end[side].gone)
		post(c, 1 - side, m);
}

void conn_close(struct conn *c, int side)
{
	if (c->end[side].gone)
		return;
	c->end[side].gone = true;
	post(c, 1 - side, NULL);
}

uint64_t conn_acked(struct conn *c, int side)
{
	struct conn_end *to = &c->end[1 - side];

	if (stream_passes(to->h->id, c->end[side].h->id))
		to->acked = to->got;
	return to->acked;
}

void conns_of_dead(struct proc *p, bool host_too)
{
	for (struct conn *c = sim.conns; c; c = c->next)
		for (int side = 0; side < 2; side++)
			if (c->end[side].p == p && !c->end[side].gone) {
				if (host_too)
					c->end[side].gone = true;
				else
					conn_close(c, side);
			}
}

void conns_break(struct host *a, struct host *b)
{
	for (struct conn *c = sim.conns; c; c = c->next)
		for (int side = 0; side < 2; side++)
			if (c->end[side].h == a && c->end[1 - side].h == b && c->end[0].p &&
			    c->end[1].p) {
				post(c, side, NULL);
				post(c, 1 - side, NULL);
			}
}

/* ---- datagrams ---- */
struct gram {
	void (*fn)(void *, const struct msg *);
	void *arg;
	struct msg m;
};

static void gram_arrives(void *arg, uint64_t n)
{
	struct gram *g = arg;

	(void)n;
	g->fn(g->arg, &g->m);
}

void datagram(struct host *from, struct proc *to, void (*fn)(void *, const struct msg *), void *arg,
	      const struct msg *m)
{
	const struct link *l = &sim.link[from->id][to->h->id];
	int copies = chance(l->loss / 4 + 1) ? 2 : 1;

	if (l->blocked)
		return;
	while (copies--) {
		struct gram *g;

		if (chance(l->loss))
			continue;
		g = sim_alloc(sizeof(*g));
		*g = (struct gram){fn, arg, *m};
		/* now and then one takes a detour and comes after those that were sent later */
		after(net_delay(from->id, to->h->id) + (chance(l->loss) ? between(0, 60 * MS) : 0),
		      to, gram_arrives, g, 0);
	}
}
