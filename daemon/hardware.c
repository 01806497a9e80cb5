/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that watches this host's hardware (hardware/): started, and started again. Nothing waits
 * for it: without it the hardware's state is unknown, and all else works. One that says nothing for
 * HUNG_TICKS is killed.
 */
#include "daemon/daemon.h"
#include "daemon/health.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define EVERY_MS 1000
#define HUNG_TICKS 30 /* turns of this loop, not time: this daemon may have stood still itself */
#define FIRST_PAUSE_NS TV_NS_PER_S
#define LONGEST_PAUSE_NS (600 * TV_NS_PER_S)
#define LIVES_NS (60 * TV_NS_PER_S) /* one that has lived so long may die at once again */

static struct hardware_child { /* one a daemon */
	struct daemon *d;
	pid_t pid; /* 0: none */
	struct ctl *c;
	struct event *tick;
	unsigned silent; /* ticks since it reported something */
	int64_t started_ns, next_ns, pause_ns;
} child;

static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	(void)c;
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	child.silent = 0;
	health_message(arg, msg);
}

static void on_closed(struct ctl *c, void *arg)
{
	(void)arg;
	ctl_free(c);
	child.c = NULL;
}

static void start(struct daemon *d)
{
	static const struct ctl_ops ops = {on_message, on_closed};
	struct tv_err e = {0};
	int fds[2], rc;

	child.silent = 0;
	child.started_ns = tv_now_ns();
	child.next_ns = child.started_ns + child.pause_ns;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) {
		tv_log(TV_ERROR, "no sockets to watch the hardware: %s", strerror(errno));
		return;
	}
	rc = spawn_hardware(d, fds[1], &child.pid, &e);
	close(fds[1]);
	if (!rc && ctl_new(d->base, fds[0], &ops, d, &child.c))
		rc = tv_fail(&e, -ENOMEM, "no memory to watch the hardware");
	else if (rc)
		close(fds[0]);
	if (rc)
		tv_log(TV_ERROR, "%s", e.text);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	(void)fd;
	(void)what;
	if (child.pid > 0 && child.silent++ == HUNG_TICKS) {
		tv_log(TV_WARN, "what watches the hardware reports nothing: it is killed");
		kill(child.pid, SIGKILL);
	}
	if (!child.pid && !child.c && tv_now_ns() >= child.next_ns)
		start(d);
}

bool hardware_exit(pid_t pid, int status)
{
	char why[160];

	if (!pid || pid != child.pid)
		return false;
	child.pid = 0;
	if (tv_now_ns() - child.started_ns > LIVES_NS)
		child.pause_ns = FIRST_PAUSE_NS;
	else if (child.pause_ns < LONGEST_PAUSE_NS)
		child.pause_ns *= 2;
	child.next_ns = tv_now_ns() + child.pause_ns;
	snprintf(why, sizeof(why), "the process that watches the hardware has ended (%s %d)",
		 WIFSIGNALED(status) ? "signal" : "exit status",
		 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	tv_log(TV_WARN, "%s; the next one in %d s", why, (int)(child.pause_ns / TV_NS_PER_S));
	health_unwatched(why);
	return true;
}

void hardware_start(struct daemon *d)
{
	const struct timeval every = tv_timeval(EVERY_MS * TV_NS_PER_MS);

	child = (struct hardware_child){.d = d, .pause_ns = FIRST_PAUSE_NS};
	child.tick = event_new(d->base, -1, EV_PERSIST, on_tick, d);
	event_add(child.tick, &every);
	on_tick(-1, 0, d);
}
