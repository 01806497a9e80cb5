/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection of a replicator to its daemon: see report.h. */
#include "replicator/session/report.h"
#include "replicator/session/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_NS (200 * TV_NS_PER_MS)

struct report {
	struct event_base *base;
	char path[108];
	struct report_ops ops;
	struct ctl *ctl;
	struct event *retry;
};

static void try_connect(evutil_socket_t fd, short what, void *arg);

static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	struct report *r = arg;

	(void)c;
	(void)fds;
	(void)n;
	r->ops.message(r, msg, r->ops.arg);
}

static void on_closed(struct ctl *c, void *arg)
{
	struct report *r = arg;
	struct timeval soon = tv_timeval(RETRY_NS);

	ctl_free(c);
	r->ctl = NULL;
	tv_log(TV_WARN,
	       "lost the connection to twinvmd; continuing without it, and trying to connect again");
	event_add(r->retry, &soon);
}

static void try_connect(evutil_socket_t fd, short what, void *arg)
{
	static const struct ctl_ops ops = {on_message, on_closed};
	struct timeval soon = tv_timeval(RETRY_NS);
	struct report *r = arg;

	(void)fd;
	(void)what;
	if (ctl_connect(r->base, r->path, &ops, r, &r->ctl, NULL)) {
		event_add(r->retry, &soon);
		return;
	}
	r->ops.connected(r, r->ops.arg);
}

int report_new(struct event_base *base, const char *socket_path, const struct report_ops *ops,
	       struct report **out)
{
	struct report *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	*r = (struct report){.base = base, .ops = *ops};
	tv_copy(r->path, sizeof(r->path), socket_path);
	r->retry = event_new(base, -1, 0, try_connect, r);
	if (!r->retry) {
		free(r);
		return -ENOMEM;
	}
	*out = r;
	event_active(r->retry, EV_TIMEOUT, 0);
	return 0;
}

void report_send_fds(struct report *r, json_t *msg, const int *fds, unsigned n)
{
	if (r->ctl)
		ctl_send_fds(r->ctl, msg, fds, n);
	else
		json_decref(msg);
}

bool report_connected(const struct report *r)
{
	return r->ctl != NULL;
}

void report_send(struct report *r, json_t *msg)
{
	report_send_fds(r, msg, NULL, 0);
}

void report_flush(struct report *r)
{
	if (r->ctl)
		ctl_flush(r->ctl, 1000);
}

void report_free(struct report *r)
{
	if (!r)
		return;
	event_free(r->retry);
	ctl_free(r->ctl);
	free(r);
}
