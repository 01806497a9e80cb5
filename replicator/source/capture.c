/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the capture thread
 *
 * One thread per protected VM talks to its QEMU: every call of hv/ blocks for as long as QEMU
 * takes, and heartbeats must not wait for that. Orders come through one mailbox, answers go back
 * through another (common/mailbox.h). The loop never waits for the thread: it has a few orders open
 * at most. The thread waits when the loop is behind with the answers, which bounds them.
 *
 * Beside the orders there is one wish: whether the VM is to be stopped (capture_wish.c).
 *
 * The end: cap_free closes both mailboxes, so that the thread, which may be waiting for room among
 * the answers that the loop does not take any more, ends.
 */
#include "replicator/source/capture_int.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS 16
#define FILE_BYTES (128u << 10)		/* what one message holds */
#define HASHING_NS (100 * TV_NS_PER_MS) /* between two reports */

/* The loop has closed the orders when the session has ended. */
static bool on_hashed(void *arg, uint64_t done_bytes, uint64_t all_bytes)
{
	struct cap_event ev = {.kind = CAP_EV_HASHING, .bytes = done_bytes, .all_bytes = all_bytes};
	struct cap *c = arg;
	int64_t now_ns = tv_now_ns();

	if (now_ns - c->looked_ns >= HASHING_NS) {
		c->looked_ns = now_ns;
		cap_emit(c, &ev);
	}
	return !tv_box_is_closed(&c->orders);
}

static void do_hash(struct cap *c)
{
	struct cap_event ev = {.kind = CAP_EV_HASHED};

	ev.rc = hv_hash_files(&c->conf.vm, c->conf.opts.hashes, on_hashed, c, &ev.e);
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
	c->looked_ns = tv_now_ns();
	ev.text = desc ? json_dumps(desc, JSON_COMPACT) : NULL;
	json_decref(desc);
	if (!ev.text)
		ev.rc = TV_E_QMP;
	cap_emit(c, &ev);
}

static void do_read_file(struct cap *c, uint64_t n)
{
	struct cap_event ev = {.kind = CAP_EV_FILE, .text = malloc(FILE_BYTES)};
	int got = ev.text ? hv_file_read(c->vm, (unsigned)(n >> 48), n & ((UINT64_C(1) << 48) - 1),
					 ev.text, FILE_BYTES, &ev.e)
			  : tv_fail(&ev.e, -ENOMEM, "no memory for a part of a file");

	ev.rc = got < 0 ? got : 0;
	ev.bytes = got < 0 ? 0 : (size_t)got;
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

/* What could not be taken out of the VM stays noted in the page: whoever comes next sees to it. */
static void let_go(struct cap *c, struct cap_event *ev)
{
	int rc = hv_detach(c->vm);

	c->vm = NULL;
	c->conf.page->attached = rc != 0;
	if (rc && !ev->rc)
		ev->rc = tv_fail(&ev->e, rc,
				 "what twinvm added is still in the VM: its monitor "
				 "cannot be reached");
}

static void do_detach(struct cap *c, bool leave_stopped)
{
	struct cap_event ev = {.kind = CAP_EV_DETACHED};

	if (c->vm && !c->gone && leave_stopped)
		ev.rc = hv_pause(c->vm, QMP_TIMEOUT_MS);
	if (c->vm && !c->gone && !c->cut && !leave_stopped)
		ev.rc = hv_net_unhold(c->vm, &ev.e);
	if (!leave_stopped)
		let_go(c, &ev);
	cap_emit(c, &ev);
}

/* A VM that we keep stopped is in the state that we put it in. */
static void do_look(struct cap *c)
{
	struct cap_event ev = {.kind = CAP_EV_STATE};

	c->look = false;
	if (c->gone || (c->stopped && !c->cut))
		return;
	if (c->cut || hv_look(c->vm, &ev.state))
		ev.state = NULL;
	if (ev.state && ev.state->protection == HV_RUNS_ON && hv_run_on(c->vm) > 0)
		tv_log(TV_WARN,
		       "%s: QEMU refused a command, and left the VM stopped: it is resumed",
		       c->conf.vm.name);
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

static void do_export(struct cap *c, int listen_fd)
{
	struct cap_event ev = {.kind = CAP_EV_EXPORTED};

	ev.rc = hv_disks_export(c->vm, listen_fd, &ev.e);
	cap_emit(c, &ev);
}

static void run(struct cap *c, const struct cap_order *o)
{
	if (c->gone && o->cmd != CAP_DETACH)
		return;
	/* A backup that does not keep to the order of messages may have them posted too early. */
	if (!c->vm && o->cmd != CAP_HASH && o->cmd != CAP_ATTACH && o->cmd != CAP_DETACH)
		return;
	c->only_attached = o->cmd == CAP_ATTACH || (c->only_attached && o->cmd == CAP_READ_FILE);
	switch (o->cmd) {
	case CAP_HASH:
		do_hash(c);
		break;
	case CAP_ATTACH:
		do_attach(c);
		break;
	case CAP_READ_FILE:
		do_read_file(c, o->n);
		break;
	case CAP_HOLD_NET:
		do_hold_net(c, (enum cap_net)o->n);
		break;
	case CAP_SYNC:
		cap_sync(c);
		break;
	case CAP_EPOCH:
	case CAP_TIMED_EPOCH:
	case CAP_LAST_EPOCH:
	case CAP_STILL_EPOCH:
		cap_epoch(c, o);
		break;
	case CAP_LOOK:
		do_look(c);
		break;
	case CAP_EXPORT:
		do_export(c, (int)o->n);
		break;
	case CAP_UNEXPORT:
		hv_disks_unexport(c->vm);
		break;
	case CAP_COMPARE: /* read_compared, as soon as no order waits */
		break;
	case CAP_QUIT_VM:
		do_quit(c);
		break;
	case CAP_DETACH:
		do_detach(c, o->n != 0);
		break;
	}
}

static void forget_page(void *arg, uint32_t block, uint64_t offset)
{
	encoder_forget(arg, block, offset);
}

static bool must_read(const struct cap *c)
{
	return c->vm && !c->gone && !c->poisoned && compare_is_due(c->conf.compare);
}

/* Waits for orders, a wish, or something from QEMU, and takes what QEMU sent. */
static void await(struct cap *c)
{
	struct pollfd p[3] = {{tv_box_fd(&c->orders), POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}};
	int rc;

	if (c->vm && !c->gone) {
		p[1].fd = c->cut ? -1 : hv_fd(c->vm);
		p[2].fd = hv_pidfd(c->vm);
	}
	if (poll(p, 3, must_read(c) ? 0 : cap_media_due_ms(c)) < 0 && errno != EINTR)
		abort();
	/* What QEMU sent before it ended (of a shutdown, say) is read before its end is. */
	if (p[1].revents && (rc = hv_events(c->vm, cap_on_vm_event, c)) < 0)
		cap_cut(c, rc);
	if (p[2].revents)
		cap_vm_gone(c);
	(void)cap_media_ok(c);
	if (c->look && c->vm)
		do_look(c);
}

static void *capture_thread(void *arg)
{
	struct cap *c = arg;

	while (!tv_box_is_closed(&c->orders)) {
		struct cap_order o;

		await(c);
		while (tv_box_take(&c->orders, &o)) {
			cap_obey(c);
			run(c, &o);
		}
		cap_obey(c);
		/* A little at a time: an order waits for it. */
		if (must_read(c))
			compare_read(c->conf.compare, c->vm, forget_page, c->en);
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
	struct cap_event ev;

	(void)fd;
	(void)what;
	if (!atomic_load(&c->pausing) && atomic_exchange(&c->release_waits, false)) {
		ev = (struct cap_event){.kind = CAP_EV_UNPAUSED};
		c->conf.event(&ev, c->conf.arg);
	}
	while (tv_box_take(&c->events, &ev))
		c->conf.event(&ev, c->conf.arg);
}

int cap_new(struct event_base *base, const struct cap_conf *conf, struct encoder *en,
	    struct cap **out)
{
	struct cap *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return -ENOMEM;
	c->conf = *conf;
	c->en = en;
	rc = tv_box_init(&c->orders, sizeof(struct cap_order), CAP_ORDERS);
	if (!rc)
		rc = tv_box_init(&c->events, sizeof(struct cap_event), EVENTS);
	if (!rc)
		c->ev = event_new(base, tv_box_fd(&c->events), EV_READ | EV_PERSIST, deliver, c);
	if (!rc && (!c->ev || event_add(c->ev, NULL) ||
		    pthread_create(&c->thread, NULL, capture_thread, c)))
		rc = -ENOMEM;
	if (rc) {
		free(c); /* start-up: the process ends now, and its fds with it */
		return rc;
	}
	*out = c;
	return 0;
}

void cap_post(struct cap *c, enum cap_cmd cmd, uint64_t n)
{
	struct cap_order o = {cmd, n, atomic_load(&c->wish), atomic_load(&c->operator)};

	/* Open at once are the steps up to the first copy, one epoch, and the end. */
	if (tv_box_put(&c->orders, &o))
		abort();
}

/* The thread looks at release_waits after it has cleared pausing: one of the two sees the other. */
bool cap_holds_up(struct cap *c)
{
	if (!atomic_load(&c->pausing))
		return false;
	atomic_store(&c->release_waits, true);
	return atomic_load(&c->pausing);
}

int64_t cap_asked_ns(const struct cap *c)
{
	return c->vm ? hv_asked_ns(c->vm) : 0;
}

const char *cap_stuck(const struct cap *c)
{
	return c->vm ? hv_stuck(c->vm) : "";
}

int cap_kill_vm(struct cap *c)
{
	return c->vm ? hv_kill(c->vm) : -ESRCH;
}

void cap_free(struct cap *c)
{
	if (!c)
		return;
	tv_box_close(&c->events);
	tv_box_close(&c->orders);
	pthread_join(c->thread, NULL);
	event_free(c->ev);
	tv_box_dispose(&c->events);
	tv_box_dispose(&c->orders);
	free(c);
}
