/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim: the source's capture thread (one job after the other) and its encoder. */
#include "tests/sim/sim.h"

struct job {
	int64_t ns;
	ev_fn fn;
	uint64_t n;
	struct job *next;
};

static void job_runs(void *arg, uint64_t n)
{
	struct source *s = arg;

	(void)n;
	s->jobs->fn(s, s->jobs->n);
}

static void job_begins(struct source *s)
{
	after(s->jobs->ns, &s->p, job_runs, s, 0);
}

void job_later(struct source *s, int64_t ns, ev_fn fn, uint64_t n)
{
	struct job *j = sim_alloc(sizeof(*j)), **end = &s->jobs;

	*j = (struct job){ns, fn, n, NULL};
	while (*end)
		end = &(*end)->next;
	*end = j;
	if (s->jobs == j)
		job_begins(s);
}

static void job_done(struct source *s)
{
	s->jobs = s->jobs->next;
	if (s->jobs)
		job_begins(s);
}

/* As a newer wish than that which is carried out. */
static bool resumes_later(const struct source *s)
{
	for (const struct job *j = s->jobs; j; j = j->next)
		if (j->fn == job_resume)
			return true;
	return false;
}

void job_stop(void *arg, uint64_t n)
{
	struct source *s = arg;

	(void)n;
	job_done(s);
	s->vm->stopped = true;
	s->vm->fenced = s->e.state == FO_P_FENCED;
	inst_changed(s->vm);
	note(s->h, "VM stopped");
	if (!s->leaving && !resumes_later(s)) {
		fo_primary_halted(&s->e, turn_now(&s->p));
		if (!s->p.alive)
			return;
	}
	if (s->e.state == FO_P_FENCED && !s->leaving) {
		nb_do_drop(s->vm, NB_DRAINS);
		source_finish(s, END_FENCED);
	}
}

void job_resume(void *arg, uint64_t n)
{
	struct source *s = arg;

	(void)n;
	job_done(s);
	s->vm->stopped = false;
	inst_changed(s->vm);
	note(s->h, "VM resumed");
	source_schedule(s);
}

void job_quit(void *arg, uint64_t n)
{
	struct source *s = arg;

	(void)n;
	note(s->h, "our copy of the VM ends");
	inst_die(s->vm);
	source_finish(s, END_SWITCHED);
}

static void piece(void *arg, uint64_t n)
{
	struct source *s = arg;
	struct msg *m = (struct msg *)(uintptr_t)n;

	if (!s->conn || !fo_primary_counts(&s->e, m->epoch))
		return;
	conn_send(s->conn, 0, m);
	if (m->kind == M_END) {
		fo_primary_sent(&s->e, m->epoch);
		source_schedule(s);
	}
}

static void encode(struct source *s, uint64_t epoch)
{
	static const enum msg_kind kinds[] = {M_BEGIN, M_MEM, M_DISK, M_END};

	if (s->enc_busy < sim.now)
		s->enc_busy = sim.now;
	for (unsigned i = 0; i < 4; i++) {
		struct msg *m = sim_alloc(sizeof(*m));

		*m = (struct msg){.kind = kinds[i],
				  .epoch = epoch,
				  .generation = s->e.generation,
				  .st = s->captured};
		if (kinds[i] == M_MEM && sim.corrupt) {
			sim.corrupt--;
			m->bad = true;
			note(s->h, "FAULT epoch %llu is damaged", (unsigned long long)epoch);
		}
		s->enc_busy += between(20000, chance(50) ? 20 * MS : 2 * MS);
		at(s->enc_busy, &s->p, piece, s, (uint64_t)(uintptr_t)m);
	}
}

static void captured(void *arg, uint64_t epoch)
{
	struct source *s = arg;

	if (epoch)
		encode(s, epoch);
	fo_primary_captured(&s->e, epoch != 0);
	s->capture_at_ns = sim.now + (nb_holds_frames(s->vm) ? between(MS, 5 * MS)
							     : between(10 * MS, 60 * MS));
	source_schedule(s);
}

#define LAST UINT64_C(0x8000000000000000)
static void capture_resumes(void *arg, uint64_t epoch)
{
	struct source *s = arg;

	job_done(s);
	s->vm->paused = false;
	if (epoch & LAST)
		s->vm->stopped = true;
	inst_changed(s->vm);
	after(between(10000, MS), &s->p, captured, s, epoch & ~LAST);
}

static void job_capture(void *arg, uint64_t epoch)
{
	struct source *s = arg;

	if (!inst_runs(s->vm)) {
		job_done(s);
		note(s->h, "nothing captured: the VM does not run");
		after(between(10000, MS), &s->p, captured, s, 0);
		return;
	}
	s->vm->paused = true;
	inst_changed(s->vm);
	nb_do_barrier(s->vm, epoch & ~LAST);
	s->vm->st.mark = rnd(UINT64_MAX >> 1);
	s->captured = s->vm->st;
	after(between(MS, 6 * MS), &s->p, capture_resumes, s, epoch);
}

static void due(void *arg, uint64_t n)
{
	(void)n;
	source_schedule(arg);
}

/* After every turn: does the engine want an epoch, and is it time? */
void source_schedule(struct source *s)
{
	bool last;

	if (!s->p.alive || s->leaving || s->e.capturing)
		return;
	last = fo_primary_last_epoch(&s->e);
	if (!last && (!fo_primary_may_capture(&s->e) || !inst_runs(s->vm)))
		return;
	if (!last && s->capture_at_ns > sim.now) {
		at(s->capture_at_ns, &s->p, due, s, 0);
		return;
	}
	job_later(s, between(20000, MS), job_capture,
		  fo_primary_capture(&s->e) | (last ? LAST : 0));
}
