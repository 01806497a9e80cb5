/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: the end of the session. */
#include "replicator/source/source_int.h"

#include <stdio.h>
#include <string.h>

void src_stop_epochs(struct source *s)
{
	encoder_stop(s->en);
	disks_discard(s->disks);
}

void src_finish(struct source *s)
{
	tv_log(TV_INFO, "session ends: %s%s%s", s->outcome, s->why.text[0] ? ": " : "",
	       s->why.text);
	report_send(s->report, json_pack("{ss ss si ss}", "op", "done", "outcome", s->outcome, "rc",
					 s->exit_rc, "text", s->why.text));
	report_flush(s->report);
	event_base_loopbreak(s->base);
}

void src_set_why(struct source *s, int rc, const char *text)
{
	if (!s->exit_rc)
		s->exit_rc = rc;
	if (!s->why.text[0])
		snprintf(s->why.text, sizeof(s->why.text), "%s", text);
}

/* FO_ACTION_LEAVE: output first, then the VM, then the peer. */
void src_leave(struct source *s)
{
	if (s->leaving)
		return;
	s->leaving = true;
	s->outcome = s->user_leave    ? "left"
		     : s->user_switch ? "switch-failed"
		     : s->attached    ? "alone"
				      : "failed";
	src_stop_epochs(s);
	if (s->nb)
		nb_pass(s->nb);
	src_arm(s->settle, 0);
}

void src_on_settle(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;
	static int64_t give_up_ns;

	(void)fd;
	(void)what;
	if (!give_up_ns)
		give_up_ns = tv_now_ns() + TV_NS_PER_S;
	/* Released frames that QEMU does not take within a second are the network's loss. */
	if (s->nb && !nb_idle(s->nb) && tv_now_ns() < give_up_ns) {
		src_arm(s->settle, TV_NS_PER_MS);
		return;
	}
	cap_post(s->cap, CAP_DETACH, 0);
}

void src_on_detached(struct source *s, const struct cap_event *ev)
{
	if (ev->rc)
		src_set_why(s, ev->rc, ev->e.text);
	s->attached = false;
	src_replay_end(s);
	nb_free(s->nb);
	s->nb = NULL;
	if (!s->connected || !s->conn) {
		src_finish(s);
		return;
	}
	/* A backup that was asked to take over has no use for a farewell. */
	if (strcmp(s->outcome, "taken-over") != 0 && strcmp(s->outcome, "switched") != 0) {
		Twinvm__Bye bye = TWINVM__BYE__INIT;
		Twinvm__Control msg = TWINVM__CONTROL__INIT;

		bye.generation = s->p.generation;
		bye.reason = (char *)(s->user_leave ? "protection was ended"
						    : "the primary runs on alone");
		bye.keep_disks = !s->user_leave && !s->vm_shutdown;
		msg.msg_case = TWINVM__CONTROL__MSG_BYE;
		msg.bye = &bye;
		src_send(s, &msg, true);
	}
	s->connected = false;
	repl_finish(s->conn, 1000); /* continued in on_conn_closed() */
}

void src_give_up(struct source *s, const char *outcome, int rc, const char *text)
{
	src_set_why(s, rc, text);
	if (s->leaving)
		return;
	s->leaving = true;
	s->outcome = outcome;
	src_stop_epochs(s);
	if (s->attached)
		cap_post(s->cap, CAP_DETACH, 0);
	else
		src_finish(s);
}

/* The VM's process is gone, or we ask it to go. */
void src_end_vm(struct source *s, const char *outcome, int rc, const char *text)
{
	src_set_why(s, rc, text);
	s->leaving = true;
	s->outcome = outcome;
	src_stop_epochs(s);
}
