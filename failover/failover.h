/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * failover: decides. The time-outs (one setting, one file), the arbiter (who may run this VM now,
 * by compare-and-swap), and the decision core: pure tables of (state, event) -> (next state,
 * actions). Knows nothing of VMs, epochs or connections: its owner turns the world into events and
 * carries the actions out.
 *
 * Call order: fo_times_init; fo_arbiter_open; fo_ask_new; then fo_primary_step / fo_backup_step for
 * every event, and fo_ask_start for each action that asks the arbiter. Return codes: see common.h.
 */
#ifndef FAILOVER_H
#define FAILOVER_H

#include "common/common.h"
#include "failover/keeper.h"
#include <event2/event.h>

/* ---- time-outs, all from the heartbeat interval; worked through in timeouts.c ---- */
struct fo_times {
	int64_t heartbeat_ns; /* the primary sends one this often */
	int64_t beat_ns;      /* heartbeats as datagrams, more often as they may get lost */
	int64_t lease_ns;   /* the primary may release output this long after it sent the heartbeat
			       whose echo came back last */
	int64_t suspect_ns; /* the backup asks the arbiter after this much silence */
	int64_t backup_lost_ns;	    /* the primary asks to run alone after this much silence */
	int64_t reconnect_grace_ns; /* the connection closed, so the peer's kernel lives: wait for
				       its word */
	int64_t hold_limit_ns;	    /* neither backup nor arbiter: the VM is stopped after this */
	int64_t retry_ns;	    /* between two tries to reach arbiter or peer */
	int64_t tick_ns;	    /* how often silence is looked for */
	/* between two tries to have a VM protected again: keeper.c */
	int64_t keep_first_ns, keep_last_ns, keep_refused_ns;
};
void fo_times_init(struct fo_times *t, int64_t heartbeat_ns);

/* ---- the arbiter ---- */
enum fo_run_state { FO_PAIRED, FO_ALONE };
struct fo_record {
	uint64_t version;    /* grows by one with every change */
	uint64_t generation; /* grows with every change of primary */
	enum fo_run_state state;
	char primary[64]; /* host that runs the VM */
	char backup[64];  /* host that may promote; "" when state is FO_ALONE */
	char session[33]; /* synchronisation that the pair is about */
};
struct fo_arbiter;
/*
 * "none" gives *out NULL: a person decides. "file:///DIR" is a directory both hosts see; it must
 * exist and be writable. -EINVAL unknown URL; the sentence says what is wrong.
 */
int fo_arbiter_open(const char *url, struct fo_arbiter **out, struct tv_err *e) TV_MUST_CHECK;
void fo_arbiter_close(struct fo_arbiter *a);
/* The newest record of a VM. -ENOENT none yet. May block: never from an event loop. */
int fo_arbiter_read(struct fo_arbiter *a, const char *vm_id, struct fo_record *out,
		    struct tv_err *e) TV_MUST_CHECK;
/*
 * Makes next the newest record if the newest is still number next->version - 1 (0: none). Durable
 * when it returns 0. TV_E_LOST when somebody else was first; any other error leaves open whether it
 * happened: read again.
 */
int fo_arbiter_cas(struct fo_arbiter *a, const char *vm_id, const struct fo_record *next,
		   struct tv_err *e) TV_MUST_CHECK;
/* Protection has ended: removes what is kept about the VM. */
int fo_arbiter_forget(struct fo_arbiter *a, const char *vm_id, struct tv_err *e) TV_MUST_CHECK;

/* What the three questions mean, as functions that may block (one read and one compare-and-swap).
 */
enum fo_question {
	FO_ASK_PAIR,	/* primary: from now on `backup` may promote */
	FO_ASK_ALONE,	/* primary: nobody else may run this VM */
	FO_ASK_PROMOTE, /* backup: the VM is mine; generation + 1 */
};
struct fo_claim {
	char vm_id[33];
	char self[64]; /* this host */
	char peer[64]; /* the other one */
	char session[33];
	uint64_t generation; /* that this side knows */
};
/*
 * 0: it is recorded, *out is the record. TV_E_LOST: the record says otherwise, for good; the
 * sentence names who runs the VM. Anything else: not known, ask again. With a == NULL the primary's
 * questions are always granted and FO_ASK_PROMOTE is TV_E_LOST.
 */
int fo_claim(struct fo_arbiter *a, enum fo_question q, const struct fo_claim *c,
	     struct fo_record *out, struct tv_err *e) TV_MUST_CHECK;

/* Asks in a thread of its own, answers in the loop; questions are answered in the order asked. */
struct fo_ask;
typedef void (*fo_answer_cb)(enum fo_question q, int rc, const struct fo_record *rec,
			     const char *why, void *arg);
int fo_ask_new(struct event_base *base, struct fo_arbiter *a, fo_answer_cb cb, void *arg,
	       struct fo_ask **out) TV_MUST_CHECK;
void fo_ask_start(struct fo_ask *ask, enum fo_question q, const struct fo_claim *c);
/* Waits for a question under way. */
void fo_ask_free(struct fo_ask *ask);

/* ---- the decision core ---- */
/* clang-format off */
#define FO_PRIMARY_STATES(X)                                                                       \
	X(SYNCING) /* no backup yet: output passes, by the record or because nobody else knows it  \
		    */                                                                             \
	X(PAIRING) /* first epoch committed, the record is asked for; output held */               \
	X(PROTECTED) /* output follows commits */                                                  \
	X(ASKING)    /* backup lost: output held until the record says that we run alone */        \
	X(HELD)	     /* neither backup nor arbiter: VM stopped */                                  \
	X(LEAVING)   /* unprotect: as ASKING, at the user's wish */                                \
	X(ALONE)     /* end of the session: VM runs on unprotected */                              \
	X(FENCED)    /* somebody else runs the VM: ours is stopped for good */
#define FO_PRIMARY_EVENTS(X)                                                                       \
	X(FIRST_COMMIT)                                                                            \
	X(PAIR_RECORDED)                                                                           \
	X(ALONE_RECORDED)                                                                          \
	X(RECORD_LOST) X(ARBITER_UNREACHABLE) X(PEER_LOST) X(HOLD_OVER) X(LEAVE)                   \
		X(HIGHER_GENERATION) X(VM_DIED)
#define FO_BACKUP_STATES(X)                                                                        \
	X(SYNCING) X(STANDBY) X(ASKING) X(WAITING) X(PROMOTING) X(PROMOTED) X(GONE)
#define FO_BACKUP_EVENTS(X)                                                                        \
	X(FIRST_COMMIT)                                                                            \
	X(SILENCE)                                                                                 \
	X(TRAFFIC)                                                                                 \
	X(GRACE_OVER) X(TAKE_OVER) X(FORCE) X(WON) X(LOST) X(UNREACHABLE) X(BYE) X(PROMOTE_DONE)   \
		X(PROMOTE_FAILED)
/* clang-format on */

#define FO_ENUM_P(n) FO_P_##n,
#define FO_ENUM_PE(n) FO_PE_##n,
#define FO_ENUM_B(n) FO_B_##n,
#define FO_ENUM_BE(n) FO_BE_##n,
enum fo_primary_state { FO_PRIMARY_STATES(FO_ENUM_P) FO_P_COUNT };
enum fo_primary_event { FO_PRIMARY_EVENTS(FO_ENUM_PE) FO_PE_COUNT };
enum fo_backup_state { FO_BACKUP_STATES(FO_ENUM_B) FO_B_COUNT };
enum fo_backup_event { FO_BACKUP_EVENTS(FO_ENUM_BE) FO_BE_COUNT };

enum { /* actions, a bit mask */
       FO_A_ASK_PAIR = 1 << 0,
       FO_A_ASK_ALONE = 1 << 1,
       FO_A_ASK_LATER = 1 << 2, /* ask again after retry_ns */
       FO_A_RELEASE = 1 << 3,	/* from now on commits release output */
       FO_A_LEAVE = 1 << 4,	/* release all, detach, end the session; the VM runs on */
       FO_A_STOP_VM = 1 << 5,
       FO_A_RESUME_VM = 1 << 6,
       FO_A_TAKE_OVER = 1 << 7, /* tell the backup to promote at once */
       FO_A_END = 1 << 8,	/* end the session without touching the VM */
       FO_A_ASK_PROMOTE = 1 << 9,
       FO_A_PROMOTE = 1 << 10,
       FO_A_DISCARD = 1 << 11,	 /* end the standby and the session */
       FO_A_HAND_OVER = 1 << 12, /* the promoted VM is the daemon's now */
};
struct fo_step {
	int next;
	unsigned actions;
};
/* Pure. Pairs that mean nothing stay where they are and do nothing. arbiter: is there one? */
struct fo_step fo_primary_step(enum fo_primary_state s, enum fo_primary_event ev);
struct fo_step fo_backup_step(enum fo_backup_state s, enum fo_backup_event ev, bool arbiter);
const char *fo_primary_state_name(enum fo_primary_state s);
const char *fo_primary_event_name(enum fo_primary_event ev);
const char *fo_backup_state_name(enum fo_backup_state s);
const char *fo_backup_event_name(enum fo_backup_event ev);

#endif
