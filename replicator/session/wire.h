/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engines' messages (failover.h: fo_msg) as replicators send and receive them in the stream
 * (replicator/link/control.proto). Heartbeats beside it are replicator/link/beat.c's.
 */
#ifndef REPLICATOR_SESSION_WIRE_H
#define REPLICATOR_SESSION_WIRE_H

#include "failover/failover.h"
#include "replicator/link/link.h"

/* host: the sender's name; why: of an offer, or the warning of an echo. What repl_send returns;
 * -EINVAL: not a message of an engine's. */
int wire_send(struct repl_conn *conn, const char *host, const char *why,
	      const struct fo_msg *m) TV_MUST_CHECK;

/* True: m is for the engine, and *out is what it gets; whether its state expects it, it decides. */
bool wire_read(const Twinvm__Control *m, struct fo_msg *out);
/* What a message is called in control.proto ("EpochBegin"); never NULL. */
const char *wire_name(const Twinvm__Control *m);

#endif
