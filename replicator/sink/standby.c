/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink: the standby behind the apply thread, and its answers. */
#include "replicator/sink/sink_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_BYTES (8u << 20)
#define HASHES_AHEAD_BYTES (64u << 10)
#define PROMOTE_TIMEOUT_MS 10000

/* ---- the apply thread's answers ---- */

/* On a slow link they wait here, where they have not been made yet. Also from the tick. */
void sink_next_hashes(struct sink *s)
{
	if (!s->hashes_due || s->ending || !s->conn ||
	    repl_queued_bytes(s->conn) > HASHES_AHEAD_BYTES)
		return;
	s->hashes_due = false;
	sink_post(s, APPLY_HASH, NULL, 0, 0, NULL);
}

static void on_standby_end(evutil_socket_t fd, short what, void *arg)
{
	struct sink *s = arg;

	(void)fd;
	(void)what;
	if (s->ending || s->b.state == FO_B_PROMOTING)
		return;
	sink_set_why(
		s, TV_E_GONE,
		"the standby's QEMU process ended by itself; see standby.log in the run directory");
	sink_discard(s, "failed");
}

static void on_started(struct sink *s, const struct apply_answer *a)
{
	Twinvm__Welcome w = TWINVM__WELCOME__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;
	uint16_t port = 0;
	int rc;

	if (a->rc) {
		sink_refuse(s, a->rc, a->e.text);
		return;
	}
	s->vm = a->vm;
	s->standby_end = event_new(s->base, applier_pidfd(s->applier), EV_READ, on_standby_end, s);
	event_add(s->standby_end, NULL);
	sink_introduce(s->report, s); /* the daemon learns the standby's pid */
	rc = s->conn ? repl_beat_new(s->base, s->conn, false, sink_on_beat, s, &port, &s->beats)
		     : -ENOTCONN;
	if (rc)
		tv_log(TV_WARN, "heartbeats come through the connection only: %s", tv_strerror(rc));
	w.generation = s->b.generation;
	w.beat_port = port;
	w.hashes = a->has_old;
	w.host = s->job.conf.host;
	msg.msg_case = TWINVM__CONTROL__MSG_WELCOME;
	msg.welcome = &w;
	sink_send(s, &msg, false);
	s->beat_rx_ns =
		tv_now_ns(); /* heartbeats begin with the welcome: silence is counted from here */
	fo_backup_welcomed(&s->b, s->beat_rx_ns);
	s->hashes_due = a->has_old;
	sink_next_hashes(s);
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
	sink_send(s, &msg, false);
	s->hashes_due = !a->last;
	sink_next_hashes(s);
}

static void replica_failed(struct sink *s, const struct apply_answer *a)
{
	tv_log(TV_ERROR, "replica of %s is lost at epoch %llu: %s", s->job.vm_name,
	       (unsigned long long)a->epoch, a->e.text);
	if (s->conn)
		sink_refuse(s, a->rc, a->e.text);
	else {
		sink_set_why(s, a->rc, a->e.text);
		sink_discard(s, "failed");
	}
}

static void on_apply(const struct apply_answer *a, void *arg)
{
	struct sink *s = arg;

	if (a->kind == APPLY_KILL) {
		sink_finish(s);
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
			sink_set_why(s, a->rc, a->e.text);
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

void sink_begin_standby(struct sink *s, unsigned slot)
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
	if (slot) /* the hello's guess, empty unless it is another's */
		rmdir(s->dir);
	s->slot = slot;
	slot_names(s->job.vm_id, slot, &s->names);
	if (job_dir(&s->job.conf, s->names.id, s->dir, sizeof(s->dir))) {
		sink_refuse(s, -EIO, "the run directory cannot be made on the backup");
		return;
	}
	promotion_forget(s->dir); /* an earlier life's */
	conf.standby = (struct hv_standby_conf){.dir = s->dir,
						.vm_id = s->names.id,
						.bridge = s->job.conf.bridge[0] ? s->job.conf.bridge
										: NULL,
						.tap_prefix = s->names.tap_prefix};
	if (applier_new(s->base, &conf, &s->applier)) {
		sink_refuse(s, -ENOMEM, "no memory on the backup");
		return;
	}
	sink_post(s, APPLY_START, s->description, strlen(s->description), 0, NULL);
	/* Only now: the apply thread and the standby it starts keep the ordinary priority. */
	job_raise_priority();
}
