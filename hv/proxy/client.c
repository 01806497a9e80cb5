/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client: its commands are read one at a time, and only while it reads its answers. It may be
 * anybody who may connect, so it is bounded in all that it sends and leaves unread, and nothing of
 * it waits for it. Where a client is freed: client_sweep, never in between.
 */
#include "hv/proxy/proxy_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_BYTES 4096u
#define MAX_FDS 16

static void die(struct client *c)
{
	c->dead = true;
	event_del(c->read);
	event_del(c->write);
}

static void free_client(struct client *c)
{
	struct proxy *p = c->p;

	TAILQ_REMOVE(&p->clients, c, link);
	p->n--;
	if (p->asker == c)
		p->asker = NULL; /* QEMU's answer goes nowhere */
	event_free(c->read);
	event_free(c->write);
	evbuffer_free(c->out);
	proxy_ask_dispose(&c->ask);
	tv_close_fd(&c->got_fd);
	close(c->fd);
	free(c->in);
	free(c);
}

void client_sweep(struct proxy *p)
{
	struct client *c = TAILQ_FIRST(&p->clients), *next;

	for (; c; c = next) {
		next = TAILQ_NEXT(c, link);
		/* One that sends no more is served to its end. */
		if (c->eof && !c->waits && !c->asked && !evbuffer_get_length(c->out))
			c->dead = true;
		if (c->dead)
			free_client(c);
	}
}

/* ---- what it gets ---- */
static void flush(struct client *c)
{
	while (!c->dead && evbuffer_get_length(c->out)) {
		int r = evbuffer_write(c->out, c->fd);

		if (r < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (r <= 0) {
			die(c);
			return;
		}
	}
	if (c->dead)
		return;
	if (evbuffer_get_length(c->out))
		event_add(c->write, NULL);
	else
		event_del(c->write);
}

void client_put(struct client *c, const char *text, size_t n)
{
	if (c->dead)
		return;
	/* One answer always has room: QEMU has made it already. */
	if (!text || evbuffer_get_length(c->out) > PROXY_OUT_BYTES ||
	    evbuffer_add(c->out, text, n) || evbuffer_add(c->out, "\r\n", 2)) {
		die(c);
		return;
	}
	flush(c);
}

static void reply(struct client *c, const char *class_name, const char *desc, const char *id)
{
	TV_FREE char *text = proxy_answer(class_name, desc, id);

	client_put(c, text, text ? strlen(text) : 0);
}

/* ---- what it sends ---- */
static void negotiate(struct client *c, const struct proxy_ask *a)
{
	if (c->negotiated) {
		reply(c, "CommandNotFound",
		      "Capabilities negotiation is already complete, command ignored", a->id);
	} else if (a->enables) {
		reply(c, "GenericError", "this monitor is shared, and has no capabilities", a->id);
	} else {
		c->negotiated = true;
		reply(c, NULL, NULL, a->id);
	}
}

static void on_object(struct client *c, const char *obj, size_t n)
{
	struct proxy_ask a;
	struct tv_err e = {0};

	c->last_ns = tv_now_ns();
	if (proxy_ask_parse(obj, n, ++c->p->number, &a, &e)) {
		reply(c, "GenericError", e.text, a.id);
	} else if (a.capabilities) {
		negotiate(c, &a);
	} else if (!c->negotiated) {
		reply(c, "CommandNotFound",
		      "Expecting capabilities negotiation with 'qmp_capabilities'", a.id);
	} else if (a.takes_fd && c->got_fd < 0) {
		/* In QEMU a descriptor may be left that was another client's. */
		reply(c, "GenericError", "No file descriptor supplied via SCM_RIGHTS", a.id);
	} else {
		c->ask = a;
		c->waits = true;
		c->turn = ++c->p->turns;
		return;
	}
	proxy_ask_dispose(&a);
}

/* May another command of it be looked at? */
static bool is_open(const struct client *c)
{
	return !c->dead && !c->waits && !c->asked &&
	       evbuffer_get_length(c->out) < PROXY_PAUSE_BYTES;
}

static void take_objects(struct client *c)
{
	size_t n, at = 0;

	while (is_open(c) && (n = hv_qmp_frame_end(&c->frame, c->in + at, c->in_bytes - at))) {
		on_object(c, c->in + at, n);
		at += n;
	}
	c->in_bytes -= at;
	if (at)
		memmove(c->in, c->in + at, c->in_bytes);
	if (!c->dead && is_open(c) && c->in_bytes >= PROXY_COMMAND_BYTES)
		die(c);
	if (c->dead)
		return;
	if (is_open(c) && !c->eof)
		event_add(c->read, NULL);
	else
		event_del(c->read);
}

static bool grow(struct client *c)
{
	size_t room = c->in_room ? 2 * c->in_room : IN_BYTES;
	char *in;

	if (c->in_bytes < c->in_room)
		return true;
	in = realloc(c->in, room);
	if (!in)
		return false;
	c->in = in;
	c->in_room = room;
	return true;
}

/* Of descriptors QEMU takes the first of the last message that had some; so it is here. */
static void take_fds(struct client *c, struct msghdr *m)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fds[MAX_FDS];

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS || !n || n > MAX_FDS)
			continue;
		memcpy(fds, CMSG_DATA(h), n * sizeof(int));
		tv_close_fd(&c->got_fd);
		c->got_fd = fds[0];
		for (size_t i = 1; i < n; i++)
			close(fds[i]);
	}
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
	union {
		char buf[CMSG_SPACE(MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} ctl;
	struct client *c = arg;
	struct proxy *p = c->p;
	struct iovec iov;
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = ctl.buf,
			   .msg_controllen = sizeof(ctl.buf)};
	ssize_t r;

	(void)what;
	if (!grow(c)) {
		die(c);
		p->changed(p);
		return;
	}
	iov = (struct iovec){c->in + c->in_bytes, c->in_room - c->in_bytes};
	r = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (r < 0)
		die(c);
	else
		take_fds(c, &m);
	c->eof = r == 0;
	c->in_bytes += r > 0 ? (size_t)r : 0;
	take_objects(c);
	p->changed(p);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;

	(void)fd;
	(void)what;
	flush(c);
	take_objects(c);
	c->p->changed(c->p);
}

void client_answered(struct client *c)
{
	c->asked = false;
	take_objects(c);
}

/* ---- who it is ---- */
/* Its commands go first, and it is never in the way: epochs are made through it. */
static bool is_ours(pid_t pid, uid_t uid)
{
	static const char program[] = "/twinvmd";
	char path[64], exe[512];
	const char *p;
	ssize_t n;

	if (uid)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	p = strrchr(exe, '/');
	/* " (deleted)" behind it: of an older version. */
	return p && !strncmp(p, program, sizeof(program) - 1) &&
	       strchr(" ", p[sizeof(program) - 1]);
}

/* The one that has sent nothing for the longest time; pid 0: of all. */
static void end_quietest(struct proxy *p, pid_t pid)
{
	struct client *c, *worst = NULL;

	TAILQ_FOREACH(c, &p->clients, link)
		if (!c->ours && !c->dead && (!pid || c->pid == pid) &&
		    (!worst || (c->waits || c->asked) < (worst->waits || worst->asked) ||
		     ((c->waits || c->asked) == (worst->waits || worst->asked) &&
		      c->last_ns < worst->last_ns)))
			worst = c;
	if (worst)
		die(worst);
	client_sweep(p);
}

static void make_room(struct proxy *p, pid_t pid)
{
	struct client *c;
	unsigned same = 0;

	TAILQ_FOREACH(c, &p->clients, link)
		same += c->pid == pid && !c->ours;
	if (same >= PROXY_OF_ONE)
		end_quietest(p, pid);
	else if (p->n >= PROXY_CLIENTS)
		end_quietest(p, 0);
}

void client_new(struct proxy *p, int fd)
{
	struct client *c = calloc(1, sizeof(*c));
	struct ucred who = {0};
	socklen_t n = sizeof(who);

	if (!c || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n)) {
		free(c);
		close(fd);
		return;
	}
	*c = (struct client){
		.p = p, .fd = fd, .got_fd = -1, .pid = who.pid, .last_ns = tv_now_ns()};
	c->ours = is_ours(who.pid, who.uid);
	if (!c->ours)
		make_room(p, who.pid);
	c->read = event_new(p->base, fd, EV_READ | EV_PERSIST, on_read, c);
	c->write = event_new(p->base, fd, EV_WRITE | EV_PERSIST, on_write, c);
	c->out = evbuffer_new();
	TAILQ_INSERT_TAIL(&p->clients, c, link);
	p->n++;
	event_add(c->read, NULL);
	client_put(c, p->greeting, strlen(p->greeting));
}
