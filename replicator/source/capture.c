/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * One thread per protected VM talks to its QEMU: every call of hv/ blocks for as long as QEMU
 * takes, and heartbeats must not wait for that. Commands come through a small ring, answers go back
 * through another; both are bounded, as the loop has at most a few commands open.
 *
 * An epoch between hv_pause and hv_resume: barrier (netbuffer: one system call or two per NIC),
 * start of QEMU's own state save, harvest and copy of dirty pages at the same time, end of the
 * save. No allocation, no log, no blocking call, with one exception that is rule 6's: when more is
 * dirty than the staging buffer holds, the VM stays paused while the first part is encoded and
 * sent. That is a longer epoch and never a larger buffer.
 *
 * Failure: whatever fails between pause and resume, the VM is resumed first, and the failure is
 * reported after that.
 */
#include "replicator/source/capture_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static void do_attach(struct cap *c)
{
	struct cap_event ev = {.kind = CAP_EV_ATTACHED};
	struct hv_refusals no = {0};
	json_t *desc;

	c->conf.page->attached = 1;
	ev.rc = hv_attach(&c->conf.vm, &c->conf.opts, &c->vm, &no, &ev.e);
	if (ev.rc) {
		c->conf.page->attached = 0;
		if (ev.rc == TV_E_REFUSED && no.n) {
			size_t at = 0;

			for (unsigned i = 0; i < no.n && at < sizeof(ev.e.text); i++)
				at += (size_t)snprintf(ev.e.text + at, sizeof(ev.e.text) - at,
						       "%s%s", i ? "; " : "", no.text[i]);
		}
		cap_emit(c, &ev);
		return;
	}
	desc = hv_describe(c->vm, &ev.e);
	ev.text = desc ? json_dumps(desc, JSON_COMPACT) : NULL;
	json_decref(desc);
	if (!ev.text)
		ev.rc = TV_E_QMP;
	cap_emit(c, &ev);
}

static void do_hold_net(struct cap *c, enum cap_net way)
{
	struct cap_event ev = {.kind = CAP_EV_NET_HELD};

	if (c->conf.opts.net_below && way == CAP_NET_ANY) {
		ev.rc = hv_net_taps(c->vm, ev.taps, &ev.ntaps, &ev.e);
		if (!ev.rc && ev.ntaps) {
			cap_emit(c, &ev);
			return;
		}
		ev.text = ev.rc ? strdup(ev.e.text) : NULL;
		ev.e.text[0] = '\0';
	}
	ev.rc = hv_net_hold(c->vm, ev.ports, &ev.nports, &ev.e);
	cap_emit(c, &ev);
}

static void do_detach(struct cap *c, bool leave_stopped)
{
	struct cap_event ev = {.kind = CAP_EV_DETACHED};

	if (c->vm && !c->gone && leave_stopped)
		ev.rc = hv_pause(c->vm, QMP_TIMEOUT_MS);
	if (c->vm && !c->gone && !leave_stopped)
		ev.rc = hv_net_unhold(c->vm, &ev.e);
	if (!leave_stopped) {
		hv_detach(c->vm);
		c->vm = NULL;
		c->conf.page->attached = 0;
	}
	cap_emit(c, &ev);
}

static void do_quit(struct cap *c)
{
	struct tv_err e = {0};
	int rc = hv_quit(c->vm, QMP_TIMEOUT_MS, &e);

	if (rc)
		cap_fail(c, rc, &e, "ending the VM's process");
	else
		cap_vm_gone(c);
}

static void run(struct cap *c, enum cap_cmd cmd, uint64_t n)
{
	if (c->gone && cmd != CAP_DETACH)
		return;
	c->only_attached = cmd == CAP_ATTACH;
	switch (cmd) {
	case CAP_ATTACH:
		do_attach(c);
		break;
	case CAP_HOLD_NET:
		do_hold_net(c, (enum cap_net)n);
		break;
	case CAP_SYNC:
		cap_sync(c);
		break;
	case CAP_EPOCH:
	case CAP_LAST_EPOCH:
		cap_do_epoch(c, n, cmd == CAP_LAST_EPOCH);
		break;
	case CAP_STOP_VM:
		cap_do_stop(c);
		break;
	case CAP_RESUME_VM:
		cap_do_resume(c);
		break;
	case CAP_QUIT_VM:
		do_quit(c);
		break;
	case CAP_DETACH:
		do_detach(c, n != 0);
		break;
	}
}

/* Takes the next command; false when there is none. */
static bool next_cmd(struct cap *c, enum cap_cmd *cmd, uint64_t *n)
{
	bool have;

	pthread_mutex_lock(&c->lock);
	have = c->cmd_head != c->cmd_tail;
	if (have) {
		*cmd = c->cmds[c->cmd_head % RING].cmd;
		*n = c->cmds[c->cmd_head++ % RING].n;
	}
	pthread_mutex_unlock(&c->lock);
	return have;
}

static void *capture_thread(void *arg)
{
	struct cap *c = arg;

	for (;;) {
		struct pollfd p[3] = {{c->cmd_fd, POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}};
		enum cap_cmd cmd;
		uint64_t n;
		bool stop;

		if (c->vm && !c->gone) {
			p[1].fd = hv_fd(c->vm);
			p[2].fd = hv_pidfd(c->vm);
		}
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			abort();
		if (p[0].revents && read(c->cmd_fd, &n, sizeof(n)) < 0)
			n = 0;
		/* What QEMU sent before it ended (of a shutdown, say) is read before its end is. */
		if (p[1].revents && hv_events(c->vm, cap_on_vm_event, c) == TV_E_GONE)
			cap_vm_gone(c);
		else if (p[2].revents)
			cap_vm_gone(c);
		while (next_cmd(c, &cmd, &n))
			run(c, cmd, n);
		pthread_mutex_lock(&c->lock);
		stop = c->stop;
		pthread_mutex_unlock(&c->lock);
		if (stop)
			break;
	}
	/*
	 * The session ended while we attached: nothing is held or stopped yet, and nobody asks us
	 * to detach. (QEMU from 9.1 on keeps the fd set of a connection that is gone.) Anything
	 * more is not ours to let go here: held output needs the record first.
	 */
	if (c->vm && !c->gone && c->only_attached) {
		hv_detach(c->vm);
		c->vm = NULL;
		c->conf.page->attached = 0;
	}
	return NULL;
}

static void deliver(evutil_socket_t fd, short what, void *arg)
{
	struct cap *c = arg;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) < 0)
		return;
	for (;;) {
		struct cap_event ev;

		pthread_mutex_lock(&c->lock);
		if (c->ev_head == c->ev_tail) {
			pthread_mutex_unlock(&c->lock);
			return;
		}
		ev = c->events[c->ev_head++ % RING];
		pthread_mutex_unlock(&c->lock);
		c->conf.event(&ev, c->conf.arg);
	}
}

int cap_new(struct event_base *base, const struct cap_conf *conf, struct encoder *en,
	    struct cap **out)
{
	struct cap *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	*c = (struct cap){.conf = *conf, .en = en};
	pthread_mutex_init(&c->lock, NULL);
	c->cmd_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->ev_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->ev = event_new(base, c->ev_fd, EV_READ | EV_PERSIST, deliver, c);
	if (c->cmd_fd < 0 || c->ev_fd < 0 || !c->ev || event_add(c->ev, NULL) ||
	    pthread_create(&c->thread, NULL, capture_thread, c)) {
		free(c); /* start-up: the process ends now, its fds with it */
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

void cap_post(struct cap *c, enum cap_cmd cmd, uint64_t n)
{
	pthread_mutex_lock(&c->lock);
	if (c->cmd_tail - c->cmd_head >= RING)
		abort(); /* the loop never has so many open */
	c->cmds[c->cmd_tail % RING].cmd = cmd;
	c->cmds[c->cmd_tail++ % RING].n = n;
	pthread_mutex_unlock(&c->lock);
	cap_kick(c->cmd_fd);
}

void cap_free(struct cap *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_mutex_unlock(&c->lock);
	cap_kick(c->cmd_fd);
	pthread_join(c->thread, NULL);
	event_free(c->ev);
	close(c->cmd_fd);
	close(c->ev_fd);
	free(c);
}
