/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What systemd is sent (sd_notify, one datagram a message): that this daemon is ready, a line for
 * `systemctl status`, and that its loop turns. Processes that it starts do not inherit the socket.
 */
#include "daemon/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define EVERY_NS (2 * TV_NS_PER_S)

static struct notifier { /* one a daemon */
	char path[108];	 /* "": not started by systemd */
	struct event *tick;
	bool petted; /* systemd's watchdog waits for us */
	char status[128];
} notifier;

static void send_text(const char *text)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	size_t n = strlen(notifier.path);
	TV_CLOSE int fd = -1;

	if (!n)
		return;
	memcpy(a.sun_path, notifier.path, n);
	if (a.sun_path[0] == '@')
		a.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&a,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
		tv_log(TV_DEBUG, "systemd does not take: %s", text);
}

/* Of the VMs that run here. */
static void status_text(struct daemon *d, char *out, size_t room)
{
	unsigned all = 0, good = 0;
	struct session_stats s;
	double lag_ms = 0;
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link) {
		if (vm->role != SESSION_PRIMARY)
			continue;
		all++;
		shown_stats(vm, &s);
		if (strcmp(s.state, "protected") != 0)
			continue;
		good++;
		lag_ms = s.lag_ms > lag_ms ? s.lag_ms : lag_ms;
	}
	if (good)
		snprintf(out, room, "STATUS=%u of %u VMs protected, worst lag %.0f ms", good, all,
			 lag_ms);
	else
		snprintf(out, room, "STATUS=%u of %u VMs protected", good, all);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	char text[sizeof(notifier.status)];

	(void)fd;
	(void)what;
	if (notifier.petted)
		send_text("WATCHDOG=1");
	status_text(arg, text, sizeof(text));
	if (!strcmp(text, notifier.status))
		return;
	tv_copy(notifier.status, sizeof(notifier.status), text);
	send_text(text);
}

/* A third of what systemd allows, and no longer than a status may be old. */
static int64_t every_ns(void)
{
	const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	int64_t ns = us ? strtoll(us, NULL, 10) * 1000 : 0;

	notifier.petted = ns > 0 && (!pid || strtol(pid, NULL, 10) == getpid());
	return notifier.petted && ns / 3 < EVERY_NS ? ns / 3 : EVERY_NS;
}

void notify_start(struct daemon *d)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct timeval every = tv_timeval(every_ns());

	if (!path || !path[0] || !tv_copy(notifier.path, sizeof(notifier.path), path))
		notifier.path[0] = 0;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	if (!notifier.path[0])
		return;
	send_text("READY=1");
	notifier.tick = event_new(d->base, -1, EV_PERSIST, on_tick, d);
	event_add(notifier.tick, &every);
	on_tick(-1, 0, d);
}

void notify_stop(void)
{
	send_text("STOPPING=1");
}
