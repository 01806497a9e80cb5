/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: the decision core's events and actions, and the end of the session. */
#include "daemon/source_int.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the end of the session ---- */
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

/* FO_A_LEAVE: output first, then the VM, then the peer. */
static void leave(struct source *s)
{
	if (s->leaving)
		return;
	s->leaving = true;
	s->outcome = s->user_leave ? "left" : s->attached ? "alone" : "failed";
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
	nb_free(s->nb);
	s->nb = NULL;
	if (!s->connected || !s->conn) {
		src_finish(s);
		return;
	}
	/* A backup that was asked to take over has no use for a farewell. */
	if (strcmp(s->outcome, "taken-over") != 0) {
		Twinvm__Bye bye = TWINVM__BYE__INIT;
		Twinvm__Control msg = TWINVM__CONTROL__INIT;

		bye.reason = s->user_leave ? "protection was ended" : "the primary runs on alone";
		msg.msg_case = TWINVM__CONTROL__MSG_BYE;
		msg.bye = &bye;
		src_send(s, &msg, true);
	}
	s->connected = false;
	repl_finish(s->conn, 1000); /* on_conn_closed goes on */
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

void src_fence(struct source *s, const char *text)
{
	if (!s->attached) {
		src_give_up(s, "fenced", TV_E_LOST, text);
		return;
	}
	src_set_why(s, TV_E_LOST, text);
	src_event(s, FO_PE_HIGHER_GENERATION);
}

/* ---- decisions ---- */
static void claim(struct source *s, enum fo_question q)
{
	struct fo_claim c = {.generation = s->job.generation};

	snprintf(c.vm_id, sizeof(c.vm_id), "%s", s->job.vm_id);
	snprintf(c.self, sizeof(c.self), "%s", s->job.conf.host);
	snprintf(c.peer, sizeof(c.peer), "%s", s->job.peer_name);
	snprintf(c.session, sizeof(c.session), "%s", s->job.session);
	fo_ask_start(s->ask, q, &c);
}

void src_try_release(struct source *s)
{
	int64_t now = tv_now_ns();

	if (!s->releasing || s->epoch_released >= s->epoch_committed)
		return;
	if (now - s->lease_from_ns >= s->times.lease_ns)
		return; /* the next echo tries again */
	s->epoch_released = s->epoch_committed;
	nb_release(s->nb, s->epoch_committed);
}

static void act(struct source *s, unsigned a)
{
	if (a & FO_A_ASK_PAIR)
		claim(s, FO_ASK_PAIR);
	if (a & FO_A_ASK_ALONE)
		claim(s, FO_ASK_ALONE);
	if (a & FO_A_ASK_LATER)
		src_arm(s->retry, s->times.retry_ns);
	if (a & FO_A_RELEASE) {
		s->releasing = true;
		src_try_release(s);
	}
	if (a & FO_A_RESUME_VM)
		cap_post(s->cap, CAP_RESUME_VM, 0);
	if (a & FO_A_LEAVE)
		leave(s);
	if (a & FO_A_STOP_VM) {
		s->releasing = false;
		cap_post(s->cap, CAP_STOP_VM, 0);
	}
	if (a & FO_A_TAKE_OVER) {
		Twinvm__TakeOver t = TWINVM__TAKE_OVER__INIT;
		Twinvm__Control msg = TWINVM__CONTROL__INIT;

		t.generation = s->job.generation;
		t.reason = "the VM's process on the primary died";
		msg.msg_case = TWINVM__CONTROL__MSG_TAKE_OVER;
		msg.take_over = &t;
		src_send(s, &msg, true);
	}
	if (a & FO_A_END) {
		src_set_why(s, TV_E_GONE,
			    a & FO_A_TAKE_OVER ? "the VM's QEMU process died; the backup takes over"
					       : "the VM's QEMU process has ended");
		s->leaving = true;
		s->outcome = a & FO_A_TAKE_OVER ? "taken-over" : "vm-gone";
		src_stop_epochs(s);
		cap_post(s->cap, CAP_DETACH, 0);
	}
}

void src_event(struct source *s, enum fo_primary_event ev)
{
	struct fo_step st = fo_primary_step(s->state, ev);
	enum fo_primary_state from = s->state;

	s->state = (enum fo_primary_state)st.next;
	if (from == s->state && !st.actions)
		return;
	tv_log(TV_INFO, "%s: %s -> %s (generation %llu, epoch %llu)", fo_primary_event_name(ev),
	       fo_primary_state_name(from), fo_primary_state_name(s->state),
	       (unsigned long long)s->job.generation, (unsigned long long)s->epoch_committed);
	if (s->state == FO_P_ASKING && from != FO_P_ASKING) {
		s->releasing = false;
		s->lost_at_ns = tv_now_ns();
		src_stop_epochs(s);
		tv_log(TV_WARN, "backup %s is lost (%s), holding output", s->job.peer_name,
		       s->why.text);
	}
	if (s->state == FO_P_LEAVING && from != FO_P_LEAVING)
		s->lost_at_ns = tv_now_ns();
	act(s, st.actions);
	src_send_stats(s);
	if (s->state == FO_P_PROTECTED && from == FO_P_PAIRING)
		report_send(s->report,
			    json_pack("{ss ss}", "op", "protected", "peer", s->job.peer_name));
}

void src_on_answer(enum fo_question q, int rc, const struct fo_record *rec, const char *why,
		   void *arg)
{
	struct source *s = arg;

	if (rc == TV_E_LOST) {
		src_set_why(s, rc, why);
		src_event(s, FO_PE_RECORD_LOST);
		if (s->state == FO_P_FENCED)
			s->outcome = "fenced";
		return;
	}
	if (rc) {
		tv_log(TV_WARN, "arbiter: %s; holding output", why);
		src_event(s, FO_PE_ARBITER_UNREACHABLE);
		return;
	}
	if (q == FO_ASK_ALONE) {
		src_event(s, FO_PE_ALONE_RECORDED);
		return;
	}
	src_event(s, FO_PE_PAIR_RECORDED);
	if (s->state == FO_P_PROTECTED) {
		Twinvm__Paired p = TWINVM__PAIRED__INIT;
		Twinvm__Control msg = TWINVM__CONTROL__INIT;

		p.version = rec->version;
		p.generation = rec->generation;
		msg.msg_case = TWINVM__CONTROL__MSG_PAIRED;
		msg.paired = &p;
		src_send(s, &msg, false);
	}
}

void src_on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;

	(void)fd;
	(void)what;
	if (s->state == FO_P_ASKING || s->state == FO_P_HELD || s->state == FO_P_LEAVING)
		claim(s, FO_ASK_ALONE);
}

void src_peer_lost(struct source *s, int rc, const char *why)
{
	if (s->conn) {
		repl_free(s->conn);
		s->conn = NULL;
	}
	s->connected = false;
	if (s->leaving)
		return;
	src_set_why(s, rc, why);
	if (!s->attached) {
		src_give_up(s, "failed", rc, why);
		return;
	}
	src_event(s, FO_PE_PEER_LOST);
}
