/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: messages to the backup. */
#include "replicator/source/source_int.h"

#include <errno.h>

void src_send(struct source *s, Twinvm__Control *msg, bool urgent)
{
	int rc = s->conn ? repl_send(s->conn, msg, urgent) : -ENOTCONN;

	if (rc && s->connected)
		tv_log(TV_WARN, "sending to %s: %s", s->job.peer.name, tv_strerror(rc));
}

/* The engine's messages. */
void src_send_msg(void *arg, const struct fo_msg *m)
{
	struct source *s = arg;
	int rc;

	if (!s->connected)
		return;
	/* Before it can arrive: should we die now, the VM is not ours to resume. */
	if (m->kind == FO_M_TAKE_OVER)
		s->page->yielded = m->epoch != 0;
	rc = wire_send(s->conn, s->beats, s->job.conf.host, m);
	if (rc)
		tv_log(TV_WARN, "sending to %s: %s", s->job.peer.name, tv_strerror(rc));
}
