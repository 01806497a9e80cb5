/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: hosts, their clocks, the network between them, an arbiter, a VM and its clients, in one
 * process and in simulated time, around the real engines of failover/. docs/SIMULATION.md lists what
 * is real and what stands in.
 *
 * One history at a time lives in `sim`; everything in it comes from one seed. Memory is taken from
 * an arena that the next history uses again. Files: queue.c time and chance; net.c; arbiter.c; vm.c
 * the VM and its held output; client.c; source.c, capture.c and sink.c around the engines;
 * daemon.c, recover.c; host.c; fault.c, hostile.c, operator.c; check.c the invariants; history.c, many.c, main.c.
 */
#ifndef SIM_H
#define SIM_H

#include "failover/failover.h"

#include <stdint.h>
#include <ucontext.h>

#define HOSTS 3
#define NODE_ARBITER 3
#define NODE_CLIENT 4
#define NODES 5
#define CLIENTS 3
#define MS TV_NS_PER_MS
#define VM_ID "0123456789abcdef0123456789abcdef"

struct host;

/* ---- time and chance (queue.c) ---- */
typedef void (*ev_fn)(void *arg, uint64_t n);
struct ev {
	int64_t at;
	uint64_t seq;
	ev_fn fn;
	void *arg;
	uint64_t n;
	struct proc *p; /* whose event: not run when it is dead, put off while it is frozen */
	bool timer;
	struct ev *next;
};
enum proc_kind { P_DAEMON, P_SOURCE, P_SINK, P_RECOVER, P_VM, P_BEATS };
struct proc {
	struct host *h;
	enum proc_kind kind;
	bool alive;
	int frozen;	  /* count of reasons */
	int steps_left;	  /* dies (or its host does) at this many steps from now; 0 never */
	bool takes_host;  /* the host dies with it */
	int64_t stale_ns; /* frozen in the middle of a turn: what it had read from its clock */
	struct ev *late, **late_tail;
	struct proc *thread; /* a second one of the same process: its heartbeats' */
	bool thread_held;    /* frozen together with this one */
	struct proc *next;
};
void sim_reset(uint64_t seed);
void *sim_alloc(size_t n); /* zeroed; lives as long as the history */
uint64_t rnd(uint64_t n);  /* 0 .. n-1 */
int64_t between(int64_t lo, int64_t hi);
bool chance(unsigned permille);
void at(int64_t when, struct proc *p, ev_fn fn, void *arg, uint64_t n);
void after(int64_t ns, struct proc *p, ev_fn fn, void *arg, uint64_t n);
/* A timer of p by its host's clock. */
void timer(struct proc *p, int64_t local_ns, ev_fn fn, void *arg, uint64_t n);
int64_t host_now(const struct host *h);
/* What p takes for now in this turn. */
int64_t turn_now(const struct proc *p);
/* Runs events until the history is over or the time is. */
void run_until(int64_t end);
void proc_init(struct proc *p, struct host *h, enum proc_kind kind);
void proc_freeze(struct proc *p);
void proc_thaw(struct proc *p);
/* Its loop hangs, or all of it. */
void proc_hang(struct proc *p);
/* Every event and every op of an engine is a step; false: p died at it. */
bool step(struct proc *p);

/* ---- network (net.c) ---- */
enum msg_kind { M_CONNECT, M_WELCOME, M_REFUSE, M_SYNC_END, M_BEGIN, M_MEM, M_DISK, M_END, M_FO };
struct state { /* of the VM: memory, devices and disks of one moment */
	uint64_t value[CLIENTS], token[CLIENTS], request[CLIENTS];
	uint64_t ops, mark;
};
struct msg {
	enum msg_kind kind;
	struct fo_msg fo;
	uint64_t epoch, generation;
	struct session *session;
	struct source *source;
	struct sink *sink;
	struct state st;
	bool recorded; /* M_CONNECT: the record names the sender and its session */
	bool bad;      /* damaged on its way into the replica */
};
struct conn_end {
	struct proc *p;
	void (*on_msg)(void *arg, const struct msg *m);
	void (*on_closed)(void *arg);
	void *arg;
	struct host *h;
	int64_t last;	     /* arrival of the newest message to here */
	uint64_t got, acked; /* bulk messages that came to here, and that the sender knows of */
	struct pending *head, **tail;
	bool gone, flushing; /* gone: closed here, or known to be closed */
};
struct conn {
	struct conn_end end[2];
	struct conn *next;
};
struct link {
	int blocked;   /* nothing passes */
	int stalled;   /* streams do not get on, datagrams do */
	unsigned loss; /* permille */
	int64_t delay_min, delay_max;
};
void net_init(void);
struct conn *conn_new(struct host *a, struct host *b);
void conn_attach(struct conn *c, int side, struct proc *p,
		 void (*on_msg)(void *, const struct msg *), void (*on_closed)(void *), void *arg);
void conn_send(struct conn *c, int side, const struct msg *m);
void conn_close(struct conn *c, int side);
/* How many of its bulk messages that side's kernel knows to have arrived. */
uint64_t conn_acked(struct conn *c, int side);
/* p is dead: its kernel closes its connections, if that is still there. */
void conns_of_dead(struct proc *p, bool host_too);
void conns_break(struct host *a, struct host *b); /* resets them */
void datagram(struct host *from, struct proc *to, void (*fn)(void *, const struct msg *), void *arg,
	      const struct msg *m);
void net_block(int from, int to);
void net_unblock(int from, int to);
void net_stall(int from, int to);
void net_unstall(int from, int to);
bool net_passes(int from, int to);
int64_t net_delay(int from, int to);

/* ---- arbiter (arbiter.c) ---- */
struct ask {
	struct proc *p;
	enum fo_question q;
	struct fo_claim claim;
	bool look; /* no question: the record as it is */
	struct fo_record rec;
	int rc;
	void (*done)(void *arg, const struct ask *k);
	void *arg;
	struct asker *from;
	struct ask *next;
	/* the coroutine */
	struct fo_arbiter door;
	ucontext_t ctx;
	uint64_t token;
	bool answered;
	uint64_t life;
	int reply_rc;
	struct fo_record reply;
};
struct asker { /* one question at a time, as fo_ask */
	struct ask *head, **tail;
};
void ask_init(struct asker *a);
void ask_start(struct asker *a, struct proc *p, enum fo_question q, const struct fo_claim *c,
	       void (*done)(void *arg, const struct ask *k), void *arg);
void ask_look(struct asker *a, struct proc *p, void (*done)(void *arg, const struct ask *k),
	      void *arg);
void arbiter_forget(struct host *h);

/* ---- VM (vm.c) ---- */
enum nb { NB_PASSES, NB_HOLDS, NB_DRAINS };
struct frame {
	unsigned client;
	uint64_t request, key, value, token, ops, epoch;
	int64_t held_at;
	struct frame *next;
};
struct inst { /* one QEMU that has the VM's NIC */
	struct proc p;
	struct host *h;
	uint64_t generation;
	struct state st;
	bool paused;	     /* by a capture */
	bool stopped;	     /* by a decision */
	bool fenced;	     /* for good */
	bool given;	     /* without an arbiter: the backup was asked to take over */
	bool counted;	     /* was running when last looked at */
	bool counted_before; /* has run already: no promotion */
	enum nb nb;
	bool hold_next; /* NB_HOLDS from the next barrier on */
	struct session *held_for;
	struct frame *head, **tail;
	struct request *input, **input_tail;
	unsigned inputs;
	struct inst *next;
};
struct inst *inst_new(struct host *h, uint64_t generation, const struct state *st);
bool inst_runs(const struct inst *v);
/* After a change of paused or stopped: takes what waits, and is looked at. */
void inst_changed(struct inst *v);
void inst_die(struct inst *v);
void vm_request(unsigned client, uint64_t request, bool write, uint64_t key);
void nb_do_hold(struct inst *v, struct session *s);
void nb_do_barrier(struct inst *v, uint64_t epoch);
void nb_do_release(struct inst *v, uint64_t epoch);
void nb_do_pass(struct inst *v);
void nb_do_drop(struct inst *v, enum nb mode);
bool nb_holds_frames(const struct inst *v);

/* ---- clients (client.c) ---- */
void clients_start(void);
void client_receives(const struct frame *f);
uint64_t clients_acked(void);

/* ---- replicators ---- */
struct session { /* what is true of it, for the checks only */
	char id[33];
	struct host *primary, *backup;
	uint64_t generation;
	uint64_t committed; /* held whole by the backup */
	bool paired;	    /* on record */
	bool alone_after;   /* the primary ran alone after it, without an arbiter */
	bool asked, forced; /* to take over: by the primary, by the operator */
	bool spoiled;	    /* a memory error was seen in the VM; */
	uint64_t good;	    /* the newest epoch of before */
};
enum source_end {
	END_ALONE,
	END_LEFT,
	END_FAILED,
	END_REFUSED,
	END_FENCED,
	END_SWITCHED,
	END_VM_GONE
};
struct source {
	struct proc p;
	struct fo_primary e;
	struct host *h, *peer;
	struct conn *conn;
	struct sink *sink; /* where datagrams go */
	struct inst *vm;
	struct session *session;
	struct asker asker;
	struct proc beats; /* the thread of heartbeats, and what it shares with the loop */
	int64_t beats_until, beat_rx_ns;
	uint64_t beat_seq;
	struct fo_msg echo; /* the newest; */
	bool has_echo;	    /* and it is new */
	int64_t rx_ns, capture_at_ns, enc_busy, started_ns;
	uint64_t acked;
	struct job *jobs;
	bool leaving, user_leave, has_protected;
	unsigned sync_left;
	struct state captured;
};
struct source *source_start(struct host *h, struct host *peer);
void source_event(struct source *s, enum fo_primary_event ev);
void source_schedule(struct source *s); /* after every turn: is an epoch due? */
void source_finish(struct source *s, enum source_end how);
void source_outdated(struct source *s, uint64_t generation); /* known to its daemon */
/* The capture thread's jobs (capture.c): what ends a session waits for those before it. */
void job_later(struct source *s, int64_t ns, ev_fn fn, uint64_t n);
void job_stop(void *source, uint64_t n);
void job_resume(void *source, uint64_t n);
void job_quit(void *source, uint64_t n);
void source_took_back(struct host *h, struct inst *v, uint64_t generation);
void source_datagram(void *source, const struct msg *m);
struct sink {
	struct proc p;
	struct fo_backup e;
	struct host *h, *peer;
	struct conn *conn;
	struct source *source;
	struct session *session;
	struct asker asker;
	struct proc beats; /* as a source's */
	int64_t echoes_until, beat_rx_ns;
	struct fo_msg beat;
	bool has_beat;
	int64_t rx_ns, apply_busy;
	bool tried; /* to promote, and failed */
	uint64_t moved;
	bool ending, broken, introduced; /* to the daemon that is there now */
	uint64_t open_epoch, have_mem, have_disk;
	bool open_bad;
	struct state mem, disk, replica, checked[4];
	uint64_t replica_epoch;
	struct inst *vm;
};
void sink_start(struct host *h, struct conn *c, const struct msg *hello);
void sink_discard(struct sink *k, const char *why);
void sink_datagram(void *sink, const struct msg *m);
bool sink_retry(struct sink *k); /* a promotion that failed; false: none did */
bool sink_force(struct sink *k); /* by the operator */

/* ---- hosts and their daemons (host.c) ---- */
enum role { R_NONE, R_PRIMARY, R_BACKUP, R_FENCED };
struct host {
	int id;
	char name[8];
	bool up, frozen;
	bool sees_nothing; /* at the arbiter: an empty mount point */
	bool slow; /* its replicator gets its turn now and then, and is not frozen otherwise */
	int64_t rate_ppm, offset_ns;
	int64_t blind_at; /* when last no process here could have stopped the VM in time */
	struct proc *daemon;
	enum role role;
	uint64_t generation;
	struct fo_own known; /* whose the VM is: what is noted on its disk */
	bool had_record;     /* the VM was protected here by an arbiter that has its record */
	bool wanted, recovering;
	bool unprotected; /* by the operator */
	struct fo_reprotect reprotect;
	struct inst *vm;
	struct source *source;
	struct sink *sink;
	struct recover *recover;
	struct conn *waiting_conn; /* a newer session, until the older standby has ended */
	struct msg waiting_hello;
	struct host *old_primary; /* of a VM that was promoted here */
	struct news *news;	  /* for the daemon; outlives it */
};
struct recover {
	struct proc p;
	struct host *h;
	struct inst *vm;
	struct session *session;
	struct asker asker;
	int result; /* of the claim */
};
void host_init(int id);
void host_boot(struct host *h);
void host_cut(struct host *h); /* power */
void daemon_kill(struct host *h);
void daemon_start(struct host *h);
void daemon_listens(struct host *h, struct conn *c);
void daemon_event(struct host *h, ev_fn fn, uint64_t n); /* its daemon, or the next one */
void try_again(struct host *h, enum fo_reprotect_end how);
void recover_start(struct host *h);
void recovered(void *host, uint64_t code); /* 0 let go, 1 ask again, 2 fenced */
void replicator_died(struct proc *p);
void source_ended(struct source *s, enum source_end how);
void sink_ended(struct sink *k);
void sink_handed_over(struct sink *k);
void daemon_note(struct host *h, uint64_t generation, const struct host *owner,
		 const struct host *backup);
void host_freeze(struct host *h);
void host_thaw(struct host *h);
bool host_blind(const struct host *h);
void protect_again(struct host *h, const struct host *last);

/* ---- faults (fault.c), and who repairs (operator.c) ---- */
void faults_plan(void);
void operator_start(void);
void operator_switches(void);
void operator_unprotects(void);
void faults_end(void);
void fault_at_take_over(struct host *from, struct host *to);
/* poison.c */
void memory_error(void);
/* hostile.c: what a peer that lies, or is mistaken, does */
void false_hello(void);
void false_claim(void);

/* ---- one history (history.c) ---- */
void history(uint64_t seed);

/* ---- invariants (check.c) ---- */
enum how { BY_COMMIT, BY_PASS };
void check_frame(const struct inst *v, const struct frame *f, enum how how);
void check_release(const struct source *s, uint64_t epoch);
void check_held(void *arg, uint64_t n); /* begins, and looks again every few milliseconds */
void check_runs(struct inst *v);
void check_stops(const struct inst *v);
void check_record(const struct fo_record *old, bool had, const struct fo_record *next);
void check_promote(struct sink *k, uint64_t generation);
void check_resumed_state(struct sink *k, const struct state *st, uint64_t epoch);
void check_take_back(struct host *h, uint64_t generation);
void check_fenced(const struct host *h);
void check_believed(const struct host *h, const struct msg *hello, const struct ask *a);
void check_last_copy(const struct sink *k);
void check_answer(const struct sink *k, const struct ask *a);
void check_commit(const struct session *x, uint64_t epoch);
bool vm_is_lost(void);
bool all_is_well(char *why, size_t room);
void violation(int invariant, const char *fmt, ...) TV_PRINTF(2, 3);

struct stats {
	uint64_t histories, events, promotions, switches, fenced, suspended, commits, released,
		lost_vms, alone, kept, taken_back, recoveries, sessions, acks, faults,
		protected_again, spoiled;
	unsigned primary_rows[FO_P_COUNT][FO_PE_COUNT], backup_rows[FO_B_COUNT][FO_BE_COUNT];
};
struct sim {
	uint64_t seed, rng, hash, seq, text_hash;
	bool verbose, over, failed, quiet;
	int invariant;
	char message[400];
	int64_t now;
	struct ev **heap;
	size_t heap_n, heap_room;
	struct proc *procs;
	struct conn *conns;
	struct inst *insts;
	struct host host[HOSTS];
	unsigned hosts;
	struct link link[NODES][NODES];
	bool arbiter, arbiter_down;
	int64_t arbiter_slow_ns;
	bool have_record;
	uint64_t record_life; /* how often it was forgotten */
	struct fo_record record;
	ucontext_t loop;
	uint64_t token;
	struct fo_times times;
	/* what is true, for the checks */
	uint64_t top_generation;
	struct host *owner;
	uint64_t released_ops;
	int64_t excuse_at[HOSTS], arbiter_bad_at; /* when last something was in the way */
	int64_t held_from;   /* since then nothing excuses output that is held */
	uint64_t held_moved; /* how much of it had moved then */
	struct session *last_session;
	unsigned corrupt; /* epochs to be damaged */
	uint64_t acked_when_quiet;
	unsigned sessions;
	struct stats stats;
};
extern struct sim sim;

void note_text(const struct host *h, const char *fmt, ...) TV_PRINTF(2, 3);
#define note(h, ...)                               \
	do {                                       \
		if (sim.verbose)                   \
			note_text(h, __VA_ARGS__); \
	} while (0)

#endif
