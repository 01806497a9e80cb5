/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim: the operator: repairs only what nothing else can, and only after looking. */
#include "tests/sim/sim.h"

#define OPERATOR_NS (400 * MS)

static void again(void *arg, uint64_t n)
{
	struct host *h = arg;

	(void)n;
	if (h->role == R_PRIMARY && h->unprotected)
		protect_again(h, NULL);
}

static void decide_without_arbiter(void)
{
	struct host *o = sim.owner;

	if (sim.arbiter || (o->vm && !o->vm->fenced))
		return;
	for (unsigned i = 0; i < sim.hosts; i++) {
		struct sink *k = sim.host[i].sink;

		if (k && k->p.alive && !k->p.frozen && !k->session->alone_after &&
		    k->session == sim.last_session && sink_force(k))
			return;
	}
	if (!o->vm || !sim.quiet || o->source)
		return;
	for (unsigned i = 0; i < sim.hosts; i++)
		if (sim.host[i].sink && sim.host[i].sink->p.alive)
			return;
	note(o, "the operator resumes the fenced VM: there is no other");
	o->vm->fenced = o->vm->stopped = o->vm->paused = false;
	nb_do_drop(o->vm, NB_PASSES);
	inst_changed(o->vm);
	o->role = R_PRIMARY;
	protect_again(o, NULL);
}

/* Without an arbiter a VM elsewhere that may still run stands against it. */
static bool may_retry(const struct sink *k)
{
	if (!k || !k->p.alive || k->p.frozen || !k->tried)
		return false;
	if (sim.arbiter)
		return k->e.state == FO_B_KEPT || chance(100);
	for (struct inst *v = sim.insts; v; v = v->next)
		if (v->p.alive && !v->fenced)
			return false;
	return k->e.state == FO_B_KEPT && sim.owner == k->h;
}

static void retry(void)
{
	for (unsigned i = 0; i < sim.hosts; i++)
		if (may_retry(sim.host[i].sink))
			sink_retry(sim.host[i].sink);
}

/* Without an arbiter nothing but an operator corrects a host that takes the VM for another's. */
static void correct_notes(void)
{
	if (sim.arbiter || !sim.quiet)
		return;
	for (unsigned i = 0; i < sim.hosts; i++)
		if (sim.host[i].role == R_NONE && sim.host[i].known.highest)
			sim.host[i].known = (struct fo_own){0};
}

static void operator(void *arg, uint64_t n)
{
	(void)arg;
	(void)n;
	after(OPERATOR_NS, NULL, operator, NULL, 0);
	retry();
	correct_notes();
	decide_without_arbiter();
	again(sim.owner, 0);
}

void operator_start(void)
{
	after(OPERATOR_NS, NULL, operator, NULL, 0);
}

/* ---- at any time ---- */
void operator_switches(void)
{
	struct source *s = sim.owner->source;

	if (!s || !s->p.alive || s->p.frozen)
		return;
	note(s->h, "the operator asks for a switch of roles");
	source_event(s, FO_PE_SWITCH);
}

void operator_unprotects(void)
{
	struct source *s = sim.owner->source;

	if (!s || !s->p.alive || s->p.frozen || s->leaving || !s->e.welcomed)
		return;
	note(s->h, "the operator ends protection");
	s->user_leave = true;
	source_event(s, FO_PE_LEAVE);
}
