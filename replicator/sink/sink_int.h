/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink's insides, shared by its files: one file a concern. Private to daemon/. */
#ifndef REPLICATOR_SINK_SINK_INT_H
#define REPLICATOR_SINK_SINK_INT_H

#include "checkpoint/checkpoint.h"
#include "replicator/sink/applier.h"
#include "failover/arbiter/arbiter.h"
#include "replicator/session/session.h"
#include "replicator/sink/replay.h"
#include "replicator/link/link.h"

struct sink {
	struct job job;
	struct event_base *base;
	struct fo_times times;
	struct report *report;
	struct repl_tls *tls;
	struct repl_conn *conn;
	struct repl_beat *beats;
	int64_t beat_rx_ns; /* last datagram of the primary */
	struct fo_arbiter *arbiter;
	struct fo_ask *ask;
	struct applier *applier;
	struct replay *replay;
	struct event *tick, *standby_end;
	char dir[256];
	unsigned slot; /* whose names the standby gets: the daemon says which are free */
	struct slot_names names;

	struct fo_backup b;		       /* decides */
	uint8_t hash_key[CKPT_HASH_KEY_BYTES]; /* of the primary */
	bool has_hash_key, hashes_due;
	bool hello, registered, bye, ending;
	bool told; /* the primary itself has asked us to take over: its host is well */
	struct hv_vm_id vm;
	char *description;
	uint64_t rx_bytes;
	int64_t last_stats_ns, started_ns;
	const char *outcome;
	int exit_rc;
	struct tv_err why;
};

void sink_arm(struct event *ev, int64_t ns);

/*
 * The files, each of which calls only those above it.
 */
/* ---- send.c: messages to the primary ---- */
void sink_send(struct sink *s, Twinvm__Control *msg, bool urgent);
void sink_send_msg(void *arg, const struct fo_msg *m);

/* ---- stats.c: messages to the daemon ---- */
void sink_send_stats(struct sink *s);
void sink_introduce(struct report *r, void *arg);

/* ---- end.c: the end of the session ---- */
void sink_set_why(struct sink *s, int rc, const char *text);
void sink_finish(struct sink *s);
/* Puts work into the apply thread's queue; without memory for it the session ends. */
void sink_post(struct sink *s, enum apply_kind kind, const void *p, size_t n, uint64_t epoch,
	       const struct apply_sums *sums);
/* Ends the standby, if there is one, then the process. */
void sink_discard(struct sink *s, const char *outcome);
/* Sends the primary why, then discards. */
void sink_refuse(struct sink *s, int rc, const char *reason);
/* The primary is stale: sends it the higher generation, then discards. */
void sink_turn_away(struct sink *s, uint64_t highest);

/* ---- receive.c: the primary's messages for the engine ---- */
/* The peer broke the protocol: it is refused, and the session ends. */
void sink_violation(struct sink *s, const char *what);
void sink_receive(struct sink *s, const struct fo_msg *m, int64_t now_ns);
void sink_on_beat(enum repl_beat_kind kind, uint64_t seq, int64_t sent_ns, uint64_t generation,
		  int64_t now_ns, void *arg);

/* ---- standby.c: the standby, behind the apply thread ---- */
/* The daemon let us in; slot: whose names the standby gets. */
void sink_begin_standby(struct sink *s, unsigned slot);
/* On a slow link they wait here, where they have not been made yet. Also from the tick. */
void sink_next_hashes(struct sink *s);

/* ---- decide.c: what the engine asks for ---- */
extern const struct fo_backup_ops sink_engine_ops;
void sink_on_answer(enum fo_question q, int rc, const struct fo_record *rec, const char *why,
		    void *arg);

/* ---- link.c: connection and messages ---- */
extern const struct repl_ops sink_link_ops;

#endif
