/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink: what its threads have stamped, and what the primary reports, becomes the trace (trace/trace.h). */
#include "replicator/sink/sink_int.h"

void sink_trace_begin(struct sink *s)
{
	struct trace_names names = {.role = TRACE_B,
				    .vm = s->job.vm_name,
				    .host = s->job.conf.host,
				    .peer = s->job.peer.name,
				    .generation = s->job.generation};
	int rc = s->trace ? 0 : trace_new(&names, &s->trace);

	if (rc)
		tv_log(TV_WARN, "%s: no trace is recorded: %s", s->job.vm_name, tv_strerror(rc));
}

void sink_trace_show(struct sink *s)
{
	int fd = trace_fd(s->trace);

	s->trace_shown = !trace_is_empty(s->trace);
	if (s->trace_shown)
		report_send_fds(s->report, session_message(SESSION_OP_TRACE, NULL), &fd, 1);
}

void sink_trace_received(struct sink *s, const Twinvm__EpochEnd *m, int64_t now_ns)
{
	trace_add(s->trace, TRACE_RECEIVE, m->epoch, s->epoch_begin_ns, now_ns, 0);
	wire_phases_read(s->trace, m->phases, m->n_phases);
	if (!s->trace_shown)
		sink_trace_show(s);
}

void sink_trace_answer(struct sink *s, const struct apply_answer *a)
{
	const struct apply_time *v = &a->verified, *p = &a->applied;

	if (v->epoch) {
		trace_add(s->trace, TRACE_VERIFY, v->epoch, v->from_ns, v->until_ns, 0);
		s->verified_ns = v->until_ns;
	}
	if (p->epoch > s->applied_epoch) {
		s->applied_epoch = p->epoch;
		trace_add(s->trace, TRACE_APPLY, p->epoch, p->from_ns, p->until_ns, 0);
	}
}
