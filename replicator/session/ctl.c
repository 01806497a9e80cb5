/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control connections: see ctl.h.
 *
 * A message is a line of JSON. Descriptors travel beside the bytes (SCM_RIGHTS) with the first of
 * their message; the receiver keeps them in the order in which they came, and each message takes as
 * many as it says in "fds". Whatever is malformed ends the connection: both ends are of one host
 * and one version, and a stream that has lost its place cannot be trusted any more.
 */
#include "replicator/session/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_QUEUED_BYTES (4u << 20)

struct out_msg {
	TAILQ_ENTRY(out_msg) link;
	char *text;
	size_t bytes, sent;
	int fds[CTL_MAX_FDS];
	unsigned nfds;
};

struct ctl {
	int fd;
	struct ctl_ops ops;
	void *arg;
	struct event *rd, *wr, *dead;
	struct tv_buf in;
	int fds[CTL_MAX_FDS];
	unsigned nfds;
	TAILQ_HEAD(, out_msg) out;
	size_t queued_bytes;
	bool closing, broken;
	bool *freed; /* set when a callback frees this connection */
};

static void out_free(struct out_msg *m)
{
	for (unsigned i = 0; i < m->nfds; i++)
		close(m->fds[i]);
	free(m->text);
	free(m);
}

void ctl_free(struct ctl *c)
{
	struct out_msg *m;

	if (!c)
		return;
	if (c->freed)
		*c->freed = true;
	event_free(c->rd);
	event_free(c->wr);
	event_free(c->dead);
	while ((m = TAILQ_FIRST(&c->out))) {
		TAILQ_REMOVE(&c->out, m, link);
		out_free(m);
	}
	for (unsigned i = 0; i < c->nfds; i++)
		close(c->fds[i]);
	tv_buf_dispose(&c->in);
	close(c->fd);
	free(c);
}

int ctl_peer(const struct ctl *c, pid_t *pid, uid_t *uid)
{
	struct ucred who;
	socklen_t n = sizeof(who);

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &who, &n))
		return -errno;
	*pid = who.pid;
	*uid = who.uid;
	return 0;
}

/* `closed` is always called from the loop, never from inside ctl_send. */
static void broken(struct ctl *c)
{
	if (c->broken)
		return;
	c->broken = true;
	event_del(c->rd);
	event_del(c->wr);
	event_active(c->dead, EV_TIMEOUT, 0);
}

static void on_dead(evutil_socket_t fd, short what, void *arg)
{
	struct ctl *c = arg;

	(void)fd;
	(void)what;
	if (c->ops.closed)
		c->ops.closed(c, c->arg);
}

/* Delivers one line; false: a callback has freed c. */
static bool one_line(struct ctl *c, const char *line, size_t n)
{
	json_t *msg = json_loadb(line, n, 0, NULL);
	json_int_t want = json_integer_value(json_object_get(msg, "fds"));
	int fds[CTL_MAX_FDS];
	bool freed = false;

	if (!json_is_object(msg) || want < 0 || want > (json_int_t)c->nfds) {
		json_decref(msg);
		broken(c);
		return true;
	}
	memcpy(fds, c->fds, (size_t)want * sizeof(int));
	c->nfds -= (unsigned)want;
	memmove(c->fds, c->fds + want, c->nfds * sizeof(int));
	c->freed = &freed;
	c->ops.message(c, msg, fds, (unsigned)want, c->arg);
	json_decref(msg);
	if (!freed)
		c->freed = NULL;
	return !freed;
}

static void take_fds(struct ctl *c, struct msghdr *mh)
{
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(mh); cm; cm = CMSG_NXTHDR(mh, cm)) {
		size_t n;

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(int));
			if (c->nfds < CTL_MAX_FDS)
				c->fds[c->nfds++] = fd;
			else
				close(fd);
		}
	}
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
	struct ctl *c = arg;
	char control[CMSG_SPACE(sizeof(int) * CTL_MAX_FDS)], chunk[16384];
	struct iovec iov = {chunk, sizeof(chunk)};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control)};
	ssize_t r = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	size_t start = 0;
	char *nl;

	(void)what;
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (r <= 0 || tv_buf_add(&c->in, chunk, (size_t)r)) {
		broken(c);
		return;
	}
	take_fds(c, &mh);
	while (!c->broken && (nl = memchr(c->in.data + start, '\n', c->in.bytes - start))) {
		size_t n = (size_t)(nl - (char *)c->in.data) - start;

		if (!one_line(c, (char *)c->in.data + start, n))
			return;
		start += n + 1;
	}
	memmove(c->in.data, c->in.data + start, c->in.bytes - start);
	c->in.bytes -= start;
}

static ssize_t send_one(struct ctl *c, struct out_msg *m)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * CTL_MAX_FDS)];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {m->text + m->sent, m->bytes - m->sent};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (m->nfds && !m->sent) {
		struct cmsghdr *cm;

		mh.msg_control = control.bytes;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * m->nfds);
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int) * m->nfds);
		memcpy(CMSG_DATA(cm), m->fds, sizeof(int) * m->nfds);
	}
	return sendmsg(c->fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void pump(struct ctl *c)
{
	struct out_msg *m;

	while (!c->broken && (m = TAILQ_FIRST(&c->out))) {
		ssize_t r = send_one(c, m);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN) {
			event_add(c->wr, NULL);
			return;
		}
		if (r < 0) {
			broken(c);
			return;
		}
		m->sent += (size_t)r;
		if (m->sent < m->bytes)
			continue;
		c->queued_bytes -= m->bytes;
		TAILQ_REMOVE(&c->out, m, link);
		out_free(m);
	}
	if (c->closing)
		broken(c);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pump(arg);
}

int ctl_new(struct event_base *base, int fd, const struct ctl_ops *ops, void *arg, struct ctl **out)
{
	struct ctl *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	*c = (struct ctl){.fd = fd, .ops = *ops, .arg = arg};
	TAILQ_INIT(&c->out);
	tv_buf_init(&c->in, CTL_MAX_LINE_BYTES);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	c->rd = event_new(base, fd, EV_READ | EV_PERSIST, on_read, c);
	c->wr = event_new(base, fd, EV_WRITE, on_write, c);
	c->dead = event_new(base, -1, 0, on_dead, c);
	if (!c->rd || !c->wr || !c->dead || event_add(c->rd, NULL))
		abort(); /* libevent without memory at start-up */
	*out = c;
	return 0;
}

int ctl_connect(struct event_base *base, const char *path, const struct ctl_ops *ops, void *arg,
		struct ctl **out, struct tv_err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(a.sun_path))
		return tv_fail(e, -ENAMETOOLONG, "socket path %s is too long", path);
	memcpy(a.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return tv_fail(e, -errno, "socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		int rc = tv_fail(e, -errno,
				 "twinvmd does not answer at %s (%s): start it with "
				 "'twinvmd --config FILE'",
				 path, strerror(errno));

		close(fd);
		return rc;
	}
	return ctl_new(base, fd, ops, arg, out);
}

void ctl_deaf_message(struct ctl *c, json_t *msg, const int *fds, unsigned nfds, void *arg)
{
	(void)c;
	(void)msg;
	(void)arg;
	for (unsigned i = 0; i < nfds; i++)
		close(fds[i]);
}

static void deaf_closed(struct ctl *c, void *arg)
{
	(void)arg;
	ctl_free(c);
}

const struct ctl_ops ctl_deaf = {ctl_deaf_message, deaf_closed};

void ctl_set_arg(struct ctl *c, const struct ctl_ops *ops, void *arg)
{
	c->ops = *ops;
	c->arg = arg;
}

void ctl_send_fds(struct ctl *c, json_t *msg, const int *fds, unsigned n)
{
	struct out_msg *m;
	char *text;

	if (!msg)
		return;
	m = calloc(1, sizeof(*m));
	if (n)
		json_object_set_new(msg, "fds", json_integer(n));
	text = json_dumps(msg, JSON_COMPACT);
	json_decref(msg);
	if (!m || !text || c->broken || c->queued_bytes > MAX_QUEUED_BYTES) {
		free(m);
		free(text);
		broken(c);
		return;
	}
	m->bytes = strlen(text) + 1;
	m->text = text;
	m->text[m->bytes - 1] = '\n'; /* the line's end takes the place of the string's */
	for (unsigned i = 0; i < n && i < CTL_MAX_FDS; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

		if (fd >= 0)
			m->fds[m->nfds++] = fd;
	}
	c->queued_bytes += m->bytes;
	TAILQ_INSERT_TAIL(&c->out, m, link);
	pump(c);
}

void ctl_send(struct ctl *c, json_t *msg)
{
	ctl_send_fds(c, msg, NULL, 0);
}

size_t ctl_queued_bytes(const struct ctl *c)
{
	return c->queued_bytes;
}

void ctl_flush(struct ctl *c, int timeout_ms)
{
	int64_t end = tv_now_ns() + timeout_ms * TV_NS_PER_MS;

	while (!c->broken && !TAILQ_EMPTY(&c->out) && tv_now_ns() < end) {
		struct pollfd p = {c->fd, POLLOUT, 0};

		poll(&p, 1, 10);
		pump(c);
	}
}

void ctl_close_when_sent(struct ctl *c)
{
	c->closing = true;
	pump(c);
}
