/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon says: its newest snapshot, and events as they happen. Private to web/.
 *
 * A snapshot is a JSON object: host, version, protocol, wall_s (seconds since 1970 when it was
 * taken), uptime_s, arbiter, process {...}, members [...], vms [...] (each as `twinvm status --json`
 * has it), self (this host's view, docs/WIRE.md), others [...] (other hosts: host, answers, since_ms, why,
 * and once they have answered age_ms, rtt_ms, view).
 */
#ifndef WEB_FEED_H
#define WEB_FEED_H

#include "replicator/session/session.h"

#define FEED_STALE_NS (5 * TV_NS_PER_S / 2) /* while somebody looks; else 2 s more */

struct feed;
struct feed_ops {
	/* There is a new snapshot. Either may be NULL. */
	void (*snapshot)(void *arg);
	/* Something happened; event is borrowed. */
	void (*event)(json_t *event, void *arg);
	/* The daemon has ended. */
	void (*closed)(void *arg);
};
/* Takes fd over, also on failure. -ENOMEM. */
int feed_new(struct event_base *base, int fd, const struct feed_ops *ops, void *arg,
	     struct feed **out) TV_MUST_CHECK;
/* Borrowed until the next turn of the loop; NULL: none has come. */
json_t *feed_snapshot(const struct feed *f);
/* Which one it is: 0 if none has come. */
uint64_t feed_number(const struct feed *f);
/* How old it is, since its last byte came; INT64_MAX: there is none. */
int64_t feed_age_ns(const struct feed *f);
/* No snapshot has come for a while: what is known may be wrong. */
bool feed_is_stale(const struct feed *f);
/* Somebody looks, at least for the next seconds: snapshots come more often, the next one at once. */
void feed_look(struct feed *f);
/* Hands the daemon the other end of a connection for one command. */
void feed_hand_over(struct feed *f, int fd);
void feed_free(struct feed *f);

#endif
