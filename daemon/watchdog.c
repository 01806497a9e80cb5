/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * watchdog = /dev/watchdog: the hardware (or the kernel's softdog) resets this host unless it is
 * petted. It is petted only while it is certain that no VM of this host sends output without the
 * right to: for every VM with an arbiter that runs here, its lease is held, or it is stopped, or
 * the record states that it runs alone. So a host whose twinvm hangs, or cannot stop a VM that it
 * must stop, ends by itself, and that does not depend on the backup's host alone.
 *
 * Armed only while there is such a VM: a daemon's death without one resets nothing. Let go by the
 * "magic close" (a 'V' before close, Documentation/watchdog/watchdog-api.rst) when there is none
 * any more, and when the daemon is asked to stop. A daemon that dies must be back within the
 * watchdog's own time-out.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_guarded(const struct vm *vm)
{
	return vm->role == SESSION_PRIMARY && strcmp(vm->saved.arbiter, "none") != 0 &&
	       vm->saved.was_protected;
}

/* Why it may send output without the right to; NULL: it cannot. */
static const char *doubt(const struct vm *vm, const struct fo_times *t, int64_t now_ns)
{
	switch (vm->phase) {
	case VM_IDLE:	    /* alone by record; or just loaded, and its replicator may register */
	case VM_RECOVERING: /* its output is dropped until the record is there */
		return vm->highest > vm->saved.generation ? "it is stale" : NULL;
	case VM_FENCING:
		return "it has not been stopped yet";
	case VM_RUNNING:
		break;
	}
	if (now_ns - vm->now.stats_ns > t->backup_lost_ns)
		return "its replicator reports nothing";
	if (!strcmp(vm->now.stats.core, "PROTECTED") && !vm->now.stats.lease)
		return "its lease is over and it is not stopped";
	return NULL;
}

static void let_go(struct daemon *d)
{
	if (d->watchdog_fd < 0)
		return;
	if (write(d->watchdog_fd, "V", 1) != 1)
		tv_log(TV_WARN, "%s: %s", d->conf.watchdog, strerror(errno));
	tv_close_fd(&d->watchdog_fd);
	tv_log(TV_INFO, "%s is let go", d->conf.watchdog);
}

static void take(struct daemon *d)
{
	if (d->watchdog_fd >= 0)
		return;
	d->watchdog_fd = open(d->conf.watchdog, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
	if (d->watchdog_fd < 0 && !d->watchdog_doubt)
		tv_log(TV_ERROR, "%s: %s; nothing guards this host", d->conf.watchdog,
		       strerror(errno));
	else if (d->watchdog_fd >= 0)
		tv_log(TV_INFO, "%s guards this host", d->conf.watchdog);
	d->watchdog_doubt = d->watchdog_fd < 0;
}

static void look(struct daemon *d)
{
	int64_t now = tv_now_ns();
	const char *why = NULL;
	struct fo_times t = daemon_times(d);
	bool any = false;
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link) {
		if (!is_guarded(vm))
			continue;
		any = true;
		why = doubt(vm, &t, now);
		if (why)
			break;
	}
	if (!any) {
		let_go(d);
		return;
	}
	take(d);
	if (d->watchdog_fd < 0)
		return;
	if (why && !d->watchdog_doubt)
		tv_log(TV_ERROR, "%s: %s: %s is not petted, it will reset this host", vm->name, why,
		       d->conf.watchdog);
	d->watchdog_doubt = why != NULL;
	if (!why && write(d->watchdog_fd, "\n", 1) != 1 && errno != EAGAIN)
		tv_log(TV_WARN, "%s: %s", d->conf.watchdog, strerror(errno));
}

static void arm(struct daemon *d)
{
	struct fo_times t = daemon_times(d);
	struct timeval tv = tv_timeval(t.pet_ns);

	event_add(d->pet, &tv);
}

static void on_pet(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	(void)fd;
	(void)what;
	if (d->conf.watchdog[0])
		look(d);
	arm(d);
}

void watchdog_start(struct daemon *d)
{
	d->watchdog_fd = -1;
	d->pet = evtimer_new(d->base, on_pet, d);
	arm(d);
}

void watchdog_stop(struct daemon *d)
{
	let_go(d);
}
