/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: connection to the backup, messages, heartbeats. */
#include "replicator/source/source_int.h"

#include "checkpoint/checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void unexpected(struct source *s, int rc, const char *message)
{
	char why[120];

	snprintf(why, sizeof(why), "unexpected message %s from the backup in state %s", message,
		 fo_primary_state_name(s->p.state));
	src_peer_lost(s, rc, why);
}

/* For the engine. */
static void receive(struct source *s, const struct fo_msg *m, int64_t now_ns)
{
	uint64_t before = s->p.epoch_committed;
	int rc = fo_primary_message(&s->p, now_ns, m);

	if (rc) {
		unexpected(s, rc, m->kind == FO_M_COMMITTED ? "Committed" : "HeartbeatEcho");
		return;
	}
	if (s->p.epoch_committed == before)
		return;
	src_trace_committed(s, before, now_ns);
	src_committed(s, s->p.epoch_committed);
}

static void on_beat_echo(const struct repl_beat_msg *d, void *arg)
{
	struct source *s = arg;
	struct fo_msg m = {.kind = FO_M_ECHO,
			   .generation = d->generation,
			   .seq = d->seq,
			   .sent_ns = d->sent_ns,
			   .moved = d->moved,
			   .datagram = true};

	if (s->link.connected)
		receive(s, &m, tv_now_ns());
}

static int64_t last_sign_of_life_ns(const struct source *s)
{
	int64_t stream = s->link.conn ? repl_last_rx_ns(s->link.conn) : 0;
	int64_t beat = repl_beat_rx_ns(s->link.beats);

	return beat > stream ? beat : stream;
}

/* More of the stream is with the backup's host: a slow link is not a stuck one. */
static void look_for_progress(struct source *s, int64_t now_ns)
{
	uint64_t acked = s->link.conn ? repl_acked_bytes(s->link.conn) : 0;

	if (s->link.conn)
		link_rate_look(&s->link.rate, repl_queued_bytes(s->link.conn) > 0,
			       repl_idles(s->link.conn), acked, now_ns);
	if (acked > s->link.acked_bytes) {
		s->link.acked_bytes = acked;
		fo_primary_progress(&s->p, now_ns);
	}
}

void src_on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;
	int64_t now = tv_now_ns();

	(void)fd;
	(void)what;
	src_arm(s->tick, s->times.tick_ns);
	repl_beat_look(s->link.beats); /* the newest lease, before it is judged */
	look_for_progress(s, now);
	if (s->link.connected)
		s->link.heard_ns = last_sign_of_life_ns(s);
	fo_primary_tick(&s->p, now, s->link.connected ? s->link.heard_ns : now);
	src_allow_beats(s);
	src_watch_record(s, now);
	src_look(s, now);
	src_operator_look(s);
	src_verify_look(s);
	src_watch_qemu(s, now);
	if (src_report(s, now))
		src_replay_tick(s);
	src_schedule(s);
}

/* ---- connection ---- */
static void on_opened(struct repl_conn *c, const char *peer, void *arg)
{
	struct source *s = arg;

	(void)c;
	s->link.connected = true;
	tv_copy(s->job.peer.name, sizeof(s->job.peer.name), peer);
	src_trace_begin(s);
	s->p.was_backup = s->job.last_backup[0] && !strcmp(peer, s->job.last_backup);
	if (!strcmp(peer, s->job.conf.host)) {
		src_end(s, SESSION_FAILED, -EINVAL,
			"the backup is this host itself: name another one", SRC_DETACH_RUNNING);
		return;
	}
	cap_post(s->cap, CAP_ATTACH, 0);
}

/* Without datagrams the stream's own heartbeats must do. */
static void start_beats(struct source *s, uint32_t port)
{
	struct repl_beat_conf conf = {.initiator = true,
				      .port = (uint16_t)port,
				      .every_ns = s->times.beat_ns,
				      .generation = s->p.generation,
				      .cb = on_beat_echo,
				      .arg = s};
	uint16_t ours;
	int rc;

	if (!port || port > 65535)
		return;
	rc = repl_beat_new(s->base, s->link.conn, &conf, &ours, &s->link.beats);
	if (rc)
		tv_log(TV_WARN, "heartbeats to %s go through the connection only: %s",
		       s->job.peer.name, tv_strerror(rc));
}

static void on_refuse(struct source *s, const Twinvm__Refuse *r)
{
	char text[512];
	int code = r->code < 0 ? r->code : TV_E_REFUSED;

	snprintf(text, sizeof(text), "%s: %s", s->job.peer.name, r->text);
	if (!s->hold.held) {
		src_end(s, SESSION_FAILED, code, text, SRC_DETACH_RUNNING);
		return;
	}
	/* A replica that is lost later: alone, but only by record. */
	src_set_why(s, code, text);
	src_event(s, FO_PE_PEER_LOST);
}

/* Of the backup's host, for status; a peer's text is one line of plain characters here. */
static void note_warning(struct source *s, const char *text)
{
	tv_copy(s->link.warning, sizeof(s->link.warning), text);
	for (char *p = s->link.warning; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

static void note_offer(struct source *s, const Twinvm__Fenced *f)
{
	struct tv_err e;

	snprintf(e.text, sizeof(e.text),
		 "host %.60s could not start the VM, which continues here: %.500s", f->host,
		 f->reason);
	src_set_why(s, -EIO, e.text);
	tv_log(TV_WARN, "%s", e.text);
}

/* In a planned switch it is expected. */
static bool switches(const struct source *s)
{
	return s->p.state == FO_P_YIELDING || s->p.state == FO_P_CHECKING ||
	       s->p.state == FO_P_YIELDED || s->p.state == FO_P_QUITTING ||
	       s->p.state == FO_P_RETURNING;
}

static void on_fenced(struct source *s, const Twinvm__Fenced *f, int64_t now_ns)
{
	const struct fo_msg fm = {.kind = FO_M_FENCED,
				  .generation = f->generation,
				  .running = f->running,
				  .offered = f->offered};

	if (s->end.leaving || f->generation <= s->p.generation)
		return;
	if ((s->p.state == FO_P_YIELDED || s->p.state == FO_P_CHECKING) && f->offered)
		note_offer(s, f);
	else if (!switches(s))
		tv_log(TV_WARN, "%s reports generation %llu of %s, which has %llu here%s",
		       s->job.peer.name, (unsigned long long)f->generation, s->job.vm_name,
		       (unsigned long long)s->p.generation,
		       s->arbiter ? ": asking the arbiter" : "");
	receive(s, &fm, now_ns);
}

/* A backup could fill this host's memory with more than the VM has. */
static void expect_hashes(struct source *s)
{
	json_t *desc = json_loads(s->vm.description, 0, NULL), *disk;
	uint64_t bytes[CKPT_MAX_DISKS] = {0};
	size_t i;

	json_array_foreach(json_object_get(desc, "disks"), i, disk)
		if (i < CKPT_MAX_DISKS)
			bytes[i] = (uint64_t)json_integer_value(json_object_get(disk, "bytes"));
	disks_expect_hashes(s->disks, bytes, CKPT_MAX_DISKS);
	json_decref(desc);
}

/* Before anything is copied, with what was measured while the link had nothing to do. */
static bool is_too_far(struct source *s)
{
	int64_t rtt_ns = repl_min_rtt_ns(s->link.conn);
	int64_t needs_ns = fo_times_for(&s->times, s->arbiter != NULL, rtt_ns);
	char why[300];

	if (!needs_ns)
		return false;
	snprintf(
		why, sizeof(why),
		"a round trip to %s takes %lld ms, which is too long for heartbeats every %lld ms: "
		"set heartbeat_ms = %lld or more in the configuration of both hosts",
		s->job.peer.name, (long long)(rtt_ns / TV_NS_PER_MS),
		(long long)(s->times.heartbeat_ns / TV_NS_PER_MS),
		(long long)(needs_ns / TV_NS_PER_MS));
	src_end(s, SESSION_FAILED, -ETIMEDOUT, why, SRC_DETACH_RUNNING);
	return true;
}

/* False: not expected in this state. */
static bool on_welcome(struct source *s, const Twinvm__Welcome *w, int64_t now_ns)
{
	if (s->p.welcomed || w->generation != s->p.generation)
		return false;
	if (is_too_far(s))
		return true;
	start_beats(s, w->beat_port);
	if (w->hashes)
		expect_hashes(s);
	s->verify.able = w->verify;
	fo_primary_welcomed(&s->p, now_ns);
	src_allow_beats(s);
	cap_post(s->cap, CAP_HOLD_NET, 0);
	return true;
}

static bool on_disk_hashes(struct source *s, const Twinvm__DiskHashes *h)
{
	if (h->generation != s->p.generation ||
	    disks_learn(s->disks, h->disk, h->first_block, h->hashes.data, h->hashes.len))
		return false;
	if (h->last)
		disks_learned(s->disks);
	return true;
}

static void on_control(struct repl_conn *c, const Twinvm__Control *m, int64_t now_ns, void *arg)
{
	struct source *s = arg;
	struct fo_msg fm;
	bool good = false;

	(void)c;
	switch (m->msg_case) {
	case TWINVM__CONTROL__MSG_WELCOME:
		good = on_welcome(s, m->welcome, now_ns);
		break;
	case TWINVM__CONTROL__MSG_DISK_HASHES:
		good = on_disk_hashes(s, m->disk_hashes);
		break;
	case TWINVM__CONTROL__MSG_FILE_WANTED:
		good = src_on_file_wanted(s, m->file_wanted);
		break;
	case TWINVM__CONTROL__MSG_VERIFIED:
		good = src_on_verified(s, m->verified);
		break;
	case TWINVM__CONTROL__MSG_REFUSE:
		on_refuse(s, m->refuse);
		return;
	case TWINVM__CONTROL__MSG_FENCED:
		on_fenced(s, m->fenced, now_ns);
		return;
	case TWINVM__CONTROL__MSG_COMMITTED:
		(void)wire_read(m, &fm);
		receive(s, &fm, now_ns);
		/* After the release. */
		wire_phases_read(s->trace.ring, m->committed->phases, m->committed->n_phases);
		return;
	case TWINVM__CONTROL__MSG_HEARTBEAT_ECHO:
		note_warning(s, m->heartbeat_echo->warning);
		(void)wire_read(m, &fm);
		receive(s, &fm, now_ns);
		src_trace_echo(s, m->heartbeat_echo, now_ns);
		return;
	default:
		break;
	}
	if (!good)
		unexpected(s, TV_E_PROTOCOL, wire_name(m));
}

static void on_records(struct repl_conn *c, const uint8_t *p, size_t n, int64_t now_ns, void *arg)
{
	(void)c;
	(void)p;
	(void)n;
	(void)now_ns;
	src_peer_lost(arg, TV_E_PROTOCOL, "the backup sent page records");
}

static void on_conn_closed(struct repl_conn *c, int rc, const char *why, void *arg)
{
	struct source *s = arg;

	(void)c;
	src_drop_link(s);
	if (s->end.leaving && !s->vm.attached) {
		s->end.parted = !rc;
		src_finish(s);
		return;
	}
	src_peer_lost(s, rc ? rc : -EPIPE, why);
}

static const struct repl_ops link_ops = {.opened = on_opened,
					 .control = on_control,
					 .records = on_records,
					 .drained = src_on_drained,
					 .closed = on_conn_closed};

int src_connect(struct source *s, struct tv_err *e)
{
	struct repl_opts opts = {
		.expect_peer = s->job.peer.name[0] ? s->job.peer.name : NULL,
		/* longer than the backup's own, which knows more */
		.handshake_timeout_ms = (int)(s->times.handshake_ns * 5 / 3 / TV_NS_PER_MS),
		.stuck_timeout_ms = (int)(s->times.stream_stuck_ns / TV_NS_PER_MS)};

	return repl_connect(s->base, s->link.tls, s->job.peer.address, s->job.peer.port, &opts,
			    &link_ops, s, &s->link.conn, e);
}
