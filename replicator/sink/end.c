/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sink: the end of the session.
 *
 *   SINK_RUNS --sink_end--> SINK_FLUSHES --closed--> SINK_KILLS --killed--> SINK_ENDED
 *
 * A step that has nothing to do is passed over: the first without a connection or a time to flush,
 * the second without a standby, or when the standby is the VM now. Whoever ends the session first
 * chooses the outcome. From SINK_FLUSHES on nothing that comes from the primary, the daemon, the
 * arbiter or the apply thread is acted on, but for what the next step waits for.
 */
#include "replicator/sink/sink_int.h"

#include <errno.h>

#define REFUSAL_MS 1000 /* a Refuse or Fenced has this long to leave */

void sink_set_why(struct sink *s, int rc, const char *text)
{
	if (!s->exit_rc)
		s->exit_rc = rc;
	if (!s->why.text[0])
		tv_copy(s->why.text, sizeof(s->why.text), text);
}

static void report_done(struct sink *s)
{
	struct session_end end = {.outcome = s->outcome,
				  .rc = s->exit_rc,
				  .generation = s->job.generation,
				  .over = s->forget_disks,
				  .suspended = s->outcome == SESSION_PROMOTED && s->suspended};

	if (s->outcome == SESSION_PROMOTED)
		outage_report(&s->outage, &end.outage);
	tv_copy(end.text, sizeof(end.text), s->why.text);
	sink_send_counts(s);
	report_send(s->report, session_message(SESSION_OP_DONE, &end));
}

static void finish(struct sink *s)
{
	if (s->step == SINK_ENDED)
		return;
	s->step = SINK_ENDED;
	tv_log(s->looked ? TV_DEBUG : TV_INFO, "session ends: %s%s%s",
	       session_outcome_name(s->outcome), s->why.text[0] ? ": " : "", s->why.text);
	if (s->hello)
		report_done(s);
	report_flush(s->report);
	event_base_loopbreak(s->base);
}

static void kill_standby(struct sink *s)
{
	if (!s->applier || s->outcome == SESSION_PROMOTED) {
		finish(s);
		return;
	}
	s->step = SINK_KILLS;
	if (applier_post(s->applier, APPLY_KILL, NULL, 0, s->forget_disks, NULL))
		finish(s); /* never: applier.c has a reserve for it */
}

void sink_end(struct sink *s, enum session_outcome outcome, int flush_ms)
{
	if (sink_is_ending(s))
		return;
	s->step = SINK_FLUSHES;
	sink_thaw(s, "the session on the backup has ended");
	sink_allow_echoes(s);
	s->outcome = outcome;
	if (s->conn && flush_ms)
		repl_finish(s->conn, flush_ms); /* continued in sink_end_closed() */
	else
		kill_standby(s);
}

void sink_post(struct sink *s, enum apply_kind kind, const void *p, size_t n, uint64_t epoch,
	       const struct apply_sums *sums)
{
	if (applier_post(s->applier, kind, p, n, epoch, sums)) {
		sink_set_why(s, -ENOMEM, "no memory for received data");
		sink_end(s, SESSION_FAILED, 0);
		return;
	}
	if (s->conn && applier_full(s->applier))
		repl_read_enable(s->conn, false); /* until on_applier_drained() */
}

void sink_end_closed(struct sink *s)
{
	if (s->step == SINK_FLUSHES)
		kill_standby(s);
}

void sink_end_killed(struct sink *s)
{
	finish(s);
}

/* QEMU's output may be in it; the wire wants one line of plain text. */
static void make_plain(char *text)
{
	for (char *p = text; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = *p == '\n' ? ' ' : '?';
}

void sink_refuse(struct sink *s, int rc, const char *reason)
{
	Twinvm__Refuse r = TWINVM__REFUSE__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;
	struct tv_err e;

	if (sink_is_ending(s))
		return;
	tv_copy(e.text, sizeof(e.text), reason);
	make_plain(e.text);
	tv_log(TV_WARN, "refusing %s: %s", s->job.vm_name, e.text);
	r.code = rc;
	r.text = e.text;
	r.generation = s->job.generation;
	msg.msg_case = TWINVM__CONTROL__MSG_REFUSE;
	msg.refuse = &r;
	sink_send(s, &msg, false);
	sink_set_why(s, rc, e.text);
	sink_end(s, SESSION_REFUSED, REFUSAL_MS);
}

/* No Refuse beside it: a Fenced ends the stale primary's session by itself. */
void sink_turn_away(struct sink *s, uint64_t highest)
{
	struct fo_msg m = {.kind = FO_M_FENCED, .generation = highest};

	sink_send_msg(s, &m);
	sink_set_why(s, TV_E_LOST, "this host knows a higher generation of this VM");
	sink_end(s, SESSION_REFUSED, REFUSAL_MS);
}
