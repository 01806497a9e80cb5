/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * failover: decides. Time-outs (one setting, one file), claims on the arbiter's record (who may run
 * this VM, by compare-and-swap), the choice of the next backup and the time of the next try, and
 * the decision core: pure tables of (state, event) -> (next state, actions) with an engine for
 * each end of a session. Pure: no clock, no socket, no thread, no event loop; `make sim` links all
 * of it. It knows nothing of VMs or connections: its owner turns what happens into events and
 * carries the actions out. Opening an arbiter and asking it off the loop: arbiter/arbiter.h.
 *
 * Call order: fo_times_init; fo_primary_init or fo_backup_init; then the engine's functions for
 * every event, fo_claim (through fo_ask_start of arbiter.h) for each question that it asks, and its
 * answer to the engine. Independent of these: fo_reprotect_* for a VM that has no backup, fo_judge
 * for a host that offers itself as primary. Return codes: see common.h.
 */
#ifndef FAILOVER_FAILOVER_H
#define FAILOVER_FAILOVER_H

#include "common/common.h"

/* ---- time-outs, all from the heartbeat interval; worked through in timeouts.c ---- */
struct fo_times {
	int64_t heartbeat_ns;	    /* the primary sends one this often */
	int64_t beat_ns;	    /* heartbeats as datagrams, more often as they may get lost */
	int64_t lease_ns;	    /* the primary may release output this long after it sent the
				 heartbeat whose echo came back last */
	int64_t suspect_ns;	    /* the backup asks the arbiter after this much silence */
	int64_t backup_lost_ns;	    /* the primary asks to run alone after this much silence */
	int64_t reconnect_grace_ns; /* the connection closed, so the peer's kernel lives: wait this
				       long for its daemon to record or to reconnect */
	int64_t switch_ns;	    /* a planned switch that takes longer is called off */
	int64_t retry_ns;	    /* between two tries to reach arbiter or peer */
	int64_t tick_ns;	    /* how often silence is looked for */
	/* between two tries to have a VM protected again: reprotect.c */
	int64_t reprotect_first_ns, reprotect_last_ns, reprotect_refused_ns;
	int64_t pet_ns;		   /* between two looks at the watchdog */
	int64_t fence_ns;	   /* a program that switches a host off has this long */
	int64_t arbiter_next_ns;   /* an etcd member that has not answered for this long is not
				      waited for alone: the next one is asked as well */
	int64_t arbiter_answer_ns; /* no etcd member has answered one request: given up */
	int64_t announce_ns;	   /* a host announces itself this often */
	int64_t member_ns;	   /* and is not a member any more after this much silence */
};
/* Sets all of *t from the heartbeat interval. */
void fo_times_init(struct fo_times *t, int64_t heartbeat_ns);

/* ---- the record: who may run a VM; and claims on it (claim.c) ---- */
enum fo_run_state { FO_PAIRED, FO_ALONE };
struct fo_record {
	uint64_t version;    /* grows by one with every change */
	uint64_t generation; /* grows with every change of primary */
	enum fo_run_state state;
	char primary[64]; /* host that runs the VM */
	char backup[64];  /* host that may promote; "" when state is FO_ALONE */
	char session[33]; /* synchronisation that the pair is about */
};
/*
 * What keeps the records: all that a claim needs of it. arbiter/ has those of production,
 * tests/sim brings its own.
 */
struct fo_arbiter {
	/* The newest record of a VM. -ENOENT none yet. May block. */
	int (*read)(struct fo_arbiter *a, const char *vm_id, struct fo_record *out,
		    struct tv_err *e);
	/*
	 * Makes next the newest record if the newest is still number next->version - 1 (0: none).
	 * Durable when it returns 0. TV_E_LOST: another host was first; any other error leaves open
	 * whether it happened: read again. May block.
	 */
	int (*cas)(struct fo_arbiter *a, const char *vm_id, const struct fo_record *next,
		   struct tv_err *e);
};
enum fo_question {
	FO_ASK_PAIR,	/* primary: from now on `backup` may promote */
	FO_ASK_ALONE,	/* primary: no other host may run this VM */
	FO_ASK_PROMOTE, /* backup: this host runs the VM from now on; generation + 1 */
};
struct fo_claim {
	char vm_id[33];
	char self[64]; /* this host */
	char peer[64]; /* the other one */
	char session[33];
	uint64_t generation; /* that this side knows */
};
/*
 * One read and one compare-and-swap; may block. 0: it is recorded, *out is the record. TV_E_LOST:
 * the record names another host, for good; the sentence says which. Any other error: unknown, ask
 * again. With a == NULL (no arbiter) the primary's questions are always granted and FO_ASK_PROMOTE
 * is TV_E_LOST.
 */
int fo_claim(struct fo_arbiter *a, enum fo_question q, const struct fo_claim *c,
	     struct fo_record *out, struct tv_err *e) TV_MUST_CHECK;

/* ---- hosts, and which of them is the next backup (choose.c) ---- */
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
 * The host to be the next backup, NULL if none can: never self, never one of red health, and only
 * with need_mib of free memory. Green before yellow; then last_peer ("" or NULL: none), since it
 * may still have the VM's disks; then the most free memory, then the name.
 */
const struct fo_host *fo_choose_backup(const struct fo_host *hosts, unsigned n, const char *self,
				       const char *last_peer, uint64_t need_mib);
const char *fo_health_name(enum fo_health h);

/* ---- a VM without a backup: which host is tried next, and when (reprotect.c) ---- */
/* A host that may become the backup. The caller's list is in its order of preference. */
struct fo_candidate {
	char name[64];	   /* common name of its certificate; "": any that the CA signed */
	char address[128]; /* name or address to connect to */
	uint16_t port;
};

/* How a try or a session ended that did not end by the user's wish. */
enum fo_reprotect_end {
	FO_REPROTECT_LOST,    /* it had been protected, and is not any more */
	FO_REPROTECT_FAILED,  /* nobody answered, or the first copy broke off */
	FO_REPROTECT_REFUSED, /* the other host, or the VM itself, said no: asked again less often */
};

/* One per VM that runs here. Zero-initialised it wants nothing. */
struct fo_reprotect {
	bool on;	    /* to be protected whenever that is possible */
	char last[64];	    /* the backup it had last (after a failover: the old primary) */
	unsigned tries;	    /* since it was protected last, or since fo_reprotect_start */
	unsigned refusals;  /* the newest of them in a row that were refused */
	unsigned turn;	    /* whose turn it is among the others */
	int64_t due_ns;	    /* when the next try is due; INT64_MAX while one is under way */
	int64_t first_ns;   /* from fo_times: between two tries, at first, */
	int64_t last_ns;    /* later, */
	int64_t refused_ns; /* and after refusals in a row */
};
/* Begins to want protection; last names the host that is tried first ("": none is preferred). */
void fo_reprotect_start(struct fo_reprotect *k, const struct fo_times *t, const char *last,
			int64_t now_ns);
/* The user does not want it any more. */
void fo_reprotect_stop(struct fo_reprotect *k);
/* It is protected by that host. */
void fo_reprotect_protected(struct fo_reprotect *k, const char *name);
/* A try or a session has ended: sets when the next one is due. Never gives up. */
void fo_reprotect_ended(struct fo_reprotect *k, enum fo_reprotect_end how, int64_t now_ns);
/* When fo_reprotect_choose is to be called; INT64_MAX: not before something else happens. */
int64_t fo_reprotect_due(const struct fo_reprotect *k);
/*
 * A try is due: the host to try, an index into hosts, or -1 when there is none (then it is due
 * again later). The caller begins the try and tells its end with fo_reprotect_protected or
 * fo_reprotect_ended.
 */
int fo_reprotect_choose(struct fo_reprotect *k, const struct fo_candidate *hosts, unsigned n,
			int64_t now_ns);

/* ---- two hosts, one VM ---- */
struct fo_own {		     /* what this host knows of a VM */
	bool running;	     /* it runs here, as primary */
	uint64_t generation; /* of ours, when it runs here */
	uint64_t highest;    /* ever heard of; 0: never */
};
enum fo_verdict {
	FO_ACCEPT,    /* be its backup */
	FO_STALE,     /* the sender is behind: it is told the highest generation, and must stop its
		    * VM */
	FO_RUNS_HERE, /* the same generation as ours: refused, nobody is stale */
	FO_YIELD, /* ours is behind: stop our VM and keep it for inspection, then be its backup */
};
/* Another host offers itself as primary with that generation. */
enum fo_verdict fo_judge(const struct fo_own *own, uint64_t generation);

/* ---- the decision core: two tables (core.c), drawn in docs/FAILOVER.md ---- */
/* clang-format off */
#define FO_PRIMARY_STATES(X) \
	X(SYNCING, "no backup yet: output passes, nobody else may run the VM") \
	X(PAIRING, "first epoch committed, the record is asked for; output held") \
	X(PROTECTED, "output follows commits") \
	X(SUSPENDED, "lease over: VM stopped until the backup is heard again or lost") \
	X(ASKING, "backup lost: output held until the record says that we run alone") \
	X(HELD, "as ASKING, and the lease is over: VM stopped") \
	X(LEAVING, "unprotect: as ASKING, at the user's wish") \
	X(SWITCHING, "planned: the last epoch is on its way, VM stopped by it") \
	X(YIELDING, "planned: the backup was told to take over") \
	X(YIELDED, "planned: the VM is the backup's by record, its word that it runs is due") \
	X(ALONE, "end of the session: VM runs on unprotected, or has ended") \
	X(SWITCHED, "end of the session: the backup runs the VM") \
	X(FENCED, "somebody else runs the VM: ours is stopped for good")
#define FO_PRIMARY_EVENTS(X) \
	X(FIRST_COMMIT, "the first epoch is committed") \
	X(PAIR_RECORDED, "the record names the backup") \
	X(ALONE_RECORDED, "the record says that we run alone") \
	X(RECORD_LOST, "the record names somebody else, for good") \
	X(ARBITER_UNREACHABLE, "not known whether recorded") \
	X(PEER_LOST, "connection closed, or nothing heard for backup_lost_ns") \
	X(LEASE_OVER, "no heartbeat of the last lease_ns has come back") \
	X(LEASE_BACK, "it has") \
	X(LEAVE, "unprotect") \
	X(SWITCH, "planned switch of roles asked for") \
	X(LAST_COMMIT, "the epoch that the VM was stopped with is committed") \
	X(SWITCH_OVERDUE, "the backup says nothing of having taken over") \
	X(PEER_RUNS, "the backup runs the VM") \
	X(HIGHER_GENERATION, "somebody has a higher generation of this VM") \
	X(VM_DIED, "the end of QEMU's process")
#define FO_BACKUP_STATES(X) \
	X(SYNCING, "nothing to run yet") \
	X(STANDBY, "an epoch is committed") \
	X(ASKING, "the arbiter is asked for the VM: no commit or echo is sent any more") \
	X(WAITING, "no arbiter: a person decides, or the primary comes back") \
	X(PROMOTING, "the VM is being started from the last committed epoch") \
	X(PROMOTED, "end of the session: the VM runs here") \
	X(GONE, "end of the session: no standby any more")
#define FO_BACKUP_EVENTS(X) \
	X(FIRST_COMMIT, "the first epoch is committed") \
	X(SILENCE, "nothing heard for suspect_ns") \
	X(TRAFFIC, "the primary is heard") \
	X(GRACE_OVER, "the connection stayed closed") \
	X(TAKE_OVER, "the primary's own word") \
	X(FORCE, "a person's") \
	X(WON, "the record is ours") \
	X(LOST, "the record names somebody else, for good") \
	X(UNREACHABLE, "not known whether recorded") \
	X(BYE, "protection ends") \
	X(PROMOTE_DONE, "the VM runs") \
	X(PROMOTE_FAILED, "it does not")
#define FO_ACTIONS(X) \
	X(ASK_PAIR, "ask the arbiter to name the backup") \
	X(ASK_ALONE, "ask it to record that nobody else runs the VM") \
	X(ASK_LATER, "ask again after retry_ns") \
	X(RELEASE, "from now on commits release output") \
	X(LEAVE, "release all, detach, end the session; the VM runs on") \
	X(STOP_VM, "stopped already: stays so") \
	X(RESUME_VM, "if STOP_VM stopped it") \
	X(LAST_EPOCH, "capture one more epoch and leave the VM stopped") \
	X(TAKE_OVER, "tell the backup to promote at once") \
	X(QUIT_VM, "our copy is not needed any more: end its process and the session") \
	X(END, "the VM's process is gone: end the session") \
	X(ASK_PROMOTE, "ask it for the VM") \
	X(PROMOTE, "start the VM, tell the primary") \
	X(DISCARD, "end the standby and the session") \
	X(HAND_OVER, "the promoted VM is the daemon's now; the primary is told")
/* clang-format on */

#define FO_ENUM_P(n, why) FO_P_##n,
#define FO_ENUM_PE(n, why) FO_PE_##n,
#define FO_ENUM_B(n, why) FO_B_##n,
#define FO_ENUM_BE(n, why) FO_BE_##n,
#define FO_ENUM_A(n, why) FO_ACTION_##n,
enum fo_primary_state { FO_PRIMARY_STATES(FO_ENUM_P) FO_P_COUNT };
enum fo_primary_event { FO_PRIMARY_EVENTS(FO_ENUM_PE) FO_PE_COUNT };
enum fo_backup_state { FO_BACKUP_STATES(FO_ENUM_B) FO_B_COUNT };
enum fo_backup_event { FO_BACKUP_EVENTS(FO_ENUM_BE) FO_BE_COUNT };
enum fo_action { FO_ACTIONS(FO_ENUM_A) FO_ACTION_COUNT };
#define FO_A(n) (1u << FO_ACTION_##n)

struct fo_step {
	int next;
	unsigned actions; /* FO_A(...) */
};
/* Pure. Pairs that mean nothing stay where they are and do nothing. arbiter: is there one? */
struct fo_step fo_primary_step(enum fo_primary_state s, enum fo_primary_event ev, bool arbiter);
struct fo_step fo_backup_step(enum fo_backup_state s, enum fo_backup_event ev, bool arbiter);
const char *fo_primary_state_name(enum fo_primary_state s);
const char *fo_primary_event_name(enum fo_primary_event ev);
const char *fo_backup_state_name(enum fo_backup_state s);
const char *fo_backup_event_name(enum fo_backup_event ev);
const char *fo_action_name(enum fo_action a);
/* What they mean, a few words each: the second column of the lists above. */
const char *fo_primary_state_why(enum fo_primary_state s);
const char *fo_primary_event_why(enum fo_primary_event ev);
const char *fo_backup_state_why(enum fo_backup_state s);
const char *fo_backup_event_why(enum fo_backup_event ev);
const char *fo_action_why(enum fo_action a);

/* ---- what the two ends say to each other ---- */
enum fo_msg_kind {
	FO_M_HEARTBEAT, /* primary: seq, sent_ns */
	FO_M_ECHO,	/* backup: seq and sent_ns as they came */
	FO_M_COMMITTED, /* backup: epoch */
	FO_M_TAKE_OVER, /* primary: epoch that the VM was stopped with; 0: its process died */
	FO_M_FENCED,	/* either: the VM has a higher generation here; running: and runs here */
	FO_M_BYE,	/* primary: protection ends */
};
struct fo_msg {
	enum fo_msg_kind kind;
	uint64_t generation; /* the sender's; in every message */
	uint64_t epoch, seq;
	int64_t sent_ns; /* the primary's own clock, only ever compared by the primary */
	bool datagram;	 /* heartbeats and echoes: beside the stream */
	bool running;
};

/*
 * ---- the engines: one session of one VM, seen from its primary and from its backup ----
 *
 * They own everything that decides: the table's state, generation, the epochs' numbers, lease,
 * silence, questions. Their owner brings events with the time of its turn and carries out what the
 * ops say, in the order said; ops must not call back into the engine. daemon/source*.c and
 * replicator/sink/sink.c own them in production, tests/sim in simulated hosts.
 */
#define FO_MAX_IN_FLIGHT 2

struct fo_primary;
struct fo_primary_ops {
	void (*send)(void *arg, const struct fo_msg *m);
	void (*ask)(void *arg, enum fo_question q);
	/*
	 * Output of `epoch` and older ones may leave, as long as this host's clock, read anew and
	 * last of all, is before until_ns (the lease's end). False: too late, nothing has left.
	 */
	bool (*release)(void *arg, uint64_t generation, uint64_t epoch, int64_t until_ns);
	/* From the table, all but those that the engine does itself: LEAVE, STOP_VM, RESUME_VM,
	 * LAST_EPOCH (may_capture is true now), QUIT_VM, END. */
	void (*act)(void *arg, enum fo_action a);
	/* After a change of state, its actions done; for the log. */
	void (*changed)(void *arg, enum fo_primary_event ev, enum fo_primary_state from);
};
struct fo_asked { /* a question: ever asked, its answer due, granted by its newest answer */
	bool asked, open, won;
};
struct fo_primary { /* read only for its owner */
	const struct fo_times *times;
	const struct fo_primary_ops *ops;
	void *arg;
	bool arbiter;
	uint64_t generation;
	unsigned in_flight_max; /* the owner's, 1 to FO_MAX_IN_FLIGHT */
	enum fo_primary_state state;
	bool welcomed, synced, releasing, capturing, ended;
	struct fo_asked pair, alone; /* both may be open: ALONE is asked without waiting for PAIR */
	bool over;		     /* ended, and the last action has been carried out */
	bool excused;		     /* the last tick came late, and nothing was concluded */
	bool switch_wanted, last_taken; /* planned: the last epoch's capture has begun */
	uint64_t epoch_running;		/* the next to be captured; from 1 */
	uint64_t epoch_captured, epoch_sent, epoch_committed, epoch_released;
	uint64_t seq;
	int64_t lease_from_ns; /* own stamp of the newest heartbeat that came back; 0 none */
	int64_t beat_at_ns, heartbeat_at_ns, retry_at_ns, overdue_at_ns, last_tick_ns; /* 0 none */
};
void fo_primary_init(struct fo_primary *p, const struct fo_times *t,
		     const struct fo_primary_ops *ops, void *arg, uint64_t generation,
		     bool arbiter);
/* The backup has a standby: heartbeats begin. */
void fo_primary_welcomed(struct fo_primary *p, int64_t now_ns);
/* Every tick_ns. heard_ns: when anything came from the backup last. */
void fo_primary_tick(struct fo_primary *p, int64_t now_ns, int64_t heard_ns);
/* TV_E_PROTOCOL: the message has no place here; the owner closes, and says fo_primary_event
 * (PEER_LOST). */
int fo_primary_message(struct fo_primary *p, int64_t now_ns, const struct fo_msg *m) TV_MUST_CHECK;
/* What fo_claim gave. */
void fo_primary_answer(struct fo_primary *p, int64_t now_ns, enum fo_question q, int rc);
/* From the owner: PEER_LOST, LEAVE, SWITCH, VM_DIED, HIGHER_GENERATION; no other. */
void fo_primary_event(struct fo_primary *p, int64_t now_ns, enum fo_primary_event ev);
/* The first copy is sent: epoch 1 may be captured. */
void fo_primary_synced(struct fo_primary *p);
/* May the next epoch begin (when the owner's pace wants one)? */
bool fo_primary_may_capture(const struct fo_primary *p);
/* The next epoch must begin now, whatever the pace; true also: the VM stays stopped after it. */
bool fo_primary_last_epoch(const struct fo_primary *p);
/* Begins a capture; only when it may. Returns the epoch's number. */
uint64_t fo_primary_capture(struct fo_primary *p);
/* The capture is over; false: nothing was captured (the VM is paused by a person). */
void fo_primary_captured(struct fo_primary *p, bool captured);
/* The end of an epoch has been given to the connection. */
void fo_primary_sent(struct fo_primary *p, uint64_t epoch);

struct fo_backup;
struct fo_backup_ops {
	void (*send)(void *arg, const struct fo_msg *m);
	void (*ask)(void *arg, enum fo_question q);
	/* PROMOTE (generation is the new one), DISCARD, HAND_OVER. */
	void (*act)(void *arg, enum fo_action a, uint64_t generation);
	void (*changed)(void *arg, enum fo_backup_event ev, enum fo_backup_state from);
};
struct fo_backup { /* read only for its owner */
	const struct fo_times *times;
	const struct fo_backup_ops *ops;
	void *arg;
	bool arbiter;
	uint64_t session_generation; /* the primary's */
	uint64_t generation;	     /* the same, until this host has the VM */
	enum fo_backup_state state;
	bool welcomed, closed, syncing, in_epoch, ended;
	bool over; /* ended, and the last action has been carried out */
	struct fo_asked promote;
	uint64_t epoch_open, epoch_committed;
	int64_t grace_at_ns, retry_at_ns, last_tick_ns; /* 0 none */
};
void fo_backup_init(struct fo_backup *b, const struct fo_times *t, const struct fo_backup_ops *ops,
		    void *arg, uint64_t generation, bool arbiter);
/* The standby is there and the primary is told: the first copy comes. */
void fo_backup_welcomed(struct fo_backup *b, int64_t now_ns);
/* Every tick_ns. heard_ns: when anything came from the primary last (at least the welcome). */
void fo_backup_tick(struct fo_backup *b, int64_t now_ns, int64_t heard_ns);
/* TV_E_PROTOCOL: no place here. -ESTALE: of an older generation, not acted on, its sender told. */
int fo_backup_message(struct fo_backup *b, int64_t now_ns, const struct fo_msg *m) TV_MUST_CHECK;
/* Marks of the stream; 0, TV_E_PROTOCOL or -ESTALE as above. */
int fo_backup_sync_end(struct fo_backup *b, uint64_t generation) TV_MUST_CHECK;
int fo_backup_epoch_begin(struct fo_backup *b, uint64_t generation, uint64_t epoch) TV_MUST_CHECK;
int fo_backup_epoch_end(struct fo_backup *b, uint64_t generation, uint64_t epoch) TV_MUST_CHECK;
/* The epoch is here whole and checked: it is committed. */
void fo_backup_verified(struct fo_backup *b, int64_t now_ns, uint64_t epoch);
/* The connection is closed. */
void fo_backup_closed(struct fo_backup *b, int64_t now_ns);
/* What fo_claim gave; generation: of the record when rc is 0. */
void fo_backup_answer(struct fo_backup *b, int64_t now_ns, int rc, uint64_t generation);
void fo_backup_promoted(struct fo_backup *b, int64_t now_ns, int rc);
/* A person says that the primary does not run any more. False: refused in this state. */
bool fo_backup_force(struct fo_backup *b, int64_t now_ns);

#endif
