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
 * answer to the engine. Independent of these: fo_reprotect_* for a VM that has no backup, fo_judge (owner.h)
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
	int64_t commit_deadline_ns; /* or after this much time without progress of what is not
				       committed; a backup whose apply thread does not move for
				       this long echoes no heartbeat */
	int64_t hung_ns; /* a QEMU that owes an answer so long is killed, if hung_qemu says it */
	int64_t stream_stuck_ns;    /* the kernel ends a connection on which nothing that was sent
				       is acknowledged for this long (TCP_USER_TIMEOUT) */
	int64_t handshake_ns;	    /* a peer that has connected proves who it is within this */
	int64_t look_ns;	    /* a host asks another what it knows this often */
	int64_t hello_ns;	    /* a primary that has connected offers its VM within this */
	int64_t reconnect_grace_ns; /* the connection closed, so the peer's kernel lives: wait this
				       long for its daemon to record or to reconnect */
	int64_t switch_ns;	    /* a planned switch that takes longer is called off */
	int64_t retry_ns;	    /* between two tries to reach arbiter or peer */
	int64_t tick_ns;	    /* how often silence is looked for */
	/* between two tries to have a VM protected again: reprotect.c */
	int64_t reprotect_first_ns, reprotect_last_ns, reprotect_refused_ns, reprotect_calm_ns;
	int64_t pet_ns;		   /* between two looks at the watchdog */
	int64_t hung_look_ns;	   /* between two looks for a replicator that hangs in a pause */
	int64_t fence_ns;	   /* a program that switches a host off has this long */
	int64_t arbiter_next_ns;   /* an etcd member that has not answered for this long is not
				      waited for alone: the next one is asked as well */
	int64_t arbiter_answer_ns; /* no etcd member has answered one request: given up */
	int64_t announce_ns;	   /* a host announces itself this often */
	int64_t member_ns;	   /* and is not a member any more after this much silence */
};
/* Sets all of *t from the heartbeat interval. */
void fo_times_init(struct fo_times *t, int64_t heartbeat_ns);
/* 0: hosts that far apart (round trip) can be a pair with these times. Else the heartbeat interval
 * that they need, in ns. */
int64_t fo_times_for(const struct fo_times *t, bool arbiter, int64_t rtt_ns);

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
	FO_ASK_BACK,	/* primary: the backup could not start the VM; generation + 2 */
	FO_ASK_PROMOTE, /* backup: this host runs the VM from now on; generation + 1; again after
			 * its promotion failed: withdraws an offer to give the VM back */
	FO_ASK_LOOK,	/* either: what is on record? Nothing is claimed. -ENOENT: nothing */
	FO_QUESTIONS
};
struct fo_claim {
	char vm_id[33];
	char self[64]; /* this host */
	char peer[64]; /* the other one */
	char session[33];
	uint64_t generation; /* that this side knows */
	bool had_record;     /* there was one: if there is none now, that is no answer */
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
/* The better ones first. Unknown: nothing there reports hardware errors, which is no reproach. */
enum fo_health { FO_GREEN, FO_UNKNOWN, FO_YELLOW, FO_RED, FO_HEALTHS };
struct fo_host {
	char name[64];	   /* as in its certificate: letters, digits, '.', '_', '-' */
	char address[160]; /* HOST:PORT where its twinvmd listens for other hosts */
	uint64_t free_mib; /* memory that a standby may take */
	unsigned cpus;
	enum fo_health health;
};
#define FO_MAX_HOSTS 64
/*
 * The host to be the next backup, NULL if none can: never self, only one that is well (fo_is_well), and
 * only with need_mib of free memory. last_peer ("" or NULL: none) first, since it may still have the
 * VM's disks; then the most free memory, then the name.
 */
const struct fo_host *fo_choose_backup(const struct fo_host *hosts, unsigned n, const char *self,
				       const char *last_peer, uint64_t need_mib);
/* "green", "unknown", "yellow", "red". */
const char *fo_health_name(enum fo_health h);
/* False: no such word (NULL neither); *out is then FO_UNKNOWN. */
bool fo_health_of(const char *word, enum fo_health *out);
/* May a host of that health be chosen as a backup without an operator? */
bool fo_is_well(enum fo_health h);
/* Is a host of health a a better place for a VM than one of health b? */
bool fo_is_better(enum fo_health a, enum fo_health b);

/* ---- the decision core: two tables (core.c), drawn in docs/FAILOVER.md ---- */
/* clang-format off */
#define FO_PRIMARY_STATES(X) \
	X(OPENING, "before anything is offered: the record is to name this host, and this session") \
	X(SYNCING, "first copy under way: output passes, no other host may run the VM") \
	X(DOUBTING, "as SYNCING; a host reports a higher generation, and the record is asked") \
	X(PAIRING, "first epoch committed, its record is asked for; output held") \
	X(PROTECTED, "output follows commits") \
	X(SUSPENDED, "lease expired: VM stopped until the record states that it runs alone, or a lease") \
	X(REPAIRING, "lease renewed: output follows commits; the record may have to be set right") \
	X(ASKING, "backup lost: output held until the record states that this host runs alone") \
	X(HELD, "as ASKING, and the lease has expired: VM stopped") \
	X(LEAVING, "operator ends protection: otherwise as ASKING") \
	X(SWITCHING, "planned switch: the last epoch is being sent, the VM is stopped by it; or a " \
		     "memory error: no epoch is taken, the VM is being stopped") \
	X(YIELDING, "planned switch: the backup was asked to take over") \
	X(CHECKING, "planned switch: the backup reports that it has the record, which is asked") \
	X(YIELDED, "planned switch: the backup has the record, but has not reported that it runs") \
	X(QUITTING, "planned switch: the backup reports that it runs the VM, and the record is asked") \
	X(RETURNING, "planned switch: the backup cannot start the VM, the record is asked for it") \
	X(ALONE, "end of the session: the VM runs unprotected, or its process has ended") \
	X(SWITCHED, "end of the session: the backup runs the VM") \
	X(FENCED, "another host runs the VM: this instance is stopped for good")
#define FO_PRIMARY_EVENTS(X) \
	X(FIRST_COMMIT, "the first epoch is committed") \
	X(PAIR_RECORDED, "the record names the backup") \
	X(ALONE_RECORDED, "the record states that this host runs alone") \
	X(RECORD_LOST, "the record names another host, for good") \
	X(ARBITER_UNREACHABLE, "it is unknown whether the record was written") \
	X(PEER_LOST, "connection closed, or nothing received for backup_lost_ns") \
	X(COMMIT_OVERDUE, "nothing of what is not committed moved for commit_deadline_ns") \
	X(LEASE_OVER, "no heartbeat of the last lease_ns has come back: lease expired") \
	X(LEASE_BACK, "a recent heartbeat came back: lease renewed") \
	X(LEAVE, "operator ends protection") \
	X(SWITCH, "operator requests a planned switch") \
	X(LAST_COMMIT, "the VM is stopped, and the epoch that the backup is to continue from is committed") \
	X(POISON, "a memory error in the VM: no epoch that was captured after it counts") \
	X(SWITCH_OVERDUE, "the backup has not reported that it took over within switch_ns") \
	X(PEER_RUNS, "the backup reports that it runs the VM") \
	X(HIGHER_GENERATION, "a host reports a higher generation of this VM: a claim, no proof") \
	X(STALE, "another host has a higher generation of this VM, and that is sure") \
	X(OFFERED, "the backup cannot start the VM and offers it back") \
	X(VM_DIED, "QEMU's process has ended, or was killed because it hangs")
#define FO_BACKUP_STATES(X) \
	X(SYNCING, "no epoch is committed: nothing to run yet") \
	X(STANDBY, "an epoch is committed") \
	X(ASKING, "the arbiter is asked for the VM: neither commits nor echoes are sent any more") \
	X(WAITING, "no arbiter: waits for an operator, or for the primary to come back") \
	X(PROMOTING, "the VM is being started from the last committed epoch") \
	X(OFFERED, "planned switch: the VM could not be started and is offered back") \
	X(KEPT, "the VM could not be started: its last copy is kept for an operator") \
	X(PROMOTED, "end of the session: the VM runs here") \
	X(GONE, "end of the session: the standby is removed")
#define FO_BACKUP_EVENTS(X) \
	X(FIRST_COMMIT, "the first epoch is committed") \
	X(SILENCE, "nothing received for suspect_ns") \
	X(TRAFFIC, "a message from the primary") \
	X(GRACE_OVER, "the connection stayed closed for reconnect_grace_ns") \
	X(TAKE_OVER, "the primary asks this host to take over") \
	X(FORCE, "operator forces promotion") \
	X(WON, "the record gives this host the VM") \
	X(LOST, "the record names another host, for good") \
	X(UNREACHABLE, "it is unknown whether the record was written") \
	X(BYE, "the primary ends protection") \
	X(PROMOTE_DONE, "the VM runs") \
	X(PROMOTE_FAILED, "the VM could not be started") \
	X(SWITCH_FAILED, "the VM could not be started, and the primary waits with a whole copy") \
	X(TAKEN_BACK, "the primary has taken back the VM that was offered") \
	X(RETRY, "operator tries the promotion again")
#define FO_ACTIONS(X) \
	X(HELLO, "offer the VM to the backup") \
	X(ASK_PAIR, "ask the arbiter to record the backup") \
	X(ASK_ALONE, "ask the arbiter to record that no other host runs the VM") \
	X(ASK_BACK, "ask the arbiter for the VM that the backup offers back") \
	X(ASK_LATER, "ask again after retry_ns") \
	X(RELEASE, "from now on commits release output") \
	X(LEAVE, "release all output, detach, end the session; the VM keeps running") \
	X(STOP_VM, "stop the VM; if it is stopped already, keep it stopped") \
	X(RESUME_VM, "resume the VM if STOP_VM stopped it") \
	X(LAST_EPOCH, "capture one more epoch and leave the VM stopped") \
	X(TAKE_OVER, "ask the backup to promote at once") \
	X(QUIT_VM, "this instance is not needed any more: end its process and the session") \
	X(END, "the VM's process is gone: end the session") \
	X(ASK_PROMOTE, "ask the arbiter for the VM") \
	X(PROMOTE, "send the primary the new generation, start the VM") \
	X(OFFER, "send the primary the offer to take the VM back") \
	X(DISCARD, "remove the standby and end the session") \
	X(HAND_OVER, "report to the primary that the VM runs, give the VM to the daemon")
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
/* A pair without a row stays in its state and has no actions. arbiter: is there one? */
struct fo_step fo_primary_step(enum fo_primary_state s, enum fo_primary_event ev, bool arbiter);
struct fo_step fo_backup_step(enum fo_backup_state s, enum fo_backup_event ev, bool arbiter);
const char *fo_primary_state_name(enum fo_primary_state s);
const char *fo_primary_event_name(enum fo_primary_event ev);
const char *fo_backup_state_name(enum fo_backup_state s);
const char *fo_backup_event_name(enum fo_backup_event ev);
const char *fo_action_name(enum fo_action a);
/* What they mean: the second column of the lists above. */
const char *fo_primary_state_why(enum fo_primary_state s);
const char *fo_primary_event_why(enum fo_primary_event ev);
const char *fo_backup_state_why(enum fo_backup_state s);
const char *fo_backup_event_why(enum fo_backup_event ev);
const char *fo_action_why(enum fo_action a);

/* ---- messages between the two ends ---- */
enum fo_msg_kind {
	FO_M_HEARTBEAT, /* primary: seq, sent_ns */
	FO_M_ECHO,	/* backup: seq and sent_ns of the heartbeat */
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
	uint64_t moved;	 /* echo: grows as long as the backup's apply thread works; 0 not known */
	bool datagram; /* heartbeats and echoes that came beside the stream; the engines send none */
	bool running;
	bool offered;  /* FENCED: and could not be started; the primary may take it back */
	bool poisoned; /* TAKE_OVER: for a memory error in the VM */
};

/*
 * ---- the engines: one session of one VM, seen from its primary and from its backup ----
 *
 * They own everything that decides: the table's state, generation, the epochs' numbers, lease,
 * silence, questions. Their owner passes events with the time of its turn and carries out each op
 * when it is called; an op must not call back into the engine. replicator/source and
 * replicator/sink own them in production, tests/sim in simulated hosts.
 *
 * The engines assert their invariants, also in production: an owner that breaks the order of calls
 * given here, or a mistake in an engine, aborts the process. What a peer sends never does: that is
 * TV_E_PROTOCOL.
 */
#define FO_MAX_IN_FLIGHT 2

struct fo_primary;
struct fo_primary_ops {
	void (*send)(void *arg, const struct fo_msg *m);
	void (*ask)(void *arg, enum fo_question q);
	/*
	 * Output of `epoch` and older ones may leave if this host's clock, read now and after all
	 * other preparation, is before until_ns (the lease's end). False: too late, none has left.
	 */
	bool (*release)(void *arg, uint64_t generation, uint64_t epoch, int64_t until_ns);
	/* The table's actions, without those that the engine carries out itself: HELLO, LEAVE,
	 * STOP_VM, RESUME_VM, LAST_EPOCH (may_capture is true now), QUIT_VM, END. */
	void (*act)(void *arg, enum fo_action a);
	/* After a change of state and its actions; for the log. */
	void (*changed)(void *arg, enum fo_primary_event ev, enum fo_primary_state from);
};
struct fo_asked { /* a question: ever asked; its answer is due; granted, and no other asked since */
	bool asked, open, won;
};
struct fo_primary { /* read only for its owner */
	const struct fo_times *times;
	const struct fo_primary_ops *ops;
	void *arg;
	bool arbiter;
	bool was_backup; /* the owner's: the peer was this VM's backup in this generation */
	uint64_t generation;
	unsigned in_flight_max; /* the owner's, 1 to FO_MAX_IN_FLIGHT */
	enum fo_primary_state state;
	bool recorded; /* there is a record, of this session */
	bool welcomed, synced, releasing, capturing, ended;
	struct fo_asked pair, alone, back; /* one of them is open at most */
	bool next; /* when that is answered, next_q is asked: the answer is old */
	enum fo_question next_q;
	bool over;	 /* ended, and the last action has been carried out */
	bool excused;	 /* the last tick came late, and nothing was concluded */
	bool last_taken; /* planned switch: the last epoch's capture has begun */
	bool poisoned;	 /* no epoch after poison_after is committed any more; */
	bool halted;	 /* and the VM stands still for it */
	uint64_t poison_after;
	uint64_t epoch_running; /* the next to be captured; from 1 */
	uint64_t epoch_captured, epoch_sent, epoch_committed, epoch_released;
	uint64_t seq;
	int64_t lease_from_ns; /* own stamp of the newest heartbeat that came back; 0 none */
	int64_t heartbeat_at_ns, retry_at_ns, overdue_at_ns, last_tick_ns; /* 0 none */
	uint64_t moved;	     /* of the backup's apply thread, as the echoes report */
	int64_t progress_ns; /* when what is not committed moved last, or nothing was uncommitted */
};
void fo_primary_init(struct fo_primary *p, const struct fo_times *t,
		     const struct fo_primary_ops *ops, void *arg, uint64_t generation,
		     bool arbiter);
/* The VM is ready to be offered: the record is asked for, then the action HELLO. */
void fo_primary_begin(struct fo_primary *p);
/* The backup has a standby: heartbeats begin. */
void fo_primary_welcomed(struct fo_primary *p, int64_t now_ns);
/*
 * Heartbeats as datagrams are sent by a thread of the owner's, every beat_ns and until then, by
 * this host's clock; 0: none. To be asked for after each call that may change it (a tick, ops'
 * changed). The thread checks that an echo is of a heartbeat that it sent.
 *
 * Their end is what makes a wedged primary's backup take over: the thread does not know whether the
 * loop that decides lives. A loop that does not turn releases nothing and stops nothing. Both hosts
 * are well and the VM runs, so it is waited for as long as for a backup that is stuck, and not
 * longer. Safe whatever the loop does later: the lease runs from heartbeats that were sent and came
 * back, and is looked at with the clock read anew at each release.
 */
int64_t fo_primary_beats_until(const struct fo_primary *p);
/*
 * A memory error in the VM was seen. good: the newest epoch whose capture ended before the first
 * sign of it. No later epoch counts: one that is being captured does not, none begins, and nothing
 * more is sent of one that waits (fo_primary_counts). As soon as the backup may be asked to take
 * over by record, the VM is stopped (STOP_VM), and once fo_primary_halted reports that and epoch
 * `good` is committed, the backup continues from there. Without a whole copy on a backup nothing
 * changes: QEMU hands the error to its guest.
 */
void fo_primary_poisoned(struct fo_primary *p, int64_t now_ns, uint64_t good);
/* The VM stands still, by the newest STOP_VM. */
void fo_primary_halted(struct fo_primary *p, int64_t now_ns);
/* May anything of this epoch be sent? Asked immediately before. */
bool fo_primary_counts(const struct fo_primary *p, uint64_t epoch);
/* Every tick_ns. rx_ns: when the last message of the backup was received. */
void fo_primary_tick(struct fo_primary *p, int64_t now_ns, int64_t rx_ns);
/* More of what was sent is acknowledged by the peer's TCP, heartbeats not counted. */
void fo_primary_progress(struct fo_primary *p, int64_t now_ns);
/* TV_E_PROTOCOL: unexpected message; the owner closes the connection and passes PEER_LOST. */
int fo_primary_message(struct fo_primary *p, int64_t now_ns, const struct fo_msg *m) TV_MUST_CHECK;
/* What fo_claim returned; once for each question asked. */
void fo_primary_answer(struct fo_primary *p, int64_t now_ns, enum fo_question q, int rc);
/* From the owner: PEER_LOST, LEAVE, SWITCH, VM_DIED, STALE; no other. */
void fo_primary_event(struct fo_primary *p, int64_t now_ns, enum fo_primary_event ev);
/* The first copy is sent: epoch 1 may be captured. */
void fo_primary_synced(struct fo_primary *p);
/* May the next epoch begin (when the owner's pace wants one)? */
bool fo_primary_may_capture(const struct fo_primary *p);
/* The next epoch must begin now, whatever the pace; true also: the VM stays stopped after it. */
bool fo_primary_last_epoch(const struct fo_primary *p);
/* Begins a capture; only when it may. Returns the epoch's number. */
uint64_t fo_primary_capture(struct fo_primary *p);
/* The owner, whose release() has refused, could release now. */
void fo_primary_try_release(struct fo_primary *p, int64_t now_ns);
/* The capture is over; false: nothing was captured (the VM is paused by its operator). */
void fo_primary_captured(struct fo_primary *p, bool captured);
/* The end of the next epoch has been given to the connection. */
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
	bool excused; /* the last tick came late, and nothing was concluded */
	bool over;    /* ended, and the last action has been carried out */
	struct fo_asked promote;
	bool planned;  /* the primary has stopped its VM, whole, and waits */
	bool poisoned; /* it has seen a memory error in it */
	uint64_t epoch_open, epoch_committed;
	int64_t grace_at_ns, retry_at_ns, last_tick_ns; /* 0 none */
	uint64_t moved;
	int64_t moved_ns; /* when the apply thread moved last, or had no work; 0: not known */
};
void fo_backup_init(struct fo_backup *b, const struct fo_times *t, const struct fo_backup_ops *ops,
		    void *arg, uint64_t generation, bool arbiter);
/* The standby is ready and the welcome has been sent: the first copy comes next. */
void fo_backup_welcomed(struct fo_backup *b, int64_t now_ns);
/*
 * Before each tick. moved: a number that grows as long as the apply thread works; has_work: it is
 * to work on something, or does.
 */
void fo_backup_moved(struct fo_backup *b, int64_t now_ns, uint64_t moved, bool has_work);
/*
 * Heartbeats that come as datagrams are echoed by a thread of the owner's, with `moved`, until
 * then, by this host's clock; 0: none.
 *
 * Each echo is a lease. So before a tick that may conclude silence, and before op ask, the owner
 * stops the echoes first and takes the arrival of the last heartbeat (rx_ns) after that: either the
 * thread finds that it must not echo, or the tick finds that there is no silence.
 */
int64_t fo_backup_echoes_until(const struct fo_backup *b);
/* Every tick_ns. rx_ns: when the last message of the primary was received, or the welcome sent. */
void fo_backup_tick(struct fo_backup *b, int64_t now_ns, int64_t rx_ns);
/* TV_E_PROTOCOL: unexpected message. -ESTALE: of an older generation; ignored, and FENCED sent. */
int fo_backup_message(struct fo_backup *b, int64_t now_ns, const struct fo_msg *m) TV_MUST_CHECK;
/* Marks of the stream; TV_E_PROTOCOL or -ESTALE as above, and then the mark has no effect. */
int fo_backup_sync_end(struct fo_backup *b, uint64_t generation) TV_MUST_CHECK;
int fo_backup_epoch_begin(struct fo_backup *b, uint64_t generation, uint64_t epoch) TV_MUST_CHECK;
int fo_backup_epoch_end(struct fo_backup *b, uint64_t generation, uint64_t epoch) TV_MUST_CHECK;
/* The epoch was received whole and checked: it is committed. In order, none left out. */
void fo_backup_verified(struct fo_backup *b, int64_t now_ns, uint64_t epoch);
/* The connection is closed. */
void fo_backup_closed(struct fo_backup *b, int64_t now_ns);
/* What fo_claim returned; generation: of the record when rc is 0. */
void fo_backup_answer(struct fo_backup *b, int64_t now_ns, int rc, uint64_t generation);
/* The end of PROMOTE: 0, or the VM could not be started. */
void fo_backup_promoted(struct fo_backup *b, int64_t now_ns, int rc);
/* The operator states that the primary does not run any more. False: refused in this state. */
bool fo_backup_force(struct fo_backup *b, int64_t now_ns);
/* Tries a promotion again that failed. False: none has failed. */
bool fo_backup_retry(struct fo_backup *b, int64_t now_ns);
/*
 * A newer session of this VM has come to this host, so another one runs it: a copy whose promotion
 * failed is asked about once more, and goes when the record names another host. Without an arbiter
 * nobody but the operator may start it while that host runs: it goes.
 */
void fo_backup_replaced(struct fo_backup *b, int64_t now_ns);
/* This host took the VM over, by record if there is one: its copy may be the last. */
static inline bool fo_backup_owns(const struct fo_backup *b)
{
	return b->generation > b->session_generation;
}

#include "failover/owner.h"
#include "failover/moves.h"
#include "failover/reprotect.h"

#endif
