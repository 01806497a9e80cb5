/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: one monitor for many
 *
 * This process is QEMU's one client, and serves any number of others at the place of QEMU's socket
 * (place.c). Nothing of twinvm's knows: a replicator is a client as `qm` is one. It is a process of
 * its own, since a replicator may hang or die, and the VM's tools need their monitor then, too. If
 * it dies, the daemon puts QEMU's socket back at once; tools connect for each command, and the
 * session of the replicator ends and begins again.
 *
 * QEMU has one command at a time, as it executes one at a time: the commands of different clients
 * take turns, and an answer belongs to who has asked. A replicator's command is the next. Commands
 * of others are not looked at: a `stop`, `cont` or `quit` does what it does at any monitor. Events go
 * to all that have negotiated, in one order with the answers. STOP and RESUME of epochs are passed
 * as well: so does QEMU at each of its monitors, and what looks like an epoch's may be an operator's.
 *
 * While an epoch has QEMU, nobody is answered, which lasts as long as the pause; the events that it
 * sent before are passed meanwhile.
 *
 * The end: at SIGTERM QEMU's socket gets its place back, who is connected by then is served to its
 * end, and QEMU takes the next ones. A process that hangs meanwhile is ended by the alarm.
 */
#include "hv/proxy/proxy_int.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define GREETING_MS 8000 /* more than the patience of any tool that holds the socket */
#define IN_BYTES (256u << 10)
#define QUIET_NS TV_NS_PER_S /* without a command: it is not served to its end */
#define DRAIN_NS (2 * TV_NS_PER_S)
#define DRAIN_LOOK_NS (5 * TV_NS_PER_MS)
#define ALARM_S 3
#define QEMU_ENDS_MS 1000

/* ---- to QEMU ---- */
/* Twinvm's first; else the one that has waited longest. */
static struct client *next_turn(struct proxy *p)
{
	struct client *c, *best = NULL;

	TAILQ_FOREACH(c, &p->clients, link)
		if (c->waits && !c->dead &&
		    (!best || c->ours > best->ours ||
		     (c->ours == best->ours && c->turn < best->turn)))
			best = c;
	return best;
}

static void up_ended(struct proxy *p)
{
	p->up_gone = true;
	event_base_loopbreak(p->base);
}

static void send_rest(struct proxy *p)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl = {{0}};

	while (p->ask.text[p->sent]) {
		struct iovec iov = {p->ask.text + p->sent, strlen(p->ask.text + p->sent)};
		struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t r;

		if (p->send_fd >= 0) {
			m.msg_control = ctl.buf;
			m.msg_controllen = sizeof(ctl.buf);
			*CMSG_FIRSTHDR(&m) = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
							      .cmsg_type = SCM_RIGHTS,
							      .cmsg_len = CMSG_LEN(sizeof(int))};
			memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &p->send_fd, sizeof(int));
		}
		r = sendmsg(p->up, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN) {
			event_add(p->up_write, NULL);
			return;
		}
		if (r < 0) {
			up_ended(p);
			return;
		}
		tv_close_fd(&p->send_fd);
		p->sent += (size_t)r;
	}
}

static void on_up_write(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	send_rest(arg);
}

/* Whenever a client has changed: the next command, if QEMU is free. */
static void on_changed(struct proxy *p)
{
	struct client *c;

	client_sweep(p);
	if (p->busy || !(c = next_turn(p)))
		return;
	p->ask = c->ask;
	c->ask = (struct proxy_ask){0};
	c->waits = false;
	c->asked = true;
	p->send_fd = p->ask.takes_fd ? c->got_fd : -1;
	if (p->ask.takes_fd)
		c->got_fd = -1;
	p->asker = c;
	p->busy = true;
	p->sent = 0;
	send_rest(p);
}

/* ---- from QEMU ---- */
static void on_answer(struct proxy *p, const char *obj, size_t n, const char *id, size_t id_bytes)
{
	struct client *c = p->asker;
	char ours[16];
	size_t bytes = 0;

	snprintf(ours, sizeof(ours), "%u", p->ask.number);
	if (!p->busy || id_bytes != strlen(ours) || memcmp(id, ours, id_bytes) != 0)
		return; /* to a command of a client before this process */
	if (c) {
		TV_FREE char *text = proxy_with_id(obj, n, id, id_bytes, p->ask.id, &bytes);

		client_put(c, text, bytes);
	}
	p->busy = false;
	p->asker = NULL;
	proxy_ask_dispose(&p->ask);
	tv_close_fd(&p->send_fd);
	if (c)
		client_answered(c);
}

static void on_object(struct proxy *p, const char *obj, size_t n)
{
	const char *id = NULL;
	size_t id_bytes = 0;
	enum hv_qmp_kind kind = hv_qmp_frame_kind(obj, n, &id, &id_bytes);
	struct client *c;

	if (kind == HV_QMP_EVENT)
		TAILQ_FOREACH(c, &p->clients, link) {
			if (c->negotiated)
				client_put(c, obj, n);
		}
	else if ((kind == HV_QMP_RETURN || kind == HV_QMP_ERROR) && id)
		on_answer(p, obj, n, id, id_bytes);
}

static bool grow(struct proxy *p)
{
	char *in;

	if (p->in_bytes < p->in_room)
		return true;
	if (p->in_room >= PROXY_ANSWER_BYTES || !(in = realloc(p->in, 2 * p->in_room)))
		return false;
	p->in = in;
	p->in_room *= 2;
	return true;
}

static void on_up_read(evutil_socket_t fd, short what, void *arg)
{
	struct proxy *p = arg;
	size_t n, at = 0;
	ssize_t r;

	(void)what;
	r = grow(p) ? recv(fd, p->in + p->in_bytes, p->in_room - p->in_bytes, MSG_DONTWAIT) : 0;
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (r <= 0) {
		up_ended(p);
		return;
	}
	p->in_bytes += (size_t)r;
	while ((n = hv_qmp_frame_end(&p->frame, p->in + at, p->in_bytes - at))) {
		const char *obj = p->in + at;

		at += n;
		for (; n && strchr(" \r\n\t", *obj); n--)
			obj++;
		on_object(p, obj, n);
	}
	p->in_bytes -= at;
	memmove(p->in, p->in + at, p->in_bytes);
	on_changed(p);
}

/* ---- clients come ---- */
static void accept_all(struct proxy *p)
{
	int fd;

	while ((fd = accept4(p->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		client_new(p, fd);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	accept_all(arg);
	on_changed(arg);
}

/* ---- the end ---- */
static int term_fd = -1;

/* Not by libevent: the alarm is for a loop that hangs. */
static void on_signal(int sig)
{
	uint64_t one = 1;
	ssize_t r = write(term_fd, &one, sizeof(one));

	(void)sig;
	(void)r;
	alarm(ALARM_S);
}

static bool is_served(const struct client *c, int64_t now_ns)
{
	return !c->waits && !c->asked && now_ns - c->last_ns > QUIET_NS;
}

static void on_drain(evutil_socket_t fd, short what, void *arg)
{
	struct timeval again = tv_timeval(DRAIN_LOOK_NS);
	struct proxy *p = arg;
	int64_t now = tv_now_ns();
	struct client *c;
	bool all = true;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(c, &p->clients, link)
		all = all && is_served(c, now);
	if (all || now - p->end_ns > DRAIN_NS)
		event_base_loopbreak(p->base);
	else
		event_add(p->drain, &again);
}

static void on_term(evutil_socket_t fd, short what, void *arg)
{
	struct proxy *p = arg;
	const char *note = p->note;
	struct tv_err e;

	(void)fd;
	(void)what;
	event_del(p->term);
	if (hv_proxy_put_back(note, &e))
		tv_log(TV_WARN, "%s", e.text);
	accept_all(p);
	event_del(p->accept);
	tv_close_fd(&p->listen);
	p->end_ns = tv_now_ns();
	on_drain(-1, 0, p);
}

/* ---- the beginning ---- */
/* Connects as any client does, and keeps the socket. */
static int connect_up(struct proxy *p, const struct hv_vm_id *vm, struct tv_err *e)
{
	struct hv_qmp *q = NULL;
	json_t *version = NULL;
	int rc = hv_qmp_open(vm->qmp_path, vm->pid, GREETING_MS, &q, e);

	if (!rc)
		rc = hv_qmp_cmd(q, "query-version", NULL, &version, HV_CMD_MS, e);
	if (!rc) {
		p->up = dup(hv_qmp_fd(q));
		p->greeting = proxy_greeting(version);
		p->in = malloc(IN_BYTES);
		p->in_room = IN_BYTES;
		if (p->up < 0 || !p->greeting || !p->in)
			rc = tv_fail(e, -ENOMEM, "no memory for a proxy");
	}
	json_decref(version);
	hv_qmp_close(q);
	return rc;
}

static void set_up_loop(struct proxy *p)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	p->base = event_base_new();
	p->up_read = event_new(p->base, p->up, EV_READ | EV_PERSIST, on_up_read, p);
	p->up_write = event_new(p->base, p->up, EV_WRITE, on_up_write, p);
	p->accept = event_new(p->base, p->listen, EV_READ | EV_PERSIST, on_accept, p);
	term_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->term = event_new(p->base, term_fd, EV_READ, on_term, p);
	p->drain = evtimer_new(p->base, on_drain, p);
	event_add(p->up_read, NULL);
	event_add(p->accept, NULL);
	event_add(p->term, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

static void report(int fd, int rc, const struct tv_err *e)
{
	char text[sizeof(e->text) + 16];
	int n = rc ? snprintf(text, sizeof(text), "%d %s", rc, e->text)
		   : snprintf(text, sizeof(text), "0");

	if (tv_write_all(fd, text, (size_t)n))
		tv_log(TV_WARN, "nobody waits for this proxy");
	close(fd);
}

int hv_proxy_run(const struct hv_vm_id *vm, const char *note, int ready_fd)
{
	static struct proxy proxy; /* outlives every callback */
	struct proxy *p = &proxy;
	struct tv_err e = {0};
	int note_fd = -1, rc;

	*p = (struct proxy){.changed = on_changed, .note = note, .up = -1, .send_fd = -1};
	TAILQ_INIT(&p->clients);
	rc = connect_up(p, vm, &e);
	if (!rc)
		rc = proxy_take_place(vm, note, &p->listen, &note_fd, &e);
	if (!rc)
		set_up_loop(p);
	report(ready_fd, rc, &e);
	if (!rc)
		event_base_dispatch(p->base);
	/* Its end is near, and what it leaves then is not what it leaves alive. */
	if (p->up_gone)
		proxy_qemu_ended(vm->pid, vm->start_ticks, QEMU_ENDS_MS);
	if (note_fd >= 0 && hv_proxy_put_back(note, &e))
		tv_log(TV_WARN, "%s", e.text);
	return rc ? 1 : 0;
}

int hv_proxy_await(int fd, int timeout_ms, struct tv_err *e)
{
	int64_t until = hv_qmp_deadline(timeout_ms);
	char text[sizeof(e->text) + 16], *sentence;
	size_t n = 0;
	ssize_t r;
	long rc;

	do {
		struct pollfd w = {.fd = fd, .events = POLLIN};
		int64_t left = (until - tv_now_ns()) / TV_NS_PER_MS;

		if (poll(&w, 1, left > 0 ? (int)left : 0) <= 0)
			return tv_fail(e, -ETIMEDOUT, "the proxy of the monitor does not start");
		r = read(fd, text + n, sizeof(text) - 1 - n);
		n += r > 0 ? (size_t)r : 0;
	} while (r > 0 && n < sizeof(text) - 1);
	text[n] = '\0';
	rc = strtol(text, &sentence, 10);
	if (!n)
		return tv_fail(e, TV_E_MONITOR, "the proxy of the monitor died");
	return rc ? tv_fail(e, (int)rc, "%s", sentence + (*sentence == ' ')) : 0;
}
