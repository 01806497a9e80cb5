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
#include "daemon/sink.h"

#include "checkpoint/checkpoint.h"
#include "daemon/applier.h"
#include "daemon/job.h"
#include "daemon/pace.h"
#include "daemon/place.h"
#include "daemon/replay.h"
#include "replicator/replicator.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_BYTES (8u << 20)
#define HASHES_AHEAD_BYTES (64u << 10)
#define PROMOTE_TIMEOUT_MS 10000
#define HAND_OVER_MS 100
#define HELLO_TIMEOUT_NS                                                                           \
	(5 * TV_NS_PER_S) /* a peer that connects and says nothing is not waited for */

struct sink {
	struct job job;
	struct event_base *base;
	struct fo_times times;
	struct report *report;
	struct repl_tls *tls;
	struct repl_conn *conn;
	struct repl_beat *beats;
	int64_t beat_rx_ns; /* last datagram of the primary */
	struct fo_arbiter *arbiter;
	struct fo_ask *ask;
	struct applier *applier;
	struct replay *replay;
	struct event *tick, *standby_end;
	char dir[256];
	unsigned place; /* whose names the standby gets: the daemon says which are free */
	struct place_names names;

	struct fo_backup b;		       /* decides */
	uint8_t hash_key[CKPT_HASH_KEY_BYTES]; /* of the primary */
	bool has_hash_key, hashes_due;
	bool hello, registered, bye, ending;
	bool told; /* the primary itself has asked us to take over: its host is well */
	struct hv_vm_id vm;
	char *description;
	uint64_t rx_bytes;
	int64_t last_stats_ns, started_ns;
	const char *outcome;
	int exit_rc;
	struct tv_err why;
};

static void arm(struct event *ev, int64_t ns)
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

static void send_stats(struct sink *s)
{
	report_send(s->report, json_pack("{ss ss ss sI sI sI sf ss sb}", "op", "stats", "state",
					 public_state(s), "core", fo_backup_state_name(s->b.state),
					 "epoch_running", (json_int_t)s->b.epoch_open,
					 "epoch_committed", (json_int_t)s->b.epoch_committed,
					 "wire_bytes", (json_int_t)s->rx_bytes, "progress",
					 s->b.state == FO_B_SYNCING ? 0.0 : 1.0, "reason",
					 s->why.text, "told", s->told));
}

static void report_connected(struct report *r, void *arg)
{
	struct sink *s = arg;

	if (!s->hello)
		return;
	report_send(r, json_pack("{ss ss ss ss ss sI sI ss ss si ss sI ss si si ss si}", "op",
				 "register", "role", "backup", "vm_id", s->job.vm_id, "name",
				 s->job.vm_name, "peer", s->job.peer_name, "pid",
				 (json_int_t)getpid(), "generation", (json_int_t)s->job.generation,
				 "session", s->job.session, "arbiter", s->job.arbiter,
				 "standby_pid", (int)s->vm.pid, "dir", s->dir, "standby_start",
				 (json_int_t)s->vm.start_ticks, "qmp", s->vm.qmp_path, "place",
				 (int)s->place, "peer_port", (int)s->job.peer_port, "mode",
				 s->job.mode, "epoch_ms", s->job.epoch_ms));
	send_stats(s);
}

static void finish(struct sink *s)
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

static void set_why(struct sink *s, int rc, const char *text)
{
	if (!s->exit_rc)
		s->exit_rc = rc;
	if (!s->why.text[0])
		snprintf(s->why.text, sizeof(s->why.text), "%s", text);
}

static void post(struct sink *s, enum apply_kind kind, const void *p, size_t n, uint64_t epoch,
		 const struct apply_sums *sums);

/* Ends the standby, if there is one, then the process. */
static void discard(struct sink *s, const char *outcome)
{
	if (s->ending)
		return;
	s->ending = true;
	s->outcome = outcome;
	if (s->applier)
		post(s, APPLY_KILL, NULL, 0, s->bye, NULL);
	else
		finish(s);
}

static void post(struct sink *s, enum apply_kind kind, const void *p, size_t n, uint64_t epoch,
		 const struct apply_sums *sums)
{
	if (!applier_post(s->applier, kind, p, n, epoch, sums))
		return;
	set_why(s, -ENOMEM, "no memory for received data");
	s->outcome = "failed";
	finish(s);
}

/* The VM runs; what the primary is told of it has left before we go. */
static void hand_over(struct sink *s)
{
	if (s->conn)
		repl_finish(s->conn, HAND_OVER_MS); /* on_closed goes on */
	else
		finish(s);
}

static void send_control(struct sink *s, Twinvm__Control *msg, bool urgent)
{
	int rc = s->conn ? repl_send(s->conn, msg, urgent) : -ENOTCONN;

	if (rc)
		tv_log(TV_DEBUG, "sending to %s: %s", s->job.peer_name, tv_strerror(rc));
}

static void refuse(struct sink *s, int rc, const char *reason)
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
	send_control(s, &msg, false);
	set_why(s, rc, text);
	s->ending = true;
	s->outcome = "refused";
	if (s->conn)
		repl_finish(s->conn, 1000); /* on_closed goes on */
	else
		discard(s, "refused");
}

/* ---- what the engine (failover/backup.c) asks for ---- */
static void ask(void *arg, enum fo_question q)
{
	struct sink *s = arg;
	struct fo_claim c;

	job_claim(&s->job, &c);
	fo_ask_start(s->ask, q, &c);
}

static void send_msg(void *arg, const struct fo_msg *m)
{
	struct sink *s = arg;
	Twinvm__HeartbeatEcho e = TWINVM__HEARTBEAT_ECHO__INIT;
	Twinvm__Committed c = TWINVM__COMMITTED__INIT;
	Twinvm__Fenced f = TWINVM__FENCED__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;

	if (!s->conn)
		return;
	switch (m->kind) {
	case FO_M_ECHO:
		if (m->datagram) {
			repl_beat_send(s->beats, REPL_BEAT_ECHO, m->seq, m->sent_ns, m->generation);
			return;
		}
		e.seq = m->seq;
		e.sent_ns = m->sent_ns;
		e.generation = m->generation;
		msg.msg_case = TWINVM__CONTROL__MSG_HEARTBEAT_ECHO;
		msg.heartbeat_echo = &e;
		break;
	case FO_M_COMMITTED:
		c.epoch = m->epoch;
		c.generation = m->generation;
		msg.msg_case = TWINVM__CONTROL__MSG_COMMITTED;
		msg.committed = &c;
		break;
	case FO_M_FENCED:
		f.generation = m->generation;
		f.host = s->job.conf.host;
		f.running = m->running;
		msg.msg_case = TWINVM__CONTROL__MSG_FENCED;
		msg.fenced = &f;
		break;
	default:
		return;
	}
	send_control(s, &msg, true);
}

/* The sender is stale: it is told the higher generation (and nothing else: that says it all). */
static void turn_away(struct sink *s, uint64_t highest)
{
	struct fo_msg m = {.kind = FO_M_FENCED, .generation = highest};

	send_msg(s, &m);
	set_why(s, TV_E_LOST, "a higher generation of this VM is known here");
	s->ending = true;
	s->outcome = "refused";
	if (s->conn)
		repl_finish(s->conn, 1000); /* on_closed goes on */
	else
		discard(s, "refused");
}

static void act(void *arg, enum fo_action a, uint64_t generation)
{
	struct sink *s = arg;

	switch (a) {
	case FO_ACTION_PROMOTE:
		s->job.generation = generation;
		promotion_note(s->dir, generation);
		applier_drop_queued(s->applier);
		post(s, APPLY_PROMOTE, NULL, 0, 0, NULL);
		break;
	case FO_ACTION_DISCARD:
		discard(s, s->exit_rc ? "failed" : "discarded");
		break;
	case FO_ACTION_HAND_OVER:
		s->ending = true;
		s->outcome = "promoted";
		s->exit_rc = 0;
		hand_over(s);
		break;
	default:
		break;
	}
}

static void changed(void *arg, enum fo_backup_event ev, enum fo_backup_state from)
{
	struct sink *s = arg;

	tv_log(TV_INFO, "%s: %s -> %s (generation %llu, epoch %llu)", fo_backup_event_name(ev),
	       fo_backup_state_name(from), fo_backup_state_name(s->b.state),
	       (unsigned long long)s->b.generation, (unsigned long long)s->b.epoch_committed);
	if (!s->ending)
		send_stats(s);
}

static const struct fo_backup_ops engine_ops = {
	.send = send_msg, .ask = ask, .act = act, .changed = changed};

static void on_answer(enum fo_question q, int rc, const struct fo_record *rec, const char *why,
		      void *arg)
{
	struct sink *s = arg;

	(void)q;
	if (s->ending)
		return;
	if (rc)
		tv_log(TV_WARN, "arbiter: %s", why);
	if (rc == TV_E_LOST)
		snprintf(s->why.text, sizeof(s->why.text), "%s", why);
	fo_backup_answer(&s->b, tv_now_ns(), rc, rc ? 0 : rec->generation);
}

/* On a slow link they wait here, where they have not been made yet. Also from the tick. */
static void next_hashes(struct sink *s)
{
	if (!s->hashes_due || s->ending || !s->conn ||
	    repl_queued_bytes(s->conn) > HASHES_AHEAD_BYTES)
		return;
	s->hashes_due = false;
	post(s, APPLY_HASH, NULL, 0, 0, NULL);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct sink *s = arg;
	int64_t now = tv_now_ns(), heard_ns = s->conn ? repl_last_rx_ns(s->conn) : 0;

	(void)fd;
	(void)what;
	arm(s->tick, s->times.tick_ns);
	if (s->ending)
		return;
	if (!s->hello) {
		if (now - s->started_ns > HELLO_TIMEOUT_NS) {
			set_why(s, -ETIMEDOUT, "the peer connected and said nothing");
			discard(s, "failed");
		}
		return;
	}
	fo_backup_tick(&s->b, now, s->beat_rx_ns > heard_ns ? s->beat_rx_ns : heard_ns);
	next_hashes(s);
	if (now - s->last_stats_ns >= s->times.heartbeat_ns && !s->ending) {
		s->last_stats_ns = now;
		send_stats(s);
	}
}

/* ---- the apply thread's answers ---- */
static void violation(struct sink *s, const char *what)
{
	refuse(s, TV_E_PROTOCOL, what);
}

static void on_standby_end(evutil_socket_t fd, short what, void *arg)
{
	struct sink *s = arg;

	(void)fd;
	(void)what;
	if (s->ending || s->b.state == FO_B_PROMOTING)
		return;
	set_why(s, TV_E_GONE,
		"the standby's QEMU process ended by itself; see standby.log in the run directory");
	discard(s, "failed");
}

/* What the primary's engine says; bad: the connection ends. */
static void hear(struct sink *s, const struct fo_msg *m, int64_t now_ns)
{
	if (fo_backup_message(&s->b, now_ns, m) == TV_E_PROTOCOL)
		violation(s, "a message that has no place here");
}

static void on_beat(enum repl_beat_kind kind, uint64_t seq, int64_t sent_ns, uint64_t generation,
		    int64_t now_ns, void *arg)
{
	struct sink *s = arg;
	struct fo_msg m = {.kind = FO_M_HEARTBEAT,
			   .generation = generation,
			   .seq = seq,
			   .sent_ns = sent_ns,
			   .datagram = true};

	if (kind != REPL_BEAT || s->ending || !s->conn)
		return;
	if (generation == s->b.generation)
		s->beat_rx_ns = now_ns;
	hear(s, &m, now_ns);
}

static void on_started(struct sink *s, const struct apply_answer *a)
{
	Twinvm__Welcome w = TWINVM__WELCOME__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;
	uint16_t port = 0;
	int rc;

	if (a->rc) {
		refuse(s, a->rc, a->e.text);
		return;
	}
	s->vm = a->vm;
	s->standby_end = event_new(s->base, applier_pidfd(s->applier), EV_READ, on_standby_end, s);
	event_add(s->standby_end, NULL);
	report_connected(s->report, s); /* the daemon learns the standby's pid */
	rc = s->conn ? repl_beat_new(s->base, s->conn, false, on_beat, s, &port, &s->beats)
		     : -ENOTCONN;
	if (rc)
		tv_log(TV_WARN, "heartbeats come through the connection only: %s", tv_strerror(rc));
	w.generation = s->b.generation;
	w.beat_port = port;
	w.hashes = a->has_old;
	w.host = s->job.conf.host;
	msg.msg_case = TWINVM__CONTROL__MSG_WELCOME;
	msg.welcome = &w;
	send_control(s, &msg, false);
	s->beat_rx_ns =
		tv_now_ns(); /* heartbeats begin with the welcome: silence is counted from here */
	fo_backup_welcomed(&s->b, s->beat_rx_ns);
	s->hashes_due = a->has_old;
	next_hashes(s);
}

/* What the images hold already, told before the disks' first copy begins (checkpoint/sieve.c). */
static void on_hashes(struct sink *s, const struct apply_answer *a)
{
	Twinvm__DiskHashes h = TWINVM__DISK_HASHES__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;

	h.generation = s->b.generation;
	h.disk = a->disk;
	h.first_block = a->first;
	h.hashes.data = a->hashes;
	h.hashes.len = a->hashes_bytes;
	h.last = a->last;
	msg.msg_case = TWINVM__CONTROL__MSG_DISK_HASHES;
	msg.disk_hashes = &h;
	send_control(s, &msg, false);
	s->hashes_due = !a->last;
	next_hashes(s);
}

static void replica_failed(struct sink *s, const struct apply_answer *a)
{
	tv_log(TV_ERROR, "replica of %s is lost at epoch %llu: %s", s->job.vm_name,
	       (unsigned long long)a->epoch, a->e.text);
	if (s->conn)
		refuse(s, a->rc, a->e.text);
	else {
		set_why(s, a->rc, a->e.text);
		discard(s, "failed");
	}
}

static void on_apply(const struct apply_answer *a, void *arg)
{
	struct sink *s = arg;

	if (a->kind == APPLY_KILL) {
		finish(s);
		return;
	}
	if (a->kind == APPLY_HASH && !a->rc && !s->ending)
		on_hashes(s, a);
	free(a->hashes);
	if (s->ending || (a->kind == APPLY_HASH && !a->rc))
		return;
	switch (a->kind) {
	case APPLY_START:
		on_started(s, a);
		break;
	case APPLY_PROMOTE:
		if (a->rc) {
			set_why(s, a->rc, a->e.text);
			tv_log(TV_ERROR, "promotion failed: %s", a->e.text);
		} else {
			s->vm = a->vm;
			tv_log(TV_INFO, "%u frames of the last moments were said again",
			       replay_run(s->replay, s->b.epoch_committed, s->job.conf.bridge));
		}
		fo_backup_promoted(&s->b, tv_now_ns(), a->rc);
		break;
	default:
		if (a->rc)
			replica_failed(s, a);
		else {
			fo_backup_verified(&s->b, tv_now_ns(), a->epoch);
			replay_committed(s->replay, a->epoch);
		}
		break;
	}
}

static void on_applier_drained(void *arg)
{
	struct sink *s = arg;

	if (s->conn)
		repl_read_enable(s->conn, true);
}

/* ---- messages ---- */
static bool good_id(const char *id, size_t digits)
{
	return strlen(id) == digits && strspn(id, "0123456789abcdef") == digits;
}

static void begin_standby(struct sink *s, unsigned place)
{
	struct applier_conf conf = {.replica_dir = s->job.conf.replica_dir,
				    .session = s->job.session,
				    .spool_dir = s->dir,
				    .spool_bytes = s->job.conf.spool_bytes,
				    .queue_bytes = QUEUE_BYTES,
				    .promote_timeout_ms = PROMOTE_TIMEOUT_MS,
				    .answer = on_apply,
				    .drained = on_applier_drained,
				    .arg = s};

	if (s->has_hash_key)
		conf.hash_key = s->hash_key;
	s->place = place;
	place_names(s->job.vm_id, place, &s->names);
	if (job_dir(&s->job.conf, s->names.id, s->dir, sizeof(s->dir))) {
		refuse(s, -EIO, "the run directory cannot be made on the backup");
		return;
	}
	promotion_forget(s->dir); /* an earlier life's */
	conf.standby = (struct hv_standby_conf){.dir = s->dir,
						.vm_id = s->names.id,
						.bridge = s->job.conf.bridge[0] ? s->job.conf.bridge
										: NULL,
						.tap_prefix = s->names.tap_prefix};
	if (applier_new(s->base, &conf, &s->applier)) {
		refuse(s, -ENOMEM, "no memory on the backup");
		return;
	}
	post(s, APPLY_START, s->description, strlen(s->description), 0, NULL);
	/* Only now: the apply thread and the standby it starts keep the ordinary priority. */
	job_raise_priority();
}

static void on_hello(struct sink *s, const Twinvm__Hello *h)
{
	enum pace_mode known;
	struct fo_arbiter_conf ac;
	char text[160];
	int rc;

	if (s->hello) {
		violation(s, "a second hello");
		return;
	}
	if (h->protocol != REPL_PROTOCOL) {
		snprintf(text, sizeof(text),
			 "speaks protocol version %u, the primary speaks %u: install the same "
			 "twinvm on both hosts",
			 REPL_PROTOCOL, h->protocol);
		refuse(s, TV_E_VERSION, text);
		return;
	}
	if (!good_id(h->vm_id, 32) || !good_id(h->session, 32) || !h->vm_name[0] ||
	    strlen(h->vm_name) >= sizeof(s->job.vm_name) ||
	    strlen(h->arbiter) >= sizeof(s->job.arbiter) || h->heartbeat_ms < 20 ||
	    h->heartbeat_ms > 60000) {
		violation(s, "the hello's fields are not in order");
		return;
	}
	strcpy(s->job.vm_id, h->vm_id);
	strcpy(s->job.session, h->session);
	strcpy(s->job.vm_name, h->vm_name);
	strcpy(s->job.arbiter, h->arbiter);
	s->job.generation = h->generation;
	fo_times_init(&s->times, h->heartbeat_ms * TV_NS_PER_MS);
	s->job.peer_port = h->listen_port <= UINT16_MAX ? (uint16_t)h->listen_port : 0;
	s->job.epoch_ms = h->epoch_ms <= 60000 ? (int)h->epoch_ms : 0;
	if (!pace_mode_parse(h->mode, &known)) /* else this host's own default */
		snprintf(s->job.mode, sizeof(s->job.mode), "%s", h->mode);
	s->has_hash_key = h->hash_key.len == CKPT_HASH_KEY_BYTES;
	if (s->has_hash_key)
		memcpy(s->hash_key, h->hash_key.data, CKPT_HASH_KEY_BYTES);
	s->description = strdup(h->description);
	ac = config_arbiter(&s->job.conf, &s->times);
	rc = fo_arbiter_open(s->job.arbiter, &ac, &s->arbiter, &s->why);
	if (!rc) /* a backup that could never promote is none */
		rc = fo_arbiter_probe(s->arbiter, &s->why);
	if (!rc)
		rc = job_dir(&s->job.conf, s->job.vm_id, s->dir, sizeof(s->dir));
	if (!rc)
		rc = fo_ask_new(s->base, s->arbiter, on_answer, s, &s->ask);
	fo_backup_init(&s->b, &s->times, &engine_ops, s, s->job.generation, s->arbiter != NULL);
	if (rc || !s->description) {
		char copy[640];

		snprintf(copy, sizeof(copy), "%s", s->why.text[0] ? s->why.text : tv_strerror(rc));
		s->why.text[0] = 0;
		refuse(s, rc ? rc : -ENOMEM, copy);
		return;
	}
	s->hello = true;
	report_connected(s->report, s); /* the daemon answers go or refuse */
}

/* Marks of the stream: false when they are not in order, or of an older generation. */
static bool in_order(struct sink *s, int rc, const char *what)
{
	if (rc == TV_E_PROTOCOL)
		violation(s, what);
	return !rc && !s->ending;
}

static void on_sync_end(struct sink *s, const Twinvm__SyncEnd *m)
{
	struct apply_sums sums = {m->records, 0, m->disk_records, m->disk_checksum};

	if (in_order(s, fo_backup_sync_end(&s->b, m->generation), "a second end of the first copy"))
		post(s, APPLY_SYNC_END, NULL, 0, 0, &sums);
}

static void on_epoch_begin(struct sink *s, const Twinvm__EpochBegin *m)
{
	if (in_order(s, fo_backup_epoch_begin(&s->b, m->generation, m->epoch),
		     "an epoch out of order"))
		post(s, APPLY_BEGIN, NULL, 0, m->epoch, NULL);
}

static void on_epoch_end(struct sink *s, const Twinvm__EpochEnd *m)
{
	struct apply_sums sums = {m->records, m->checksum, m->disk_records, m->disk_checksum};

	if (in_order(s, fo_backup_epoch_end(&s->b, m->generation, m->epoch),
		     "the end of an epoch that is not open"))
		post(s, APPLY_END, NULL, 0, m->epoch, &sums);
}

static void on_control(struct repl_conn *c, const Twinvm__Control *m, int64_t now_ns, void *arg)
{
	struct sink *s = arg;
	struct fo_msg fm = {0};

	(void)c;
	if (s->ending)
		return;
	if (!s->b.welcomed && m->msg_case != TWINVM__CONTROL__MSG_HELLO &&
	    m->msg_case != TWINVM__CONTROL__MSG_BYE) {
		violation(s, "a message before the welcome");
		return;
	}
	switch (m->msg_case) {
	case TWINVM__CONTROL__MSG_HELLO:
		on_hello(s, m->hello);
		return;
	case TWINVM__CONTROL__MSG_SYNC_END:
		on_sync_end(s, m->sync_end);
		return;
	case TWINVM__CONTROL__MSG_EPOCH_BEGIN:
		on_epoch_begin(s, m->epoch_begin);
		return;
	case TWINVM__CONTROL__MSG_EPOCH_END:
		on_epoch_end(s, m->epoch_end);
		return;
	case TWINVM__CONTROL__MSG_HEARTBEAT:
		fm = (struct fo_msg){.kind = FO_M_HEARTBEAT,
				     .generation = m->heartbeat->generation,
				     .seq = m->heartbeat->seq,
				     .sent_ns = m->heartbeat->sent_ns};
		hear(s, &fm, now_ns);
		return;
	case TWINVM__CONTROL__MSG_TAKE_OVER:
		fm = (struct fo_msg){.kind = FO_M_TAKE_OVER,
				     .generation = m->take_over->generation,
				     .epoch = m->take_over->epoch};
		s->told = true;
		set_why(s, 0, m->take_over->reason);
		hear(s, &fm, now_ns);
		return;
	case TWINVM__CONTROL__MSG_FRAME:
		if (m->frame->generation == s->b.generation &&
		    replay_add(s->replay, m->frame->epoch, m->frame->output, m->frame->data.data,
			       m->frame->data.len))
			violation(s, "a network frame that is none");
		return;
	case TWINVM__CONTROL__MSG_FENCED:
		fm = (struct fo_msg){.kind = FO_M_FENCED, .generation = m->fenced->generation};
		hear(s, &fm, now_ns);
		return;
	case TWINVM__CONTROL__MSG_BYE:
		s->bye = !m->bye->keep_disks;
		set_why(s, 0, m->bye->reason);
		if (!s->hello) {
			discard(s, "discarded");
			return;
		}
		fm = (struct fo_msg){.kind = FO_M_BYE, .generation = m->bye->generation};
		hear(s, &fm, now_ns);
		return;
	default:
		violation(s, "a message that has no place here");
	}
}

static void on_records(struct repl_conn *c, const uint8_t *p, size_t n, int64_t now_ns, void *arg)
{
	struct sink *s = arg;

	(void)now_ns;
	if (s->ending)
		return;
	if (!s->b.syncing && !s->b.in_epoch) {
		violation(s, "page records outside of an epoch");
		return;
	}
	s->rx_bytes += n;
	post(s, s->b.syncing ? APPLY_SYNC : APPLY_EPOCH, p, n, s->b.epoch_open, NULL);
	if (applier_full(s->applier))
		repl_read_enable(c, false); /* on_applier_drained goes on */
}

/* Of the epoch that is open, of later ones whose memory is still to come, or of the first copy. */
static void on_disk(struct repl_conn *c, uint64_t epoch, const uint8_t *p, size_t n, int64_t now_ns,
		    void *arg)
{
	struct sink *s = arg;

	(void)now_ns;
	if (s->ending)
		return;
	if (!s->b.welcomed || (!epoch && !s->b.syncing)) {
		violation(s, "disk data out of order");
		return;
	}
	s->rx_bytes += n;
	post(s, APPLY_DISK, p, n, epoch, NULL);
	if (applier_full(s->applier))
		repl_read_enable(c, false); /* on_applier_drained goes on */
}

static void on_opened(struct repl_conn *c, const char *peer, void *arg)
{
	struct sink *s = arg;

	(void)c;
	snprintf(s->job.peer_name, sizeof(s->job.peer_name), "%s", peer);
}

static void on_closed(struct repl_conn *c, int rc, const char *why, void *arg)
{
	struct sink *s = arg;

	repl_free(c);
	s->conn = NULL;
	if (s->b.state == FO_B_PROMOTED) {
		finish(s);
		return;
	}
	if (s->ending) {
		s->ending = false;
		discard(s, s->outcome);
		return;
	}
	if (!s->hello) {
		set_why(s, rc, why);
		tv_log(TV_WARN, "connection refused or broken: %s", why);
		discard(s, "failed");
		return;
	}
	tv_log(TV_WARN, "connection to %s closed: %s", s->job.peer_name, why);
	if (s->b.state == FO_B_SYNCING)
		set_why(s, rc, why);
	fo_backup_closed(&s->b, tv_now_ns());
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
			begin_standby(s,
				      (unsigned)json_integer_value(json_object_get(msg, "place")));
		s->registered = true;
	} else if (!strcmp(op, "refuse")) {
		refuse(s, TV_E_REFUSED, json_string_value(json_object_get(msg, "text")));
	} else if (!strcmp(op, "fenced")) {
		turn_away(s, (uint64_t)json_integer_value(json_object_get(msg, "generation")));
	} else if (!strcmp(op, "promote")) {
		order_promote(s);
	} else if (!strcmp(op, "discard")) {
		set_why(s, 0, "replaced by a newer synchronisation");
		if (s->conn) {
			repl_free(s->conn);
			s->conn = NULL;
		}
		if (s->b.state != FO_B_PROMOTING && s->b.state != FO_B_PROMOTED)
			discard(s, "discarded");
	}
}

int sink_main(const char *job_text, int conn_fd)
{
	static const struct repl_ops ops = {.opened = on_opened,
					    .control = on_control,
					    .records = on_records,
					    .disk = on_disk,
					    .closed = on_closed};
	static struct sink sink; /* outlives every callback */
	struct sink *s = &sink;
	struct report_ops rops = {report_connected, on_order, s};
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
		rc = repl_accept(s->base, s->tls, conn_fd, &opts, &ops, s, &s->conn, &s->why);
	if (rc) {
		tv_log(TV_ERROR, "%s", s->why.text[0] ? s->why.text : tv_strerror(rc));
		return 1;
	}
	s->started_ns = tv_now_ns();
	arm(s->tick, s->times.tick_ns);
	event_base_dispatch(s->base);
	applier_free(s->applier);
	replay_free(s->replay);
	return s->exit_rc ? 1 : 0;
}
