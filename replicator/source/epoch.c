/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: epochs, from their trigger to their commit. */
#include "replicator/source/source_int.h"

void src_schedule(struct source *s)
{
	struct nb_stats ns;
	int64_t now, due, held;

	if (s->leaving || s->vm_stopped || !s->net_held)
		return;
	if (fo_primary_last_epoch(&s->p)) {
		cap_post(s->cap, CAP_LAST_EPOCH, fo_primary_capture(&s->p));
		return;
	}
	if (!fo_primary_may_capture(&s->p))
		return;
	nb_stats(s->nb, &ns);
	now = tv_now_ns();
	held = ns.oldest_held_ns > s->pace.last_start_ns ? ns.oldest_held_ns : 0;
	if (!held && disks_waiting(s->disks))
		held = s->pace.last_start_ns +
		       1; /* a disk write that waits is as urgent as a frame */
	due = pace_due_ns(&s->pace, held);
	if (due > now) {
		src_arm(s->due, due - now);
		return;
	}
	cap_post(s->cap, CAP_EPOCH, fo_primary_capture(&s->p));
}

void src_on_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	src_schedule(arg);
}

/* Capture thread, VM paused. */
int src_barrier(void *arg, uint64_t epoch)
{
	struct source *s = arg;

	disks_barrier(s->disks, epoch);
	return nb_barrier(s->nb, epoch);
}

void src_committed(struct source *s, uint64_t epoch)
{
	disks_committed(s->disks, epoch);
	s->committed_state_ns = s->captured_at_ns[epoch % (MAX_IN_FLIGHT + 2)];
	if (epoch == 1)
		s->progress = 1;
	src_schedule(s);
}
