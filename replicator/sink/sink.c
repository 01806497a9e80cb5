/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the replicator on the backup
 *
 * Start. twinvmd accepts a connection and gives it, TLS not yet begun, to a process of its own:
 * whatever a peer sends can hurt this process only. It loads keys and certificates, starts the
 * monitor (replicator/monitor/), which keeps the rights, and gives up its own. After the peer's Hello (hello.c) the process
 * registers with the daemon, which ends an older replica of the same VM first and then answers
 * `go`. Then the standby is started (standby.c) and the primary gets a Welcome.
 *
 * Work. The first copy is applied as it comes. Each epoch is received, checked as a whole,
 * acknowledged, and applied, in this order, by the apply thread (applier.c). What is a commit, and
 * when the VM is to be promoted, is decided by failover's engine (failover/backup.c): the loop
 * brings it events and carries out what it asks for (decide.c).
 *
 * Failover. Silence, or a connection that stays closed, makes the engine ask the arbiter (without
 * one: an operator decides). From the moment it asks, no commit is acknowledged any more: the
 * primary must not release output because of a backup that is about to run the VM itself.
 *
 * End (end.c). The outcome is chosen once; then what was sent to the primary leaves, the standby is
 * ended, `done` is reported and the process exits. After a promotion the standby is not ended: the
 * VM is an ordinary QEMU of this host, and the daemon's to look after. If this process dies, the
 * daemon ends the standby, unless a note shows that it was promoted.
 *
 * Threads: the loop; the heartbeats' (link/beat.c); the apply thread; the arbiter's thread, which exists while a question is open.
 * Limits: the work queue (applier.c), spool_bytes for an epoch on disk, 256 frames to replay (replay.c).
 */
#include "replicator/sink/sink.h"
#include "replicator/sink/sink_int.h"

#include <errno.h>
#include <net/if.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define BRIDGE_NS (3 * TV_NS_PER_S)
#define ATTACH_US 1000000
#define ATTACH_FOR_NS (600 * TV_NS_PER_S)

/* ---- time ---- */

static void arm_tick(struct sink *s)
{
	struct timeval tv = tv_timeval(s->times.tick_ns);

	event_add(s->tick, &tv);
}

/* For how long a port that joins a bridge listens and learns before it forwards; 0: it does not. */
static unsigned stp_seconds(const char *bridge)
{
	TV_FREE char *state = NULL, *delay = NULL;
	char path[100];

	snprintf(path, sizeof(path), "/sys/class/net/%s/bridge/stp_state", bridge);
	if (tv_read_file(path, 16, &state, NULL) || state[0] == '0')
		return 0;
	snprintf(path, sizeof(path), "/sys/class/net/%s/bridge/forward_delay", bridge);
	return tv_read_file(path, 16, &delay, NULL) ? 0 : (unsigned)(strtoul(delay, NULL, 10) / 50);
}

static void judge_bridge(struct sink *s, const char *bridge)
{
	unsigned seconds = stp_seconds(bridge);

	if (!if_nametoindex(bridge))
		tv_fail(&s->warning, -ENODEV,
			"bridge %s is missing on %s: after a failover the VM has no network",
			bridge, s->job.conf.host);
	else if (seconds)
		tv_fail(&s->warning, -EAGAIN,
			"bridge %s on %s has STP: after a failover the VM has no network for %u s; "
			"there: ip link set %s type bridge stp_state 0",
			bridge, s->job.conf.host, seconds, bridge);
}

static void look_at_bridge(struct sink *s, int64_t now)
{
	const char *bridge = s->job.conf.bridge;
	bool was = s->warning.text[0];

	if (!bridge[0] || now - s->bridge_ns < BRIDGE_NS)
		return;
	s->bridge_ns = now;
	s->warning.text[0] = '\0';
	judge_bridge(s, bridge);
	if (was != (bool)s->warning.text[0])
		tv_log(TV_WARN, "%s: %s", s->job.vm_name,
		       was ? "the bridge is back" : s->warning.text);
}

static int64_t newest(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/*
 * When the last of the primary's messages arrived. Where that would be silence, no heartbeat that
 * arrives from here on is echoed any more: one that just did is found here, and is none.
 */
static int64_t last_sign_of_life_ns(struct sink *s, int64_t now)
{
	int64_t ns = newest(s->welcomed_ns, s->conn ? repl_last_rx_ns(s->conn) : 0);

	ns = newest(ns, repl_beat_rx_ns(s->beats));
	if (now - ns <= s->times.suspect_ns)
		return ns;
	repl_beat_allow(s->beats, 0);
	return newest(ns, repl_beat_rx_ns(s->beats));
}

static void turn_engine(struct sink *s, int64_t now)
{
	uint64_t moved = s->applier ? applier_cpu_ns(s->applier) : 0;

	if (s->applier)
		fo_backup_moved(&s->b, now, moved, applier_has_work(s->applier));
	repl_beat_moved(s->beats, moved);
	s->sign_ns = last_sign_of_life_ns(s, now);
	if (sink_memory_lost(s))
		return;
	fo_backup_tick(&s->b, now, s->sign_ns);
	sink_allow_echoes(s);
}

/* A primary is connected before it attaches to its VM, which may take long through a slow libvirtd. */
static void await_hello(struct sink *s, int64_t now_ns)
{
	char why[120];

	if (now_ns - newest(s->started_ns, s->looked_ns) <= s->times.hello_ns)
		return;
	if (s->looked) {
		sink_set_why(s, -ETIMEDOUT, "the peer has stopped asking");
		sink_end(s, SESSION_FAILED, 0);
		return;
	}
	snprintf(why, sizeof(why),
		 "the peer connected and sent no Hello in %lld s, in which it attaches to the VM",
		 (long long)(s->times.hello_ns / TV_NS_PER_S));
	sink_refuse(s, -ETIMEDOUT, why);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct sink *s = arg;
	int64_t now = tv_now_ns();

	(void)fd;
	(void)what;
	arm_tick(s);
	if (sink_is_ending(s))
		return;
	if (!s->hello) {
		await_hello(s, now);
		return;
	}
	turn_engine(s, now);
	sink_next_hashes(s);
	look_at_bridge(s, now);
	sink_watch_record(s, now);
	if (now - s->last_stats_ns >= s->times.heartbeat_ns && !sink_is_ending(s)) {
		s->last_stats_ns = now;
		sink_send_stats(s);
		if (now - s->last_counts_ns >= TV_NS_PER_S)
			sink_send_counts(s);
	}
}

/* ---- the daemon's messages ---- */

static const char *why_no_promotion(const struct sink *s)
{
	if (s->b.state == FO_B_SYNCING)
		return "the first copy is not complete: there is nothing to run";
	if (s->has_arbiter)
		return "the arbiter decides for this VM, and has not given it to this host";
	return "the primary is alive: stop the VM there first";
}

static void on_promote(struct sink *s)
{
	struct session_answer answer = {.ok = fo_backup_force(&s->b, tv_now_ns())};

	if (!answer.ok)
		tv_copy(answer.text, sizeof(answer.text), why_no_promotion(s));
	report_send(s->report, session_message(SESSION_OP_PROMOTE_ANSWER, &answer));
}

static void on_retry(struct sink *s)
{
	struct session_answer answer = {.ok = fo_backup_retry(&s->b, tv_now_ns())};

	if (!answer.ok)
		tv_copy(answer.text, sizeof(answer.text),
			"no promotion has failed here: there is nothing to try again");
	report_send(s->report, session_message(SESSION_OP_PROMOTE_ANSWER, &answer));
}

static void on_go(struct sink *s, const struct session_go *go)
{
	if (s->let_in) /* a new daemon has adopted this session */
		return;
	s->let_in = true;
	sink_begin_standby(s, go->slot);
}

/* A promotion that has begun is not called off. */
static void on_discard(struct sink *s)
{
	if (!fo_backup_owns(&s->b))
		sink_set_why(s, 0, "replaced by a newer synchronisation");
	repl_free(s->conn);
	s->conn = NULL;
	/* What may be the last copy is removed only when the record names another host. */
	if (fo_backup_owns(&s->b))
		fo_backup_replaced(&s->b, tv_now_ns());
	else
		sink_end(s, SESSION_DISCARDED, 0);
}

/* The daemon has it from the kernel. What lies in QEMU's own memory this process learns of only so. */
static void on_memory_error(struct sink *s, const struct session_memory_error *m)
{
	struct tv_err e;

	tv_fail(&e, TV_E_POISON, "a memory error of this host, in the standby's memory: %s",
		m->text);
	sink_lose(s, e.text);
}

/* An invalid message is of a daemon of another version: it may not have let this session in. */
static bool read_body(struct sink *s, enum session_op op, const json_t *msg, void *body,
		      size_t body_bytes)
{
	struct tv_err e = {0};
	int rc = session_body(op, msg, body, body_bytes, &e);

	if (!rc)
		return true;
	tv_log(TV_ERROR, "invalid message from twinvmd: %s", e.text);
	if (!s->let_in)
		sink_refuse(s, rc, "twinvmd on the backup is of another version");
	return false;
}

static void on_connected(struct report *r, void *arg)
{
	struct sink *s = arg;

	if (s->commanded)
		sink_command_connected(s);
	else
		sink_introduce(r, s);
}

static void on_message(struct report *r, json_t *msg, void *arg)
{
	struct sink *s = arg;
	struct session_go go;
	struct session_text refuse;
	struct session_fenced fenced;
	struct session_memory_error memory;
	struct session_freeze freeze;
	enum session_op op = session_op_of(msg);

	(void)r;
	if (sink_is_ending(s))
		return;
	switch (op) {
	case SESSION_OP_GO:
		if (read_body(s, op, msg, &go, sizeof(go)))
			on_go(s, &go);
		return;
	case SESSION_OP_REFUSE:
		if (read_body(s, op, msg, &refuse, sizeof(refuse)))
			sink_refuse(s, TV_E_REFUSED, refuse.text);
		return;
	case SESSION_OP_FENCED:
		if (read_body(s, op, msg, &fenced, sizeof(fenced)))
			sink_turn_away(s, fenced.generation);
		return;
	case SESSION_OP_MEMORY_ERROR:
		if (read_body(s, op, msg, &memory, sizeof(memory)))
			on_memory_error(s, &memory);
		return;
	case SESSION_OP_VIEW:
		sink_on_view(s, msg);
		return;
	case SESSION_OP_REPLY:
		sink_on_reply(s, msg);
		return;
	case SESSION_OP_PROMOTE:
		on_promote(s);
		return;
	case SESSION_OP_RETRY:
		on_retry(s);
		return;
	case SESSION_OP_DISCARD:
		on_discard(s);
		return;
	case SESSION_OP_FREEZE:
		if (read_body(s, op, msg, &freeze, sizeof(freeze)))
			sink_freeze(s, &freeze);
		return;
	default:
		tv_log(TV_ERROR, "unexpected message from twinvmd: '%s'",
		       op == SESSION_OP_NONE ? "?" : session_op_info(op)->word);
	}
}

/* ---- start and end of the process ---- */

/* What it does not survive: nobody else can end the standby, attach its taps or ask the arbiter. */
static void on_monitor_end(evutil_socket_t fd, short what, void *arg)
{
	static const char why[] = "the monitor process on the backup has ended";
	struct sink *s = arg;

	(void)fd;
	(void)what;
	if (sink_is_ending(s))
		return;
	tv_log(TV_ERROR, "%s: %s", s->job.vm_name, why);
	if (fo_backup_owns(&s->b)) /* what has been asked of it is answered by a failure */
		return;
	if (s->conn)
		sink_refuse(s, TV_E_GONE, why);
	sink_set_why(s, TV_E_GONE, why);
	sink_end(s, SESSION_FAILED, 0);
}

/*
 * SIGTERM: this host takes part no more. It goes down, or twinvm is removed from it. The primary gets the reason, and runs on
 * alone by record. What may be the last copy of the VM stays, and so does a promotion that has begun.
 */
static void on_term(evutil_socket_t sig, short what, void *arg)
{
	struct sink *s = arg;

	(void)sig;
	(void)what;
	if (sink_is_ending(s))
		return;
	if (s->conn && (s->b.state == FO_B_SYNCING || s->b.state == FO_B_STANDBY))
		sink_refuse(s, TV_E_GONE,
			    "the backup's host takes part no more: it goes down, or twinvm is "
			    "removed there");
	else
		tv_log(TV_WARN, "%s: SIGTERM is ignored: the VM may need this copy",
		       s->job.vm_name);
}

/* All that needs rights, and then there are none: before anything is read from the other host. */
static int give_up_rights(struct sink *s)
{
	const struct config *c = &s->job.conf;
	struct repl_tls_conf tls = config_tls(c);
	struct tv_err e = {0};
	int rc = repl_tls_new(&tls, &s->tls, &s->why);

	if (!rc)
		rc = monitor_start(c, &s->monitor, &s->why);
	if (rc)
		return rc;
	/* The daemon has done so when it began; since then somebody may have mounted a file system
	 * there. What is wrong with it is found when the replica is made. */
	if (config_give_replicas(c, &e))
		tv_log(TV_WARN, "%s", e.text);
	hv_host_first_victim(
		getpid()); /* it holds the standby's memory; its monitor began before */
	rc = monitor_drop(c, &s->no_rights);
	if (rc == -ENOENT) {
		tv_log(TV_ERROR, "%s", s->no_rights.text);
		return 0;
	}
	if (rc)
		s->why = s->no_rights;
	return rc;
}

static int start(struct sink *s, int conn_fd)
{
	const struct config *c = &s->job.conf;
	struct report_ops rops = {on_connected, on_message, s};
	struct repl_opts opts = {0};
	int rc = give_up_rights(s);

	if (rc)
		return rc;
	s->base = event_base_new();
	s->tick = s->base ? evtimer_new(s->base, on_tick, s) : NULL;
	s->monitor_end =
		s->base ? event_new(s->base, monitor_fd(s->monitor), EV_READ, on_monitor_end, s)
			: NULL;
	s->replay = replay_new();
	s->term = s->base ? evsignal_new(s->base, SIGTERM, on_term, s) : NULL;
	if (!s->tick || !s->replay || !s->monitor_end || event_add(s->monitor_end, NULL) ||
	    !s->term || event_add(s->term, NULL))
		return tv_fail(&s->why, -ENOMEM, "no memory");
	fo_times_init(&s->times, c->heartbeat_ms * TV_NS_PER_MS);
	opts.handshake_timeout_ms = (int)(s->times.handshake_ns / TV_NS_PER_MS);
	opts.stuck_timeout_ms = (int)(s->times.stream_stuck_ns / TV_NS_PER_MS);
	rc = report_new(s->base, c->socket, &rops, &s->report);
	if (!rc)
		rc = repl_accept(s->base, s->tls, conn_fd, &opts, &sink_link_ops, s, &s->conn,
				 &s->why);
	return rc;
}

/* The session is over and the VM is the daemon's: only its taps are still without a bridge. */
static void attach_later(struct sink *s)
{
	int64_t until_ns = tv_now_ns() + ATTACH_FOR_NS;
	struct tv_err e = {0};
	int rc = -ENODEV;

	report_free(s->report);
	while (rc && rc != TV_E_GONE && tv_now_ns() < until_ns) {
		usleep(ATTACH_US);
		rc = monitor_host_ops.taps(s->monitor, &e);
	}
	tv_log(rc ? TV_ERROR : TV_INFO, "%s: %s", s->job.vm_name,
	       rc ? e.text : "its network is attached");
}

int sink_main(const char *job_text, int conn_fd, int latch_fd)
{
	static struct sink sink; /* outlives every callback */
	struct sink *s = &sink;
	char tag[80];
	int rc;

	signal(SIGPIPE, SIG_IGN);
	s->latch_fd = latch_fd;
	if (latch_fd >= 0)
		fcntl(latch_fd, F_SETFD, FD_CLOEXEC);
	rc = job_from_text(job_text, &s->job, &s->why);
	if (rc) {
		tv_log(TV_ERROR, "%s", s->why.text);
		return 1;
	}
	snprintf(tag, sizeof(tag), "%s sink", s->job.conf.host);
	tv_log_init(tag);
	rc = start(s, conn_fd);
	if (rc) {
		tv_log(TV_ERROR, "%s", s->why.text[0] ? s->why.text : tv_strerror(rc));
		return 1;
	}
	s->started_ns = tv_now_ns();
	arm_tick(s);
	event_base_dispatch(s->base);
	repl_beat_free(s->beats);
	applier_free(s->applier);
	replay_free(s->replay);
	if (s->no_network && s->outcome == SESSION_PROMOTED)
		attach_later(s);
	return s->exit_rc ? 1 : 0;
}
