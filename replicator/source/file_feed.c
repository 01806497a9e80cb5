/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that the VM only reads, for a backup that has none of the same contents: parts of them, as it
 * asks for them, before its Welcome. They are read by the capture thread, which may wait for a
 * disk; one piece is under way at a time, and one part is asked for at a time, so that what is queued
 * is bounded.
 */
#include "replicator/source/source_int.h"

#include <errno.h>
#include <stdlib.h>

#define PART_BYTES (2u << 20)
#define OFFSET_LIMIT (UINT64_C(1) << 48)

static void read_next(struct source *s)
{
	cap_post(s->cap, CAP_READ_FILE, (uint64_t)s->files.file << 48 | s->files.offset);
}

bool src_on_file_wanted(struct source *s, const Twinvm__FileWanted *w)
{
	if (s->p.welcomed || s->end.leaving || !s->vm.description || s->files.left_bytes ||
	    w->generation != s->p.generation || w->file >= HV_MAX_FILES || !w->bytes ||
	    w->bytes > PART_BYTES || w->offset >= OFFSET_LIMIT)
		return false;
	s->files = (struct src_files){.file = w->file,
				      .offset = w->offset,
				      .left_bytes = w->bytes,
				      .done_bytes = w->done_bytes,
				      .all_bytes = w->all_bytes};
	read_next(s);
	return true;
}

void src_on_file_read(struct source *s, const struct cap_event *ev)
{
	Twinvm__FileData d = TWINVM__FILE_DATA__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;

	if (s->end.leaving || !s->files.left_bytes) {
		free(ev->text);
		return;
	}
	if (ev->rc) {
		free(ev->text);
		src_peer_lost(s, ev->rc, ev->e.text);
		return;
	}
	d.generation = s->p.generation;
	d.data.data = (uint8_t *)ev->text;
	d.data.len = ev->bytes < s->files.left_bytes ? ev->bytes : s->files.left_bytes;
	msg.msg_case = TWINVM__CONTROL__MSG_FILE_DATA;
	msg.file_data = &d;
	src_send(s, &msg, false);
	free(ev->text);
	s->files.offset += d.data.len;
	s->files.left_bytes -= d.data.len;
	if (s->files.left_bytes)
		read_next(s);
}
