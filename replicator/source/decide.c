/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: what the engine (failover/primary.c) asks for, and what the source reports to it. */
#include "replicator/source/source_int.h"

#include <errno.h>

#define PART_FAILED_WAIT_NS (300 * TV_NS_PER_MS)

/* ---- what the engine asks for ---- */
static void ask(void *arg, enum fo_question q)
{
	struct source *s = arg;
	struct fo_claim c;

	job_claim(&s->job, &c);
	c.had_record |= s->p.recorded;
	fo_ask_start(s->ask, q, &c);
}

/*
 * Frames that QEMU's filters hold leave through a socket that QEMU reads, and in a pause it does not. What
 * is written there then could leave much later: after this host was frozen, say, and the backup has
 * taken over. So it is not released before the pause is over, and then by the engine anew, with the lease
 * of that moment; nothing leaves earlier than it did, and QEMU would have sent nothing before.
 */
static bool release(void *arg, uint64_t generation, uint64_t epoch, int64_t until_ns)
{
	struct source *s = arg;
	struct nb_stats held;
	int64_t now;

	if (s->hold.by_qemu && cap_holds_up(s->cap))
		return false;
	/* For metrics. Before the lease is read: nothing is to be between that and the release. It
	 * reads counters in memory, the kernel's at most once in 50 ms. */
	nb_stats(s->hold.nb, &held);
	/* Read here and not at the turn's beginning: we may have been frozen since. */
	now = tv_now_ns();
	if (now >= until_ns)
		return false;
	nb_release(s->hold.nb, generation, epoch);
	trace_add(s->trace.ring, TRACE_RELEASE, epoch, now, tv_now_ns(), 0);
	src_count_released(s, epoch, held.oldest_held_ns);
	return true;
}

static void act(void *arg, enum fo_action a)
{
	struct source *s = arg;

	switch (a) {
	case FO_ACTION_HELLO:
		src_send_hello(s);
		break;
	case FO_ACTION_STOP_VM:
		cap_want_stopped(s->cap, true);
		break;
	case FO_ACTION_RESUME_VM:
		cap_want_stopped(s->cap, false);
		break;
	case FO_ACTION_LEAVE:
		src_leave(s);
		break;
	case FO_ACTION_LAST_EPOCH:
		src_schedule_now(s);
		break;
	case FO_ACTION_QUIT_VM:
		cap_post(s->cap, CAP_QUIT_VM, 0);
		/* A QEMU that does not quit stays stopped; the daemon sees to it. */
		src_end(s, SESSION_SWITCHED, 0, "", SRC_DETACH_STOPPED);
		break;
	case FO_ACTION_END:
		/* Not forgotten at the arbiter: the backup may run it, asked to or after our
		 * silence. */
		if (s->p.epoch_committed)
			src_end(s, SESSION_TAKEN_OVER, TV_E_GONE,
				"the VM's QEMU process died; the backup takes over",
				SRC_DETACH_RUNNING);
		else
			src_end(s, SESSION_VM_GONE, TV_E_GONE, "the VM's QEMU process has ended",
				SRC_DETACH_RUNNING);
		break;
	default:
		break;
	}
}

static const char *why_lost(enum fo_primary_event ev)
{
	switch (ev) {
	case FO_PE_SWITCH_OVERDUE:
		return "the backup did not take over in time: switch called off";
	case FO_PE_ALONE_RECORDED:
		return "the link to the backup host was lost, or that host was";
	case FO_PE_COMMIT_OVERDUE:
		return "the backup answers heartbeats, but nothing else moves: its disk hangs, or "
		       "the network drops the connection's packets";
	case FO_PE_HIGHER_GENERATION:
		return "the backup reported a generation of this VM that is higher than this "
		       "host's, and is not trusted any more";
	default:
		return "the backup host does not answer";
	}
}

/*
 * The backup is lost: nothing more is made for it, and none of its messages counts. One that
 * answers heartbeats gets them until the record is there: it has no reason to ask for the VM.
 */
static void lost(struct source *s, enum fo_primary_event ev)
{
	if (ev == FO_PE_PEER_LOST || ev == FO_PE_HIGHER_GENERATION)
		src_drop_link(s);
	src_stop_epochs(s);
	src_set_why(s, -ETIMEDOUT, why_lost(ev));
	tv_log(TV_WARN, "backup %s is lost (%s)%s", s->job.peer.name, s->end.why.text,
	       s->p.state == FO_P_DOUBTING ? "" : ", holding output");
}

static void changed(void *arg, enum fo_primary_event ev, enum fo_primary_state from)
{
	struct source *s = arg;
	enum fo_primary_state to = s->p.state;

	tv_log(TV_INFO, "%s: %s -> %s (generation %llu, epoch %llu)", fo_primary_event_name(ev),
	       fo_primary_state_name(from), fo_primary_state_name(to),
	       (unsigned long long)s->p.generation, (unsigned long long)s->p.epoch_committed);
	src_allow_beats(s);
	if (ev == FO_PE_PEER_RUNS)
		s->numbers.peer_runs_ns = tv_now_ns();
	if ((ev == FO_PE_PEER_LOST || ev == FO_PE_COMMIT_OVERDUE) && !s->end.why.text[0])
		src_set_why(s, -ETIMEDOUT, why_lost(ev));
	if ((to == FO_P_ASKING || to == FO_P_HELD || to == FO_P_DOUBTING) && from != FO_P_ASKING &&
	    from != FO_P_HELD && from != FO_P_DOUBTING && from != FO_P_LEAVING && !s->orders.leave)
		lost(s, ev);
	if (to == FO_P_ALONE && (from == FO_P_CHECKING || from == FO_P_QUITTING))
		src_set_why(s, -EIO,
			    "the backup reported that it has taken over, and the arbiter's record "
			    "says that it has not");
	if (to == FO_P_ALONE && from == FO_P_SUSPENDED) {
		src_set_why(s, -ETIMEDOUT, why_lost(ev));
		tv_log(TV_WARN, "%s: %s runs alone", s->end.why.text, s->job.vm_name);
	}
	if (to == FO_P_FENCED && from != to) {
		s->page->fenced = 1; /* whether or not the daemon learns it from this process */
		/* Nothing is made any more; and nothing that waits keeps the VM from stopping. */
		src_stop_epochs(s);
		src_set_why(s, TV_E_LOST, "another host runs a higher generation of it");
	}
	src_send_stats(s);
	if (to == FO_P_PROTECTED && from == FO_P_PAIRING) {
		struct session_peer peer;

		tv_copy(peer.peer, sizeof(peer.peer), s->job.peer.name);
		report_send(s->report, session_message(SESSION_OP_PROTECTED, &peer));
	}
}

const struct fo_primary_ops src_engine_ops = {
	.send = src_send_msg, .ask = ask, .release = release, .act = act, .changed = changed};

/* ---- what is reported to it ---- */
void src_event(struct source *s, enum fo_primary_event ev)
{
	fo_primary_event(&s->p, tv_now_ns(), ev);
}

static void note_refusal(struct source *s, int rc, const char *why)
{
	/* The backup has the VM, as it reports. */
	bool expected =
		rc == TV_E_LOST && (s->p.state == FO_P_CHECKING || s->p.state == FO_P_QUITTING);
	struct tv_err e;

	if (expected)
		return;
	if (rc == -ENODATA && s->p.state == FO_P_OPENING) {
		tv_fail(&e, rc, "%s If it was set up anew, give 'twinvm protect' once more", why);
		src_set_why(s, rc, e.text);
	} else if (rc == TV_E_LOST || s->p.state == FO_P_OPENING) {
		src_set_why(s, rc, why);
	}
	if (rc != TV_E_LOST)
		tv_log(TV_WARN, "arbiter: %s%s", why,
		       s->p.state == FO_P_OPENING || s->p.state == FO_P_DOUBTING
			       ? ""
			       : "; holding output");
}

void src_on_answer(enum fo_question q, int rc, const struct fo_record *rec, const char *why,
		   void *arg)
{
	struct source *s = arg;

	if (q == FO_ASK_LOOK) {
		src_watch_answer(s, rc, rec, why);
		return;
	}
	if (s->arbiter)
		fo_watch_seen(&s->watch, rc, tv_now_ns());
	if (s->end.leaving)
		return;
	if (q == FO_ASK_BACK && !rc) {
		s->job.generation = rec->generation;
		s->page->yielded = 0;
	}
	if (rc)
		note_refusal(s, rc, why);
	fo_primary_answer(&s->p, tv_now_ns(), q, rc);
}

void src_peer_lost(struct source *s, int rc, const char *why)
{
	src_drop_link(s);
	if (s->end.leaving)
		return;
	if (!s->vm.attached) {
		src_end(s, SESSION_FAILED, rc, why, SRC_DETACH_RUNNING);
		return;
	}
	if (s->p.state != FO_P_QUITTING) /* its work is done */
		src_set_why(s, rc, why);
	src_event(s, FO_PE_PEER_LOST);
}

void src_fence(struct source *s, const char *text)
{
	if (!s->vm.attached) {
		s->page->fenced = 1;
		src_end(s, SESSION_FENCED, TV_E_LOST, text, SRC_DETACH_RUNNING);
		return;
	}
	src_set_why(s, TV_E_LOST, text);
	src_event(s, FO_PE_STALE);
}

/*
 * A port or a disk's mirror has failed. Those of a QEMU that dies fail first; its end, which
 * decides more (the backup takes over at once), is reported a moment later. A QEMU that is ended by
 * a signal may write its disks for seconds in between: it has reported its end before.
 */
void src_fail_soon(struct source *s, int rc, const char *why)
{
	if (s->end.leaving || s->part.why.text[0])
		return;
	s->part.rc = tv_fail(&s->part.why, rc, "%s", why);
	src_arm(s->part.wait, PART_FAILED_WAIT_NS);
}

void src_on_part_wait(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;

	(void)fd;
	(void)what;
	if (s->end.leaving || s->vm.end != VM_END_NONE)
		return;
	if (s->p.capturing) { /* QEMU's last words may wait behind an answer that does not come */
		src_arm(s->part.wait, PART_FAILED_WAIT_NS);
		return;
	}
	src_set_why(s, s->part.rc, s->part.why.text);
	/* The same cure as for a lost backup: alone, by record, without us in the path. */
	src_event(s, FO_PE_PEER_LOST);
}
