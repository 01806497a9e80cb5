/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: what the engine (failover/primary.c) asks for, and the end of the session. */
#include "replicator/source/source_int.h"

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

/* FO_ACTION_LEAVE: output first, then the VM, then the peer. */
static void leave(struct source *s)
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
static void ask(void *arg, enum fo_question q)
{
	struct source *s = arg;
	struct fo_claim c;

	job_claim(&s->job, &c);
	fo_ask_start(s->ask, q, &c);
}

static bool release(void *arg, uint64_t generation, uint64_t epoch, int64_t until_ns)
{
	struct source *s = arg;

	/* Read here and not at the turn's beginning: we may have been frozen since. */
	if (tv_now_ns() >= until_ns)
		return false;
	nb_release(s->nb, generation, epoch);
	return true;
}

/* The VM's process is gone, or we ask it to go. */
static void end_vm(struct source *s, const char *outcome, int rc, const char *text)
{
	src_set_why(s, rc, text);
	s->leaving = true;
	s->outcome = outcome;
	src_stop_epochs(s);
}

static void act(void *arg, enum fo_action a)
{
	struct source *s = arg;

	switch (a) {
	case FO_ACTION_STOP_VM:
		cap_post(s->cap, CAP_STOP_VM, 0);
		break;
	case FO_ACTION_RESUME_VM:
		cap_post(s->cap, CAP_RESUME_VM, 0);
		break;
	case FO_ACTION_LEAVE:
		leave(s);
		break;
	case FO_ACTION_LAST_EPOCH:
		src_arm(s->due, 0);
		break;
	case FO_ACTION_QUIT_VM:
		end_vm(s, "switched", 0, "");
		cap_post(s->cap, CAP_QUIT_VM, 0);
		/* A QEMU that does not quit stays stopped; the daemon sees to it. */
		cap_post(s->cap, CAP_DETACH, 1);
		break;
	case FO_ACTION_END:
		/* Not forgotten at the arbiter: the backup may run it, told by us or by silence. */
		if (s->p.epoch_committed)
			end_vm(s, "taken-over", TV_E_GONE,
			       "the VM's QEMU process died; the backup takes over");
		else
			end_vm(s, "vm-gone", TV_E_GONE, "the VM's QEMU process has ended");
		cap_post(s->cap, CAP_DETACH, 0);
		break;
	default:
		break;
	}
}

/* The backup is lost: nothing more is made for it, and nothing it still says counts. */
static void lost(struct source *s, enum fo_primary_event ev)
{
	if (ev == FO_PE_PEER_LOST && s->conn) {
		repl_free(s->conn);
		s->conn = NULL;
		s->connected = false;
	}
	src_stop_epochs(s);
	if (!s->why.text[0])
		src_set_why(s, -ETIMEDOUT,
			    ev == FO_PE_SWITCH_OVERDUE
				    ? "the backup did not take over in time: switch called off"
				    : "the backup host does not answer");
	tv_log(TV_WARN, "backup %s is lost (%s), holding output", s->job.peer.name, s->why.text);
}

static void changed(void *arg, enum fo_primary_event ev, enum fo_primary_state from)
{
	struct source *s = arg;
	enum fo_primary_state to = s->p.state;

	tv_log(TV_INFO, "%s: %s -> %s (generation %llu, epoch %llu)", fo_primary_event_name(ev),
	       fo_primary_state_name(from), fo_primary_state_name(to),
	       (unsigned long long)s->p.generation, (unsigned long long)s->p.epoch_committed);
	if (ev == FO_PE_PEER_LOST && !s->why.text[0])
		src_set_why(s, -ETIMEDOUT, "the backup host does not answer");
	if ((to == FO_P_ASKING || to == FO_P_HELD) && from != FO_P_ASKING && from != FO_P_HELD &&
	    from != FO_P_LEAVING && !s->user_leave)
		lost(s, ev);
	if (to == FO_P_FENCED && from != to) {
		s->outcome = "fenced";
		if (!s->why.text[0])
			src_set_why(s, TV_E_LOST, "another host runs a higher generation of it");
	}
	src_send_stats(s);
	if (to == FO_P_PROTECTED && from == FO_P_PAIRING)
		report_send(s->report,
			    json_pack("{ss ss}", "op", "protected", "peer", s->job.peer.name));
}

const struct fo_primary_ops src_engine_ops = {
	.send = src_send_msg, .ask = ask, .release = release, .act = act, .changed = changed};

void src_event(struct source *s, enum fo_primary_event ev)
{
	fo_primary_event(&s->p, tv_now_ns(), ev);
}

void src_on_answer(enum fo_question q, int rc, const struct fo_record *rec, const char *why,
		   void *arg)
{
	struct source *s = arg;

	(void)rec;
	if (s->leaving)
		return;
	if (rc == TV_E_LOST)
		src_set_why(s, rc, why);
	else if (rc)
		tv_log(TV_WARN, "arbiter: %s; holding output", why);
	fo_primary_answer(&s->p, tv_now_ns(), q, rc);
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
