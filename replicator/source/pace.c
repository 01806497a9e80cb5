/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remus: every epoch_ns, whatever the VM does (Cully et al., NSDI 2008, section 3).
 * kemari: the first frame that has to wait asks for a checkpoint at once (Tamura et al., 2008); an
 *   idle VM is checkpointed once a second, so that the lag stays bounded.
 * adaptive: as kemari when the VM speaks, within the pause budget; when it does not, every
 *   4 * epoch_ns: what it computes is kept, and nobody waits for it.
 *
 * Pause budget: in adaptive mode the VM runs at least three times as long as it was paused, so that
 * a VM that speaks all the time keeps three quarters of its time. In the other two it keeps half of
 * it where pauses are longer than an epoch is to be.
 *
 * QEMU flushes the VM's disks whenever it stops a VM (do_vm_stop: bdrv_flush_all), so that a host
 * disk whose flush is slow makes pauses slow. When it is slow for long, the budget spaces the
 * pauses; one flush of seconds is no measure of the next ones.
 */
#include "replicator/source/pace.h"

#define RUN_TO_PAUSE 3
#define KEMARI_IDLE_NS TV_NS_PER_S
#define ADAPTIVE_IDLE_EPOCHS 4
#define OUTLIER 4
#define FIRST_PAUSE_NS (100 * TV_NS_PER_MS)

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

void pace_captured(struct pace *p, int64_t start_ns, int64_t pause_ns)
{
	p->last_start_ns = start_ns;
	p->last_end_ns = start_ns + pause_ns;
	/* A mean over about eight epochs, in which one pause counts for four means at most: one
	 * slow pause does not thin out the next ones. */
	if (!p->pause_ns)
		p->pause_ns = min64(pause_ns, FIRST_PAUSE_NS);
	else
		p->pause_ns += (min64(pause_ns, OUTLIER * p->pause_ns) - p->pause_ns) / 8;
}

static int64_t max64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

int64_t pace_due_ns(const struct pace *p, int64_t oldest_held_ns)
{
	int64_t earliest = p->last_end_ns + RUN_TO_PAUSE * p->pause_ns;
	int64_t half = p->last_end_ns + (p->pause_ns > p->epoch_ns ? p->pause_ns : 0);

	switch (p->mode) {
	case PACE_REMUS:
		return max64(p->last_start_ns + p->epoch_ns,
			     max64(half, p->last_end_ns + TV_NS_PER_MS));
	case PACE_KEMARI:
		return max64(oldest_held_ns ? oldest_held_ns : p->last_start_ns + KEMARI_IDLE_NS,
			     half);
	case PACE_ADAPTIVE:
		break;
	}
	if (oldest_held_ns)
		return max64(oldest_held_ns, earliest);
	return max64(p->last_start_ns + ADAPTIVE_IDLE_EPOCHS * p->epoch_ns, earliest);
}

static int64_t wished_ns(const struct pace *p)
{
	if (p->mode == PACE_REMUS)
		return p->epoch_ns;
	return p->mode == PACE_KEMARI ? KEMARI_IDLE_NS : ADAPTIVE_IDLE_EPOCHS * p->epoch_ns;
}

int64_t pace_target_ns(const struct pace *p, const char **why)
{
	int64_t ns = pace_due_ns(p, 0) - p->last_start_ns;

	*why = ns > wished_ns(p) ? "pause budget" : p->mode == PACE_REMUS ? "timer" : "idle";
	return ns;
}
