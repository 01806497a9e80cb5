/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: a peer that lies, or is mistaken, about generations: it offers the VM as if it were its own,
 * or reports to the primary that another host has it. Without an arbiter only what must not be
 * believed: the next generation of a backup may be true.
 */
#include "tests/sim/sim.h"

#include <stdio.h>

static uint64_t any_generation(uint64_t own)
{
	static const uint64_t more[] = {0, 1, 2, 3, INT64_MAX};
	uint64_t g = more[rnd(sizeof(more) / sizeof(*more))];

	/* The next one may be given away already, and a switch called off adds two. */
	if (!sim.arbiter && g < 4)
		g = 4;
	return g == INT64_MAX ? g : own + g;
}

static void nothing_comes(void *arg, const struct msg *m)
{
	(void)arg;
	(void)m;
}

static void is_closed(void *arg)
{
	(void)arg;
}

/* Who offers it is not its owner, and has no such session. */
void false_hello(void)
{
	struct host *from = &sim.host[rnd(sim.hosts)], *to = &sim.host[rnd(sim.hosts)];
	struct msg hello = {.kind = M_CONNECT, .recorded = sim.arbiter && chance(500)};
	struct session *x;
	struct source *s;
	struct conn *c;

	if (from == to || from == sim.owner || !from->daemon || !to->daemon ||
	    (!sim.arbiter && !to->known.highest))
		return;
	x = sim_alloc(sizeof(*x));
	s = sim_alloc(sizeof(*s));
	*x = (struct session){.primary = from, .backup = to};
	snprintf(x->id, sizeof(x->id), "evil");
	s->h = from;
	s->p.h = from;
	s->session = x;
	hello.session = x;
	hello.source = s;
	x->generation = hello.generation = any_generation(sim.top_generation);
	note(from, "FAULT offers the VM to %s, with generation %llu", to->name,
	     (unsigned long long)hello.generation);
	c = conn_new(from, to);
	conn_attach(c, 0, from->daemon, nothing_comes, is_closed, NULL);
	daemon_listens(to, c);
	conn_send(c, 0, &hello);
}

/* In the place of the backup. */
void false_claim(void)
{
	static const enum fo_msg_kind kinds[] = {FO_M_FENCED, FO_M_FENCED, FO_M_ECHO,
						 FO_M_COMMITTED};
	struct source *s = sim.owner->source;
	struct msg x = {.kind = M_FO};

	if (!s || !s->p.alive || !s->conn || s->leaving || !s->conn->end[1].p)
		return;
	x.fo = (struct fo_msg){.kind = kinds[rnd(4)],
			       .generation = 1 + any_generation(s->e.generation)};
	if (x.fo.generation > INT64_MAX)
		x.fo.generation = INT64_MAX;
	if (x.fo.kind == FO_M_FENCED) {
		x.fo.running = chance(300);
		x.fo.offered = !x.fo.running && chance(300);
	}
	note(s->peer, "FAULT reports generation %llu to %s%s", (unsigned long long)x.fo.generation,
	     s->h->name,
	     x.fo.running   ? ", as running"
	     : x.fo.offered ? ", as offered"
			    : "");
	conn_send(s->conn, 1, &x);
}
