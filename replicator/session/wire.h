/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engines' messages (failover.h: fo_msg) as replicators send them: in the stream (replicator/link/control.proto)
 * or, heartbeats and their echoes, as datagrams beside it. */
#ifndef REPLICATOR_SESSION_WIRE_H
#define REPLICATOR_SESSION_WIRE_H

#include "failover/failover.h"
#include "replicator/link/link.h"

/* host: the sender's name. Whatever repl_send returns; a datagram is never known to be lost. */
int wire_send(struct repl_conn *conn, struct repl_beat *beats, const char *host,
	      const struct fo_msg *m) TV_MUST_CHECK;

/* Is m for the engine? Then *out is that message; whether its state expects it, the engine says. */
bool wire_read(const Twinvm__Control *m, struct fo_msg *out);
/* What a message is called in control.proto ("EpochBegin"); never NULL. */
const char *wire_name(const Twinvm__Control *m);

#endif
