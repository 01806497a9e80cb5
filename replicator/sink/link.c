/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink: the connection from the primary, and what comes through it. */
#include "replicator/sink/sink_int.h"

#include "replicator/session/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool good_id(const char *id, size_t digits)
{
	return strlen(id) == digits && strspn(id, "0123456789abcdef") == digits;
}

static void on_hello(struct sink *s, const Twinvm__Hello *h)
{
	enum pace_mode known;
	struct fo_arbiter_conf ac;
	char text[160];
	int rc;

	if (s->hello) {
		sink_violation(s, "a second hello");
		return;
	}
	if (h->protocol != REPL_PROTOCOL) {
		snprintf(text, sizeof(text),
			 "speaks protocol version %u, the primary speaks %u: install the same "
			 "twinvm on both hosts",
			 REPL_PROTOCOL, h->protocol);
		sink_refuse(s, TV_E_VERSION, text);
		return;
	}
	if (!good_id(h->vm_id, 32) || !good_id(h->session, 32) || !h->vm_name[0] ||
	    strlen(h->vm_name) >= sizeof(s->job.vm_name) ||
	    strlen(h->arbiter) >= sizeof(s->job.arbiter) || h->heartbeat_ms < 20 ||
	    h->heartbeat_ms > 60000) {
		sink_violation(s, "the hello's fields are not in order");
		return;
	}
	strcpy(s->job.vm_id, h->vm_id);
	strcpy(s->job.session, h->session);
	strcpy(s->job.vm_name, h->vm_name);
	strcpy(s->job.arbiter, h->arbiter);
	s->job.generation = h->generation;
	fo_times_init(&s->times, h->heartbeat_ms * TV_NS_PER_MS);
	s->job.peer.port = h->listen_port <= UINT16_MAX ? (uint16_t)h->listen_port : 0;
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
		rc = fo_ask_new(s->base, s->arbiter, sink_on_answer, s, &s->ask);
	fo_backup_init(&s->b, &s->times, &sink_engine_ops, s, s->job.generation,
		       s->arbiter != NULL);
	if (rc || !s->description) {
		char copy[640];

		snprintf(copy, sizeof(copy), "%s", s->why.text[0] ? s->why.text : tv_strerror(rc));
		s->why.text[0] = 0;
		sink_refuse(s, rc ? rc : -ENOMEM, copy);
		return;
	}
	s->hello = true;
	sink_introduce(s->report, s); /* the daemon answers go or refuse */
}

/* Marks of the stream: false when they are not in order, or of an older generation. */
static bool in_order(struct sink *s, int rc, const char *what)
{
	if (rc == TV_E_PROTOCOL)
		sink_violation(s, what);
	return !rc && !s->ending;
}

static void on_sync_end(struct sink *s, const Twinvm__SyncEnd *m)
{
	struct apply_sums sums = {m->records, 0, m->disk_records, m->disk_checksum};

	if (in_order(s, fo_backup_sync_end(&s->b, m->generation), "a second end of the first copy"))
		sink_post(s, APPLY_SYNC_END, NULL, 0, 0, &sums);
}

static void on_epoch_begin(struct sink *s, const Twinvm__EpochBegin *m)
{
	if (in_order(s, fo_backup_epoch_begin(&s->b, m->generation, m->epoch),
		     "an epoch out of order"))
		sink_post(s, APPLY_BEGIN, NULL, 0, m->epoch, NULL);
}

static void on_epoch_end(struct sink *s, const Twinvm__EpochEnd *m)
{
	struct apply_sums sums = {m->records, m->checksum, m->disk_records, m->disk_checksum};

	if (in_order(s, fo_backup_epoch_end(&s->b, m->generation, m->epoch),
		     "the end of an epoch that is not open"))
		sink_post(s, APPLY_END, NULL, 0, m->epoch, &sums);
}

/* What else there is to a message that is for the engine. */
static void note_message(struct sink *s, const Twinvm__Control *m)
{
	if (m->msg_case == TWINVM__CONTROL__MSG_TAKE_OVER) {
		s->told = true;
		sink_set_why(s, 0, m->take_over->reason);
	} else if (m->msg_case == TWINVM__CONTROL__MSG_BYE) {
		s->bye = !m->bye->keep_disks;
		sink_set_why(s, 0, m->bye->reason);
	}
}

static void on_frame(struct sink *s, const Twinvm__Frame *f)
{
	if (f->generation == s->b.generation &&
	    replay_add(s->replay, f->epoch, f->output, f->data.data, f->data.len))
		sink_violation(s, "a network frame that is none");
}

static void on_control(struct repl_conn *c, const Twinvm__Control *m, int64_t now_ns, void *arg)
{
	struct sink *s = arg;
	struct fo_msg fm;

	(void)c;
	if (s->ending)
		return;
	if (!s->b.welcomed && m->msg_case != TWINVM__CONTROL__MSG_HELLO &&
	    m->msg_case != TWINVM__CONTROL__MSG_BYE) {
		sink_violation(s, "a message before the welcome");
		return;
	}
	if (wire_read(m, &fm)) {
		note_message(s, m);
		if (s->hello)
			sink_receive(s, &fm, now_ns);
		else /* a bye before everything */
			sink_discard(s, "discarded");
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
	case TWINVM__CONTROL__MSG_FRAME:
		on_frame(s, m->frame);
		return;
	default:
		sink_violation(s, "a message that has no place here");
	}
}

static void on_records(struct repl_conn *c, const uint8_t *p, size_t n, int64_t now_ns, void *arg)
{
	struct sink *s = arg;

	(void)now_ns;
	if (s->ending)
		return;
	if (!s->b.syncing && !s->b.in_epoch) {
		sink_violation(s, "page records outside of an epoch");
		return;
	}
	s->rx_bytes += n;
	sink_post(s, s->b.syncing ? APPLY_SYNC : APPLY_EPOCH, p, n, s->b.epoch_open, NULL);
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
		sink_violation(s, "disk data out of order");
		return;
	}
	s->rx_bytes += n;
	sink_post(s, APPLY_DISK, p, n, epoch, NULL);
	if (applier_full(s->applier))
		repl_read_enable(c, false); /* on_applier_drained goes on */
}

/* ---- connection ---- */

static void on_opened(struct repl_conn *c, const char *peer, void *arg)
{
	struct sink *s = arg;

	(void)c;
	snprintf(s->job.peer.name, sizeof(s->job.peer.name), "%s", peer);
}

static void on_closed(struct repl_conn *c, int rc, const char *why, void *arg)
{
	struct sink *s = arg;

	repl_free(c);
	s->conn = NULL;
	if (s->b.state == FO_B_PROMOTED) {
		sink_finish(s);
		return;
	}
	if (s->ending) {
		s->ending = false;
		sink_discard(s, s->outcome);
		return;
	}
	if (!s->hello) {
		sink_set_why(s, rc, why);
		tv_log(TV_WARN, "connection refused or broken: %s", why);
		sink_discard(s, "failed");
		return;
	}
	tv_log(TV_WARN, "connection to %s closed: %s", s->job.peer.name, why);
	if (s->b.state == FO_B_SYNCING)
		sink_set_why(s, rc, why);
	fo_backup_closed(&s->b, tv_now_ns());
}

const struct repl_ops sink_link_ops = {.opened = on_opened,
				       .control = on_control,
				       .records = on_records,
				       .disk = on_disk,
				       .closed = on_closed};
