/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: records, disk writes and markers of epochs on their way to the backup. */
#include "replicator/source/source_int.h"

#include <errno.h>

bool src_send_disks(struct source *s)
{
	const uint8_t *p;
	uint64_t epoch;
	size_t n;

	while (s->connected && s->conn && disks_peek(s->disks, &epoch, &p, &n)) {
		if (repl_send_disk(s->conn, epoch, p, n) == -EAGAIN) {
			s->bulk_blocked = true;
			return false;
		}
		disks_sent(s->disks);
	}
	return true;
}

bool src_on_piece(const struct piece *p, void *arg)
{
	struct source *s = arg;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;
	Twinvm__EpochBegin b = TWINVM__EPOCH_BEGIN__INIT;
	Twinvm__EpochEnd end = TWINVM__EPOCH_END__INIT;
	Twinvm__SyncEnd sync = TWINVM__SYNC_END__INIT;

	struct disks_sum disk = {0};

	if (!s->connected || !s->conn)
		return true; /* the session is ending; nobody wants it any more */
	/* What the guest wrote to its disks until the epoch's end goes before its end. */
	if ((p->kind == PIECE_END || p->kind == PIECE_SYNC_END) &&
	    (!src_send_disks(s) || !disks_complete(s->disks, p->epoch, &disk)))
		return false; /* disks_conf.ready offers the piece again */
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
		src_replay_epoch(s, p->epoch);
		end.epoch = p->epoch;
		end.generation = s->job.generation;
		end.records = p->records;
		end.checksum = p->checksum;
		end.wire_bytes = p->wire_bytes;
		end.disk_records = disk.records;
		end.disk_checksum = disk.checksum;
		msg.msg_case = TWINVM__CONTROL__MSG_EPOCH_END;
		msg.epoch_end = &end;
		fo_primary_sent(&s->p, p->epoch);
		s->captured_at_ns[p->epoch % (MAX_IN_FLIGHT + 2)] = p->captured_ns;
		s->flight_bytes[p->epoch % (MAX_IN_FLIGHT + 2)] = p->wire_bytes + disk.bytes;
		break;
	case PIECE_SYNC_END:
		sync.generation = s->p.generation;
		sync.records = p->records;
		sync.disk_records = disk.records;
		sync.disk_checksum = disk.checksum;
		msg.msg_case = TWINVM__CONTROL__MSG_SYNC_END;
		msg.sync_end = &sync;
		break;
	}
	src_send(s, &msg, false);
	return true;
}

void src_on_drained(struct repl_conn *c, void *arg)
{
	struct source *s = arg;

	(void)c;
	/* In turns: a disk that is copied must not keep memory waiting, nor the other way round. */
	s->disks_first = !s->disks_first;
	if (s->disks_first)
		src_send_disks(s);
	if (s->bulk_blocked) {
		s->bulk_blocked = false;
		encoder_continue(s->en);
	}
	if (!s->disks_first)
		src_send_disks(s);
}
