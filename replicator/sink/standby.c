/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink: the standby behind the apply thread, and that thread's answers. */
#include "replicator/sink/sink_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_BYTES (8u << 20)
#define HASHES_AHEAD_BYTES (64u << 10)
#define PROMOTE_TIMEOUT_MS 60000 /* then a fresh QEMU is tried */
#define PLANNED_TIMEOUT_MS 10000

void sink_next_hashes(struct sink *s)
{
	if (!s->hashes_due || sink_is_ending(s) || !s->conn ||
	    repl_queued_bytes(s->conn) > HASHES_AHEAD_BYTES)
		return;
	s->hashes_due = false;
	sink_post(s, APPLY_HASH, NULL, 0, 0, NULL);
}

/* It cannot be run, and what the primary sends is of no use to it any more. */
static void give_up(struct sink *s, int rc, const char *why)
{
	if (fo_backup_owns(&s->b)) /* its promotion reports that it cannot be run */
		return;
	if (s->conn)
		sink_refuse(s, rc, why);
	else {
		sink_set_why(s, rc, why);
		sink_end(s, SESSION_FAILED, 0);
	}
}

void sink_lose(struct sink *s, const char *why)
{
	struct session_hardware h = {.what = SESSION_MEMORY_STANDBY};

	tv_log(TV_ERROR, "%s: %s", s->job.vm_name, why);
	tv_copy(h.text, sizeof(h.text), why);
	report_send(s->report, session_message(SESSION_OP_HARDWARE, &h));
	give_up(s, TV_E_POISON, why);
}

static void replica_failed(struct sink *s, const struct apply_answer *a)
{
	if (a->rc == TV_E_POISON) {
		sink_lose(s, a->e.text);
		return;
	}
	tv_log(TV_ERROR, "replica of %s is lost at epoch %llu: %s", s->job.vm_name,
	       (unsigned long long)a->epoch, a->e.text);
	give_up(s, a->rc, a->e.text);
}

bool sink_memory_lost(struct sink *s)
{
	struct tv_err e;

	if (fo_backup_owns(&s->b) || !hv_standby_lost(&e))
		return false;
	sink_lose(s, e.text);
	return true;
}

static void on_standby_end(evutil_socket_t fd, short what, void *arg)
{
	struct sink *s = arg;

	(void)fd;
	(void)what;
	if (sink_is_ending(s) || fo_backup_owns(&s->b) || sink_memory_lost(s))
		return;
	sink_set_why(s, TV_E_GONE,
		     "the standby's QEMU process ended unexpectedly; see standby.log in the run "
		     "directory");
	sink_end(s, SESSION_FAILED, 0);
}

static void send_welcome(struct sink *s, bool hashes)
{
	Twinvm__Welcome w = TWINVM__WELCOME__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;
	struct repl_beat_conf conf = {.generation = s->b.generation, .cb = sink_on_beat, .arg = s};
	uint16_t port = 0;
	int rc = s->conn ? repl_beat_new(s->base, s->conn, &conf, &port, &s->beats) : -ENOTCONN;

	if (rc)
		tv_log(TV_WARN, "no datagrams (%s): heartbeats use the connection only",
		       tv_strerror(rc));
	w.generation = s->b.generation;
	w.beat_port = port;
	w.hashes = hashes;
	w.verify = true;
	w.host = s->job.conf.host;
	msg.msg_case = TWINVM__CONTROL__MSG_WELCOME;
	msg.welcome = &w;
	sink_send(s, &msg, false);
}

static void on_started(struct sink *s, const struct apply_answer *a)
{
	if (a->rc) {
		sink_refuse(s, a->rc, a->e.text);
		return;
	}
	s->vm = a->vm;
	s->standby_end = event_new(s->base, a->pidfd, EV_READ, on_standby_end, s);
	event_add(s->standby_end, NULL);
	sink_introduce(s->report, s); /* the daemon reads the note of it */
	send_welcome(s, a->has_old);
	/* Heartbeats begin with the Welcome: silence is counted from here. */
	s->welcomed_ns = tv_now_ns();
	fo_backup_welcomed(&s->b, s->welcomed_ns);
	sink_allow_echoes(s);
	s->hashes_due = a->has_old;
	sink_next_hashes(s);
}

/* The standby starts when its files are here. */
static void ask_for_file(struct sink *s, const struct copies_want *want)
{
	Twinvm__FileWanted w = TWINVM__FILE_WANTED__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;

	s->file_bytes = want->bytes;
	w.generation = s->b.generation;
	w.file = want->file;
	w.offset = want->offset;
	w.bytes = want->bytes;
	w.done_bytes = want->done_bytes;
	w.all_bytes = want->all_bytes;
	msg.msg_case = TWINVM__CONTROL__MSG_FILE_WANTED;
	msg.file_wanted = &w;
	sink_send(s, &msg, false);
}

/* What the images hold already, sent before the disks' first copy begins (checkpoint/sieve.c). */
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
	sink_send(s, &msg, false);
	s->hashes_due = !a->last;
	sink_next_hashes(s);
}

static int send_frame(void *arg, const void *frame, size_t bytes)
{
	struct sink *s = arg;

	return s->job.conf.bridge[0] ? monitor_frame(s->monitor, frame, bytes) : -ENODEV;
}

static void on_promoted(struct sink *s, const struct apply_answer *a)
{
	unsigned n;

	if (a->rc) {
		tv_fail(&s->why, a->rc, "the VM could not be started: %s", a->e.text);
		tv_log(TV_ERROR, "%s", s->why.text);
	} else {
		s->vm = a->vm;
		s->suspended = a->suspended;
		s->outage.load_ns = a->load_ns;
		s->outage.ran_ns = a->ran_ns;
		tv_copy(s->why.text, sizeof(s->why.text), a->e.text);
		s->no_network = a->e.text[0];
		n = replay_run(s->replay, s->b.epoch_committed, send_frame, s);
		tv_log(TV_INFO, "replayed %u recent frames, %.1f ms after the VM ran", n,
		       (double)(tv_now_ns() - a->ran_ns) / TV_NS_PER_MS);
	}
	fo_backup_promoted(&s->b, tv_now_ns(), a->rc);
}

static void act_on(struct sink *s, const struct apply_answer *a)
{
	sink_trace_answer(s, a);
	switch (a->kind) {
	case APPLY_START:
		on_started(s, a);
		break;
	case APPLY_WANT:
		ask_for_file(s, &a->want);
		break;
	case APPLY_PROMOTE:
		on_promoted(s, a);
		break;
	case APPLY_HASH:
		if (a->rc)
			replica_failed(s, a);
		else
			on_hashes(s, a);
		break;
	case APPLY_COMPARE:
		sink_verified(s, a);
		break;
	default:
		if (a->rc) {
			replica_failed(s, a);
		} else if (!sink_memory_lost(s)) {
			s->suspended = a->suspended;
			fo_backup_verified(&s->b, tv_now_ns(), a->epoch);
			replay_committed(s->replay, a->epoch);
		}
		break;
	}
}

static void on_answer(const struct apply_answer *a, void *arg)
{
	struct sink *s = arg;

	if (a->kind == APPLY_KILL)
		sink_end_killed(s);
	else if (!sink_is_ending(s))
		act_on(s, a);
	free(a->hashes);
}

static void on_applier_drained(void *arg)
{
	struct sink *s = arg;

	if (s->conn)
		repl_read_enable(s->conn, true);
}

/* The names that the standby gets, and its run directory. */
static int take_slot(struct sink *s, int slot, struct tv_err *e)
{
	unsigned n = slot > 0 ? (unsigned)slot : 0;

	slot_names(s->job.vm_id, n, &s->names);
	return monitor_slot(s->monitor, n, s->dir, e);
}

void sink_begin_standby(struct sink *s, int slot)
{
	const struct config *c = &s->job.conf;
	struct applier_conf conf = {.queue_bytes = QUEUE_BYTES,
				    .answer = on_answer,
				    .drained = on_applier_drained,
				    .arg = s};
	struct tv_err e;
	int rc = take_slot(s, slot, &e);

	if (rc) {
		sink_refuse(s, rc, e.text);
		return;
	}
	conf.apply = (struct apply_conf){.replica_dir = c->replica_dir,
					 .session = s->job.session,
					 .spool_dir = c->replica_dir,
					 .files_bytes = c->files_bytes,
					 .spool_bytes = c->spool_bytes,
					 .reserve_bytes = c->reserve_bytes,
					 .images = &s->images,
					 .hash_key = s->has_hash_key ? s->hash_key : NULL,
					 .promote_timeout_ms = PROMOTE_TIMEOUT_MS,
					 .planned_timeout_ms = PLANNED_TIMEOUT_MS};
	conf.apply.standby = (struct hv_standby_conf){.host = &monitor_host_ops,
						      .host_arg = s->monitor,
						      .dir = s->dir,
						      .vm_id = s->names.id,
						      .bridge = c->bridge[0] ? c->bridge : NULL,
						      .peer = s->job.peer.name,
						      .media = c->media,
						      .qemu_path = c->qemu_path};
	if (applier_new(s->base, &conf, &s->applier)) {
		sink_refuse(s, -ENOMEM, "no memory on the backup");
		return;
	}
	sink_know_disks(s);
	sink_post(s, APPLY_START, s->description, strlen(s->description), 0, NULL);
	sink_trace_begin(s);
	/* Only now: the apply thread and the standby it starts keep the ordinary priority. */
	job_raise_priority();
}
