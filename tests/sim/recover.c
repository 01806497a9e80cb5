/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: what a dead source leaves, after daemon/recover.c, with one rule more: with an arbiter the
 * VM is stopped before the record is asked for. No process looks after the lease any more.
 */
#include "tests/sim/sim.h"

#include <stdio.h>

#define RECOVER_AGAIN_NS (300 * MS)

static void recover_again(void *arg, uint64_t n)
{
	(void)n;
	recover_start(arg);
}

void recovered(void *arg, uint64_t code)
{
	struct host *h = arg;

	h->recover = NULL;
	h->recovering = code == 1;
	if (code == 1) {
		timer(h->daemon, RECOVER_AGAIN_NS, recover_again, h, 0);
	} else if (code == 2) {
		h->role = R_FENCED;
		h->wanted = false;
		daemon_note(h, h->generation + 1, NULL, NULL);
	} else if (!h->vm) {
		h->role = R_NONE;
	} else {
		try_again(h, FO_REPROTECT_LOST);
	}
}

static void recover_ends(struct recover *r, uint64_t code)
{
	if (!r->p.alive)
		return;
	r->p.alive = false;
	if (r->h->recover == r)
		daemon_event(r->h, recovered, code);
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
		note(r->h, "recovery: the backup was asked to take over, an operator decides");
		r->vm->stopped = r->vm->fenced = true;
		recover_ends(r, 2);
	} else if (r->result == TV_E_LOST) {
		note(r->h, "recovery: another host runs the VM");
		check_fenced(r->h);
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
	if (!k->rc && k->rec.generation > r->h->generation)
		source_took_back(r->h, r->vm, k->rec.generation);
	after(between(200000, 5 * MS), &r->p, cleaned_up, r, 0);
}

static void recover_asks(void *arg, uint64_t n)
{
	struct recover *r = arg;
	struct fo_claim c = {.generation = r->h->generation, .had_record = r->h->had_record};

	(void)n;
	if (!r->vm->p.alive) {
		recover_ends(r, 0);
		return;
	}
	/* No process looks after the lease any more: without the record the VM must not run. */
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

void recover_start(struct host *h)
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
