/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engines' messages (failover.h: fo_msg) as replicators send and receive them in the stream
 * (replicator/link/control.proto). Heartbeats beside it are replicator/link/beat.c's.
 */
#ifndef REPLICATOR_SESSION_WIRE_H
#define REPLICATOR_SESSION_WIRE_H

#include "failover/failover.h"
#include "replicator/link/link.h"
#include "trace/trace.h"

/* What a message carries for the peer's trace. */
struct wire_phases {
	Twinvm__Phase all[TRACE_REPORT], *at[TRACE_REPORT];
	unsigned n;
};
/* Takes what was not reported to the peer yet; trace may be NULL. */
void wire_phases_take(struct trace *t, struct wire_phases *out);
/* What the peer has reported, into the trace (may be NULL): each is checked, and of one message TRACE_REPORT
 * count. */
void wire_phases_read(struct trace *t, Twinvm__Phase *const *phases, size_t n);

/* host: the sender's name; why: of an offer, or the warning of an echo. */
struct wire_extra {
	const char *host, *why;
	int64_t received_ns; /* of an echo: when the heartbeat came */
	struct trace *trace; /* of a commit; may be NULL */
};
/* What repl_send returns; -EINVAL: not a message of an engine's. */
int wire_send(struct repl_conn *conn, const struct wire_extra *x,
	      const struct fo_msg *m) TV_MUST_CHECK;

/* True: m is for the engine, and *out is what it gets; whether its state expects it, it decides. */
bool wire_read(const Twinvm__Control *m, struct fo_msg *out);
/* What a message is called in control.proto ("EpochBegin"); never NULL. */
const char *wire_name(const Twinvm__Control *m);

#endif
