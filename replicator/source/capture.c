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
 * Failure: whatever fails between pause and resume, the VM is resumed first and told about later.
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

#define DYING_MS 200 /* between the first thing that fails and the end of QEMU's process */

static void kick(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		abort();
}

void cap_emit(struct cap *c, const struct cap_event *ev)
{
	bool taken = false;

	while (!taken) {
		pthread_mutex_lock(&c->lock);
		if (c->ev_tail - c->ev_head < RING) {
			c->events[c->ev_tail++ % RING] = *ev;
			taken = true;
		}
		taken = taken || c->stop || ev->kind == CAP_EV_PROGRESS;
		pthread_mutex_unlock(&c->lock);
		if (!taken) {
			struct pollfd none = {-1, 0, 0};

			poll(&none, 1,
			     1); /* the loop is behind; it always catches up or stops us */
		}
	}
	kick(c->ev_fd);
}

void cap_on_vm_event(enum hv_event what, const char *name, void *arg)
{
	struct cap *c = arg;
	struct cap_event ev = {.kind = CAP_EV_VM, .vm_event = what};

	(void)name;
	if (what != HV_EV_OTHER)
		cap_emit(c, &ev);
}

static void vm_gone(struct cap *c)
{
	struct cap_event ev = {.kind = CAP_EV_VM_GONE};

	if (c->gone)
		return;
	c->gone = true;
	cap_emit(c, &ev);
}

/* A call failed: because the VM's process is ending? Its last words (a shutdown, say) are heard
 * first. */
static bool died(struct cap *c)
{
	struct pollfd p = {c->vm ? hv_pidfd(c->vm) : -1, POLLIN, 0};
	int rc;

	if (!c->vm || c->gone)
		return c->gone;
	rc = hv_events(c->vm, cap_on_vm_event, c);
	if (rc != TV_E_GONE && poll(&p, 1, DYING_MS) <= 0)
		return false;
	vm_gone(c);
	return true;
}

void cap_fail(struct cap *c, int rc, const struct tv_err *e, const char *what)
{
	struct cap_event ev = {.kind = CAP_EV_FAILED, .rc = rc};

	if (died(c))
		return;
	if (e && e->text[0])
		tv_fail(&ev.e, rc, "%s: %s", what, e->text);
	else
		tv_fail(&ev.e, rc, "%s: %s", what, tv_strerror(rc));
	cap_emit(c, &ev);
}

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

int cap_fill(struct cap *c, struct slot *s, struct hv_cursor *cur)
{
	int n = hv_harvest(c->vm, cur, s->runs, s->max_runs, s->max_pages);

	if (n < 0)
		return n;
	s->nruns = (unsigned)n;
	for (int i = 0; i < n; i++)
		s->npages += s->runs[i].pages;
	return n ? hv_copy(c->vm, s->runs, s->nruns, s->pages) : 0;
}

bool cap_has_disks(struct cap *c)
{
	unsigned n;

	hv_disks(c->vm, &n);
	return n;
}

struct paused { /* what the epoch's critical section leaves behind */
	struct slot *slot;
	uint64_t pages;
	size_t state_bytes;
	int rc;
};

/*
 * HOT: everything between stop and cont. The VM runs again when it returns, whatever happened;
 * unless it stays stopped for a planned switch and the epoch is whole.
 */
static void capture_paused(struct cap *c, uint64_t epoch, bool stay, struct slot *s,
			   struct paused *out)
{
	struct hv_cursor cur = {0};
	int rc, r;

	s->epoch = epoch;
	s->first = true;
	out->slot = s;
	c->conf.pausing(c->conf.arg, true);
	out->rc = hv_pause(c->vm, QMP_TIMEOUT_MS);
	if (out->rc)
		goto resume;
	/* No vCPU runs and QEMU has answered: what the guest sent is in the sockets, and is this
	 * epoch's. */
	out->rc = c->conf.barrier(c->conf.arg, epoch);
	if (out->rc)
		goto resume;
	out->rc = hv_state_begin(c->vm);
	if (out->rc)
		goto resume;
	rc = hv_round_begin(c->vm);
	if (!rc)
		rc = cap_fill(c, s, &cur);
	out->pages += s->npages;
	while (!rc && !cur.done) {
		/* More dirty pages than staging: the VM waits while they are sent (rule 6). */
		encoder_slot_put(c->en, s);
		s = encoder_slot_get(c->en);
		if (!s) {
			rc = -ECANCELED;
			break;
		}
		s->epoch = epoch;
		rc = cap_fill(c, s, &cur);
		out->pages += s->npages;
	}
	r = hv_state_end(c->vm, QMP_TIMEOUT_MS, &out->state_bytes);
	out->rc = rc ? rc : r;
resume:
	out->slot = s;
	/* A VM that a person paused is that person's to resume. */
	c->stopped = stay && !out->rc;
	r = out->rc == -EALREADY || c->stopped ? 0 : hv_resume(c->vm, QMP_TIMEOUT_MS);
	/* Only now: a disk write that waits for a commit could keep QEMU from its monitor. */
	c->conf.pausing(c->conf.arg, false);
	if (!out->rc)
		out->rc = r;
}

static int read_state(struct cap *c, struct slot *s, size_t bytes)
{
	if (bytes > CKPT_MAX_STATE_BYTES)
		return -EFBIG;
	if (bytes > s->state_room_bytes) {
		uint8_t *p = realloc(s->state, bytes + bytes / 4);

		if (!p)
			return -ENOMEM;
		s->state = p;
		s->state_room_bytes = bytes + bytes / 4;
	}
	s->state_bytes = bytes;
	return hv_state_read(c->vm, s->state, bytes);
}

static void do_epoch(struct cap *c, uint64_t epoch, bool stay)
{
	struct cap_event ev = {.kind = CAP_EV_CAPTURED, .epoch = epoch};
	struct slot *s =
		encoder_slot_get(c->en); /* before the pause: never wait inside for a free one */
	struct paused p = {0};
	struct tv_err e = {0};

	if (!s) {
		cap_fail(c, -ECANCELED, NULL, "capturing an epoch");
		return;
	}
	ev.pause_start_ns = tv_now_ns();
	c->conf.page->in_pause = 1;
	capture_paused(c, epoch, stay, s, &p);
	c->conf.page->in_pause = c->stopped;
	ev.pause_ns = tv_now_ns() - ev.pause_start_ns;
	ev.pages = p.pages;
	if (p.rc == -EALREADY) {
		encoder_slot_drop(c->en, p.slot);
		ev.kind = CAP_EV_NOT_RUNNING;
		cap_emit(c, &ev);
		return;
	}
	if (!p.rc)
		p.rc = read_state(c, p.slot, p.state_bytes);
	/* A mirror that failed said so before QEMU answered the stop: heard now, it spoils the
	 * epoch. */
	if (!p.rc && cap_has_disks(c)) {
		p.rc = hv_disks_synced(c->vm, &e);
		if (!p.rc)
			p.rc = hv_events(c->vm, cap_on_vm_event, c);
		if (!p.rc && !hv_disks_ok(c->vm))
			p.rc = -EIO;
	}
	if (p.rc) {
		cap_fail(c, p.rc, &e, "capturing an epoch");
		return; /* the slot stays taken: the session ends */
	}
	p.slot->last = true;
	p.slot->captured_ns = ev.pause_start_ns;
	cap_emit(c, &ev); /* before the loop can hear of the epoch's end any other way */
	encoder_slot_put(c->en, p.slot);
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

/*
 * The disks are told as at an epoch's pause: `stop` drains them, and a write that waits for a
 * commit would keep QEMU from answering.
 */
static void do_stop(struct cap *c)
{
	struct cap_event ev = {.kind = CAP_EV_STOPPED};

	if (c->stopped) {
		cap_emit(c, &ev);
		return;
	}
	c->conf.page->in_pause = 1;
	c->conf.pausing(c->conf.arg, true);
	ev.rc = hv_pause(c->vm, QMP_TIMEOUT_MS);
	c->conf.pausing(c->conf.arg, false);
	if (ev.rc == -EALREADY)
		ev.rc = 0; /* by a person, or by us before */
	else if (!ev.rc)
		c->stopped = true;
	c->conf.page->in_pause = c->stopped;
	cap_emit(c, &ev);
}

static void do_resume(struct cap *c)
{
	int rc = c->stopped ? hv_resume(c->vm, QMP_TIMEOUT_MS) : 0;

	if (rc) {
		cap_fail(c, rc, NULL, "resuming the VM");
		return;
	}
	c->stopped = false;
	c->conf.page->in_pause = 0;
}

static void do_quit(struct cap *c)
{
	struct tv_err e = {0};
	int rc = hv_quit(c->vm, QMP_TIMEOUT_MS, &e);

	if (rc)
		cap_fail(c, rc, &e, "ending the VM's process");
	else
		vm_gone(c);
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
		do_epoch(c, n, cmd == CAP_LAST_EPOCH);
		break;
	case CAP_STOP_VM:
		do_stop(c);
		break;
	case CAP_RESUME_VM:
		do_resume(c);
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
		/* What QEMU said before it ended (a shutdown, say) is heard before its end is. */
		if (p[1].revents && hv_events(c->vm, cap_on_vm_event, c) == TV_E_GONE)
			vm_gone(c);
		else if (p[2].revents)
			vm_gone(c);
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
	kick(c->cmd_fd);
}

void cap_free(struct cap *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_mutex_unlock(&c->lock);
	kick(c->cmd_fd);
	pthread_join(c->thread, NULL);
	event_free(c->ev);
	close(c->cmd_fd);
	close(c->ev_fd);
	free(c);
}
