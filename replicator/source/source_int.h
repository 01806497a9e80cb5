/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source's insides, shared by its files: one file a concern. Private to this room. */
#ifndef REPLICATOR_SOURCE_SOURCE_INT_H
#define REPLICATOR_SOURCE_SOURCE_INT_H

#include "replicator/source/capture.h"
#include "replicator/source/disks.h"
#include "failover/arbiter/arbiter.h"
#include "replicator/session/session.h"
#include "replicator/source/pace.h"
#include "netbuffer/netbuffer.h"
#include "replicator/link/link.h"

#define MAX_IN_FLIGHT FO_MAX_IN_FLIGHT
#define SAMPLES 512
#define PART_FAILED_WAIT_NS (300 * TV_NS_PER_MS)

struct samples { /* the last ones, for percentiles */
	int64_t v[SAMPLES];
	unsigned n;
	int64_t max;
};

struct source {
	struct job job;
	struct event_base *base;
	struct fo_times times;
	struct report *report;
	struct repl_tls *tls;
	struct repl_conn *conn;
	struct repl_beat *beats;
	int64_t beat_rx_ns; /* last datagram of the backup */
	struct fo_arbiter *arbiter;
	struct fo_ask *ask;
	struct encoder *en;
	struct disks *disks;
	struct cap *cap;
	struct cap_page *page;
	struct nb *nb;
	struct nb_tap *taps[HV_MAX_NICS]; /* replay_feed.c */
	unsigned taps_n, replay_sent;
	struct event *tick, *due, *settle, *part_wait;
	int stash[2 * HV_MAX_NICS];
	unsigned stash_n;

	struct fo_primary p; /* decides */
	char *description;
	char qemu_version[32]; /* the VM's */
	bool connected, attached, net_held, vm_stopped, vm_shutdown;
	bool leaving;			/* nothing new is begun any more */
	bool user_leave;		/* unprotect */
	bool user_switch;		/* planned failover */
	bool bulk_blocked, disks_first; /* whose turn it is when there is room to send */
	const char *outcome;		/* for the daemon: what ended the session */
	int exit_rc;
	struct tv_err why, part_failed;
	struct tv_err net_why; /* why output is not held below QEMU */
	int part_rc;

	int64_t captured_at_ns[MAX_IN_FLIGHT + 2]; /* by epoch number, ring */
	uint64_t flight_bytes[MAX_IN_FLIGHT + 2];
	int64_t committed_state_ns; /* when the state of the last committed epoch was taken */
	int64_t last_stats_ns;
	struct pace pace;
	struct samples pause, dirty, interval;
	double progress;
};

/* ---- stats.c: numbers and reports ---- */
void src_sample(struct samples *s, int64_t v);
int64_t src_percentile(const struct samples *s, unsigned p);
void src_arm(struct event *ev, int64_t ns);
void src_send_stats(struct source *s);
void src_introduce(struct report *r, void *arg);

/* ---- decide.c: what the engine asks for, and what is reported to it ---- */
extern const struct fo_primary_ops src_engine_ops;
void src_event(struct source *s, enum fo_primary_event ev);
void src_peer_lost(struct source *s, int rc, const char *why);
/* A higher generation runs elsewhere: the VM is stopped (the daemon sees to one that is not
 * attached). */
void src_fence(struct source *s, const char *text);
/* A part of the session failed: after a moment, in which the VM's end may be reported, it is over. */
void src_fail_soon(struct source *s, int rc, const char *why);
void src_on_part_wait(evutil_socket_t fd, short what, void *arg);
void src_on_answer(enum fo_question q, int rc, const struct fo_record *rec, const char *why,
		   void *arg);

/* ---- end.c: the end of the session ---- */
/* No epoch is made any more. */
void src_stop_epochs(struct source *s);
void src_set_why(struct source *s, int rc, const char *text);
/* Ends a session that has not come as far as holding output. */
void src_give_up(struct source *s, const char *outcome, int rc, const char *text);
/* FO_ACTION_LEAVE. */
void src_leave(struct source *s);
/* The VM's process is gone, or is going. */
void src_end_vm(struct source *s, const char *outcome, int rc, const char *text);
void src_on_settle(evutil_socket_t fd, short what, void *arg);
void src_on_detached(struct source *s, const struct cap_event *ev);
/* Reports the end; the loop ends. */
void src_finish(struct source *s);

/* ---- epoch.c: when epochs begin, and their commit ---- */
void src_schedule(struct source *s);
void src_on_due(evutil_socket_t fd, short what, void *arg);
/* The engine has just learned that epochs up to this one are committed. */
void src_committed(struct source *s, uint64_t epoch);
/* HOT, in the capture thread. */
int src_barrier(void *arg, uint64_t epoch);

/* ---- captured.c: what the capture thread reports ---- */
void src_on_cap(const struct cap_event *ev, void *arg);

/* ---- hold.c: how output is held ---- */
/* Its sockets or taps are found. */
void src_on_net_held(struct source *s, const struct cap_event *ev);

/* ---- stream.c: what the encoder made and the disks wrote, on its way ---- */
bool src_on_piece(const struct piece *p, void *arg);
/* Sends the disk writes that wait; false: the connection's queue is full. */
bool src_send_disks(struct source *s);
/* The connection's queue has room again. */
void src_on_drained(struct repl_conn *c, void *arg);

/* ---- replay_feed.c: frames for the backup to replay ---- */
#define SRC_REPLAY_FRAME_BYTES 2048
void src_replay_watch(struct source *s, const char *ifname);
/* No frame is looked at any more. */
void src_replay_end(struct source *s);
/* Every heartbeat: the budget is new. */
void src_replay_tick(struct source *s);
/* Before the end of an epoch is sent. */
void src_replay_epoch(struct source *s, uint64_t epoch);

/* ---- disk_feed.c: the disks' callbacks ---- */
int src_disks_init(struct source *s);
/* Called in the capture thread. */
int src_disk(void *arg, uint64_t bytes, int *fd);
void src_disks_copied(void *arg);
bool src_disks_wait(void *arg);
void src_pausing(void *arg, bool on);

/* ---- send.c: messages to the backup ---- */
void src_send(struct source *s, Twinvm__Control *msg, bool urgent);
/* For the engine. */
void src_send_msg(void *arg, const struct fo_msg *m);

/* ---- link.c: connection, messages from the backup, heartbeats ---- */
extern const struct repl_ops src_link_ops;
void src_send_hello(struct source *s);
void src_on_tick(evutil_socket_t fd, short what, void *arg);

#endif
