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
	/* One message; msg is freed after the return, fds are the callee's from now on. */
	void (*message)(struct ctl *c, json_t *msg, const int *fds, unsigned nfds, void *arg);
	/* The end, once; never from inside a call of the owner's. The owner then calls ctl_free,
	 * which is allowed inside any callback. */
	void (*closed)(struct ctl *c, void *arg);
};
/* Takes no notice of a message: closes its descriptors. For ops of an owner that only awaits the end. */
void ctl_deaf_message(struct ctl *c, json_t *msg, const int *fds, unsigned nfds, void *arg);
/* For a connection that nobody owns any more: the same, and its end frees it. arg: NULL. */
extern const struct ctl_ops ctl_deaf;
/* Takes over fd, also on failure. -ENOMEM. */
int ctl_new(struct event_base *base, int fd, const struct ctl_ops *ops, void *arg,
	    struct ctl **out) TV_MUST_CHECK;
/* -ENAMETOOLONG, -ENOMEM, or what socket and connect return; the sentence names the path. */
int ctl_connect(struct event_base *base, const char *path, const struct ctl_ops *ops, void *arg,
		struct ctl **out, struct tv_err *e) TV_MUST_CHECK;
/* Callbacks come to another owner from now on. */
void ctl_set_arg(struct ctl *c, const struct ctl_ops *ops, void *arg);
/* The process and user that made the other end, as the kernel knows them. -errno. */
int ctl_peer(const struct ctl *c, pid_t *pid, uid_t *uid) TV_MUST_CHECK;
/* Closes at once; what is queued is dropped. NULL is allowed. */
void ctl_free(struct ctl *c);
/*
 * Queues msg (stolen; NULL sends nothing) and returns; fds, at most CTL_MAX_FDS, are duplicated. A
 * connection whose peer does not read is closed when 4 MiB are queued.
 */
void ctl_send(struct ctl *c, json_t *msg);
void ctl_send_fds(struct ctl *c, json_t *msg, const int *fds, unsigned n);
/* What the kernel has not taken yet. */
size_t ctl_queued_bytes(const struct ctl *c);
/* Writes what is queued, at most timeout_ms. */
void ctl_flush(struct ctl *c, int timeout_ms);
/* Closes after everything queued is written. */
void ctl_close_when_sent(struct ctl *c);

#endif
