/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink: the primary's messages for the engine, from the stream and as datagrams. */
#include "replicator/sink/sink_int.h"

#include <stdio.h>

void sink_violation(struct sink *s, const char *fmt, ...)
{
	struct tv_err e;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	/* By the record the VM runs here from now on: a former primary cannot prevent that. */
	if (fo_backup_owns(&s->b)) {
		tv_log(TV_WARN, "%s: ignored, as the VM is this host's: %s", s->job.peer.name,
		       e.text);
		return;
	}
	sink_refuse(s, TV_E_PROTOCOL, e.text);
}

void sink_receive(struct sink *s, const char *name, const struct fo_msg *m, int64_t now_ns)
{
	enum fo_backup_state state = s->b.state;

	if (fo_backup_message(&s->b, now_ns, m) == TV_E_PROTOCOL)
		sink_violation(s, "unexpected message %s in state %s", name,
			       fo_backup_state_name(state));
}

void sink_on_beat(const struct repl_beat_msg *d, void *arg)
{
	struct sink *s = arg;
	struct fo_msg m = {.kind = FO_M_HEARTBEAT,
			   .generation = d->generation,
			   .seq = d->seq,
			   .sent_ns = d->sent_ns,
			   .datagram = true};

	if (!sink_is_ending(s) && s->conn)
		sink_receive(s, "Heartbeat", &m, tv_now_ns());
}
