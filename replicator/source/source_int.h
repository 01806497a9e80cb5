/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source's insides, shared by its files; private to this room. Each part of struct source is
 * named after the file that writes it; the others read it. The files lie in layers, and each calls
 * only files of the layers before its own:
 *
 *   send; tracing; replay_feed, stats; operator; verify_disks; verify_found; verify; end, watch; stream, epoch; decide; link, disk_feed, hold; captured; source
 */
#ifndef REPLICATOR_SOURCE_SOURCE_INT_H
#define REPLICATOR_SOURCE_SOURCE_INT_H

#include "failover/arbiter/arbiter.h"
#include "netbuffer/netbuffer.h"
#include "replicator/link/link.h"
#include "replicator/session/session.h"
#include "replicator/source/capture.h"
#include "replicator/source/compare_disk.h"
#include "replicator/source/disks.h"
#include "replicator/source/ends.h"
#include "replicator/source/encoder.h"
#include "replicator/source/link_rate.h"
#include "replicator/source/pace.h"
#include "replicator/source/vm_end.h"
#include "trace/trace.h"

#define SRC_SAMPLES 512
#define SRC_EPOCHS (FO_MAX_IN_FLIGHT + 2) /* by epoch number, ring */

struct src_link { /* link.c; taken down by send.c */
	struct repl_tls *tls;
	struct repl_conn *conn; /* NULL: closed */
	struct repl_beat *beats;
	uint64_t acked_bytes;
	struct link_rate rate;
	int64_t heard_ns;  /* the backup's last sign of life, as of the last tick; 0: none yet */
	char warning[256]; /* of the backup: what a failover would meet there; "": nothing */
	bool connected;
};

struct src_known_disks {	   /* disk_state.c */
	struct session_disk *list; /* NULL: not attached yet */
	unsigned n;
};

struct src_replay { /* replay_feed.c */
	struct nb_tap *taps[HV_MAX_NICS];
	unsigned taps_n;
	unsigned sent; /* since the last heartbeat */
};

struct src_samples { /* the last ones, for percentiles */
	int64_t v[SRC_SAMPLES];
	unsigned n;
	int64_t max;
};
struct src_numbers { /* stats.c */
	struct src_samples pause, dirty, interval, commit;
	int64_t stop_ns;   /* how long it takes to stop the VM: a mean over about eight epochs */
	bool stops_slowly; /* so slowly that status warns of it */
	int64_t captured_at_ns[SRC_EPOCHS];
	struct ends ends;
	uint64_t flight_bytes[SRC_EPOCHS];
	int64_t last_pause_ns;	    /* when the last epoch's pause began */
	int64_t poison_ns;	    /* when a memory error was seen */
	int64_t peer_runs_ns;	    /* when the backup reported that it runs the VM */
	int64_t committed_state_ns; /* when the state of the last committed epoch was taken */
	int64_t reported_ns;	    /* the last of the regular reports */
	struct session_counts counts;
	int64_t hold_counted_ns; /* arrival of the frame whose hold was counted last */
	int64_t counts_sent_ns;
	const char *state; /* that was reported last, */
	int64_t state_ns;  /* and when for the first time */
	double progress;
};

struct src_end {		      /* end.c */
	bool leaving;		      /* nothing new is begun any more */
	bool died;		      /* no outcome: the VM is still stopped by us */
	bool parted;		      /* the backup's session has ended, too */
	enum session_outcome outcome; /* counts when leaving */
	int rc;
	struct tv_err why; /* the first reason counts */
	struct event *settle;
	int64_t give_up_ns; /* output that QEMU does not take until then is lost; 0: not yet set */
};

struct src_stream {	  /* stream.c */
	bool blocked;	  /* the encoder waits until the connection has room */
	bool disks_first; /* whose turn it is then */
};

struct src_epochs { /* epoch.c */
	struct event *due;
	struct pace pace;
};

struct src_part { /* decide.c: a part that failed, until the session ends for it */
	struct event *wait;
	struct tv_err why; /* "": none has */
	int rc;
};

struct src_hold { /* hold.c; freed by end.c, with the VM */
	struct nb *nb;
	bool by_qemu;		 /* and not in the kernel */
	bool held;		 /* sockets or taps are found; the first copy has begun */
	struct tv_err not_below; /* why output is not held below QEMU */
	int stash[2 * HV_MAX_NICS];
	unsigned stash_n;
};

struct src_vm { /* captured.c; end.c, when it is detached */
	bool attached;
	bool stopped; /* not by us: no epoch is begun */
	bool looking; /* CAP_LOOK is open */
	int64_t stopped_ns, looked_ns;
	int64_t logged_ns;    /* that it stands still */
	unsigned unlogged;    /* of those since */
	struct tv_err hung;   /* "", or that and how long it has not answered */
	struct tv_err poison; /* "", or what memory error was seen, and what follows */
	int64_t killed_ns;    /* for that; 0: it was not */
	bool kill_failed;
	const struct hv_run_state *state; /* the last that was seen; NULL: none was */
	enum vm_end end;
	char *description;
	char qemu[32]; /* version */
};

struct src_files { /* captured.c: before the connection; file_feed.c: what the backup has asked for last */
	uint64_t hashed_bytes, to_hash_bytes;
	unsigned file;
	uint64_t offset, left_bytes;	/* still to be read and sent */
	uint64_t done_bytes, all_bytes; /* as the backup counts */
};

struct src_trace {	    /* tracing.c */
	struct trace *ring; /* NULL: none */
	struct trace_clock clock;
	bool shown;	  /* the daemon has it */
	int64_t asked_ns; /* for the epoch that is captured next */
	int64_t send_ns;  /* when the first of an epoch was sent */
	int64_t sent_ns[SRC_EPOCHS];
};

struct src_operator {	/* operator.c */
	bool pending;	/* his order is not answered yet: */
	bool wants;	/* to be suspended, or to run */
	bool done;	/* the VM is as he wants it */
	uint64_t epoch; /* that holds it; 0: not captured yet */
	bool suspended; /* the VM stands still because of him */
	bool noted;	/* an epoch of it as it stands was captured */
};

#define SRC_VERIFY_OPEN 3 /* parts that the backup has and has not answered */
struct src_compared {	  /* one of them */
	uint64_t epoch, first;
	uint32_t what, number, n;
	bool again;		   /* of what was sent again, */
	uint32_t repairs;	   /* of so many pages */
	uint64_t at[CDISK_BLOCKS]; /* of a disk: the blocks */
	json_t *names;		   /* of a device state's parts, else NULL */
};
#define VDISKS_REPAIRS 256
struct src_vdisks_list {
	unsigned n, disk[VDISKS_REPAIRS];
	uint64_t block[VDISKS_REPAIRS];
};
struct src_vdisks {   /* verify_disks.c */
	json_t *list; /* the description's */
	enum { VDISKS_NONE, VDISKS_ASKED, VDISKS_READS } step;
	bool exported;
	int listen_fd;
	unsigned disk; /* where it is */
	uint64_t block, all_blocks;
	struct src_vdisk_again {
		unsigned disk, tries;
		uint64_t block;
	} again[CDISK_BLOCKS], tried[CDISK_BLOCKS];
	unsigned nagain, ntried, retries;
	struct src_vdisks_list repair,
		repaired; /* to be sent again; sent, to be compared once more */
	enum { VDISKS_COMPARE, VDISKS_REPAIR, VDISKS_RECHECK } now; /* what is wanted */
};
struct src_verify { /* verify.c */
	struct compare *compare;
	struct cdisk *disks;
	bool able;		/* the backup answers */
	bool on, repair, again; /* again: what is wanted now is what was sent again */
	uint8_t key[CKPT_HASH_KEY_BYTES];
	uint64_t rate_bytes_s, used_bytes;
	int64_t begun_ns, asked_ns, told_ns;
	uint32_t block; /* where it is, of the description's blocks */
	uint64_t page, all_bytes;
	json_t *blocks; /* the description's */
	bool state_sent;
	struct src_compared open[SRC_VERIFY_OPEN];
	unsigned opens, stale;			    /* stale: of a comparison that was given up */
	struct compare_want want;		    /* now */
	struct compare_want *redo[SRC_VERIFY_OPEN]; /* to be sent again */
	unsigned redos;
	struct src_vdisks d;
	struct session_verified got;
	json_t *found;
};

struct src_orders {	  /* source.c: of the daemon */
	bool leave;	  /* unprotect */
	bool switch_over; /* planned switch */
};

struct source {
	struct job job;
	struct event_base *base;
	struct event *tick;
	struct fo_times times;
	struct report *report;
	struct fo_arbiter *arbiter;
	struct fo_ask *ask;
	struct fo_watch watch;
	struct encoder *en;
	struct disks *disks;
	struct cap *cap;
	struct cap_page *page;
	struct hv_hashes *hashes;
	struct fo_primary p; /* decides */

	struct src_link link;
	struct src_known_disks known_disks;
	struct src_replay replay;
	struct src_numbers numbers;
	struct src_end end;
	struct src_stream stream;
	struct src_epochs epochs;
	struct src_part part;
	struct src_hold hold;
	struct src_vm vm;
	struct src_files files;
	struct src_trace trace;
	struct src_operator operator;
	struct src_verify verify;
	struct src_orders orders;
};

/* ns: from now; not positive: in the loop's next turn. */
static inline void src_arm(struct event *ev, int64_t ns)
{
	struct timeval tv = tv_timeval(ns);

	event_add(ev, &tv);
}

/* ---- send.c: messages to the backup ---- */
void src_send(struct source *s, Twinvm__Control *msg, bool urgent);
/* For the engine. */
void src_send_msg(void *arg, const struct fo_msg *m);
/* Heartbeats beside the stream, for as long as the engine lets them be sent; without a connection
 * none are. After each call of the engine that may change it. */
void src_allow_beats(struct source *s);
/* The VM is offered. */
void src_send_hello(struct source *s);
/* Closes the connection, if there is one, without a word. */
void src_drop_link(struct source *s);
/* Sends what is queued, and closes; continued in on_conn_closed() of link.c. */
void src_finish_link(struct source *s);

/* ---- tracing.c: where the time of each epoch goes ---- */
/* The peer is known. Without memory for it there is no trace. */
void src_trace_begin(struct source *s);
/* A new daemon gets it. */
void src_trace_show(struct source *s);
/* An epoch is asked for. */
void src_trace_asked(struct source *s);
void src_trace_captured(struct source *s, const struct cap_event *ev);
/* The first of an epoch is about to be sent; and the last, with so many bytes in all. */
void src_trace_send(struct source *s);
void src_trace_sent(struct source *s, const struct piece *p, uint64_t bytes);
/* Of epochs after `before` up to the committed one, at now_ns. */
void src_trace_committed(struct source *s, uint64_t before, int64_t now_ns);
void src_trace_echo(struct source *s, const Twinvm__HeartbeatEcho *m, int64_t now_ns);

/* ---- disk_state.c: how far each disk is, for the daemon ---- */
/* The description is known. */
void src_disks_attached(struct source *s);
/* CAP_EV_PROGRESS. */
void src_disks_progress(struct source *s, const struct cap_event *ev);
void src_disks_report(struct source *s, const struct disks_stats *now);

/* ---- replay_feed.c: frames for the backup to replay ---- */
#define SRC_REPLAY_FRAME_BYTES 2048
void src_replay_watch(struct source *s, const char *ifname);
/* No frame is looked at any more. */
void src_replay_end(struct source *s);
/* Every heartbeat: the budget is new. */
void src_replay_tick(struct source *s);
/* Before the end of an epoch is sent. */
void src_replay_epoch(struct source *s, uint64_t epoch);

/* ---- stats.c: numbers, and the reports of them to the daemon ---- */
/* 0 to 1, of the first copy. */
void src_count_progress(struct source *s, double progress);
void src_count_captured(struct source *s, const struct cap_event *ev);
/* All of an epoch is on its way. bytes: of its pages, state and disk writes. */
void src_count_sent(struct source *s, uint64_t epoch, int64_t captured_ns, uint64_t bytes);
void src_count_committed(struct source *s, uint64_t epoch);
/* An epoch was begun and came to nothing. */
void src_count_aborted(struct source *s);
/* Output up to this epoch's has left; oldest_held_ns: arrival of what was held longest before, 0: of
 * nothing. */
void src_count_released(struct source *s, uint64_t epoch, int64_t oldest_held_ns);
/* What the netbuffer has counted goes with it: the last of the reports of counts. */
void src_send_last_counts(struct source *s);
void src_send_stats(struct source *s);
/* Sends them once per heartbeat; whether it was time. */
bool src_report(struct source *s, int64_t now_ns);
/* The first messages of a connection to the daemon. */
void src_introduce(struct report *r, void *arg);

/* ---- operator.c: an operator's suspend and resume ---- */
void src_order_suspend(struct source *s, bool suspend);
/* CAP_EV_SUSPENDED; an epoch may be due. */
void src_on_suspended(struct source *s, const struct cap_event *ev);
/* CAP_EV_CAPTURED */
void src_operator_captured(struct source *s, const struct cap_event *ev);
/* The VM's run state shows that it runs. */
void src_operator_runs(struct source *s);
/* With every tick: is his order to be answered? */
void src_operator_look(struct source *s);
/* The session ends. */
void src_operator_end(struct source *s);

/* ---- verify_disks.c: which blocks of the disks are compared next ---- */
/* Of the description; borrowed. */
void src_vdisks_init(struct source *s, json_t *desc);
unsigned src_vdisks(const struct source *s);
const char *src_vdisks_name(const struct source *s, unsigned disk);
/* Has the capture thread make exports; then src_vdisks_exported. */
int src_vdisks_begin(struct source *s, struct tv_err *e) TV_MUST_CHECK;
int src_vdisks_exported(struct source *s, const struct cap_event *ev,
			struct tv_err *e) TV_MUST_CHECK;
void src_vdisks_end(struct source *s);
/* It is to be sent again. */
void src_vdisks_repair(struct source *s, unsigned disk, uint64_t block);
/* So many blocks at most are wanted now, besides those of before. False: there are no more. */
bool src_vdisks_want(struct source *s, uint64_t most);
/* What was ready at the end of that epoch. */
bool src_vdisks_take(struct source *s, uint64_t epoch, struct cdisk_out *out);

/* ---- verify_found.c: what differs; i: its place among what was asked ---- */
/* Is it an answer to that, by what it says? */
bool src_compared_fits(const struct src_compared *c, const Twinvm__Verified *m);
const char *src_block_name(const struct source *s, uint32_t block);
void src_found_page(struct source *s, const struct src_compared *c, uint32_t i);
void src_found_block(struct source *s, const struct src_compared *c, uint32_t i);
/* mended: by the backup itself. */
void src_found_part(struct source *s, const struct src_compared *c, uint32_t i, bool mended);
/* Blocks of a disk were sent again, and are equal now but for what differs. */
void src_found_blocks_repaired(struct source *s, const struct src_compared *c,
			       const Twinvm__Verified *m);
/* Pages of this part were sent again, and are equal now but for what differs. */
void src_found_repaired(struct source *s, const struct src_compared *c, const Twinvm__Verified *m);

/* ---- verify.c: a comparison of the VM with its backup ---- */
/* The daemon asks for one; nobody waits for it any more. */
void src_order_verify(struct source *s, const json_t *msg);
void src_verify_stop(struct source *s);
/* With every tick: is more to be compared now? */
void src_verify_look(struct source *s);
/* The end of an epoch was sent, and this is complete with it. */
void src_verify_epoch(struct source *s, struct compare *c);
/* CAP_EV_EXPORTED. */
void src_verify_exported(struct source *s, const struct cap_event *ev);
/* The end of that epoch was sent: what of the disks was read by then? */
void src_verify_disks(struct source *s, uint64_t epoch);
/* The backup's answer; false: not to anything that was asked. */
bool src_on_verified(struct source *s, const Twinvm__Verified *v);
/* Does it wait for an epoch? */
bool src_verify_waits(const struct source *s);
/* The session ends. */
void src_verify_end(struct source *s);

/* ---- end.c: the end of the session ---- */
enum src_detach {
	SRC_DETACH_LATER,   /* by whoever ends it */
	SRC_DETACH_RUNNING, /* now; a VM that we stopped runs again */
	SRC_DETACH_STOPPED, /* now; the VM stays stopped, or is */
};
/*
 * The end begins: no epoch is made any more, and the VM is let go. The first call counts; of later
 * ones only rc and why, where there are none yet ("": none). If the VM is not attached and nothing
 * is to be done later, the process ends here; else in src_on_detached() and on_conn_closed().
 */
void src_end(struct source *s, enum session_outcome outcome, int rc, const char *why,
	     enum src_detach detach);
/* FO_ACTION_LEAVE: output first, then the VM, then the peer. */
void src_leave(struct source *s);
void src_on_settle(evutil_socket_t fd, short what, void *arg);
void src_on_detached(struct source *s, const struct cap_event *ev);
/* Reports the end; the loop ends. */
void src_finish(struct source *s);
/* The reason of an end that is to come; the first one counts. */
void src_set_why(struct source *s, int rc, const char *text);
/* No epoch is made any more. */
void src_stop_epochs(struct source *s);

/* ---- stream.c: what the encoder made and the disks wrote, on its way ---- */
bool src_on_piece(const struct piece *p, void *arg);
/* Sends the disk writes that wait; false: the connection's queue is full. */
bool src_send_disks(struct source *s);
/* The connection's queue has room again. */
void src_on_drained(struct repl_conn *c, void *arg);

/* ---- epoch.c: when epochs begin, and their commit ---- */
void src_schedule(struct source *s);
void src_on_due(evutil_socket_t fd, short what, void *arg);
/* As soon as the engine agrees. */
void src_schedule_now(struct source *s);
void src_captured(struct source *s, const struct cap_event *ev);
/* The engine has just learned that epochs up to this one are committed. */
void src_committed(struct source *s, uint64_t epoch);
/* HOT, in the capture thread. */
int src_barrier(void *arg, uint64_t epoch);

/* ---- hung.c: a VM that stands still, and a QEMU that does not answer ---- */
/* With every tick: a VM that stands still is looked at again and again. */
void src_look(struct source *s, int64_t now_ns);
/* The run state is another one, in which the VM stands still. */
void src_log_state(struct source *s, int64_t now_ns);
/* With every tick. */
void src_watch_qemu(struct source *s, int64_t now_ns);

/* ---- watch.c: is the record still there? ---- */
/* With every tick. */
void src_watch_record(struct source *s, int64_t now_ns);
void src_watch_answer(struct source *s, int rc, const struct fo_record *rec, const char *why);

/* ---- decide.c: what the engine asks for, and what is reported to it ---- */
extern const struct fo_primary_ops src_engine_ops;
void src_event(struct source *s, enum fo_primary_event ev);
void src_peer_lost(struct source *s, int rc, const char *why);
/* A part of the session failed: it ends a moment later, in which the VM's own end may be
 * reported. */
void src_fail_soon(struct source *s, int rc, const char *why);
void src_on_part_wait(evutil_socket_t fd, short what, void *arg);
/* A higher generation runs elsewhere: the VM is stopped (the daemon sees to one that is not
 * attached). */
void src_fence(struct source *s, const char *text);
void src_on_answer(enum fo_question q, int rc, const struct fo_record *rec, const char *why,
		   void *arg);

/* ---- file_feed.c: files for the backup ---- */
/* False: not expected now, or not possible. */
bool src_on_file_wanted(struct source *s, const Twinvm__FileWanted *w);
/* CAP_EV_FILE */
void src_on_file_read(struct source *s, const struct cap_event *ev);

/* ---- link.c: connection, messages from the backup, heartbeats ---- */
int src_connect(struct source *s, struct tv_err *e);
void src_on_tick(evutil_socket_t fd, short what, void *arg);

/* ---- disk_feed.c: the disks' callbacks ---- */
int src_disks_init(struct source *s);
/* Called in the capture thread. */
int src_disk(void *arg, uint64_t bytes, int *fd);
void src_disks_copied(void *arg);
bool src_disks_wait(void *arg);
int src_disks_begun(void *arg, int timeout_ms);
void src_pausing(void *arg, bool on);

/* ---- hold.c: how output is held ---- */
/* Its sockets or taps are found. */
void src_on_net_held(struct source *s, const struct cap_event *ev);

/* ---- captured.c: what the capture thread reports ---- */
void src_on_cap(const struct cap_event *ev, void *arg);
/* A memory error in the VM, whose first sign was at_ns (by tv_now_ns; INT64_MAX: what is captured now is
 * good): the backup is to continue it from the last epoch before, if it can. Once a session. */
void src_poisoned(struct source *s, int64_t at_ns, const char *why);

#endif
