/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * failover: decides. The time-outs (one setting, one file), the arbiter (who may run this VM now,
 * by compare-and-swap), and the decision core: pure tables of (state, event) -> (next state,
 * actions). Knows nothing of VMs, epochs or connections: its owner turns the world into events and
 * carries the actions out.
 *
 * Call order: fo_times_init; fo_arbiter_open; fo_ask_new; then fo_primary_step / fo_backup_step for
 * every event, and fo_ask_start for each action that asks the arbiter. Apart from that, a daemon
 * that takes part in placement calls fo_arbiter_announce and fo_arbiter_members now and then, in a
 * thread and with an arbiter handle of its own, and fo_choose_backup. Return codes: see common.h.
 * The process ignores SIGPIPE.
 */
#ifndef FAILOVER_H
#define FAILOVER_H

#include "common/common.h"
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
	int64_t arbiter_next_ns;    /* an etcd member that has not answered for this long is not
				       waited for alone: the next one is asked as well */
	int64_t arbiter_answer_ns;  /* no etcd member has answered one request: given up */
	int64_t announce_ns;	    /* a host announces itself this often */
	int64_t member_ns;	    /* and is not a member any more after this much silence */
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
/* What an arbiter needs to know beside its URL; all of it is copied. */
struct fo_arbiter_conf {
	const struct fo_times *times;
	const char *ca, *cert, *key; /* PEM files for etcds://; NULL or "": none */
};
/*
 * "none" gives *out NULL: a person decides. "file:///DIR" is a directory both hosts see; it must
 * exist and be writable. "etcd://HOST:PORT,HOST:PORT,..." and "etcds://" (TLS, with conf->ca and,
 * where the cluster wants to know who asks, conf->cert and conf->key) are the members of an etcd
 * cluster, of version 3.4 or newer; nothing is sent to them yet. -EINVAL bad URL; the sentence says
 * what is wrong. A handle is used by one thread at a time.
 */
int fo_arbiter_open(const char *url, const struct fo_arbiter_conf *conf, struct fo_arbiter **out,
		    struct tv_err *e) TV_MUST_CHECK;
void fo_arbiter_close(struct fo_arbiter *a);
/* Is the URL one that fo_arbiter_open may take? Touches neither network nor files: for event loops.
 * -EINVAL with the sentence. */
int fo_arbiter_check_url(const char *url, const struct fo_arbiter_conf *conf,
			 struct tv_err *e) TV_MUST_CHECK;
/* 0: the arbiter answers, so that a protection may begin with it. May block. a may be NULL. */
int fo_arbiter_probe(struct fo_arbiter *a, struct tv_err *e) TV_MUST_CHECK;
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

/* ---- who is there, and where the next backup should be ---- */
enum fo_health { FO_GREEN, FO_YELLOW, FO_RED };
struct fo_host {
	char name[64];	   /* as in its certificate: letters, digits, '.', '_', '-' */
	char address[160]; /* HOST:PORT where its twinvmd listens for other hosts */
	uint64_t free_mib; /* memory that a standby may take */
	unsigned cpus;
	enum fo_health health;
};
#define FO_MAX_HOSTS 64
/*
 * Says "I am here, and this is how I am"; to be called every announce_ns of the conf's times. Ends
 * by itself member_ns after the last call. May block: never from an event loop. -ENOTSUP: this
 * arbiter keeps no members. a must not be NULL.
 */
int fo_arbiter_announce(struct fo_arbiter *a, const struct fo_host *h,
			struct tv_err *e) TV_MUST_CHECK;
/*
 * The hosts that announced themselves within member_ns (this one too, if it did), sorted by name:
 * their number, at most n and FO_MAX_HOSTS, or a negative code. What cannot be understood is left
 * out. With a file arbiter a host counts once this handle has seen it beat, so the first call finds
 * nobody: call it as often as fo_arbiter_announce. May block.
 */
int fo_arbiter_members(struct fo_arbiter *a, struct fo_host *out, unsigned n,
		       struct tv_err *e) TV_MUST_CHECK;
/*
 * The host to be the next backup, NULL if none can: never self, never one of red health, and only
 * with need_mib of free memory. Green before yellow; then last_peer ("" or NULL: none), since it
 * may still have the VM's disks; then the most free memory, then the name. Pure.
 */
const struct fo_host *fo_choose_backup(const struct fo_host *hosts, unsigned n, const char *self,
				       const char *last_peer, uint64_t need_mib);
const char *fo_health_name(enum fo_health h);

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
