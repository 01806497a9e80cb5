/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim: hosts: power, freezes, clocks. */
#include "tests/sim/sim.h"

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
	h->wanted = h->had_record = false;
	if (chance(500)) /* installed anew */
		h->known = (struct fo_own){0};
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

/* No process here could have stopped the VM in the time of a lease. */
bool host_blind(const struct host *h)
{
	if (h->frozen || (h->blind_at && sim.now - h->blind_at < 300 * MS))
		return true;
	if (h->source && h->source->p.alive)
		return h->source->p.frozen;
	return !h->daemon || h->daemon->frozen || (h->recover && h->recover->p.frozen);
}
