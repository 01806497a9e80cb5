/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control connections on UNIX sockets: one JSON object per line, file descriptors attached where a
 * message says "fds": N. Used between twinvm and twinvmd, and between twinvmd and its replicators.
 */
#ifndef REPLICATOR_SESSION_CTL_H
#define REPLICATOR_SESSION_CTL_H

#include "common/common.h"
#include <event2/event.h>
#include <jansson.h>

#define CTL_MAX_LINE_BYTES (256u << 10)
#define CTL_MAX_FDS 24

struct ctl;
struct ctl_ops {
	/* fds belong to the callee from now on. */
	void (*message)(struct ctl *c, json_t *msg, const int *fds, unsigned nfds, void *arg);
	/* The end; ctl_free is the owner's to call, also inside. */
	void (*closed)(struct ctl *c, void *arg);
};
int ctl_new(struct event_base *base, int fd, const struct ctl_ops *ops, void *arg,
	    struct ctl **out) TV_MUST_CHECK;
int ctl_connect(struct event_base *base, const char *path, const struct ctl_ops *ops, void *arg,
		struct ctl **out, struct tv_err *e) TV_MUST_CHECK;
void ctl_set_arg(struct ctl *c, const struct ctl_ops *ops, void *arg);
void ctl_free(struct ctl *c);
/* Queues msg (stolen) and goes on; fds are duplicated. A peer that does not read is cut off at 4
 * MiB. */
void ctl_send(struct ctl *c, json_t *msg);
void ctl_send_fds(struct ctl *c, json_t *msg, const int *fds, unsigned n);
/* Writes what is queued, at most timeout_ms. */
void ctl_flush(struct ctl *c, int timeout_ms);
/* Closes after everything queued is written. */
void ctl_close_when_sent(struct ctl *c);

#endif
