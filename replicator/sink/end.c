/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink: the end of the session. */
#include "replicator/sink/sink_int.h"

#include <errno.h>
#include <stdio.h>

void sink_finish(struct sink *s)
{
	tv_log(TV_INFO, "session ends: %s%s%s", s->outcome, s->why.text[0] ? ": " : "",
	       s->why.text);
	if (s->hello)
		report_send(s->report,
			    json_pack("{ss ss si ss sI si sI ss}", "op", "done", "outcome",
				      s->outcome, "rc", s->exit_rc, "text", s->why.text,
				      "generation", (json_int_t)s->job.generation, "pid",
				      (int)s->vm.pid, "start_ticks", (json_int_t)s->vm.start_ticks,
				      "qmp", s->vm.qmp_path));
	report_flush(s->report);
	event_base_loopbreak(s->base);
}

void sink_set_why(struct sink *s, int rc, const char *text)
{
	if (!s->exit_rc)
		s->exit_rc = rc;
	if (!s->why.text[0])
		snprintf(s->why.text, sizeof(s->why.text), "%s", text);
}

void sink_post(struct sink *s, enum apply_kind kind, const void *p, size_t n, uint64_t epoch,
	       const struct apply_sums *sums)
{
	if (!applier_post(s->applier, kind, p, n, epoch, sums))
		return;
	sink_set_why(s, -ENOMEM, "no memory for received data");
	s->outcome = "failed";
	sink_finish(s);
}

/* Ends the standby, if there is one, then the process. */
void sink_discard(struct sink *s, const char *outcome)
{
	if (s->ending)
		return;
	s->ending = true;
	s->outcome = outcome;
	if (s->applier)
		sink_post(s, APPLY_KILL, NULL, 0, s->bye, NULL);
	else
		sink_finish(s);
}

void sink_refuse(struct sink *s, int rc, const char *reason)
{
	Twinvm__Refuse r = TWINVM__REFUSE__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;
	char text[sizeof(((struct tv_err *)0)->text)];

	/* QEMU's words may be in it: one line of plain text, as the wire wants it. */
	snprintf(text, sizeof(text), "%s", reason);
	for (char *p = text; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = *p == '\n' ? ' ' : '?';

	tv_log(TV_WARN, "refusing %s: %s", s->job.vm_name, text);
	r.code = rc;
	r.text = text;
	r.generation = s->job.generation;
	msg.msg_case = TWINVM__CONTROL__MSG_REFUSE;
	msg.refuse = &r;
	sink_send(s, &msg, false);
	sink_set_why(s, rc, text);
	s->ending = true;
	s->outcome = "refused";
	if (s->conn)
		repl_finish(s->conn, 1000); /* on_closed goes on */
	else
		sink_discard(s, "refused");
}

/* The sender is stale: it is told the higher generation (and nothing else: that says it all). */
void sink_turn_away(struct sink *s, uint64_t highest)
{
	struct fo_msg m = {.kind = FO_M_FENCED, .generation = highest};

	sink_send_msg(s, &m);
	sink_set_why(s, TV_E_LOST, "a higher generation of this VM is known here");
	s->ending = true;
	s->outcome = "refused";
	if (s->conn)
		repl_finish(s->conn, 1000); /* on_closed goes on */
	else
		sink_discard(s, "refused");
}
