/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source: the end of the session, in the order in which it happens:
 *
 *   src_end            no new epoch; the VM is let go (for src_leave: when released output is out)
 *   src_on_detached    the VM is let go: filters are gone, the backup gets its Bye
 *   on_conn_closed     (link.c) all is written
 *   src_finish         the daemon gets the outcome; the loop ends
 */
#include "replicator/source/source_int.h"

/* Released frames that QEMU does not take within this time are the network's loss. */
#define SETTLE_NS TV_NS_PER_S

void src_stop_epochs(struct source *s)
{
	encoder_stop(s->en);
	disks_discard(s->disks);
}

void src_set_why(struct source *s, int rc, const char *text)
{
	if (!s->end.rc)
		s->end.rc = rc;
	if (!s->end.why.text[0])
		tv_copy(s->end.why.text, sizeof(s->end.why.text), text);
}

/* The backup has no epoch, and so nothing to run: it never asks for the VM. */
static bool has_nothing(const struct source *s)
{
	return s->p.recorded && !s->p.epoch_sent;
}

/* Of a planned switch, by one clock: from the stop for the last epoch, or from a memory error, to the
 * backup's report. */
static void add_outage(const struct source *s, struct session_outage *out)
{
	const struct src_numbers *n = &s->numbers;

	int64_t from_ns = s->p.poisoned ? n->poison_ns : n->last_pause_ns;

	if (s->end.outcome != SESSION_SWITCHED || !from_ns || !n->peer_runs_ns)
		return;
	tv_copy(out->cause, sizeof(out->cause), s->p.poisoned ? "memory" : "planned");
	out->outage_ms = (double)((n->peer_runs_ns - from_ns) / 1000) / 1e3;
}

void src_finish(struct source *s)
{
	struct session_end done = {.outcome = s->end.outcome,
				   .rc = s->end.rc,
				   .generation = s->p.generation,
				   .parted = s->end.parted || has_nothing(s)};

	src_operator_end(s);
	src_verify_end(s);
	add_outage(s, &done.outage);
	tv_copy(done.text, sizeof(done.text), s->end.why.text);
	tv_log(TV_INFO, "session ends: %s%s%s", session_outcome_name(done.outcome),
	       done.text[0] ? ": " : "", done.text);
	if (s->end.died)
		tv_log(TV_ERROR, "%s is stopped, and its monitor cannot be reached",
		       s->job.vm_name);
	else
		report_send(s->report, session_message(SESSION_OP_DONE, &done));
	report_flush(s->report);
	event_base_loopbreak(s->base);
}

void src_end(struct source *s, enum session_outcome outcome, int rc, const char *why,
	     enum src_detach detach)
{
	src_set_why(s, rc, why);
	if (s->end.leaving)
		return;
	s->end.leaving = true;
	src_verify_end(s);
	s->end.outcome = outcome;
	src_stop_epochs(s);
	if (detach == SRC_DETACH_LATER)
		return;
	if (s->vm.attached)
		cap_post(s->cap, CAP_DETACH, detach == SRC_DETACH_STOPPED);
	else
		src_finish(s);
}

void src_leave(struct source *s)
{
	if (s->end.leaving)
		return;
	src_end(s,
		s->orders.leave		? SESSION_LEFT
		: s->orders.switch_over ? SESSION_SWITCH_FAILED
		: s->p.welcomed		? SESSION_ALONE
					: SESSION_FAILED,
		0, "", SRC_DETACH_LATER);
	if (s->hold.nb)
		nb_pass(s->hold.nb);
	src_arm(s->end.settle, 0);
}

void src_on_settle(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;
	int64_t now = tv_now_ns();

	(void)fd;
	(void)what;
	if (!s->end.give_up_ns)
		s->end.give_up_ns = now + SETTLE_NS;
	if (s->hold.nb && !nb_idle(s->hold.nb) && now < s->end.give_up_ns) {
		src_arm(s->end.settle, TV_NS_PER_MS);
		return;
	}
	cap_post(s->cap, CAP_DETACH, 0);
}

static void send_bye(struct source *s)
{
	/* For good: nothing to keep disks for. */
	bool over = s->orders.leave || vm_end_is_for_good(s->vm.end);
	Twinvm__Bye bye = TWINVM__BYE__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;

	bye.generation = s->p.generation;
	bye.reason = (char *)(over ? "protection was ended" : "the primary runs on alone");
	bye.keep_disks = !over;
	msg.msg_case = TWINVM__CONTROL__MSG_BYE;
	msg.bye = &bye;
	src_send(s, &msg, true);
}

void src_on_detached(struct source *s, const struct cap_event *ev)
{
	if (ev->rc)
		src_set_why(s, ev->rc, ev->e.text);
	s->vm.attached = false;
	/* Without an outcome: a process of the daemon tries until it runs again. */
	s->end.died = ev->rc && s->page->in_pause && s->end.outcome == SESSION_ALONE;
	src_replay_end(s);
	src_send_last_counts(s);
	nb_free(s->hold.nb);
	s->hold.nb = NULL;
	if (!s->link.connected || !s->link.conn) {
		src_finish(s);
		return;
	}
	/* A backup that was asked to take over needs no Bye: it would end its standby. */
	if (s->end.outcome != SESSION_TAKEN_OVER && s->end.outcome != SESSION_SWITCHED)
		send_bye(s);
	src_finish_link(s);
}
