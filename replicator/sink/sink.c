/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the replicator on the backup
 *
 * The daemon accepts a connection and hands it, TLS not yet begun, to a process of its own:
 * whatever a peer sends can hurt this process only. After the peer's hello the process introduces
 * itself to the daemon, which ends an older replica of the same VM first; then the standby is
 * started, the first copy applied as it comes, and every epoch checked as a whole, acknowledged,
 * and applied.
 *
 * Silence, or a connection that stays closed, makes the decision core ask the arbiter (without one:
 * a person). From the moment it asks, no commit is acknowledged any more: the primary must not
 * release output on the word of a backup that is about to run the VM itself.
 *
 * After promotion the VM is an ordinary QEMU of this host; the daemon is told and this process
 * ends.
 */
#include "replicator/sink/sink.h"
#include "replicator/sink/sink_int.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HELLO_TIMEOUT_NS \
	(5 * TV_NS_PER_S) /* a peer that connects and says nothing is not waited for */

void sink_arm(struct event *ev, int64_t ns)
{
	struct timeval tv = {ns / TV_NS_PER_S, (ns % TV_NS_PER_S + 999) / 1000};

	event_add(ev, &tv);
}

/* ---- reporting ---- */

static const char *public_state(const struct sink *s)
{
	switch (s->b.state) {
	case FO_B_SYNCING:
		return "syncing";
	case FO_B_PROMOTING:
	case FO_B_ASKING:
		return "promoting";
	case FO_B_PROMOTED:
		return "alone";
	case FO_B_GONE:
		return "stopped";
	default:
		return "protected";
	}
}

void sink_send_stats(struct sink *s)
{
	report_send(s->report, json_pack("{ss ss ss sI sI sI sf ss sb}", "op", "stats", "state",
					 public_state(s), "core", fo_backup_state_name(s->b.state),
					 "epoch_running", (json_int_t)s->b.epoch_open,
					 "epoch_committed", (json_int_t)s->b.epoch_committed,
					 "wire_bytes", (json_int_t)s->rx_bytes, "progress",
					 s->b.state == FO_B_SYNCING ? 0.0 : 1.0, "reason",
					 s->why.text, "told", s->told));
}

void sink_introduce(struct report *r, void *arg)
{
	struct sink *s = arg;

	if (!s->hello)
		return;
	report_send(r, json_pack("{ss ss ss ss ss sI sI ss ss si ss sI ss si si ss si}", "op",
				 "register", "role", "backup", "vm_id", s->job.vm_id, "name",
				 s->job.vm_name, "peer", s->job.peer.name, "pid",
				 (json_int_t)getpid(), "generation", (json_int_t)s->job.generation,
				 "session", s->job.session, "arbiter", s->job.arbiter,
				 "standby_pid", (int)s->vm.pid, "dir", s->dir, "standby_start",
				 (json_int_t)s->vm.start_ticks, "qmp", s->vm.qmp_path, "slot",
				 (int)s->slot, "peer_port", (int)s->job.peer.port, "mode",
				 s->job.mode, "epoch_ms", s->job.epoch_ms));
	sink_send_stats(s);
}

/* ---- the end of the session ---- */

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
static void sink_turn_away(struct sink *s, uint64_t highest)
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

/* ---- time ---- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct sink *s = arg;
	int64_t now = tv_now_ns(), heard_ns = s->conn ? repl_last_rx_ns(s->conn) : 0;

	(void)fd;
	(void)what;
	sink_arm(s->tick, s->times.tick_ns);
	if (s->ending)
		return;
	if (!s->hello) {
		if (now - s->started_ns > HELLO_TIMEOUT_NS) {
			sink_set_why(s, -ETIMEDOUT, "the peer connected and said nothing");
			sink_discard(s, "failed");
		}
		return;
	}
	fo_backup_tick(&s->b, now, s->beat_rx_ns > heard_ns ? s->beat_rx_ns : heard_ns);
	sink_next_hashes(s);
	if (now - s->last_stats_ns >= s->times.heartbeat_ns && !s->ending) {
		s->last_stats_ns = now;
		sink_send_stats(s);
	}
}

/* ---- the daemon's orders ---- */

static void order_promote(struct sink *s)
{
	if (fo_backup_force(&s->b, tv_now_ns())) {
		report_send(s->report, json_pack("{ss sb}", "op", "promote-answer", "ok", 1));
		return;
	}
	report_send(
		s->report,
		json_pack("{ss sb ss}", "op", "promote-answer", "ok", 0, "text",
			  s->b.state == FO_B_SYNCING
				  ? "the first copy is not complete: there is nothing to run"
			  : s->arbiter
				  ? "the arbiter decides for this VM, and has not given it to us"
				  : "the primary is alive: stop the VM there first"));
}

static void on_order(struct report *r, json_t *msg, void *arg)
{
	struct sink *s = arg;
	const char *op = json_string_value(json_object_get(msg, "op"));

	(void)r;
	if (!op || s->ending)
		return;
	if (!strcmp(op, "go")) {
		if (!s->registered)
			sink_begin_standby(
				s, (unsigned)json_integer_value(json_object_get(msg, "slot")));
		s->registered = true;
	} else if (!strcmp(op, "refuse")) {
		sink_refuse(s, TV_E_REFUSED, json_string_value(json_object_get(msg, "text")));
	} else if (!strcmp(op, "fenced")) {
		sink_turn_away(s, (uint64_t)json_integer_value(json_object_get(msg, "generation")));
	} else if (!strcmp(op, "promote")) {
		order_promote(s);
	} else if (!strcmp(op, "discard")) {
		sink_set_why(s, 0, "replaced by a newer synchronisation");
		if (s->conn) {
			repl_free(s->conn);
			s->conn = NULL;
		}
		if (s->b.state != FO_B_PROMOTING && s->b.state != FO_B_PROMOTED)
			sink_discard(s, "discarded");
	}
}

int sink_main(const char *job_text, int conn_fd)
{
	static struct sink sink; /* outlives every callback */
	struct sink *s = &sink;
	struct report_ops rops = {sink_introduce, on_order, s};
	struct repl_opts opts = {0};
	char tag[80];
	int rc;

	signal(SIGPIPE, SIG_IGN);
	rc = job_from_text(job_text, &s->job, &s->why);
	if (rc) {
		tv_log(TV_ERROR, "%s", s->why.text);
		return 1;
	}
	snprintf(tag, sizeof(tag), "%s sink", s->job.conf.host);
	tv_log_init(tag);
	s->base = event_base_new();
	fo_times_init(&s->times, s->job.conf.heartbeat_ms * TV_NS_PER_MS);
	s->tick = evtimer_new(s->base, on_tick, s);
	s->replay = replay_new();
	if (!s->replay)
		tv_fail(&s->why, rc = -ENOMEM, "no memory");
	else
		rc = repl_tls_new(s->job.conf.ca, s->job.conf.cert, s->job.conf.key, &s->tls,
				  &s->why);
	if (!rc)
		rc = report_new(s->base, s->job.conf.socket, &rops, &s->report);
	if (!rc)
		rc = repl_accept(s->base, s->tls, conn_fd, &opts, &sink_link_ops, s, &s->conn,
				 &s->why);
	if (rc) {
		tv_log(TV_ERROR, "%s", s->why.text[0] ? s->why.text : tv_strerror(rc));
		return 1;
	}
	s->started_ns = tv_now_ns();
	sink_arm(s->tick, s->times.tick_ns);
	event_base_dispatch(s->base);
	applier_free(s->applier);
	replay_free(s->replay);
	return s->exit_rc ? 1 : 0;
}
