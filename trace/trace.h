/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * trace: where the time of each epoch goes. A replicator records phases in a ring of fixed size, always
 * and without waiting; whoever has the ring's descriptor reads it at any time, also after the replicator
 * has died. Both hosts report to each other what they record, so each ring holds both halves.
 *
 *     replicator: trace_new, trace_add..., trace_unreported (for the peer), trace_add_peers (of the peer)
 *     reader:     trace_read, trace_align, then trace_perfetto or trace_summary
 *
 * Times are tv_now_ns() of the host where a phase ran, until trace_align has made them the primary's.
 */
#ifndef TRACE_TRACE_H
#define TRACE_TRACE_H

#include "common/common.h"
#include <jansson.h>
#include <stdio.h>

/*
 * The phases: number (goes over the wire and is never used again), symbol, word, host (P: primary, B:
 * backup), track, what it is. A track holds phases that do not overlap, or that lie in each other.
 */
#define TRACE_PHASES(X)                                                                            \
	X(1, TRIGGER, "trigger", P, TRIGGER, "from the decision for an epoch until its pause")     \
	X(2, PAUSE, "pause", P, PAUSE, "the VM is paused; value: dirty pages")                     \
	X(3, STOP, "stop", P, PAUSE, "QEMU stops the VM and flushes its disks")                    \
	X(4, BARRIER, "barrier", P, PAUSE, "the line between two epochs' output is drawn")         \
	X(5, HARVEST, "harvest", P, PAUSE, "dirty pages are found")                                \
	X(6, COPY, "copy", P, PAUSE, "they are copied")                                            \
	X(7, ROOM, "room", P, PAUSE, "more is dirty than the staging buffer holds: it is emptied") \
	X(8, SAVE, "save", P, PAUSE, "QEMU saves the devices, and resumes the VM; value: bytes")   \
	X(9, CONT, "cont", P, PAUSE, "the VM is let run, where QEMU has not done so")              \
	X(10, CHECK, "check", P, CHECK, "devices and disks are checked, the epoch is handed on")   \
	X(11, ENCODE, "encode", P, ENCODE, "pages and state become records; value: their bytes")   \
	X(12, SEND, "send", P, SEND, "until all is with the connection; value: bytes with disks")  \
	X(13, ACK, "ack", P, ACK, "until the backup's commit has come")                            \
	X(14, RELEASE, "release", P, RELEASE, "the epoch's output leaves")                         \
	X(15, RECEIVE, "receive", B, RECEIVE, "from the epoch's first message until its last")     \
	X(16, VERIFY, "verify", B, APPLY, "the last records, devices, disks are checked")          \
	X(17, COMMIT, "commit", B, COMMIT, "from the check until the commit is sent")              \
	X(18, APPLY, "apply", B, APPLY, "memory and disks of the standby become the epoch's")      \
	X(19, CLOCK, "clock", P, CLOCK,                                                            \
	  "value: the backup's clock minus ours; length: round trip")                              \
	X(20, AHEAD, "ahead", P, TRIGGER, "pages are copied before the pause; value: how many")

#define TRACE_PHASE_ENUM(number, symbol, word, host, track, meaning) TRACE_##symbol = (number),
enum trace_phase { TRACE_NONE, TRACE_PHASES(TRACE_PHASE_ENUM) TRACE_PHASE_END };

enum trace_host { TRACE_P, TRACE_B }; /* primary, backup */
struct trace_phase_info {
	const char *word, *meaning;
	enum trace_host host;
	bool in_pause; /* a part of TRACE_PAUSE */
};
/* NULL: no phase. */
const struct trace_phase_info *trace_phase_info(unsigned phase);

/* Most numbers that a JSON reader knows exactly; epochs and values beyond are refused. */
#define TRACE_MAX_NUMBER (INT64_C(1) << 53)
#define TRACE_MAX_NS (INT64_C(1) << 60) /* some of them add up to less than 2^63 */
#define TRACE_MAX_LENGTH_NS (3600 * TV_NS_PER_S)

struct trace_event {
	enum trace_phase phase;
	uint64_t epoch; /* 0 of TRACE_CLOCK */
	int64_t start_ns, length_ns;
	int64_t value;
};

/* ---- recording (ring.c): one thread, the loop's. trace may be NULL: nothing is recorded. ---- */
#define TRACE_SLOTS 65536u /* of 48 bytes: 3 MiB, the last 4,000 epochs or so */
#define TRACE_REPORT 32u   /* most that one message to the peer carries */

struct trace_names {
	enum trace_host role; /* of this host */
	const char *vm, *host, *peer;
	uint64_t generation;
};
struct trace;
/* A ring in memory of its own (a sealed memfd); all of it is touched here. -ENOMEM or what the kernel says. */
int trace_new(const struct trace_names *names, struct trace **out) TV_MUST_CHECK;
void trace_free(struct trace *t);
/* For another process; -1 without a trace. Not the caller's to close. */
int trace_fd(const struct trace *t);
/* Is it a ring's? Any other descriptor may keep its reader waiting, or be something that is not meant for
 * whoever passed it on. */
bool trace_fd_ok(int fd);
/* No epoch is in it yet. */
bool trace_is_empty(const struct trace *t);
/* A phase of this host, from start_ns to end_ns; what did not happen (a time of 0, or an end before the
 * start) is left out. No lock, no allocation, no system call. */
void trace_add(struct trace *t, enum trace_phase phase, uint64_t epoch, int64_t start_ns,
	       int64_t end_ns, int64_t value);
/* This host's events since the last call, oldest first, for the peer; at most TRACE_REPORT, of more the
 * oldest are left out. Returns how many. */
unsigned trace_unreported(struct trace *t, struct trace_event out[TRACE_REPORT]);
/* Would it be good in a ring of that host? For what came from a peer or from another process. */
bool trace_event_ok(const struct trace_event *ev, enum trace_host host);
/* An event that the peer has reported. What is not good is counted
 * and left out. */
void trace_add_peers(struct trace *t, const struct trace_event *ev);

/*
 * Four stamps of a heartbeat: sent and come back by our clock, received and echoed by the backup's. The
 * best of each second (the shortest round trip) is recorded as TRACE_CLOCK. Stamps that no honest peer
 * sends, and those of one that sends none (0), are passed over.
 */
struct trace_clock {
	int64_t since_ns, rtt_ns, offset_ns, at_ns; /* since 0: none yet */
	bool recorded;
};
void trace_clock_add(struct trace_clock *c, struct trace *t, int64_t sent_ns, int64_t received_ns,
		     int64_t echoed_ns, int64_t back_ns);

/* ---- reading (read.c): another process, at any time ---- */
struct trace_half {
	char host[64];
	bool there; /* it has events in the trace */
};
struct trace_set {
	struct trace_event *events; /* by time of recording; after trace_align by start */
	size_t n;
	enum trace_host role; /* where it was recorded */
	char vm[128];
	struct trace_half half[2]; /* by enum trace_host */
	uint64_t generation;
	uint64_t lost;	      /* events that newer ones have replaced */
	uint64_t refused;     /* of the peer, or in the ring: not good */
	int64_t wall_ms_at_0; /* since 1970, when the clock of the times was 0 */
	/* of trace_align: */
	unsigned clocks;		 /* samples of the other clock */
	int64_t offset_ns, uncertain_ns; /* the newest; no more than this is it wrong by */
	/* Epochs whose backup's times were moved, and the farthest: no clock may show an effect before its
	 * cause. */
	uint64_t moved;
	int64_t moved_most_ns;
};
/* The ring behind fd is hostile until it is checked: its writer has no rights. -EINVAL, -ENODATA (no epoch
 * yet), -ENOMEM or what the kernel says, with a sentence. */
int trace_read(int fd, struct trace_set *out, struct tv_err *e) TV_MUST_CHECK;
void trace_set_free(struct trace_set *s);

/* ---- one time for both hosts (align.c) ---- */
/* All times become the primary's clock's. Without a sample of the clocks only the half of the host where it
 * was recorded is left, by that host's clock. */
void trace_align(struct trace_set *s);

/* ---- output ---- */
/* JSON of the trace event format, as Perfetto and chrome://tracing open it. -EIO or -ENOMEM. */
int trace_perfetto(const struct trace_set *s, FILE *out) TV_MUST_CHECK;
/* How often, and how long: as JSON (the caller's; NULL: no memory), and as a table of that. */
json_t *trace_summary(const struct trace_set *s);
void trace_summary_print(const json_t *summary, FILE *out);

#endif
