/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One command, one connection: its other end goes to the daemon. */
#include "web/ask.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_WAITING 16
#define TIMEOUT_S 120

struct question {
	struct ctl *c;
	struct event *late;
	ask_cb *cb;
	void *arg;
};

static unsigned waiting;

static void end(struct question *q, json_t *answer)
{
	waiting--;
	q->cb(answer, q->arg);
	ctl_free(q->c);
	event_free(q->late);
	free(q);
}

static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	(void)c;
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	if (json_is_true(json_object_get(msg, "done")) ||
	    json_integer_value(json_object_get(msg, "done")))
		end(arg, msg);
}

static void on_closed(struct ctl *c, void *arg)
{
	(void)c;
	end(arg, NULL);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	end(arg, NULL);
}

int ask(struct feed *f, struct event_base *base, json_t *command, ask_cb *cb, void *arg)
{
	static const struct ctl_ops ops = {on_message, on_closed};
	const struct timeval limit = {TIMEOUT_S, 0};
	struct question *q = waiting < MAX_WAITING ? calloc(1, sizeof(*q)) : NULL;
	int fds[2];

	if (!q || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) {
		int rc = waiting >= MAX_WAITING ? -EBUSY : !q ? -ENOMEM : -errno;

		json_decref(command);
		free(q);
		return rc;
	}
	*q = (struct question){.cb = cb, .arg = arg};
	feed_hand_over(f, fds[1]);
	close(fds[1]);
	q->late = evtimer_new(base, on_late, q);
	if (!q->late || ctl_new(base, fds[0], &ops, q, &q->c)) {
		json_decref(command);
		free(q);
		return -ENOMEM;
	}
	waiting++;
	event_add(q->late, &limit);
	ctl_send(q->c, command);
	return 0;
}
