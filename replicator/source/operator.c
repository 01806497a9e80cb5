/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An operator's suspend and resume, as the daemon passes them on.
 *
 * The capture thread stops the VM at once, between two epochs (capture_wish.c). Then one more epoch
 * is taken of it as it stands (src_schedule), and its end says that an operator has suspended it: the run
 * state belongs to the epoch as memory and disks do, and whoever runs that epoch leaves it stopped.
 * A resume lets it run, and the next epoch does not say so any more. While there is a backup, both are
 * answered when that epoch is committed: what was answered holds after a power cut.
 *
 * The last word: another monitor's `cont` ends a suspension, as soon as the run state shows it.
 */
#include "replicator/source/source_int.h"

#include <stdio.h>

static void answer(struct source *s, bool ok, const char *text)
{
	struct session_answer a = {.ok = ok};

	s->operator.pending = false;
	tv_copy(a.text, sizeof(a.text), text);
	report_send(s->report, session_message(SESSION_OP_SUSPEND_ANSWER, &a));
}

/* The VM is being moved: neither host's word would hold. */
static bool is_switching(const struct source *s)
{
	switch (s->p.state) {
	case FO_P_SWITCHING:
	case FO_P_YIELDING:
	case FO_P_CHECKING:
	case FO_P_YIELDED:
	case FO_P_QUITTING:
	case FO_P_RETURNING:
	case FO_P_SWITCHED:
		return true;
	default:
		return false;
	}
}

void src_order_suspend(struct source *s, bool suspend)
{
	struct tv_err e;

	if (s->end.leaving || s->p.state == FO_P_FENCED) {
		answer(s, false,
		       s->p.state == FO_P_FENCED
			       ? "another host runs the VM"
			       : "its protection is just ending: give the command again");
		return;
	}
	if (is_switching(s) || s->orders.switch_over) {
		tv_fail(&e, 0, "it is being moved to %s: give the command there when it is done",
			s->job.peer.name);
		answer(s, false, e.text);
		return;
	}
	s->operator.pending = true;
	s->operator.wants = suspend;
	s->operator.done = false;
	s->operator.epoch = 0;
	cap_want_suspended(s->cap, suspend);
}

void src_on_suspended(struct source *s, const struct cap_event *ev)
{
	struct src_operator *p = &s->operator;

	if (ev->rc) {
		if (p->pending)
			answer(s, false, ev->e.text);
		return;
	}
	tv_log(TV_INFO, "%s: an operator %s it", s->job.vm_name,
	       ev->still ? "has suspended" : "lets it run, and has resumed");
	p->suspended = ev->still;
	p->noted = false;
	p->done = true;
}

void src_operator_captured(struct source *s, const struct cap_event *ev)
{
	struct src_operator *p = &s->operator;

	if (ev->still)
		p->noted = true;
	if (p->pending && p->done && !p->epoch && ev->still == p->wants)
		p->epoch = ev->epoch;
}

/* Does an epoch of what he wants still come, and its commit? */
static bool epoch_comes(const struct source *s)
{
	const struct src_operator *p = &s->operator;

	if (s->p.state != FO_P_PAIRING && s->p.state != FO_P_PROTECTED &&
	    s->p.state != FO_P_REPAIRING)
		return false;
	/* Somebody else has had the last word. */
	if (p->wants ? !p->suspended : s->vm.stopped)
		return false;
	return !p->epoch || s->p.epoch_committed < p->epoch;
}

void src_operator_look(struct source *s)
{
	if (s->operator.pending && s->operator.done && !epoch_comes(s))
		answer(s, true, "");
}

void src_operator_end(struct source *s)
{
	if (s->operator.pending)
		answer(s, s->operator.done,
		       s->operator.done ? ""
					: "its protection ended meanwhile: give the command again");
}

void src_operator_runs(struct source *s)
{
	if (s->operator.suspended)
		tv_log(TV_INFO, "%s: another monitor lets it run: it is not suspended any more",
		       s->job.vm_name);
	s->operator.suspended = s->operator.noted = false;
}
