/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim: faults, and an operator who plans switches and ends protection. */
#include "tests/sim/sim.h"

#include <stdio.h>

#define FAULTS_BEGIN (300 * MS)

static struct host *any_host(void)
{
	return &sim.host[rnd(sim.hosts)];
}

/* More often one that matters. */
static struct host *some_host(void)
{
	return chance(500) ? sim.owner : any_host();
}

static int64_t span(void)
{
	return chance(300)   ? between(5 * MS, 60 * MS)
	       : chance(600) ? between(60 * MS, 700 * MS)
			     : between(700 * MS, 3000 * MS);
}

/* ---- their ends ---- */
static void unblock(void *arg, uint64_t n)
{
	(void)arg;
	if (!sim.quiet)
		net_unblock((int)(n >> 8), (int)(n & 255));
}

static void block(int from, int to, int64_t ns)
{
	note(NULL, "FAULT nothing passes from node %d to %d for %.0f ms", from, to,
	     (double)ns / 1e6);
	net_block(from, to);
	after(ns, NULL, unblock, NULL, (uint64_t)from << 8 | (uint64_t)to);
}

static void unstall(void *arg, uint64_t n)
{
	(void)arg;
	if (!sim.quiet)
		net_unstall((int)(n >> 8), (int)(n & 255));
}

static void stall(int from, int to, int64_t ns)
{
	note(NULL, "FAULT streams from node %d to %d get stuck for %.0f ms", from, to,
	     (double)ns / 1e6);
	net_stall(from, to);
	after(ns, NULL, unstall, NULL, (uint64_t)from << 8 | (uint64_t)to);
}

static void boots(void *arg, uint64_t n)
{
	(void)n;
	host_boot(arg);
}

static void daemon_back(void *arg, uint64_t n)
{
	(void)n;
	daemon_start(arg);
}

static void thaws(void *arg, uint64_t n)
{
	(void)n;
	host_thaw(arg);
}

static void proc_thaws(void *arg, uint64_t n)
{
	struct proc *p = arg;

	(void)n;
	if (!p->alive || !p->frozen)
		return;
	p->h->blind_at = sim.now;
	proc_thaw(p);
}

static void arbiter_back(void *arg, uint64_t n)
{
	(void)arg;
	sim.arbiter_bad_at = sim.now;
	if (n)
		sim.arbiter_slow_ns = 0;
	else
		sim.arbiter_down = false;
}

static void link_back(void *arg, uint64_t loss)
{
	struct link *l = arg;

	l->loss = (unsigned)loss;
	l->delay_max = 2 * MS;
}

/* ---- faults ---- */
static void reboot_later(struct host *h)
{
	after(between(200 * MS, 3000 * MS), NULL, boots, h, 0);
}

static void power_cut(void)
{
	struct host *h = some_host();

	host_cut(h);
	reboot_later(h);
}

static struct proc *a_replicator(struct host *h)
{
	struct proc *p = NULL;

	if (h->source && h->source->p.alive)
		p = &h->source->p;
	else if (h->sink && h->sink->p.alive)
		p = &h->sink->p;
	return p;
}

static void kill_at_a_step(void)
{
	struct host *h = some_host();
	struct proc *p = chance(900) ? a_replicator(h) : h->recover ? &h->recover->p : h->daemon;

	if (!p || p->steps_left)
		return;
	p->steps_left = 1 + (int)rnd(chance(500) ? 12 : 120);
	p->takes_host = chance(400);
	if (p->takes_host)
		after(between(1500 * MS, 4000 * MS), NULL, boots, h, 0);
	else if (p->kind == P_DAEMON)
		after(between(500 * MS, 2000 * MS), NULL, daemon_back, h, 0);
}

static void kill_daemon(void)
{
	struct host *h = some_host();

	daemon_kill(h);
	after(between(10 * MS, 1500 * MS), NULL, daemon_back, h, 0);
}

static void vm_died_noticed(void *arg, uint64_t n)
{
	(void)n;
	source_event(arg, FO_PE_VM_DIED);
}

static void kill_vm(void)
{
	struct host *h = sim.owner;

	/* Alone it would only be lost. */
	if (!h->vm || !h->source || (h->source->e.state != FO_P_PROTECTED && chance(700)))
		return;
	note(h, "FAULT the VM's process dies");
	inst_die(h->vm);
	after(between(100000, 3 * MS), &h->source->p, vm_died_noticed, h->source, 0);
}

static void freeze_host(void)
{
	struct host *h = some_host();

	if (h->frozen || !h->up || h->slow)
		return;
	host_freeze(h);
	after(span(), NULL, thaws, h, 0);
}

static void freeze_replicator(void)
{
	struct proc *p = a_replicator(some_host());

	if (!p || p->h->slow)
		return;
	note(p->h, "FAULT replicator frozen");
	proc_hang(p);
	after(span(), NULL, proc_thaws, p, 0);
}

static void isolate_host(int a, int64_t ns)
{
	for (int i = 0; i <= NODE_ARBITER; i++)
		if (i != a && (i == NODE_ARBITER || i < (int)sim.hosts)) {
			block(a, i, ns);
			block(i, a, ns);
		}
}

static void sluggish_stall(void *arg, uint64_t n);

/* So much else to do there that the process gets its turn only now and then. */
static void sluggish_turn(void *arg, uint64_t n)
{
	struct proc *p = arg;

	proc_thaws(p, 0);
	if (n == 1 || sim.quiet || !p->alive) {
		p->h->slow = false;
		return;
	}
	/* a turn, and what was waiting for it, and the next stall */
	after(between(MS, 3 * MS), NULL, sluggish_stall, p, n - 1);
}

static void sluggish_stall(void *arg, uint64_t n)
{
	struct proc *p = arg;

	if (!p->alive || sim.quiet)
		return;
	proc_freeze(p);
	after(between(120 * MS, 180 * MS), NULL, sluggish_turn, p, n);
}

static void sluggish(void)
{
	struct host *h = sim.owner;

	if (!h->source || h->source->p.frozen || h->slow)
		return;
	note(h, "FAULT replicator hardly gets its turn");
	h->slow = true;
	isolate_host(h->id, 3000 * MS);
	sluggish_stall(&h->source->p, 20);
}

static void partition(void)
{
	int a = (int)some_host()->id, b = chance(300) ? NODE_ARBITER : (int)any_host()->id;
	int64_t ns = span();

	if (a == b)
		b = (int)((unsigned)(a + 1) % sim.hosts);
	block(a, b, ns);
	if (chance(600))
		block(b, a, ns);
}

static void stuck_streams(void)
{
	int a = (int)some_host()->id, b = (int)any_host()->id;

	stall(a, b, span() + (chance(300) ? 2500 * MS : 0));
}

/* Its disk hangs in the middle of an epoch; the rest of the host is well. */
static void stuck_disk(void)
{
	struct sink *k = any_host()->sink;

	if (!k || k->ending)
		return;
	note(k->h, "FAULT the apply thread hangs");
	if (k->apply_busy < sim.now)
		k->apply_busy = sim.now;
	k->apply_busy += between(100 * MS, 5000 * MS);
}

/* The last message of a switch is stuck in a stream while heartbeats pass. */
void fault_at_take_over(struct host *from, struct host *to)
{
	if (!sim.quiet && chance(60))
		stall(from->id, to->id, between(100 * MS, 5000 * MS));
}

static void isolate(void)
{
	isolate_host(some_host()->id, span());
}

/* Cut off for just about as long as a backup is patient, and then the arbiter takes its time. */
static void hiccup(void)
{
	struct host *o = sim.owner;
	int64_t ns = between(200 * MS, 320 * MS);

	if (!o->source)
		return;
	sim.arbiter_slow_ns = between(20 * MS, 300 * MS);
	block(o->id, o->source->peer->id, ns);
	if (chance(500))
		block(o->source->peer->id, o->id, ns);
	after(ns + between(0, 500 * MS), NULL, arbiter_back, NULL, 1);
}

static void flap(void *arg, uint64_t n)
{
	struct host *o = sim.owner;
	int64_t ns = between(170 * MS, 350 * MS);

	(void)arg;
	if (sim.quiet || !o->source || !n)
		return;
	block(o->id, o->source->peer->id, ns);
	block(o->source->peer->id, o->id, ns);
	after(ns + between(5 * MS, 150 * MS), NULL, flap, NULL, n - 1);
}

/* A cable that is loose: leases end and come back, while questions are open. */
static void flapping(void)
{
	if (chance(700)) {
		sim.arbiter_slow_ns = between(100 * MS, 700 * MS);
		after(between(500 * MS, 2500 * MS), NULL, arbiter_back, NULL, 1);
	}
	flap(NULL, 2 + rnd(10));
}

/* A standby that could not reach the arbiter for long, and a daemon that does not know it. */
static void stale_standby(void)
{
	struct host *o = sim.owner, *b;
	int64_t ns = between(600 * MS, 1500 * MS);

	if (!o->source)
		return;
	b = o->source->peer;
	isolate_host(b->id, ns);
	daemon_kill(b);
	after(ns - between(0, 600 * MS), NULL, daemon_back, b, 0);
}

static void share_back(void *arg, uint64_t n)
{
	struct host *h = arg;

	(void)n;
	h->sees_nothing = false;
	sim.arbiter_bad_at = sim.now;
}

/* The arbiter's directory is not mounted there; often it is the host that will need it. */
static void empty_share(void)
{
	struct host *o = sim.owner, *h = o->source && chance(700) ? o->source->peer : any_host();

	note(h, "FAULT sees an empty arbiter");
	h->sees_nothing = true;
	after(span() + 300 * MS, NULL, share_back, h, 0);
	if (chance(400))
		power_cut();
}

static void arbiter_trouble(void)
{
	if (chance(500)) {
		note(NULL, "FAULT the arbiter is down");
		sim.arbiter_down = true;
		after(span(), NULL, arbiter_back, NULL, 0);
	} else {
		note(NULL, "FAULT the arbiter is slow");
		sim.arbiter_slow_ns = between(20 * MS, 700 * MS);
		after(span() + 500 * MS, NULL, arbiter_back, NULL, 1);
	}
}

static void bad_link(void)
{
	int a = (int)some_host()->id, b = (int)any_host()->id;
	struct link *l = &sim.link[a][b];
	unsigned was = l->loss > 60 ? 0 : l->loss;

	note(NULL, "FAULT link %d to %d is bad", a, b);
	l->loss = 100 + (unsigned)rnd(700);
	l->delay_max = between(5 * MS, 80 * MS);
	after(span(), NULL, link_back, l, was);
}

static void reset_connections(void)
{
	struct host *a = some_host(), *b = any_host();

	note(a, "FAULT connections with %s are reset", b->name);
	conns_break(a, b);
}

static void damage(void)
{
	sim.corrupt += chance(700) ? 1 : 2;
}

static void standby_dies(void)
{
	struct sink *k = any_host()->sink;

	if (!k || k->ending || fo_backup_owns(&k->e))
		return;
	note(k->h, "FAULT the standby's QEMU dies");
	sink_discard(k, "its QEMU has ended");
}

static void one_fault(void *arg, uint64_t n)
{
	static const struct {
		void (*make)(void);
		unsigned weight;
	} kinds[] = {{power_cut, 8},
		     {kill_at_a_step, 18},
		     {kill_daemon, 4},
		     {kill_vm, 6},
		     {freeze_host, 10},
		     {freeze_replicator, 10},
		     {partition, 16},
		     {isolate, 8},
		     {arbiter_trouble, 8},
		     {hiccup, 8},
		     {stale_standby, 4},
		     {stuck_streams, 6},
		     {sluggish, 4},
		     {bad_link, 6},
		     {reset_connections, 5},
		     {damage, 4},
		     {standby_dies, 3},
		     {operator_switches, 14},
		     {operator_unprotects, 4},
		     {stuck_disk, 6},
		     {flapping, 8},
		     {empty_share, 6},
		     {false_hello, 8},
		     {false_claim, 8},
		     {memory_error, 10}};
	unsigned total = 0, pick;

	(void)arg;
	(void)n;
	if (sim.quiet)
		return;
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		total += kinds[i].weight;
	pick = (unsigned)rnd(total);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (pick < kinds[i].weight) {
			sim.stats.faults++;
			kinds[i].make();
			return;
		}
		pick -= kinds[i].weight;
	}
}

/* Alone, or several at a time: the second one soon after the first is what hurts. */
void faults_plan(void)
{
	unsigned n = 1 + (unsigned)rnd(chance(300) ? 2 : chance(700) ? 5 : 12);
	int64_t when = FAULTS_BEGIN;

	while (n--) {
		when += chance(500) ? between(0, 250 * MS) : between(0, 1500 * MS);
		at(when, NULL, one_fault, NULL, 0);
	}
}

void faults_end(void)
{
	sim.quiet = true;
	sim.arbiter_down = false;
	sim.arbiter_slow_ns = 0;
	sim.corrupt = 0;
	sim.acked_when_quiet = clients_acked();
	note(NULL, "---- the faults are over ----");
	for (int i = 0; i < NODES; i++)
		for (int j = 0; j < NODES; j++) {
			sim.link[i][j].loss = 0;
			sim.link[i][j].delay_max = MS;
			while (sim.link[i][j].blocked)
				net_unblock(i, j);
			while (sim.link[i][j].stalled)
				net_unstall(i, j);
		}
	for (unsigned i = 0; i < sim.hosts; i++) {
		struct host *h = &sim.host[i];

		host_thaw(h);
		h->sees_nothing = false;
		if (!h->up)
			host_boot(h);
		daemon_start(h);
	}
	for (struct proc *p = sim.procs; p; p = p->next) {
		p->steps_left = 0;
		if (p->alive && p->frozen)
			proc_thaws(p, 0);
	}
}
