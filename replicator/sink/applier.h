/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup's apply thread, seen from the loop: work is posted to it, is done in the order posted
 * (apply.h), and answers come back in the loop. All calls belong to the loop's thread.
 */
#ifndef REPLICATOR_SINK_APPLIER_H
#define REPLICATOR_SINK_APPLIER_H

#include "replicator/sink/apply.h"
#include <event2/event.h>

struct applier_conf {
	struct apply_conf apply;
	size_t queue_bytes; /* of waiting work: from here on applier_full is true */
	apply_answer_cb answer;
	void (*drained)(void *arg); /* below half of queue_bytes again */
	void *arg;
};
struct applier;
/* Callbacks never come from inside a call. -ENOMEM. */
int applier_new(struct event_base *base, const struct applier_conf *conf,
		struct applier **out) TV_MUST_CHECK;
/* Posts work; data is copied; sums may be NULL. -ENOMEM. */
int applier_post(struct applier *a, enum apply_kind kind, const void *data, size_t n,
		 uint64_t epoch, const struct apply_sums *sums) TV_MUST_CHECK;
/* Much work waits: nothing more should be received until drained comes. */
bool applier_full(struct applier *a);
/* It works on something, or is to. */
bool applier_has_work(struct applier *a);
/* CPU time of the thread: grows as long as it works, however large the piece of work and slow the
 * disk; stands still when a system call does not return. */
uint64_t applier_cpu_ns(struct applier *a);
/*
 * Drops waiting work that is part of an epoch that will never be whole: what was posted after the
 * last APPLY_END. A whole epoch that waits is finished first: it is BEGIN..END with nothing
 * missing, its commit may have been acknowledged, and a newer state is a better one.
 */
void applier_drop_queued(struct applier *a);
/* s is begun between two pieces of work, before any that waits; applier_look when it is over. */
void applier_freeze(struct applier *a, struct sink_still *s);
/* The thread looks whether a still is over. */
void applier_look(struct applier *a);
/* Ends the thread after the work under way; no answer comes any more. The standby is left as it
 * is. NULL is allowed. */
void applier_free(struct applier *a);

#endif
