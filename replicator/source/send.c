/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: messages to the backup, and the end of the connection to it. */
#include "replicator/source/source_int.h"

#include <errno.h>

#define FAREWELL_MS 1000

void src_send(struct source *s, Twinvm__Control *msg, bool urgent)
{
	int rc = s->link.conn ? repl_send(s->link.conn, msg, urgent) : -ENOTCONN;

	if (rc && s->link.connected)
		tv_log(TV_WARN, "sending to %s: %s", s->job.peer.name, tv_strerror(rc));
}

void src_send_msg(void *arg, const struct fo_msg *m)
{
	struct source *s = arg;
	int rc;

	if (!s->link.connected)
		return;
	/* Before it can arrive: should we die now, the VM is not ours to resume. */
	if (m->kind == FO_M_TAKE_OVER)
		s->page->yielded = m->epoch != 0;
	rc = wire_send(s->link.conn, s->job.conf.host, "", m);
	if (rc)
		tv_log(TV_WARN, "sending to %s: %s", s->job.peer.name, tv_strerror(rc));
}

void src_allow_beats(struct source *s)
{
	repl_beat_allow(s->link.beats, s->link.connected ? fo_primary_beats_until(&s->p) : 0);
}

void src_drop_link(struct source *s)
{
	s->link.connected = false;
	src_allow_beats(s);
	if (s->link.conn)
		repl_free(s->link.conn);
	s->link.conn = NULL;
}

void src_finish_link(struct source *s)
{
	s->link.connected = false;
	src_allow_beats(s);
	repl_finish(s->link.conn, FAREWELL_MS);
}
