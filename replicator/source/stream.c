/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source: records, disk writes and markers of epochs on their way to the backup. What the guest
 * wrote to its disks until an epoch's end goes before that end. What finds no room waits where it
 * is, in the encoder's pieces or in the queue of disks.h, until src_on_drained.
 */
#include "replicator/source/source_int.h"

#include <errno.h>

bool src_send_disks(struct source *s)
{
	const uint8_t *p;
	uint64_t epoch;
	size_t n;

	while (s->link.connected && s->link.conn && disks_peek(s->disks, &epoch, &p, &n)) {
		if (fo_primary_counts(&s->p, epoch) &&
		    repl_send_disk(s->link.conn, epoch, p, n) == -EAGAIN) {
			s->stream.blocked = true;
			return false;
		}
		disks_sent(s->disks);
	}
	return true;
}

static bool send_records(struct source *s, const struct piece *p)
{
	if (repl_send_records(s->link.conn, p->buf.data, p->buf.bytes) != -EAGAIN)
		return true;
	s->stream.blocked = true;
	return false;
}

static void send_begin(struct source *s, const struct piece *p)
{
	Twinvm__Control msg = TWINVM__CONTROL__INIT;
	Twinvm__EpochBegin b = TWINVM__EPOCH_BEGIN__INIT;

	src_trace_send(s);
	b.epoch = p->epoch;
	b.generation = s->job.generation;
	msg.msg_case = TWINVM__CONTROL__MSG_EPOCH_BEGIN;
	msg.epoch_begin = &b;
	src_send(s, &msg, false);
}

static void send_end(struct source *s, const struct piece *p, const struct disks_sum *disk)
{
	Twinvm__Control msg = TWINVM__CONTROL__INIT;
	Twinvm__EpochEnd end = TWINVM__EPOCH_END__INIT;
	struct wire_phases phases;

	src_replay_epoch(s, p->epoch);
	end.epoch = p->epoch;
	end.generation = s->job.generation;
	end.records = p->records;
	end.checksum = p->checksum;
	end.wire_bytes = p->wire_bytes;
	end.disk_records = disk->records;
	end.disk_checksum = disk->checksum;
	end.suspended = p->still;
	src_trace_sent(s, p, p->wire_bytes + disk->bytes);
	wire_phases_take(s->trace.ring, &phases);
	end.phases = phases.at;
	end.n_phases = phases.n;
	msg.msg_case = TWINVM__CONTROL__MSG_EPOCH_END;
	msg.epoch_end = &end;
	fo_primary_sent(&s->p, p->epoch);
	src_count_sent(s, p->epoch, p->captured_ns, p->wire_bytes + disk->bytes);
	src_send(s, &msg, false);
}

static void send_sync_end(struct source *s, const struct piece *p, const struct disks_sum *disk)
{
	Twinvm__Control msg = TWINVM__CONTROL__INIT;
	Twinvm__SyncEnd sync = TWINVM__SYNC_END__INIT;

	sync.generation = s->p.generation;
	sync.records = p->records;
	sync.disk_records = disk->records;
	sync.disk_checksum = disk->checksum;
	msg.msg_case = TWINVM__CONTROL__MSG_SYNC_END;
	msg.sync_end = &sync;
	src_send(s, &msg, false);
}

bool src_on_piece(const struct piece *p, void *arg)
{
	struct source *s = arg;
	struct disks_sum disk = {0};

	if (!s->link.connected || !s->link.conn)
		return true; /* the session is ending; nobody wants it any more */
	if (!fo_primary_counts(&s->p, p->epoch))
		return true;
	if ((p->kind == PIECE_END || p->kind == PIECE_SYNC_END) &&
	    (!src_send_disks(s) || !disks_complete(s->disks, p->epoch, &disk)))
		return false; /* disks_conf.ready has it offered again */
	switch (p->kind) {
	case PIECE_RECORDS:
		return send_records(s, p);
	case PIECE_BEGIN:
		send_begin(s, p);
		break;
	case PIECE_END:
		send_end(s, p, &disk);
		if (p->compare)
			src_verify_epoch(s, p->compare);
		src_verify_disks(s, p->epoch);
		break;
	case PIECE_SYNC_END:
		send_sync_end(s, p, &disk);
		break;
	}
	return true;
}

void src_on_drained(struct repl_conn *c, void *arg)
{
	struct source *s = arg;

	(void)c;
	/* In turns: a disk that is copied must not keep memory waiting, nor the other way round. */
	s->stream.disks_first = !s->stream.disks_first;
	if (s->stream.disks_first)
		src_send_disks(s);
	if (s->stream.blocked) {
		s->stream.blocked = false;
		encoder_continue(s->en);
	}
	if (!s->stream.disks_first)
		src_send_disks(s);
}
