/* SPDX-License-Identifier: GPL-2.0-or-later */
/* This daemon as a client of its own commands: what a schedule or a drill does is checked, refused, noted
 * and logged as what an operator does. */
#include "daemon/drills.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void (*command)(struct daemon *d, struct ctl *c, json_t *msg);

struct inner {
	struct daemon *d;
	inner_cb *cb;
	void *arg;
};

void inner_start(void (*run)(struct daemon *d, struct ctl *c, json_t *msg))
{
	command = run;
}

/* ---- the side that asks ---- */
static void end(struct inner *i, int rc, const char *error, json_t *last)
{
	if (i->cb)
		i->cb(i->d, rc, error ? error : "", last, i->arg);
	free(i);
}

static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	struct inner *i = arg;

	ctl_deaf_message(c, msg, fds, n, NULL);
	if (!json_is_true(json_object_get(msg, "done")))
		return;
	ctl_set_arg(c, &ctl_deaf, NULL);
	end(i, (int)json_integer_value(json_object_get(msg, "rc")),
	    json_string_value(json_object_get(msg, "error")), msg);
}

static void on_closed(struct ctl *c, void *arg)
{
	ctl_free(c);
	end(arg, -ECONNRESET, "the command ended without an answer", NULL);
}

/* ---- the side that answers ---- */
static void asked(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	ctl_deaf_message(c, msg, fds, n, NULL);
	command(arg, c, msg);
}

static void asked_closed(struct ctl *c, void *arg)
{
	(void)arg;
	ctl_free(c);
}

int inner_open(struct daemon *d, json_t *msg, const struct ctl_ops *ops, void *arg,
	       struct ctl **out)
{
	static const struct ctl_ops there = {asked, asked_closed};
	struct ctl *server = NULL;
	int fds[2], rc;

	*out = NULL;
	if (!msg || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds)) {
		rc = msg ? -errno : -ENOMEM;
		json_decref(msg);
		return rc;
	}
	rc = ctl_new(d->base, fds[0], &there, d, &server);
	if (!rc)
		rc = ctl_new(d->base, fds[1], ops, arg, out);
	else
		close(fds[1]);
	if (rc) {
		ctl_free(server);
		json_decref(msg);
		return rc;
	}
	ctl_send(*out, msg);
	return 0;
}

int inner_run(struct daemon *d, json_t *msg, inner_cb *cb, void *arg)
{
	static const struct ctl_ops here = {on_message, on_closed};
	struct inner *i = calloc(1, sizeof(*i));
	struct ctl *client;
	int rc;

	if (!i) {
		json_decref(msg);
		return -ENOMEM;
	}
	*i = (struct inner){.d = d, .cb = cb, .arg = arg};
	rc = inner_open(d, msg, &here, i, &client);
	if (rc)
		free(i);
	return rc;
}
