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
