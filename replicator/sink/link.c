/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink: the connection from the primary, and what comes through it. */
#include "replicator/sink/sink_int.h"

/* ---- marks of the stream ---- */

/* rc: what the engine makes of a mark. False: an older generation's, or the session is to end. */
static bool is_good(struct sink *s, int rc, const char *mark, uint64_t epoch)
{
	if (rc == TV_E_PROTOCOL)
		sink_violation(
			s, "unexpected message %s of epoch %llu in state %s: epoch %llu is %s",
			mark, (unsigned long long)epoch, fo_backup_state_name(s->b.state),
			(unsigned long long)s->b.epoch_open, s->b.in_epoch ? "open" : "complete");
	return !rc && !sink_is_ending(s);
}

static void on_sync_end(struct sink *s, const Twinvm__SyncEnd *m)
{
	struct apply_sums sums = {m->records, 0, m->disk_records, m->disk_checksum, false};

	if (is_good(s, fo_backup_sync_end(&s->b, m->generation), "SyncEnd", s->b.epoch_open))
		sink_post(s, APPLY_SYNC_END, NULL, 0, 0, &sums);
}

static void on_epoch_begin(struct sink *s, const Twinvm__EpochBegin *m, int64_t now_ns)
{
	int rc = fo_backup_epoch_begin(&s->b, m->generation, m->epoch);

	if (!is_good(s, rc, "EpochBegin", m->epoch))
		return;
	s->epoch_begin_ns = now_ns;
	sink_post(s, APPLY_BEGIN, NULL, 0, m->epoch, NULL);
}

static void on_epoch_end(struct sink *s, const Twinvm__EpochEnd *m, int64_t now_ns)
{
	struct apply_sums sums = {m->records, m->checksum, m->disk_records, m->disk_checksum,
				  m->suspended};
	int rc = fo_backup_epoch_end(&s->b, m->generation, m->epoch);

	if (!is_good(s, rc, "EpochEnd", m->epoch))
		return;
	sink_post(s, APPLY_END, NULL, 0, m->epoch, &sums);
	sink_trace_received(s, m, now_ns);
}

/* ---- messages ---- */

/* What a message for the engine holds that is not the engine's. */
static void note_message(struct sink *s, const Twinvm__Control *m)
{
	if (m->msg_case == TWINVM__CONTROL__MSG_TAKE_OVER) {
		s->asked_to_run = true;
		sink_set_why(s, 0, m->take_over->reason);
	} else if (m->msg_case == TWINVM__CONTROL__MSG_BYE) {
		s->forget_disks = !m->bye->keep_disks;
		sink_set_why(s, 0, m->bye->reason);
	}
}

static void on_frame(struct sink *s, const Twinvm__Frame *f)
{
	if (f->generation == s->b.generation &&
	    replay_add(s->replay, f->epoch, f->output, f->data.data, f->data.len))
		sink_violation(s, "malformed network frame (%zu bytes)", f->data.len);
}

/* No more than was asked for. */
static void on_file_data(struct sink *s, const Twinvm__FileData *f)
{
	if (f->generation != s->b.generation || !f->data.len || f->data.len > s->file_bytes) {
		sink_violation(s, "%zu bytes of a file came, where %llu were asked for",
			       f->data.len, (unsigned long long)s->file_bytes);
		return;
	}
	s->file_bytes -= f->data.len;
	s->rx_bytes += f->data.len;
	sink_post(s, APPLY_FILE, f->data.data, f->data.len, 0, NULL);
}

/* Before the Welcome a Hello is due, or what was asked for; a Bye may come at any time. */
static bool is_too_early(const struct sink *s, const Twinvm__Control *m)
{
	if (s->looked)
		return m->msg_case !=
		       (s->commanded ? TWINVM__CONTROL__MSG_COMMAND : TWINVM__CONTROL__MSG_LOOK);
	return !s->b.welcomed && m->msg_case != TWINVM__CONTROL__MSG_HELLO &&
	       m->msg_case != TWINVM__CONTROL__MSG_LOOK &&
	       m->msg_case != TWINVM__CONTROL__MSG_COMMAND &&
	       m->msg_case != TWINVM__CONTROL__MSG_BYE &&
	       !(s->file_bytes && m->msg_case == TWINVM__CONTROL__MSG_FILE_DATA);
}

static void on_control(struct repl_conn *c, const Twinvm__Control *m, int64_t now_ns, void *arg)
{
	struct sink *s = arg;
	struct fo_msg fm;

	(void)c;
	if (sink_is_ending(s))
		return;
	if (is_too_early(s, m)) {
		sink_violation(s, "unexpected message %s %s", wire_name(m),
			       s->commanded ? "after a Command"
			       : s->looked  ? "after a Look"
					    : "before the Welcome");
		return;
	}
	if (wire_read(m, &fm)) {
		note_message(s, m);
		s->beat_ns = now_ns;
		if (s->hello)
			sink_receive(s, wire_name(m), &fm, now_ns);
		else
			sink_end(s, SESSION_DISCARDED, 0);
		return;
	}
	switch (m->msg_case) {
	case TWINVM__CONTROL__MSG_HELLO:
		sink_on_hello(s, m->hello);
		return;
	case TWINVM__CONTROL__MSG_LOOK:
		sink_on_look(s, m->look, now_ns);
		return;
	case TWINVM__CONTROL__MSG_COMMAND:
		sink_on_command(s, m->command, now_ns);
		return;
	case TWINVM__CONTROL__MSG_SYNC_END:
		on_sync_end(s, m->sync_end);
		return;
	case TWINVM__CONTROL__MSG_EPOCH_BEGIN:
		on_epoch_begin(s, m->epoch_begin, now_ns);
		return;
	case TWINVM__CONTROL__MSG_EPOCH_END:
		on_epoch_end(s, m->epoch_end, now_ns);
		return;
	case TWINVM__CONTROL__MSG_FRAME:
		on_frame(s, m->frame);
		return;
	case TWINVM__CONTROL__MSG_FILE_DATA:
		on_file_data(s, m->file_data);
		return;
	case TWINVM__CONTROL__MSG_VERIFY:
		if (!sink_on_verify(s, m->verify))
			sink_violation(s, "malformed or unexpected message Verify");
		return;
	default:
		sink_violation(s, "unexpected message %s in state %s", wire_name(m),
			       fo_backup_state_name(s->b.state));
	}
}

/* ---- bulk data ---- */

static void on_records(struct repl_conn *c, const uint8_t *p, size_t n, int64_t now_ns, void *arg)
{
	struct sink *s = arg;

	(void)c;
	(void)now_ns;
	if (sink_is_ending(s))
		return;
	if (!s->b.syncing && !s->b.in_epoch) {
		sink_violation(s, "unexpected page records: no epoch is open");
		return;
	}
	s->rx_bytes += n;
	sink_post(s, s->b.syncing ? APPLY_SYNC : APPLY_EPOCH, p, n, s->b.epoch_open, NULL);
}

/* Of the epoch that is open, of later ones whose memory is still to come, or of the first copy. */
static void on_disk(struct repl_conn *c, uint64_t epoch, const uint8_t *p, size_t n, int64_t now_ns,
		    void *arg)
{
	struct sink *s = arg;

	(void)c;
	(void)now_ns;
	if (sink_is_ending(s))
		return;
	if (!s->b.welcomed || (!epoch && !s->b.syncing)) {
		sink_violation(s, "unexpected disk records: %s",
			       s->b.welcomed ? "the first copy has ended" : "before the Welcome");
		return;
	}
	s->rx_bytes += n;
	sink_post(s, APPLY_DISK, p, n, epoch, NULL);
}

/* ---- connection ---- */

static void on_opened(struct repl_conn *c, const char *peer, void *arg)
{
	struct sink *s = arg;

	(void)c;
	repl_tls_forget_key(
		s->tls); /* whoever takes this process over from here on does not get it */
	tv_close_fd(&s->latch_fd); /* twinvmd counts this connection as authenticated */
	tv_copy(s->job.peer.name, sizeof(s->job.peer.name), peer);
}

static void on_closed(struct repl_conn *c, int rc, const char *why, void *arg)
{
	struct sink *s = arg;

	if (repl_last_rx_ns(c) > s->sign_ns)
		s->sign_ns = repl_last_rx_ns(c);
	repl_free(c);
	s->conn = NULL;
	if (sink_is_ending(s)) {
		sink_end_closed(s);
		return;
	}
	if (!s->hello) {
		sink_set_why(s, rc, why);
		if (!s->looked)
			tv_log(TV_WARN, "connection refused or broken: %s", why);
		sink_end(s, SESSION_FAILED, 0);
		return;
	}
	tv_log(TV_WARN, "connection to %s closed: %s", s->job.peer.name, why);
	if (s->b.state == FO_B_SYNCING)
		sink_set_why(s, rc, why);
	fo_backup_closed(&s->b, tv_now_ns());
	sink_allow_echoes(s);
}

const struct repl_ops sink_link_ops = {.opened = on_opened,
				       .control = on_control,
				       .records = on_records,
				       .disk = on_disk,
				       .closed = on_closed};
