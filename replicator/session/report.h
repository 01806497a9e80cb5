/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection of a replicator to its daemon. It outlives daemons: it is made again as soon as the
 * next one listens. */
#ifndef REPLICATOR_SESSION_REPORT_H
#define REPLICATOR_SESSION_REPORT_H

#include "common/common.h"

#include <event2/event.h>
#include <jansson.h>

struct report;
struct report_ops {
	/* Called on every (re)connection, first of all: to register with report_send. */
	void (*connected)(struct report *r, void *arg);
	void (*message)(struct report *r, json_t *msg, void *arg);
	void *arg;
};
/* Connects in the loop, and again whenever the connection is lost. -ENOMEM. */
int report_new(struct event_base *base, const char *socket_path, const struct report_ops *ops,
	       struct report **out) TV_MUST_CHECK;
bool report_connected(const struct report *r);
/* Dropped while the daemon is away: `connected` sends again what must be known later. msg is
 * stolen; NULL is allowed and sends nothing. */
void report_send(struct report *r, json_t *msg);
/* With descriptors, which are duplicated. */
void report_send_fds(struct report *r, json_t *msg, const int *fds, unsigned n);
/* Waits until all is sent, at most one second: before the process exits. */
void report_flush(struct report *r);
/* NULL is allowed. */
void report_free(struct report *r);

#endif
