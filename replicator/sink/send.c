/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink: sending to the primary. */
#include "replicator/sink/sink_int.h"

#include <errno.h>

void sink_send(struct sink *s, Twinvm__Control *msg, bool urgent)
{
	int rc = s->conn ? repl_send(s->conn, msg, urgent) : -ENOTCONN;

	if (rc)
		tv_log(TV_DEBUG, "sending to %s: %s", s->job.peer.name, tv_strerror(rc));
}

void sink_allow_echoes(struct sink *s)
{
	repl_beat_allow(s->beats, sink_is_ending(s) ? 0 : fo_backup_echoes_until(&s->b));
}

void sink_send_msg(void *arg, const struct fo_msg *m)
{
	struct sink *s = arg;
	int rc = s->conn ? wire_send(s->conn, s->job.conf.host,
				     m->kind == FO_M_ECHO ? sink_warning(s) : s->why.text, m)
			 : 0;

	if (rc)
		tv_log(TV_DEBUG, "sending to %s: %s", s->job.peer.name, tv_strerror(rc));
}
