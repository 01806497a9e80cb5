/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remus: every epoch_ns, whatever the VM does (Cully et al., NSDI 2008, section 3).
 * kemari: the first frame that has to wait asks for a checkpoint at once (Tamura et al., 2008); an
 *   idle VM is checkpointed once a second, so that the lag stays bounded.
 * adaptive: by what the VM does, which is seen by the CPU time that QEMU uses between two pauses.
 *   - A VM that rests while its output is held waits for us, with whoever talks to it: checkpointed
 *     at once. A request is answered, or a window is full: a pause takes nothing from such a VM.
 *   - One that works on while its output is held is checkpointed within the pause budget, weighed
 *     with the share of a CPU that it used: a pause takes that share of its length from it. More
 *     output joins meanwhile, and the sooner it rests the sooner all of it leaves.
 *   - If nobody waits, it is checkpointed when it has worked for WORK_EPOCHS * epoch_ns, but its
 *     pauses take a third of the budget at most; and once a second whatever it does.
 *
 * Pause budget: in adaptive mode a VM that works all the time is paused for `budget` percent of it
 * (10 by default). In every mode the VM runs for half of the time where pauses are longer than an
 * epoch is to be; in adaptive one that rests runs for half a pause between two. No budget makes an
 * epoch longer than LONGEST_NS.
 *
 * QEMU flushes the VM's disks whenever it stops a VM (do_vm_stop: bdrv_flush_all), so that a host
 * disk whose flush is slow makes pauses slow. When it is slow for long, the budget spaces the
 * pauses; one flush of seconds is no measure of the next ones.
 */
#include "replicator/source/pace.h"

#define LONGEST_NS TV_NS_PER_S
#define WORK_EPOCHS 8
#define WANTED_EPOCHS 4
#define UNASKED 3 /* parts that the budget of pauses that nobody waits for is divided by */
#define OUTLIER 4
#define FIRST_PAUSE_NS (100 * TV_NS_PER_MS)
#define LOOK_NS (TV_NS_PER_MS / 4) /* a shorter stretch shows nothing */
#define REST_PARTS 8		   /* rests: it used less than one of so many parts of a CPU */

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void begin_look(struct pace *p, int64_t now_ns, int64_t cpu_ns)
{
	p->from_ns = p->seen_ns = now_ns;
	p->from_cpu_ns = p->seen_cpu_ns = cpu_ns;
}

void pace_captured(struct pace *p, int64_t start_ns, int64_t pause_ns)
{
	p->last_start_ns = start_ns;
	p->last_end_ns = start_ns + pause_ns;
	p->from_ns = 0;
	p->work_ns = 0;
	p->busy = 1;
	p->rests = false;
	/* A mean over about eight epochs, in which one pause counts for four means at most: one
	 * slow pause does not thin out the next ones. */
	if (!p->pause_ns)
		p->pause_ns = min64(pause_ns, FIRST_PAUSE_NS);
	else
		p->pause_ns += (min64(pause_ns, OUTLIER * p->pause_ns) - p->pause_ns) / 8;
}

void pace_look(struct pace *p, int64_t now_ns, int64_t cpu_ns)
{
	int64_t ran_ns = now_ns - p->seen_ns, worked_ns = cpu_ns - p->seen_cpu_ns;

	if (cpu_ns < 0 || (p->from_ns && worked_ns < 0)) { /* not known, or of another process */
		p->from_ns = 0;
		p->work_ns = max64(now_ns - p->last_end_ns, 0);
		p->busy = 1;
		p->rests = false;
		return;
	}
	if (!p->from_ns)
		begin_look(p, now_ns, cpu_ns);
	else if (ran_ns >= LOOK_NS) {
		p->rests = worked_ns * REST_PARTS < ran_ns;
		p->seen_ns = now_ns;
		p->seen_cpu_ns = cpu_ns;
		ran_ns = now_ns - p->from_ns;
		p->work_ns = min64(cpu_ns - p->from_cpu_ns, ran_ns);
		p->busy = (double)p->work_ns / (double)ran_ns;
	}
}

void pace_runs(struct pace *p)
{
	p->rests = false;
}

/* Between two pauses, so that they take that many percent. */
static int64_t run_ns(const struct pace *p, int budget, double weight)
{
	int percent = budget > 0 ? budget : PACE_BUDGET;
	double ns = (double)(p->pause_ns * (100 - percent)) / percent * weight;

	return ns < (double)LONGEST_NS ? (int64_t)ns : LONGEST_NS;
}

/* Where a pause is longer than an epoch is to be, every mode lets the VM run. */
static int64_t half_ns(const struct pace *p)
{
	return p->pause_ns > p->epoch_ns ? p->pause_ns : 0;
}

/* Output is held. */
static int64_t answer_ns(const struct pace *p)
{
	int64_t rested_ns = max64(p->pause_ns / 2, half_ns(p));

	return p->rests ? rested_ns : max64(rested_ns, run_ns(p, p->budget, p->busy));
}

/* Nobody waits: the end of the epoch, if it continues as it did. */
static int64_t quiet_end_ns(const struct pace *p)
{
	int64_t longest_ns = p->last_start_ns + LONGEST_NS, at_ns = longest_ns;
	double left_ns = (double)(WORK_EPOCHS * p->epoch_ns - p->work_ns);
	int64_t from_ns = p->from_ns ? p->seen_ns : p->last_end_ns + p->work_ns;

	if (left_ns <= 0)
		at_ns = from_ns;
	else if (left_ns < p->busy * (double)(longest_ns - from_ns))
		at_ns = from_ns + (int64_t)(left_ns / p->busy);
	if (p->hurried)
		at_ns = min64(at_ns, p->last_start_ns + WANTED_EPOCHS * p->epoch_ns);
	return at_ns;
}

static int64_t adaptive_ns(const struct pace *p, struct pace_waits w)
{
	int64_t budget_ns = p->last_end_ns + max64(half_ns(p), run_ns(p, p->budget, 1));
	int64_t unasked_ns =
		p->last_end_ns +
		max64(half_ns(p), min64(UNASKED * run_ns(p, p->budget, 1), LONGEST_NS));
	int64_t due_ns = max64(quiet_end_ns(p), p->hurried ? budget_ns : unasked_ns);

	if (w.wanted)
		due_ns = min64(due_ns,
			       max64(p->last_start_ns + WANTED_EPOCHS * p->epoch_ns, budget_ns));
	if (w.held_ns)
		due_ns = min64(due_ns, max64(w.held_ns, p->last_end_ns + answer_ns(p)));
	return due_ns;
}

int64_t pace_due_ns(const struct pace *p, struct pace_waits w)
{
	int64_t due_ns;

	switch (p->mode) {
	case PACE_REMUS:
		return max64(p->last_start_ns + p->epoch_ns,
			     p->last_end_ns + max64(half_ns(p), TV_NS_PER_MS));
	case PACE_KEMARI:
		due_ns = w.held_ns ? w.held_ns : p->last_start_ns + LONGEST_NS;
		if (w.wanted)
			due_ns = min64(due_ns, p->last_start_ns + WANTED_EPOCHS * p->epoch_ns);
		return max64(due_ns, p->last_end_ns + half_ns(p));
	case PACE_ADAPTIVE:
		break;
	}
	return adaptive_ns(p, w);
}

int64_t pace_look_again_ns(const struct pace *p, struct pace_waits w)
{
	if (p->mode != PACE_ADAPTIVE || !w.held_ns || !p->from_ns)
		return INT64_MAX;
	/* An eighth of a pause later at most than it could have been. */
	return max64(p->seen_ns + max64(LOOK_NS, p->pause_ns / 8),
		     p->last_end_ns + max64(p->pause_ns / 2, half_ns(p)));
}

int64_t pace_target_ns(const struct pace *p, const char **why)
{
	int64_t end_ns = pace_due_ns(p, (struct pace_waits){0});
	int64_t wished_ns = p->mode == PACE_REMUS    ? p->last_start_ns + p->epoch_ns
			    : p->mode == PACE_KEMARI ? p->last_start_ns + LONGEST_NS
						     : quiet_end_ns(p);

	if (end_ns > wished_ns)
		*why = "pause budget";
	else if (p->mode == PACE_REMUS)
		*why = "timer";
	else
		*why = end_ns < p->last_start_ns + LONGEST_NS ? "work" : "idle";
	return end_ns - p->last_start_ns;
}
