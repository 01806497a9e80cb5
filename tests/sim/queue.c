/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim: time, chance, processes, memory. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim sim;

/* ---- memory: one arena, used again by every history ---- */
#define CHUNK (1u << 20)
static char **chunks;
static size_t chunk_n, chunk_at, chunk_used;

void *sim_alloc(size_t n)
{
	void *p;

	n = (n + 15) & ~(size_t)15;
	if (n > CHUNK)
		abort();
	if (chunk_at < chunk_n && chunk_used + n > CHUNK) {
		chunk_at++;
		chunk_used = 0;
	}
	if (chunk_at == chunk_n) {
		chunks = realloc(chunks, (chunk_n + 1) * sizeof(*chunks));
		if (!chunks || !(chunks[chunk_n] = malloc(CHUNK)))
			abort();
		chunk_n++;
		chunk_used = 0;
	}
	p = chunks[chunk_at] + chunk_used;
	chunk_used += n;
	return memset(p, 0, n);
}

void sim_reset(uint64_t seed)
{
	struct ev **heap = sim.heap;
	size_t room = sim.heap_room;
	struct stats st = sim.stats;
	bool verbose = sim.verbose;

	chunk_at = chunk_used = 0;
	sim = (struct sim){
		.seed = seed, .heap = heap, .heap_room = room, .stats = st, .verbose = verbose};
	/* splitmix64: neighbouring seeds must not look alike */
	sim.rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	for (int i = 0; i < 4; i++)
		rnd(2);
}

/* ---- chance: xorshift64* ---- */
uint64_t rnd(uint64_t n)
{
	sim.rng ^= sim.rng >> 12;
	sim.rng ^= sim.rng << 25;
	sim.rng ^= sim.rng >> 27;
	return (sim.rng * UINT64_C(2685821657736338717) >> 11) % n;
}

int64_t between(int64_t lo, int64_t hi)
{
	return lo + (int64_t)rnd((uint64_t)(hi - lo) + 1);
}

bool chance(unsigned permille)
{
	return rnd(1000) < permille;
}

/* ---- the queue: a binary heap by time, then by order of making ---- */
static bool before(const struct ev *a, const struct ev *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void push(struct ev *e)
{
	size_t i = sim.heap_n++;

	if (sim.heap_n > sim.heap_room) {
		sim.heap_room = sim.heap_room ? sim.heap_room * 2 : 1024;
		sim.heap = realloc(sim.heap, sim.heap_room * sizeof(*sim.heap));
		if (!sim.heap)
			abort();
	}
	while (i && before(e, sim.heap[(i - 1) / 2])) {
		sim.heap[i] = sim.heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	sim.heap[i] = e;
}

static struct ev *pop(void)
{
	struct ev *top = sim.heap[0], *e = sim.heap[--sim.heap_n];
	size_t i = 0;

	for (;;) {
		size_t c = 2 * i + 1;

		if (c >= sim.heap_n)
			break;
		if (c + 1 < sim.heap_n && before(sim.heap[c + 1], sim.heap[c]))
			c++;
		if (!before(sim.heap[c], e))
			break;
		sim.heap[i] = sim.heap[c];
		i = c;
	}
	sim.heap[i] = e;
	return top;
}

static struct ev *make(int64_t when, struct proc *p, ev_fn fn, void *arg, uint64_t n)
{
	struct ev *e = sim_alloc(sizeof(*e));

	*e = (struct ev){.at = when, .seq = ++sim.seq, .fn = fn, .arg = arg, .n = n, .p = p};
	push(e);
	return e;
}

void at(int64_t when, struct proc *p, ev_fn fn, void *arg, uint64_t n)
{
	make(when, p, fn, arg, n);
}

void after(int64_t ns, struct proc *p, ev_fn fn, void *arg, uint64_t n)
{
	make(sim.now + ns, p, fn, arg, n);
}

void timer(struct proc *p, int64_t local_ns, ev_fn fn, void *arg, uint64_t n)
{
	int64_t ns = local_ns * 1000000 / (1000000 + p->h->rate_ppm);

	/* a loop is busy with something else now and then */
	make(sim.now + ns + between(10000, 500000), p, fn, arg, n)->timer = true;
}

int64_t host_now(const struct host *h)
{
	return h->offset_ns + sim.now / 1000 * (1000000 + h->rate_ppm) / 1000;
}

int64_t turn_now(const struct proc *p)
{
	return p->stale_ns ? p->stale_ns : host_now(p->h);
}

static void mix(uint64_t v)
{
	sim.hash = (sim.hash ^ v) * UINT64_C(0x100000001b3);
	sim.hash ^= sim.hash >> 29;
}

void run_until(int64_t end)
{
	while (!sim.failed && !sim.over && sim.heap_n && sim.heap[0]->at <= end) {
		struct ev *e = pop();

		sim.now = e->at;
		if (e->p && !e->p->alive)
			continue;
		if (e->p && e->p->frozen) {
			e->next = NULL;
			*e->p->late_tail = e;
			e->p->late_tail = &e->next;
			continue;
		}
		mix((uint64_t)e->at);
		mix(e->seq ^ sim.rng);
		sim.stats.events++;
		if (e->p && !step(e->p))
			continue;
		e->fn(e->arg, e->n);
		if (e->p)
			e->p->stale_ns = 0;
	}
	if (!sim.failed && !sim.over)
		sim.now = end;
}

/* ---- processes ---- */
void proc_init(struct proc *p, struct host *h, enum proc_kind kind)
{
	*p = (struct proc){.h = h, .kind = kind, .alive = true, .next = sim.procs};
	p->late_tail = &p->late;
	p->frozen = h->frozen;
	sim.procs = p;
}

void proc_freeze(struct proc *p)
{
	if (!p->frozen++ && chance(500))
		p->stale_ns = host_now(p->h);
}

void proc_hang(struct proc *p)
{
	proc_freeze(p);
	if (p->thread && !p->thread_held && chance(500)) {
		p->thread_held = true;
		proc_freeze(p->thread);
	}
}

/* What waits is met in one of two orders: as it came, or with every timer that is due first. */
void proc_thaw(struct proc *p)
{
	struct ev *e = p->late, *next;
	bool timers_first = chance(500);

	if (--p->frozen)
		return;
	if (p->thread_held && p->thread->frozen)
		proc_thaw(p->thread);
	p->thread_held = false;
	p->late = NULL;
	p->late_tail = &p->late;
	for (int pass = 0; pass < 2; pass++)
		for (struct ev *x = e; x; x = next) {
			next = x->next;
			if (timers_first ? x->timer == (pass == 0) : pass == 0)
				at(sim.now + 1000, x->p, x->fn, x->arg, x->n);
		}
}

bool step(struct proc *p)
{
	if (!p->alive)
		return false;
	if (!p->steps_left || --p->steps_left)
		return true;
	if (p->takes_host) {
		note(p->h, "FAULT power cut at a step of the %s",
		     p->kind == P_SOURCE ? "source"
		     : p->kind == P_SINK ? "sink"
					 : "daemon");
		host_cut(p->h);
	} else if (p->kind == P_DAEMON) {
		daemon_kill(p->h);
	} else {
		note(p->h, "FAULT %s killed at a step",
		     p->kind == P_SOURCE ? "source"
		     : p->kind == P_SINK ? "sink"
					 : "recovery");
		replicator_died(p);
	}
	return false;
}

void note_text(const struct host *h, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n = snprintf(line, sizeof(line), "%10.3f %-2s ", (double)sim.now / 1e6,
			 h ? h->name : "-");

	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	for (const char *c = line; *c; c++)
		sim.text_hash = (sim.text_hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
	puts(line);
}
