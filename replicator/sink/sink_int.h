/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sink's insides: its state, and the functions by which its files work together. The files are
 * layers: each calls only those listed above it here. Private to replicator/sink.
 */
#ifndef REPLICATOR_SINK_SINK_INT_H
#define REPLICATOR_SINK_SINK_INT_H

#include "checkpoint/checkpoint.h"
#include "failover/arbiter/arbiter.h"
#include "replicator/link/link.h"
#include "replicator/monitor/monitor.h"
#include "replicator/session/session.h"
#include "replicator/sink/applier.h"
#include "replicator/sink/outage.h"
#include "replicator/sink/replay.h"
#include "trace/trace.h"

/* How far the end of the session has come (end.c); it only goes forward. */
enum sink_step {
	SINK_RUNS,
	SINK_FLUSHES, /* the outcome is chosen; what was sent to the primary leaves */
	SINK_KILLS,   /* the apply thread ends the standby */
	SINK_ENDED,   /* reported to the daemon; the loop is being left */
};

struct sink {
	struct job job; /* of the daemon; completed from the primary's Hello */
	struct event_base *base;
	struct fo_times times;
	struct report *report;
	struct repl_tls *tls;
	struct repl_conn *conn; /* NULL: closed */
	int latch_fd;		/* closed once the certificate is good; -1 */
	struct repl_beat *beats;
	int64_t welcomed_ns;	 /* silence is counted from here */
	struct monitor *monitor; /* has the rights that this process does not */
	struct event *monitor_end, *term;
	struct tv_err no_rights; /* not "": this host cannot take part, as its user is missing */
	bool has_arbiter;
	struct fo_ask *ask;
	struct applier *applier; /* NULL: no standby yet */
	struct replay *replay;
	struct event *tick, *standby_end;
	struct sink_still *still; /* NULL: none; freeze.c */
	struct event *still_over, *still_late;
	char dir[256]; /* run directory of the standby */
	struct slot_names names;

	struct fo_backup b;		       /* decides */
	uint8_t hash_key[CKPT_HASH_KEY_BYTES]; /* of the primary */
	bool has_hash_key;
	bool hashes_due;   /* the next DiskHashes are to be made */
	bool hello;	   /* received: this process has registered, or will as soon as it can */
	bool looked;	   /* the peer only asks what this host knows (look.c): no Hello follows */
	int64_t looked_ns; /* when it asked last */
	uint64_t look_seq;
	bool commanded;	   /* the peer passes an operator's command on (command.c): the same */
	json_t *command;   /* until twinvmd is connected; NULL: it has it */
	bool let_in;	   /* the daemon answered go: a standby is started, once */
	bool forget_disks; /* the primary ended protection: the images go with the standby */
	bool suspended;	   /* an operator had suspended the VM: in the last committed epoch */
	bool no_network;   /* promoted, and the taps could not be attached */
	bool asked_to_run; /* by the primary itself, so its host is well: no need to fence it */
	struct hv_vm_id vm;
	char *description;
	struct session_disk *disks; /* as the description has them; NULL: none */
	unsigned disks_n;
	struct apply_images images;
	unsigned compares;   /* of the primary's that are not answered yet */
	uint64_t file_bytes; /* of a file, asked for and still to come */
	uint64_t rx_bytes;
	int64_t last_stats_ns, started_ns, bridge_ns;
	int64_t last_counts_ns;
	const char *state; /* that was reported last, */
	int64_t state_ns;  /* and when for the first time */
	struct outage outage;
	int64_t sign_ns;	/* of the primary's life, the last that was looked at */
	struct trace *trace;	/* NULL: none */
	bool trace_shown;	/* the daemon has it */
	int64_t beat_ns;	/* when the heartbeat came that is echoed */
	int64_t epoch_begin_ns; /* when the first of the open epoch came */
	int64_t verified_ns;	/* when the epoch was verified that is to be committed */
	uint64_t applied_epoch; /* the newest whose applying is in the trace */
	struct fo_watch watch;
	struct tv_err warning; /* what a failover would meet here; "": nothing */

	/* the end: written by end.c */
	enum sink_step step;
	enum session_outcome outcome;
	int exit_rc;	   /* of what failed first */
	struct tv_err why; /* the first reason; also shown while the session runs */
};

/* What a failover would meet on this host; "": nothing. */
static inline const char *sink_warning(const struct sink *s)
{
	if (s->warning.text[0])
		return s->warning.text;
	return s->b.state == FO_B_STANDBY ? s->watch.warning.text : "";
}

static inline bool sink_is_ending(const struct sink *s)
{
	return s->step != SINK_RUNS;
}

/* ---- send.c: messages to the primary; without a connection nothing is sent ---- */
void sink_send(struct sink *s, Twinvm__Control *msg, bool urgent);
/* Heartbeats beside the stream are echoed for as long as the engine lets them be. After each call of
 * the engine that may change it. */
void sink_allow_echoes(struct sink *s);
/* fo_backup_ops.send; arg is the sink. */
void sink_send_msg(void *arg, const struct fo_msg *m);

/* ---- tracing.c: where the time of each epoch goes ---- */
void sink_trace_begin(struct sink *s);
/* The daemon gets it, when an epoch is in it. */
void sink_trace_show(struct sink *s);
/* The last of an epoch has come at now_ns; what the primary reports with it. */
void sink_trace_received(struct sink *s, const Twinvm__EpochEnd *m, int64_t now_ns);
/* Of the apply thread. */
void sink_trace_answer(struct sink *s, const struct apply_answer *a);

/* ---- stats.c: messages to the daemon ---- */
void sink_send_stats(struct sink *s);
/* Once a second, and at the end. */
void sink_send_counts(struct sink *s);
/* The slot is known, and so the names of the replicas: from now on they are reported, too. */
void sink_know_disks(struct sink *s);
/* report_ops.connected; before the Hello there is nothing to register. */
void sink_introduce(struct report *r, void *arg);

/* ---- freeze.c: one committed epoch is held still, for a holder that twinvmd knows ---- */
/* twinvmd's order, and its answer. */
void sink_freeze(struct sink *s, const struct session_freeze *order);
/* A still ends; does not wait. Nothing when there is none. */
void sink_thaw(struct sink *s, const char *why);

/* ---- end.c: the end of the session ---- */
/* The first code and the first reason are kept. */
void sink_set_why(struct sink *s, int rc, const char *text);
/*
 * Ends the session with that outcome; later calls change nothing. What was sent to the primary has
 * flush_ms to leave (0: none); then the standby is ended, unless the outcome is SESSION_PROMOTED;
 * then the daemon gets `done` and the loop ends.
 */
void sink_end(struct sink *s, enum session_outcome outcome, int flush_ms);
/* The connection has closed while the session ends. */
void sink_end_closed(struct sink *s);
/* The apply thread has ended the standby. */
void sink_end_killed(struct sink *s);
/* Posts work to the apply thread, which must exist. While its queue is full the primary is not
 * read. Without memory for the work the session ends, its standby first. */
void sink_post(struct sink *s, enum apply_kind kind, const void *p, size_t n, uint64_t epoch,
	       const struct apply_sums *sums);
/* Sends the primary a Refuse with that code and reason, and ends as SESSION_REFUSED. */
void sink_refuse(struct sink *s, int rc, const char *reason);
/* The primary is stale: sends it the higher generation, and ends as SESSION_REFUSED. */
void sink_turn_away(struct sink *s, uint64_t highest);

/* ---- receive.c: the primary's messages for the engine ---- */
/* The primary broke the protocol: it is refused, and the session ends; but a promotion that has
 * begun is not called off. */
void sink_violation(struct sink *s, const char *fmt, ...) TV_PRINTF(2, 3);
/* name: of the message, as in control.proto. */
void sink_receive(struct sink *s, const char *name, const struct fo_msg *m, int64_t now_ns);
/* repl_beat_conf.cb; arg is the sink. */
void sink_on_beat(const struct repl_beat_msg *d, void *arg);

/* ---- verify.c: comparisons that the primary asks for ---- */
/* False: it breaks the protocol. */
bool sink_on_verify(struct sink *s, const Twinvm__Verify *m);
void sink_verified(struct sink *s, const struct apply_answer *a);

/* ---- standby.c: the standby, behind the apply thread ---- */
/* Has the standby lost a page, and does the session end for it? Not once the VM is this host's. */
bool sink_memory_lost(struct sink *s);
/* It has, as why says. */
void sink_lose(struct sink *s, const char *why);
/* The daemon let this session in; slot: whose names the standby gets (slot.h). */
void sink_begin_standby(struct sink *s, int slot);
/* Has the next DiskHashes made if they are due and the last ones have left: on a slow link they
 * wait where they do not exist yet. Called from the tick, too. */
void sink_next_hashes(struct sink *s);

/* ---- record.c: the arbiter's record, when a VM is offered ---- */
/*
 * Does the primary see this very arbiter? Whose the VM is, the daemon finds out by itself.
 * TV_E_REFUSED or the arbiter's error, with a sentence. Blocks.
 */
int sink_check_arbiter(struct sink *s, const Twinvm__Hello *h, struct tv_err *e) TV_MUST_CHECK;

/*
 * Does what is on record here (NULL: nothing) show that the peer asks another arbiter? A higher
 * generation, or another host's name, is of the one arbiter: by that the daemon judges.
 */
bool sink_is_other_arbiter(const char *peer, const Twinvm__Hello *h, const struct fo_record *r);
/* With every tick: is the record still there? */
void sink_watch_record(struct sink *s, int64_t now_ns);
void sink_watch_answer(struct sink *s, int rc, const struct fo_record *rec, const char *why);

/* ---- decide.c: what the engine asks for ---- */
extern const struct fo_backup_ops sink_engine_ops;
/* fo_answer_cb; arg is the sink. */
void sink_on_answer(enum fo_question q, int rc, const struct fo_record *rec, const char *why,
		    void *arg);

/* ---- look.c: a peer that only asks what this host knows ---- */
void sink_on_look(struct sink *s, const Twinvm__Look *m, int64_t now_ns);
/* The daemon's answer. */
void sink_on_view(struct sink *s, const json_t *msg);
/* No VM is part of the session: nothing needs rights. title: of the process. */
void sink_only_asks(struct sink *s, const char *title);

/* ---- command.c: a peer passes on what an operator has ordered there ---- */
void sink_on_command(struct sink *s, const Twinvm__Command *m, int64_t now_ns);
void sink_on_reply(struct sink *s, const json_t *msg);
/* twinvmd is connected, for the first time or again. */
void sink_command_connected(struct sink *s);

/* ---- hello.c: the first message ---- */
/* The name of a field whose value is invalid; NULL: all are valid. The protocol is not looked at. */
const char *sink_hello_invalid(const Twinvm__Hello *h);
void sink_on_hello(struct sink *s, const Twinvm__Hello *h);

/* ---- link.c: the connection and what comes through it ---- */
extern const struct repl_ops sink_link_ops;

#endif
