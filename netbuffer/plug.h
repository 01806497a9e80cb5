/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plug way's own state, as plug.c (the owner's calls) and plug_flow.c (barrier, release, what
 * the kernel's counters say) share it. */
#ifndef NETBUFFER_PLUG_H
#define NETBUFFER_PLUG_H

#include "netbuffer/plug_dev.h"
#include "netbuffer/tcmsg.h"
#include "netbuffer/way.h"

#include <pthread.h>

#define PLUG_MAX_TAPS TC_BATCH_MAX

struct plug;

struct plug_tap {
	struct plug *plug;
	char name[64];
	struct plug_dev dev;
	uint32_t handle; /* of the queue now */
	int watch_fd;
	struct event *frame;
	/* Under the lock. Positions are bytes taken out of this queue since it was made. */
	struct tc_counters now; /* as read last */
	uint64_t open_bytes;	/* up to here frames may leave, and will */
	uint64_t sealed_bytes;	/* up to here they belong to the sealed epoch */
};

struct plug {
	struct nb nb; /* first: the owner knows only this */
	struct event_base *base;
	struct nb_conf conf;
	struct nl_sock *sk; /* the owner's thread only */
	uint32_t tap_limit_bytes;
	struct event *again, *report, *news;
	int monitor_fd;
	unsigned depth; /* callbacks under way; free then only marks */
	bool freed;

	pthread_mutex_t lock; /* all that follows, and the taps' positions */
	int fd;
	uint32_t seq;
	/* Requests made beforehand, one for each tap. */
	struct tc_batch seal, release, open, ask;
	enum nb_mode mode;
	bool armed, announced;
	bool draining; /* what was released last may still be leaving: no further release yet */
	bool sealed;   /* frames up to sealed_bytes are set apart in the kernel */
	uint64_t last_epoch, sealed_epoch, wanted_epoch, released_epoch;
	int failed_rc;
	char failed_port[64];
	struct nb_stats counts;	   /* the three totals */
	uint64_t late;		   /* frames that were held when everything was opened */
	int64_t wanted_ns;	   /* when the last release was asked for */
	int64_t first_ns;	   /* of the frames after the last barrier; 0: none, or unseen */
	int64_t sealed_first_ns;   /* the same of the sealed ones */
	int64_t read_ns, moved_ns; /* counters read; and seen to move while draining */
	unsigned taps_n;
	struct plug_tap taps[PLUG_MAX_TAPS];
};

/* ---- plug_flow.c; all with the lock held ---- */
/* Makes the batches anew, for the queues' handles. */
void plug_prepare(struct plug *p);
/* Reads all counters; finds a queue that let out too much (-EPROTO). A failure is kept. */
int plug_read(struct plug *p) TV_MUST_CHECK;
int plug_barrier_locked(struct plug *p, uint64_t epoch) TV_MUST_CHECK;
/* Releases what may be released now; true: call again soon (something is on its way). */
bool plug_advance(struct plug *p);
/* Opens all queues. */
void plug_open(struct plug *p);
/* Records the first failure; rc is returned. */
int plug_fail(struct plug *p, const char *port, int rc);

#endif
