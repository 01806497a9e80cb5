/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the replicator on the primary
 *
 * One process, one VM, one session. A session connects to the backup first (a backup that cannot be
 * reached costs the VM nothing), attaches, offers the VM's description, copies the VM while it runs,
 * and then streams epochs until the session ends: the user's unprotect, the backup lost, the VM gone,
 * or a higher generation heard of. The VM runs on untouched after every end but the last. A lost
 * backup is not waited for in here: the daemon starts a new process for every new try.
 *
 * Threads: this loop (connection, heartbeats, held frames, decisions), the capture thread (all that
 * talks to QEMU), the encoder thread, the arbiter's. They meet in bounded queues only.
 *
 * Output: passes until epoch 1's barrier, then is held. An epoch's frames leave when (a) the backup
 * has said that it holds the epoch, (b) the arbiter's record names the backup, and (c) the lease runs:
 * the echo of a heartbeat that we sent at most lease_ns ago (failover/timeouts.c). Without (c) a
 * primary that was frozen could speak after the backup has taken over.
 *
 * Order of the end (FO_A_LEAVE): what is held is released, by then the record says that we run alone;
 * when it has all been written, filters are removed and the VM let go; then the backup is told.
 */
#include "daemon/source.h"

#include "daemon/capture.h"
#include "daemon/job.h"
#include "daemon/pace.h"
#include "netbuffer/netbuffer.h"
#include "replicator/replicator.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_IN_FLIGHT 2
#define SAMPLES 512

struct samples { /* the last ones, for percentiles */
	int64_t v[SAMPLES];
	unsigned n;
	int64_t max;
};

struct source {
	struct job job;
	struct event_base *base;
	struct fo_times times;
	struct report *report;
	struct repl_tls *tls;
	struct repl_conn *conn;
	struct repl_beat *beats;
	int64_t beat_rx_ns; /* last datagram of the backup */
	uint64_t beat_seq;
	struct fo_arbiter *arbiter;
	struct fo_ask *ask;
	struct encoder *en;
	struct cap *cap;
	struct cap_page *page;
	struct nb *nb;
	struct event *tick, *heartbeat, *beat, *due, *retry, *settle;
	int stash[2 * HV_MAX_NICS];
	unsigned stash_n;

	enum fo_primary_state state;
	char *description;
	bool connected, welcomed, attached, net_held, capturing, vm_stopped, vm_shutdown, releasing;
	bool leaving;        /* nothing new is begun any more */
	bool user_leave;     /* unprotect */
	bool bulk_blocked;
	const char *outcome; /* for the daemon: what ended the session */
	int exit_rc;
	struct tv_err why;

	uint64_t epoch_running; /* the next to be captured; epochs are numbered from 1 */
	uint64_t epoch_captured, epoch_sent, epoch_committed, epoch_released;
	int64_t captured_at_ns[MAX_IN_FLIGHT + 2]; /* by epoch number, ring */
	uint64_t flight_bytes[MAX_IN_FLIGHT + 2];
	int64_t committed_state_ns; /* when the state of the last committed epoch was taken */
	int64_t lease_from_ns;      /* our own stamp of the last echoed heartbeat */
	int64_t lost_at_ns, last_tick_ns;
	uint64_t hb_seq;
	struct pace pace;
	struct samples pause, dirty, interval;
	double progress;
};

/* ---- small helpers ---- */
static void sample(struct samples *s, int64_t v)
{
	s->v[s->n++ % SAMPLES] = v;
	if (v > s->max)
		s->max = v;
}

static int cmp64(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static int64_t percentile(const struct samples *s, unsigned p)
{
	int64_t v[SAMPLES];
	unsigned n = s->n < SAMPLES ? s->n : SAMPLES;

	if (!n)
		return 0;
	memcpy(v, s->v, n * sizeof(*v));
	qsort(v, n, sizeof(*v), cmp64);
	return v[(n - 1) * p / 100];
}

static void arm(struct event *ev, int64_t ns)
{
	struct timeval tv;

	if (ns < 0)
		ns = 0;
	tv.tv_sec = ns / TV_NS_PER_S;
	tv.tv_usec = (ns % TV_NS_PER_S + 999) / 1000;
	event_add(ev, &tv);
}

static double ms(int64_t ns)
{
	return (double)(ns / 1000) / 1e3;
}

static void on_event(struct source *s, enum fo_primary_event ev);
static void send_stats(struct source *s);
static void send_control(struct source *s, Twinvm__Control *msg, bool urgent);

/* ---- reporting ---- */
static const char *public_state(const struct source *s)
{
	switch (s->state) {
	case FO_P_SYNCING:
	case FO_P_PAIRING:
		return "syncing";
	case FO_P_PROTECTED:
		return "protected";
	case FO_P_HELD:
	case FO_P_FENCED:
		return "stopped";
	default:
		return "alone";
	}
}

static uint64_t uncommitted_bytes(const struct source *s)
{
	uint64_t sum = 0;

	for (uint64_t n = s->epoch_committed + 1; n <= s->epoch_captured; n++)
		sum += s->flight_bytes[n % (MAX_IN_FLIGHT + 2)];
	return sum;
}

static void send_stats(struct source *s)
{
	struct ckpt_stats cs = {0};
	struct nb_stats ns = {0};
	int64_t now = tv_now_ns();

	encoder_stats(s->en, &cs);
	if (s->nb)
		nb_stats(s->nb, &ns);
	report_send(s->report,
		    json_pack("{ss ss ss ss sI sI sf sI sf s{sf sf sf} s{sf} s{sI sI} sI sI sI sI sI sf ss}",
			      "op", "stats", "state", public_state(s), "core",
			      fo_primary_state_name(s->state), "mode", pace_mode_name(s->pace.mode),
			      "epoch_running", (json_int_t)s->epoch_running, "epoch_committed",
			      (json_int_t)s->epoch_committed, "lag_ms",
			      s->committed_state_ns ? ms(now - s->committed_state_ns) : 0.0,
			      "uncommitted_bytes", (json_int_t)uncommitted_bytes(s), "oldest_held_frame_ms",
			      ns.oldest_held_ns ? ms(now - ns.oldest_held_ns) : 0.0, "pause_ms", "p50",
			      ms(percentile(&s->pause, 50)), "p99", ms(percentile(&s->pause, 99)), "max",
			      ms(s->pause.max), "epoch_ms", "p50", ms(percentile(&s->interval, 50)),
			      "dirty_pages", "p50", (json_int_t)percentile(&s->dirty, 50), "p99",
			      (json_int_t)percentile(&s->dirty, 99), "raw_bytes", (json_int_t)cs.raw_bytes,
			      "wire_bytes", (json_int_t)cs.wire_bytes, "held_frames",
			      (json_int_t)ns.held_frames, "released_frames",
			      (json_int_t)(ns.released_frames + ns.passed_frames), "dropped_frames",
			      (json_int_t)ns.dropped_frames, "progress", s->progress, "reason",
			      s->why.text));
}

static void report_connected(struct report *r, void *arg)
{
	struct source *s = arg;

	report_send(r, json_pack("{ss ss ss sI sI ss}", "op", "register", "role", "primary", "vm_id",
				 s->job.vm_id, "pid", (json_int_t)getpid(), "generation",
				 (json_int_t)s->job.generation, "session", s->job.session));
	if (s->stash_n)
		report_send_fds(r, json_pack("{ss}", "op", "stash"), s->stash, s->stash_n);
	send_stats(s);
}

/* ---- the end of the session ---- */
static void finish(struct source *s)
{
	tv_log(TV_INFO, "session ends: %s%s%s", s->outcome, s->why.text[0] ? ": " : "", s->why.text);
	report_send(s->report, json_pack("{ss ss si ss}", "op", "done", "outcome", s->outcome, "rc", s->exit_rc,
					 "text", s->why.text));
	report_flush(s->report);
	event_base_loopbreak(s->base);
}

static void set_why(struct source *s, int rc, const char *text)
{
	if (!s->exit_rc)
		s->exit_rc = rc;
	if (!s->why.text[0])
		snprintf(s->why.text, sizeof(s->why.text), "%s", text);
}

/* FO_A_LEAVE: output first, then the VM, then the peer. */
static void leave(struct source *s)
{
	if (s->leaving)
		return;
	s->leaving = true;
	s->outcome = s->user_leave ? "left" : s->attached ? "alone" : "failed";
	encoder_stop(s->en);
	if (s->nb)
		nb_pass(s->nb);
	arm(s->settle, 0);
}

static void on_settle(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;
	static int64_t give_up_ns;

	(void)fd;
	(void)what;
	if (!give_up_ns)
		give_up_ns = tv_now_ns() + TV_NS_PER_S;
	/* Released frames that QEMU does not take within a second are the network's loss. */
	if (s->nb && !nb_idle(s->nb) && tv_now_ns() < give_up_ns) {
		arm(s->settle, TV_NS_PER_MS);
		return;
	}
	cap_post(s->cap, CAP_DETACH, 0);
}

static void on_detached(struct source *s, const struct cap_event *ev)
{
	if (ev->rc)
		set_why(s, ev->rc, ev->e.text);
	s->attached = false;
	nb_free(s->nb);
	s->nb = NULL;
	if (!s->connected || !s->conn) {
		finish(s);
		return;
	}
	/* A backup that was asked to take over has no use for a farewell. */
	if (strcmp(s->outcome, "taken-over") != 0) {
		Twinvm__Bye bye = TWINVM__BYE__INIT;
		Twinvm__Control msg = TWINVM__CONTROL__INIT;

		bye.reason = s->user_leave ? "protection was ended" : "the primary runs on alone";
		msg.msg_case = TWINVM__CONTROL__MSG_BYE;
		msg.bye = &bye;
		send_control(s, &msg, true);
	}
	s->connected = false;
	repl_finish(s->conn, 1000); /* on_conn_closed goes on */
}

static void give_up(struct source *s, const char *outcome, int rc, const char *text)
{
	set_why(s, rc, text);
	if (s->leaving)
		return;
	s->leaving = true;
	s->outcome = outcome;
	encoder_stop(s->en);
	if (s->attached)
		cap_post(s->cap, CAP_DETACH, 0);
	else
		finish(s);
}

/* ---- decisions ---- */
static void claim(struct source *s, enum fo_question q)
{
	struct fo_claim c = {.generation = s->job.generation};

	snprintf(c.vm_id, sizeof(c.vm_id), "%s", s->job.vm_id);
	snprintf(c.self, sizeof(c.self), "%s", s->job.conf.host);
	snprintf(c.peer, sizeof(c.peer), "%s", s->job.peer_name);
	snprintf(c.session, sizeof(c.session), "%s", s->job.session);
	fo_ask_start(s->ask, q, &c);
}

static void try_release(struct source *s)
{
	int64_t now = tv_now_ns();

	if (!s->releasing || s->epoch_released >= s->epoch_committed)
		return;
	if (now - s->lease_from_ns >= s->times.lease_ns)
		return; /* the next echo tries again */
	s->epoch_released = s->epoch_committed;
	nb_release(s->nb, s->epoch_committed);
}

static void act(struct source *s, unsigned a)
{
	if (a & FO_A_ASK_PAIR)
		claim(s, FO_ASK_PAIR);
	if (a & FO_A_ASK_ALONE)
		claim(s, FO_ASK_ALONE);
	if (a & FO_A_ASK_LATER)
		arm(s->retry, s->times.retry_ns);
	if (a & FO_A_RELEASE) {
		s->releasing = true;
		try_release(s);
	}
	if (a & FO_A_RESUME_VM)
		cap_post(s->cap, CAP_RESUME_VM, 0);
	if (a & FO_A_LEAVE)
		leave(s);
	if (a & FO_A_STOP_VM) {
		s->releasing = false;
		cap_post(s->cap, CAP_STOP_VM, 0);
	}
	if (a & FO_A_TAKE_OVER) {
		Twinvm__TakeOver t = TWINVM__TAKE_OVER__INIT;
		Twinvm__Control msg = TWINVM__CONTROL__INIT;

		t.generation = s->job.generation;
		t.reason = "the VM's process on the primary died";
		msg.msg_case = TWINVM__CONTROL__MSG_TAKE_OVER;
		msg.take_over = &t;
		send_control(s, &msg, true);
	}
	if (a & FO_A_END) {
		set_why(s, TV_E_GONE, a & FO_A_TAKE_OVER ? "the VM's QEMU process died; the backup takes over"
							: "the VM's QEMU process has ended");
		s->leaving = true;
		s->outcome = a & FO_A_TAKE_OVER ? "taken-over" : "vm-gone";
		encoder_stop(s->en);
		cap_post(s->cap, CAP_DETACH, 0);
	}
}

static void on_event(struct source *s, enum fo_primary_event ev)
{
	struct fo_step st = fo_primary_step(s->state, ev);
	enum fo_primary_state from = s->state;

	s->state = (enum fo_primary_state)st.next;
	if (from == s->state && !st.actions)
		return;
	tv_log(TV_INFO, "%s: %s -> %s (generation %llu, epoch %llu)", fo_primary_event_name(ev),
	       fo_primary_state_name(from), fo_primary_state_name(s->state),
	       (unsigned long long)s->job.generation, (unsigned long long)s->epoch_committed);
	if (s->state == FO_P_ASKING && from != FO_P_ASKING) {
		s->releasing = false;
		s->lost_at_ns = tv_now_ns();
		encoder_stop(s->en);
		tv_log(TV_WARN, "backup %s is lost (%s), holding output", s->job.peer_name, s->why.text);
	}
	if (s->state == FO_P_LEAVING && from != FO_P_LEAVING)
		s->lost_at_ns = tv_now_ns();
	act(s, st.actions);
	send_stats(s);
	if (s->state == FO_P_PROTECTED && from == FO_P_PAIRING)
		report_send(s->report, json_pack("{ss}", "op", "protected"));
}

static void on_answer(enum fo_question q, int rc, const struct fo_record *rec, const char *why, void *arg)
{
	struct source *s = arg;

	if (rc == TV_E_LOST) {
		set_why(s, rc, why);
		on_event(s, FO_PE_RECORD_LOST);
		if (s->state == FO_P_FENCED)
			s->outcome = "fenced";
		return;
	}
	if (rc) {
		tv_log(TV_WARN, "arbiter: %s; holding output", why);
		on_event(s, FO_PE_ARBITER_UNREACHABLE);
		return;
	}
	if (q == FO_ASK_ALONE) {
		on_event(s, FO_PE_ALONE_RECORDED);
		return;
	}
	on_event(s, FO_PE_PAIR_RECORDED);
	if (s->state == FO_P_PROTECTED) {
		Twinvm__Paired p = TWINVM__PAIRED__INIT;
		Twinvm__Control msg = TWINVM__CONTROL__INIT;

		p.version = rec->version;
		p.generation = rec->generation;
		msg.msg_case = TWINVM__CONTROL__MSG_PAIRED;
		msg.paired = &p;
		send_control(s, &msg, false);
	}
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;

	(void)fd;
	(void)what;
	if (s->state == FO_P_ASKING || s->state == FO_P_HELD || s->state == FO_P_LEAVING)
		claim(s, FO_ASK_ALONE);
}

static void peer_lost(struct source *s, int rc, const char *why)
{
	if (s->conn) {
		repl_free(s->conn);
		s->conn = NULL;
	}
	s->connected = false;
	if (s->leaving)
		return;
	set_why(s, rc, why);
	if (!s->attached) {
		give_up(s, "failed", rc, why);
		return;
	}
	on_event(s, FO_PE_PEER_LOST);
}

/* ---- epochs ---- */
static void schedule(struct source *s)
{
	struct nb_stats ns;
	int64_t now, due;

	if (s->capturing || s->leaving || s->vm_stopped || !s->net_held ||
	    (s->state != FO_P_SYNCING && s->state != FO_P_PAIRING && s->state != FO_P_PROTECTED) ||
	    !s->epoch_running || s->epoch_captured >= s->epoch_committed + MAX_IN_FLIGHT)
		return;
	nb_stats(s->nb, &ns);
	now = tv_now_ns();
	due = pace_due_ns(&s->pace, ns.oldest_held_ns > s->pace.last_start_ns ? ns.oldest_held_ns : 0);
	if (due > now) {
		arm(s->due, due - now);
		return;
	}
	s->capturing = true;
	cap_post(s->cap, CAP_EPOCH, s->epoch_running);
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	schedule(arg);
}

static void on_first_held(void *arg, int64_t now_ns)
{
	(void)now_ns;
	schedule(arg);
}

static void on_nb_failed(void *arg, const char *port, int rc)
{
	struct source *s = arg;
	char text[256];

	if (s->leaving)
		return;
	snprintf(text, sizeof(text), "network port %s failed: %s", port, tv_strerror(rc));
	set_why(s, rc, text);
	on_event(s, FO_PE_PEER_LOST); /* the same cure: run alone, by record, without us in the path */
}

/* Capture thread, VM paused. */
static int barrier(void *arg, uint64_t epoch)
{
	struct source *s = arg;

	return nb_barrier(s->nb, epoch);
}

static void on_captured(struct source *s, const struct cap_event *ev)
{
	s->capturing = false;
	if (s->pace.last_start_ns)
		sample(&s->interval, ev->pause_start_ns - s->pace.last_start_ns);
	pace_captured(&s->pace, ev->pause_start_ns, ev->pause_ns);
	sample(&s->pause, ev->pause_ns);
	sample(&s->dirty, (int64_t)ev->pages);
	s->epoch_captured = ev->epoch;
	s->epoch_running = ev->epoch + 1;
	schedule(s);
}

static void on_committed(struct source *s, const Twinvm__Committed *m)
{
	if (m->generation != s->job.generation || m->epoch != s->epoch_committed + 1 ||
	    m->epoch > s->epoch_sent) {
		peer_lost(s, TV_E_PROTOCOL, "the backup committed an epoch that was not sent");
		return;
	}
	s->epoch_committed = m->epoch;
	s->committed_state_ns = s->captured_at_ns[m->epoch % (MAX_IN_FLIGHT + 2)];
	if (m->epoch == 1) {
		s->progress = 1;
		on_event(s, FO_PE_FIRST_COMMIT);
	}
	try_release(s);
	schedule(s);
}

/* ---- sending ---- */
static void send_control(struct source *s, Twinvm__Control *msg, bool urgent)
{
	int rc = s->conn ? repl_send(s->conn, msg, urgent) : -ENOTCONN;

	if (rc && s->connected)
		tv_log(TV_WARN, "sending to %s: %s", s->job.peer_name, tv_strerror(rc));
}

/* Pieces of the encoder, in order. False: the connection's queue is full, wait for on_drained. */
static bool on_piece(const struct piece *p, void *arg)
{
	struct source *s = arg;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;
	Twinvm__EpochBegin b = TWINVM__EPOCH_BEGIN__INIT;
	Twinvm__EpochEnd end = TWINVM__EPOCH_END__INIT;
	Twinvm__SyncEnd sync = TWINVM__SYNC_END__INIT;

	if (!s->connected || !s->conn)
		return true; /* the session is ending; nobody wants it any more */
	switch (p->kind) {
	case PIECE_RECORDS:
		if (repl_send_records(s->conn, p->buf.data, p->buf.bytes) == -EAGAIN) {
			s->bulk_blocked = true;
			return false;
		}
		return true;
	case PIECE_BEGIN:
		b.epoch = p->epoch;
		b.generation = s->job.generation;
		msg.msg_case = TWINVM__CONTROL__MSG_EPOCH_BEGIN;
		msg.epoch_begin = &b;
		break;
	case PIECE_END:
		end.epoch = p->epoch;
		end.generation = s->job.generation;
		end.records = p->records;
		end.checksum = p->checksum;
		end.wire_bytes = p->wire_bytes;
		msg.msg_case = TWINVM__CONTROL__MSG_EPOCH_END;
		msg.epoch_end = &end;
		s->epoch_sent = p->epoch;
		s->captured_at_ns[p->epoch % (MAX_IN_FLIGHT + 2)] = p->captured_ns;
		s->flight_bytes[p->epoch % (MAX_IN_FLIGHT + 2)] = p->wire_bytes;
		break;
	case PIECE_SYNC_END:
		sync.records = p->records;
		msg.msg_case = TWINVM__CONTROL__MSG_SYNC_END;
		msg.sync_end = &sync;
		break;
	}
	send_control(s, &msg, false);
	return true;
}

static void on_drained(struct repl_conn *c, void *arg)
{
	struct source *s = arg;

	(void)c;
	if (!s->bulk_blocked)
		return;
	s->bulk_blocked = false;
	encoder_continue(s->en);
}

static void on_heartbeat(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;
	Twinvm__Heartbeat hb = TWINVM__HEARTBEAT__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;

	(void)fd;
	(void)what;
	arm(s->heartbeat, s->times.heartbeat_ns);
	if (!s->welcomed || !s->connected)
		return;
	hb.seq = ++s->hb_seq;
	hb.sent_ns = tv_now_ns();
	hb.generation = s->job.generation;
	msg.msg_case = TWINVM__CONTROL__MSG_HEARTBEAT;
	msg.heartbeat = &hb;
	send_control(s, &msg, true);
}

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;

	(void)fd;
	(void)what;
	arm(s->beat, s->times.beat_ns);
	repl_beat_send(s->beats, REPL_BEAT, ++s->beat_seq, tv_now_ns(), s->job.generation);
}

/* Our own stamp comes back, by datagram or in the stream. */
static void on_echo(struct source *s, uint64_t seq, uint64_t sent, int64_t sent_ns, uint64_t generation)
{
	if (seq <= sent && sent_ns > s->lease_from_ns && sent_ns <= tv_now_ns() &&
	    generation == s->job.generation)
		s->lease_from_ns = sent_ns;
	try_release(s);
}

static void on_beat_echo(enum repl_beat_kind kind, uint64_t seq, int64_t sent_ns, uint64_t generation,
			 int64_t now_ns, void *arg)
{
	struct source *s = arg;

	if (kind != REPL_BEAT_ECHO)
		return;
	s->beat_rx_ns = now_ns;
	on_echo(s, seq, s->beat_seq, sent_ns, generation);
}

static int64_t last_sign_of_life_ns(const struct source *s)
{
	int64_t stream = repl_last_rx_ns(s->conn);

	return s->beat_rx_ns > stream ? s->beat_rx_ns : stream;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;
	int64_t now = tv_now_ns();
	bool late = s->last_tick_ns && now - s->last_tick_ns > s->times.heartbeat_ns;

	(void)fd;
	(void)what;
	s->last_tick_ns = now;
	arm(s->tick, s->times.tick_ns);
	/* After a stall of our own, what waits in the socket is read before silence is believed. */
	if (!late && s->connected && s->welcomed &&
	    now - last_sign_of_life_ns(s) > s->times.backup_lost_ns)
		peer_lost(s, -ETIMEDOUT, "the backup host does not answer");
	if ((s->state == FO_P_ASKING || s->state == FO_P_LEAVING) &&
	    now - s->lost_at_ns > s->times.hold_limit_ns)
		on_event(s, FO_PE_HOLD_OVER);
	if (now / (s->times.heartbeat_ns) != (now - s->times.tick_ns) / s->times.heartbeat_ns)
		send_stats(s);
	schedule(s);
}

/* ---- connection ---- */
static void on_opened(struct repl_conn *c, const char *peer, void *arg)
{
	struct source *s = arg;

	(void)c;
	s->connected = true;
	snprintf(s->job.peer_name, sizeof(s->job.peer_name), "%s", peer);
	if (!strcmp(peer, s->job.conf.host)) {
		give_up(s, "failed", -EINVAL, "the backup is this host itself: name another one");
		return;
	}
	cap_post(s->cap, CAP_ATTACH, 0);
}

static void send_hello(struct source *s)
{
	Twinvm__Hello h = TWINVM__HELLO__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;

	h.protocol = REPL_PROTOCOL;
	if (getenv("TWINVM_TEST_PROTOCOL")) /* tests: be a host of another version */
		h.protocol = (uint32_t)atoi(getenv("TWINVM_TEST_PROTOCOL"));
	h.host = s->job.conf.host;
	h.vm_id = s->job.vm_id;
	h.vm_name = s->job.vm_name;
	h.generation = s->job.generation;
	h.session = s->job.session;
	h.description = s->description;
	h.heartbeat_ms = (uint32_t)s->job.conf.heartbeat_ms;
	h.arbiter = s->job.arbiter;
	msg.msg_case = TWINVM__CONTROL__MSG_HELLO;
	msg.hello = &h;
	send_control(s, &msg, false);
}

/* Without datagrams the stream's own heartbeats must do. */
static void start_beats(struct source *s, uint32_t port)
{
	uint16_t ours;
	int rc;

	if (!port || port > 65535)
		return;
	rc = repl_beat_new(s->base, s->conn, true, on_beat_echo, s, &ours, &s->beats);
	if (!rc)
		rc = repl_beat_connect(s->beats, (uint16_t)port);
	if (rc)
		tv_log(TV_WARN, "heartbeats to %s go through the connection only: %s", s->job.peer_name,
		       tv_strerror(rc));
	else
		on_beat(-1, 0, s);
}

static void on_control(struct repl_conn *c, const Twinvm__Control *m, int64_t now_ns, void *arg)
{
	struct source *s = arg;

	(void)c;
	(void)now_ns;
	switch (m->msg_case) {
	case TWINVM__CONTROL__MSG_WELCOME:
		if (s->welcomed)
			break;
		s->welcomed = true;
		start_beats(s, m->welcome->beat_port);
		cap_post(s->cap, CAP_HOLD_NET, 0);
		return;
	case TWINVM__CONTROL__MSG_REFUSE: {
		char text[512];
		int code = m->refuse->code < 0 ? m->refuse->code : TV_E_REFUSED;

		snprintf(text, sizeof(text), "%s: %s", s->job.peer_name, m->refuse->text);
		if (!s->net_held) {
			give_up(s, "failed", code, text);
			return;
		}
		/* A replica that is lost later: alone, but only by record. */
		set_why(s, code, text);
		on_event(s, FO_PE_PEER_LOST);
		return;
	}
	case TWINVM__CONTROL__MSG_COMMITTED:
		on_committed(s, m->committed);
		return;
	case TWINVM__CONTROL__MSG_HEARTBEAT_ECHO:
		on_echo(s, m->heartbeat_echo->seq, s->hb_seq, m->heartbeat_echo->sent_ns,
			m->heartbeat_echo->generation);
		return;
	case TWINVM__CONTROL__MSG_FENCED:
		if (m->fenced->generation > s->job.generation) {
			set_why(s, TV_E_LOST, "a higher generation of this VM runs on the backup");
			on_event(s, FO_PE_HIGHER_GENERATION);
			s->outcome = "fenced";
		}
		return;
	default:
		break;
	}
	peer_lost(s, TV_E_PROTOCOL, "the backup sent a message that has no place here");
}

static void on_records(struct repl_conn *c, const uint8_t *p, size_t n, int64_t now_ns, void *arg)
{
	(void)c;
	(void)p;
	(void)n;
	(void)now_ns;
	peer_lost(arg, TV_E_PROTOCOL, "the backup sent page records");
}

static void on_conn_closed(struct repl_conn *c, int rc, const char *why, void *arg)
{
	struct source *s = arg;

	repl_free(c);
	s->conn = NULL;
	s->connected = false;
	if (s->leaving && !s->attached) {
		finish(s);
		return;
	}
	peer_lost(s, rc ? rc : -EPIPE, why);
}

/* ---- the capture thread's answers ---- */
static void on_attached(struct source *s, const struct cap_event *ev)
{
	if (ev->rc) {
		free(ev->text);
		/* hv_attach has undone everything; a VM that was attached but not described is detached */
		s->attached = true;
		give_up(s, ev->rc == TV_E_REFUSED ? "refused" : "failed", ev->rc, ev->e.text);
		return;
	}
	s->attached = true;
	s->description = ev->text;
	if (s->leaving)
		cap_post(s->cap, CAP_DETACH, 0);
	else
		send_hello(s);
}

static void on_net_held(struct source *s, const struct cap_event *ev)
{
	struct nb_port ports[HV_MAX_NICS] = {0};
	struct nb_conf conf = {.first_held = on_first_held, .failed = on_nb_failed, .arg = s};
	struct tv_err e = {0};
	int rc;

	if (ev->rc) {
		give_up(s, "refused", ev->rc, ev->e.text);
		return;
	}
	for (unsigned i = 0; i < ev->nports; i++) {
		snprintf(ports[i].name, sizeof(ports[i].name), "%s", ev->ports[i].netdev);
		ports[i].capture_fd = ev->ports[i].capture_fd;
		ports[i].inject_fd = ev->ports[i].inject_fd;
		ports[i].vnet_hdr = ev->ports[i].vnet_hdr;
		/* The daemon holds them too: were we to die, QEMU would let frames pass unheld. */
		s->stash[s->stash_n++] = fcntl(ev->ports[i].capture_fd, F_DUPFD_CLOEXEC, 0);
		s->stash[s->stash_n++] = fcntl(ev->ports[i].inject_fd, F_DUPFD_CLOEXEC, 0);
	}
	if (s->stash_n)
		report_send_fds(s->report, json_pack("{ss}", "op", "stash"), s->stash, s->stash_n);
	rc = nb_relay_new(s->base, ports, ev->nports, &conf, &s->nb, &e);
	if (rc) {
		give_up(s, "failed", rc, e.text);
		return;
	}
	s->net_held = true;
	cap_post(s->cap, CAP_SYNC, 0);
}

static void on_vm_event(struct source *s, enum hv_event what)
{
	switch (what) {
	case HV_EV_SHUTDOWN:
		s->vm_shutdown = true;
		break;
	case HV_EV_STOP:
		s->vm_stopped = true;
		break;
	case HV_EV_RESUME:
		s->vm_stopped = false;
		schedule(s);
		break;
	default:
		break;
	}
}

static void on_vm_gone(struct source *s)
{
	if (s->leaving)
		return;
	/* A guest that was shut down must not come back to life on the backup. */
	if (s->vm_shutdown) {
		s->user_leave = true;
		set_why(s, TV_E_GONE, "the VM was shut down");
		s->leaving = true;
		s->outcome = "vm-gone";
		encoder_stop(s->en);
		cap_post(s->cap, CAP_DETACH, 0);
		return;
	}
	on_event(s, FO_PE_VM_DIED);
	if (!s->leaving)
		give_up(s, "vm-gone", TV_E_GONE, "the VM's QEMU process has ended");
}

static void on_cap(const struct cap_event *ev, void *arg)
{
	struct source *s = arg;

	switch (ev->kind) {
	case CAP_EV_ATTACHED:
		on_attached(s, ev);
		break;
	case CAP_EV_NET_HELD:
		on_net_held(s, ev);
		break;
	case CAP_EV_PROGRESS:
		s->progress = ev->progress;
		break;
	case CAP_EV_SYNCED:
		if (s->leaving)
			break;
		nb_hold(s->nb); /* from epoch 1's barrier on */
		s->epoch_running = 1;
		schedule(s);
		break;
	case CAP_EV_CAPTURED:
		on_captured(s, ev);
		break;
	case CAP_EV_VM:
		on_vm_event(s, ev->vm_event);
		break;
	case CAP_EV_VM_GONE:
		on_vm_gone(s);
		break;
	case CAP_EV_STOPPED:
		if (s->state == FO_P_FENCED && !s->leaving) {
			s->leaving = true;
			s->outcome = "fenced";
			nb_drop(s->nb);
			encoder_stop(s->en);
			cap_post(s->cap, CAP_DETACH, 1);
		}
		break;
	case CAP_EV_FAILED:
		if (s->leaving || s->state == FO_P_ASKING || s->state == FO_P_FENCED)
			break;
		set_why(s, ev->rc, ev->e.text);
		/* The VM runs, but cannot be captured: alone, by record if there is one. */
		on_event(s, FO_PE_PEER_LOST);
		break;
	case CAP_EV_DETACHED:
		on_detached(s, ev);
		break;
	}
}

/* ---- the daemon's orders ---- */
static void on_order(struct report *r, json_t *msg, void *arg)
{
	struct source *s = arg;
	const char *op = json_string_value(json_object_get(msg, "op"));

	(void)r;
	if (!op || strcmp(op, "leave") != 0 || s->leaving)
		return;
	s->user_leave = true;
	if (!s->attached) {
		give_up(s, "left", 0, "");
		return;
	}
	on_event(s, FO_PE_LEAVE);
}

static int set_up(struct source *s, struct tv_err *e)
{
	static const struct repl_ops ops = {on_opened, on_control, on_records, on_drained, on_conn_closed};
	struct repl_opts opts = {.expect_peer = s->job.peer_name[0] ? s->job.peer_name : NULL};
	struct report_ops rops = {report_connected, on_order, s};
	struct cap_conf cc = {.barrier = barrier, .event = on_cap, .arg = s};
	char dir[256], path[300];
	int rc;

	rc = job_dir(&s->job.conf, s->job.vm_id, dir, sizeof(dir));
	if (rc)
		return tv_fail(e, rc, "run directory %s: %s", dir, tv_strerror(rc));
	snprintf(path, sizeof(path), "%s/page", dir);
	rc = cap_page_map(path, true, &s->page);
	if (rc)
		return tv_fail(e, rc, "%s: %s", path, tv_strerror(rc));
	cc.page = s->page;
	cc.vm.pid = s->job.vm_pid;
	cc.vm.start_ticks = s->job.vm_start_ticks;
	cc.opts.two_step = getenv("TWINVM_TWO_STEP") != NULL;
	snprintf(cc.vm.name, sizeof(cc.vm.name), "%s", s->job.vm_name);
	snprintf(cc.vm.qmp_path, sizeof(cc.vm.qmp_path), "%s", s->job.vm_qmp);
	rc = pace_mode_parse(s->job.mode, &s->pace.mode);
	if (rc)
		return tv_fail(e, rc, "mode '%s' is not adaptive, remus or kemari", s->job.mode);
	s->pace.epoch_ns = s->job.epoch_ms * TV_NS_PER_MS;
	rc = report_new(s->base, s->job.conf.socket, &rops, &s->report);
	if (rc)
		return tv_fail(e, rc, "no memory");
	rc = encoder_new(s->base, s->job.conf.staging_bytes, s->job.conf.cache_bytes, on_piece, s, &s->en);
	if (rc)
		return tv_fail(e, rc, "no memory for %llu MiB of staging",
			       (unsigned long long)(s->job.conf.staging_bytes >> 20));
	rc = cap_new(s->base, &cc, s->en, &s->cap);
	if (rc)
		return tv_fail(e, rc, "no memory");
	rc = fo_arbiter_open(s->job.arbiter, &s->arbiter, e);
	if (rc)
		return rc;
	rc = fo_ask_new(s->base, s->arbiter, on_answer, s, &s->ask);
	if (rc)
		return tv_fail(e, rc, "no memory");
	rc = repl_tls_new(s->job.conf.ca, s->job.conf.cert, s->job.conf.key, &s->tls, e);
	if (rc)
		return rc;
	return repl_connect(s->base, s->tls, s->job.peer_host, s->job.peer_port, &opts, &ops, s, &s->conn, e);
}

int source_main(const char *job_text)
{
	static struct source source; /* outlives every callback */
	struct source *s = &source;
	char tag[64];
	int rc;

	signal(SIGPIPE, SIG_IGN);
	rc = job_from_text(job_text, &s->job, &s->why);
	if (rc) {
		tv_log(TV_ERROR, "%s", s->why.text);
		return 1;
	}
	snprintf(tag, sizeof(tag), "%s source %.20s", s->job.conf.host, s->job.vm_name);
	tv_log_init(tag);
	s->base = event_base_new();
	fo_times_init(&s->times, s->job.conf.heartbeat_ms * TV_NS_PER_MS);
	s->tick = evtimer_new(s->base, on_tick, s);
	s->heartbeat = evtimer_new(s->base, on_heartbeat, s);
	s->beat = evtimer_new(s->base, on_beat, s);
	s->due = evtimer_new(s->base, on_due, s);
	s->retry = evtimer_new(s->base, on_retry, s);
	s->settle = evtimer_new(s->base, on_settle, s);
	s->outcome = "failed";
	rc = set_up(s, &s->why);
	if (rc) {
		s->exit_rc = rc;
		if (s->report) { /* wait for the daemon's ear, then say it */
			event_base_loop(s->base, EVLOOP_ONCE);
			finish(s);
		}
		return 1;
	}
	job_raise_priority();
	arm(s->tick, s->times.tick_ns);
	arm(s->heartbeat, 0);
	event_base_dispatch(s->base);
	encoder_stop(s->en);
	cap_free(s->cap);
	return s->exit_rc ? 1 : 0;
}
