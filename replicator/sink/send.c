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
	struct wire_extra x = {.host = s->job.conf.host,
			       .why = m->kind == FO_M_ECHO ? sink_warning(s) : s->why.text,
			       .received_ns = s->beat_ns,
			       .trace = s->trace};
	int rc;

	/* Before it can arrive. */
	if (m->kind == FO_M_COMMITTED)
		trace_add(s->trace, TRACE_COMMIT, m->epoch, s->verified_ns, tv_now_ns(), 0);
	rc = s->conn ? wire_send(s->conn, &x, m) : 0;

	if (rc)
		tv_log(TV_DEBUG, "sending to %s: %s", s->job.peer.name, tv_strerror(rc));
}
