/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: epochs, from their trigger to their commit. */
#include "replicator/source/source_int.h"

#include "replicator/source/guest_cpu.h"

/* When the frame or disk write came that waits longest in the running epoch; 0: none waits. */
static int64_t waits_since_ns(struct source *s)
{
	int64_t begun_ns = s->epochs.pace.last_start_ns;
	struct nb_stats ns;

	nb_stats(s->hold.nb, &ns);
	if (ns.oldest_held_ns > begun_ns)
		return ns.oldest_held_ns;
	/* A disk write that waits is as urgent as a frame. */
	return disks_waiting(s->disks) ? begun_ns + 1 : 0;
}

static void capture(struct source *s, enum cap_cmd cmd)
{
	src_trace_asked(s);
	cap_post(s->cap, cmd, fo_primary_capture(&s->p));
}

/* One epoch of a VM that an operator has suspended, as soon as the engine agrees. */
static void schedule_still(struct source *s)
{
	if ((!s->operator.noted || src_verify_waits(s)) && fo_primary_may_capture(&s->p))
		capture(s, CAP_STILL_EPOCH);
}

/* What the VM does decides with what waits. Where that makes the epoch due as the VM rests, it is made
 * sure that it does. */
static int64_t due_ns(struct source *s, struct pace_waits w, int64_t now_ns)
{
	struct pace *p = &s->epochs.pace;
	int64_t due_ns;

	if (p->mode == PACE_ADAPTIVE)
		pace_look(p, now_ns, guest_cpu_ns(s->job.vm_pid));
	due_ns = pace_due_ns(p, w);
	if (due_ns > now_ns || !p->rests || !guest_cpu_runs(s->job.vm_pid))
		return due_ns;
	pace_runs(p);
	return pace_due_ns(p, w);
}

static void schedule_running(struct source *s)
{
	struct pace_waits w = {waits_since_ns(s), src_verify_waits(s)};
	int64_t now = tv_now_ns(), due = due_ns(s, w, now), look;
	bool waited = (w.held_ns && s->epochs.pace.mode != PACE_REMUS) || s->operator.pending;

	/* Whoever has resumed it waits for an epoch's commit. */
	if (due <= now || (s->operator.pending && s->operator.done && !s->operator.epoch)) {
		/* Copying ahead delays the pause: not where somebody waits for this very epoch. */
		capture(s, waited ? CAP_EPOCH : CAP_TIMED_EPOCH);
		return;
	}
	look = pace_look_again_ns(&s->epochs.pace, w);
	src_arm(s->epochs.due, (look < due ? look : due) - now);
}

void src_schedule(struct source *s)
{
	if (s->end.leaving || s->vm.end != VM_END_NONE || !s->hold.held)
		return;
	if (s->operator.suspended)
		schedule_still(s);
	if (s->operator.suspended || s->vm.stopped)
		return;
	if (fo_primary_last_epoch(&s->p)) {
		capture(s, CAP_LAST_EPOCH);
		return;
	}
	if (fo_primary_may_capture(&s->p))
		schedule_running(s);
}

void src_schedule_now(struct source *s)
{
	src_arm(s->epochs.due, 0);
}

void src_on_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	src_schedule(arg);
}

int src_barrier(void *arg, uint64_t epoch)
{
	struct source *s = arg;

	disks_barrier(s->disks, epoch);
	return nb_barrier(s->hold.nb, epoch);
}

void src_captured(struct source *s, const struct cap_event *ev)
{
	fo_primary_captured(&s->p, true);
	ends_note(&s->numbers.ends, s->p.epoch_captured, ev->pause_start_ns + ev->pause_ns);
	src_operator_captured(s, ev);
	pace_captured(&s->epochs.pace, ev->pause_start_ns, ev->pause_ns);
	src_count_captured(s, ev);
	src_trace_captured(s, ev);
	src_schedule(s);
}

void src_committed(struct source *s, uint64_t epoch)
{
	disks_committed(s->disks, epoch);
	src_count_committed(s, epoch);
	src_schedule(s);
}
