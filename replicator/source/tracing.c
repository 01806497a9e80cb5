/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source: what its threads have stamped becomes phases of the trace (trace/trace.h). All of it in the
 * loop, and never between a commit's arrival and the release of its output, but for one reading of the
 * clock.
 */
#include "replicator/source/source_int.h"

void src_trace_begin(struct source *s)
{
	struct trace_names names = {.role = TRACE_P,
				    .vm = s->job.vm_name,
				    .host = s->job.conf.host,
				    .peer = s->job.peer.name,
				    .generation = s->job.generation};
	int rc = s->trace.ring ? 0 : trace_new(&names, &s->trace.ring);

	if (rc)
		tv_log(TV_WARN, "%s: no trace is recorded: %s", s->job.vm_name, tv_strerror(rc));
}

void src_trace_show(struct source *s)
{
	int fd = trace_fd(s->trace.ring);

	/* Not before: the daemon keeps the last session's trace until this one has something. */
	s->trace.shown = !trace_is_empty(s->trace.ring);
	if (s->trace.shown)
		report_send_fds(s->report, session_message(SESSION_OP_TRACE, NULL), &fd, 1);
}

void src_trace_asked(struct source *s)
{
	s->trace.asked_ns = tv_now_ns();
}

void src_trace_captured(struct source *s, const struct cap_event *ev)
{
	const struct cap_stamps *t = &ev->stamps;
	int64_t end_ns = ev->pause_start_ns + ev->pause_ns;
	int64_t found_ns = t->barrier_ns + t->harvest_ns, copied_ns = found_ns + t->copy_ns;
	struct trace *ring = s->trace.ring;
	uint64_t n = ev->epoch;

	trace_add(ring, TRACE_TRIGGER, n, s->trace.asked_ns, ev->pause_start_ns, 0);
	trace_add(ring, TRACE_AHEAD, n, t->ahead_ns, ev->pause_start_ns, (int64_t)t->ahead_pages);
	trace_add(ring, TRACE_PAUSE, n, ev->pause_start_ns, end_ns, (int64_t)ev->pages);
	trace_add(ring, TRACE_STOP, n, ev->pause_start_ns, t->stopped_ns, 0);
	trace_add(ring, TRACE_BARRIER, n, t->stopped_ns, t->barrier_ns, 0);
	trace_add(ring, TRACE_HARVEST, n, t->barrier_ns, found_ns, 0);
	trace_add(ring, TRACE_COPY, n, found_ns, copied_ns, (int64_t)ev->pages);
	if (t->room_ns)
		trace_add(ring, TRACE_ROOM, n, copied_ns, copied_ns + t->room_ns, 0);
	trace_add(ring, TRACE_SAVE, n, t->taken_ns, t->saved_ns, (int64_t)t->state_bytes);
	trace_add(ring, TRACE_CONT, n, t->saved_ns, t->running_ns, 0);
	trace_add(ring, TRACE_CHECK, n, end_ns, t->checked_ns, 0);
	if (!s->trace.shown)
		src_trace_show(s);
}

void src_trace_send(struct source *s)
{
	s->trace.send_ns = tv_now_ns();
}

void src_trace_sent(struct source *s, const struct piece *p, uint64_t bytes)
{
	int64_t now = tv_now_ns();

	trace_add(s->trace.ring, TRACE_ENCODE, p->epoch, p->encode_ns, p->encoded_ns,
		  (int64_t)p->wire_bytes);
	trace_add(s->trace.ring, TRACE_SEND, p->epoch, s->trace.send_ns, now, (int64_t)bytes);
	s->trace.sent_ns[p->epoch % SRC_EPOCHS] = now;
}

void src_trace_committed(struct source *s, uint64_t before, int64_t now_ns)
{
	for (uint64_t n = before + 1; n <= s->p.epoch_committed && n - before <= SRC_EPOCHS; n++)
		trace_add(s->trace.ring, TRACE_ACK, n, s->trace.sent_ns[n % SRC_EPOCHS], now_ns, 0);
}

void src_trace_echo(struct source *s, const Twinvm__HeartbeatEcho *m, int64_t now_ns)
{
	if (m->generation == s->p.generation)
		trace_clock_add(&s->trace.clock, s->trace.ring, m->sent_ns, m->received_ns,
				m->echoed_ns, now_ns);
}
