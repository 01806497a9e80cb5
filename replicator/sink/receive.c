/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink: the messages of the primary that are for the engine. */
#include "replicator/sink/sink_int.h"

void sink_violation(struct sink *s, const char *what)
{
	sink_refuse(s, TV_E_PROTOCOL, what);
}

/* What the primary's engine says; bad: the connection ends. */
void sink_receive(struct sink *s, const struct fo_msg *m, int64_t now_ns)
{
	if (fo_backup_message(&s->b, now_ns, m) == TV_E_PROTOCOL)
		sink_violation(s, "a message that has no place here");
}

void sink_on_beat(enum repl_beat_kind kind, uint64_t seq, int64_t sent_ns, uint64_t generation,
		  int64_t now_ns, void *arg)
{
	struct sink *s = arg;
	struct fo_msg m = {.kind = FO_M_HEARTBEAT,
			   .generation = generation,
			   .seq = seq,
			   .sent_ns = sent_ns,
			   .datagram = true};

	if (kind != REPL_BEAT || s->ending || !s->conn)
		return;
	if (generation == s->b.generation)
		s->beat_rx_ns = now_ns;
	sink_receive(s, &m, now_ns);
}
