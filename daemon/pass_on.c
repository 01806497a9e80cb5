/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands that the VM's other host carries out. Each has a process and a connection of its own, which end with
 * the `twinvm` that waits; what comes back is shown and decides nothing.
 */
#include "daemon/cluster.h"
#include "daemon/commands.h"
#include "daemon/passing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_PASSING 16

struct passing {
	struct daemon *d;
	struct ctl *c, *process;
	char host[64], vm[128], op[24];
};
static unsigned passing_n;

static void drop(struct passing *p)
{
	ctl_free(p->process); /* it ends */
	passing_n--;
	free(p);
}

static void lost(struct passing *p, const char *why, bool sent)
{
	ctl_set_arg(p->c, &ctl_deaf, NULL);
	command_end(p->c, -EHOSTUNREACH,
		    sent ? "%s was asked for '%s' of %s, and its answer is lost (%s): what it does "
			   "is shown by 'twinvm events' there"
			 : "%s cannot be asked for '%s' of %s (%s): give the command there",
		    p->host, p->op, p->vm, why);
	drop(p);
}

/* ---- the process ---- */
static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	json_t *reply = json_object_get(msg, "reply");
	struct passing *p = arg;

	ctl_deaf_message(c, msg, fds, n, NULL);
	if (!json_is_object(reply)) {
		lost(p, command_text(msg, "why", "?"), json_is_true(json_object_get(msg, "sent")));
		return;
	}
	json_object_del(reply, "fds"); /* it brings none */
	ctl_send(p->c, json_incref(reply));
	if (!json_is_true(json_object_get(reply, "done")))
		return;
	ctl_set_arg(p->c, &ctl_deaf, NULL);
	ctl_close_when_sent(p->c);
	drop(p);
}

static void on_closed(struct ctl *c, void *arg)
{
	(void)c;
	lost(arg, "the process that asks has ended", true);
}

/* Nobody waits any more: the other host sees the connection's end. */
static void on_waiter_closed(struct ctl *c, void *arg)
{
	ctl_free(c);
	drop(arg);
}

static int start(struct passing *p, const struct fo_candidate *peer, struct tv_err *e)
{
	static const struct ctl_ops ops = {on_message, on_closed};
	int fds[2], rc;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return tv_fail(e, -errno, "no sockets: %s", strerror(errno));
	rc = spawn_pass(p->d, peer, fds[1], &pid, e);
	close(fds[1]);
	if (rc) {
		close(fds[0]);
		return rc;
	}
	evutil_make_socket_nonblocking(fds[0]);
	return ctl_new(p->d->base, fds[0], &ops, p, &p->process) ? tv_fail(e, -ENOMEM, "no memory")
								 : 0;
}

/* As its view has it; one that shows nothing may take it. */
static bool takes(const struct daemon *d, const char *host, const char *op)
{
	json_t *taken, *one;
	size_t i;

	if (!cluster_peer_shows(d, host, "host"))
		return true;
	taken = cluster_peer_shows(d, host, "takes");
	json_array_foreach(taken, i, one)
		if (json_is_string(one) && !strcmp(json_string_value(one), op))
			return true;
	return false;
}

bool pass_on(struct vm *vm, struct ctl *c, json_t *msg)
{
	static const struct ctl_ops ops = {ctl_deaf_message, on_waiter_closed};
	const struct fo_candidate *peer = &vm->saved.peer;
	const char *op = command_text(msg, "op", "");
	struct tv_err e = {0};
	struct passing *p;
	json_t *request;

	if (json_object_get(msg, "passed_by") || !peer->name[0] || !peer->port ||
	    !takes(vm->d, peer->name, op))
		return false;
	p = passing_n < MAX_PASSING ? calloc(1, sizeof(*p)) : NULL;
	if (!p) {
		command_end(c, -EBUSY, "%u commands are passed on to other hosts: try again later",
			    passing_n);
		return true;
	}
	*p = (struct passing){.d = vm->d, .c = c};
	tv_copy(p->host, sizeof(p->host), peer->name);
	tv_copy(p->vm, sizeof(p->vm), vm->name);
	tv_copy(p->op, sizeof(p->op), op);
	passing_n++;
	if (start(p, peer, &e)) {
		command_end(c, -EIO, "the command cannot be passed on to %s: %s", p->host, e.text);
		drop(p);
		return true;
	}
	events_vm(vm, EVENTS_COMMAND_PASSED,
		  json_pack("{ss so}", "command", op, "to", fields_text(peer->name)),
		  "%s: '%s' is passed on to %s", vm->name, op, peer->name);
	ctl_set_arg(c, &ops, p);
	request = json_copy(msg);
	json_object_del(request, "by");
	json_object_set_new(request, "vm", json_string(vm->id));
	ctl_send(p->process, json_pack("{ss so}", "op", "command", "request", request));
	return true;
}
