/* SPDX-License-Identifier: GPL-2.0-or-later */
/* redis_client's connection, and as much of Redis's protocol as it needs. */
#include "tests/tools/lib_redis.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CONNECT_TIMEOUT_NS (10 * NS_PER_S)

__attribute__((format(printf, 2, 3))) static int broken(struct client *c, const char *fmt, ...)
{
	va_list ap;
	if (!c->why[0]) {
		va_start(ap, fmt);
		vsnprintf(c->why, sizeof(c->why), fmt, ap);
		va_end(ap);
	}
	return -1;
}

/* ---- connection ---- */

/* Waits for events until deadline. Signals do not end the wait: an answer under way is still
 * wanted. */
static int wait_for(struct client *c, short events, int64_t deadline_ns)
{
	for (;;) {
		int64_t left = deadline_ns - now_ns();
		if (left <= 0)
			return broken(c, "no answer for %" PRId64 " ms",
				      c->opt.timeout_ns / NS_PER_MS);
		struct pollfd p = {.fd = c->fd, .events = events};
		int r = poll(&p, 1, (int)(left / NS_PER_MS) + 1);
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return broken(c, "poll: %s", strerror(errno));
	}
}

int redis_open(struct client *c)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)c->opt.port)};
	int one = 1, e = 0;
	socklen_t n = sizeof(e);
	if (inet_pton(AF_INET, c->opt.host, &to.sin_addr) != 1)
		return broken(c, "%s is not an IPv4 address", c->opt.host);
	c->used = 0;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return broken(c, "socket: %s", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (c->opt.thin)
		setsockopt(c->fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, &one, sizeof(one));
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return broken(c, "connect: %s", strerror(errno));
	if (wait_for(c, POLLOUT, now_ns() + CONNECT_TIMEOUT_NS))
		return -1;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &n) || e)
		return broken(c, "connect: %s", strerror(e));
	return 0;
}

static int send_all(struct client *c, const char *p, size_t n, int64_t deadline_ns)
{
	while (n) {
		ssize_t r = send(c->fd, p, n, MSG_NOSIGNAL);
		if (r > 0) {
			p += r;
			n -= (size_t)r;
		} else if (errno == EAGAIN) {
			if (wait_for(c, POLLOUT, deadline_ns))
				return -1;
		} else if (errno != EINTR) {
			return broken(c, "send: %s", strerror(errno));
		}
	}
	return 0;
}

/* ---- the protocol ---- */

/* 1 a reply is there, 0 more bytes are needed, -1 this is not the protocol. */
static int parse_reply(const char *p, size_t n, struct reply *r)
{
	const char *end = memchr(p, '\n', n);
	if (!end)
		return n > 4096 ? -1 : 0;
	size_t line = (size_t)(end - p) + 1;
	if (line < 3 || end[-1] != '\r' || !strchr("+-:$*", p[0]))
		return -1;
	r->type = p[0];
	r->bytes = line;
	snprintf(r->text, sizeof(r->text), "%.*s", (int)(line - 3), p + 1);
	if (r->type == '+' || r->type == '-')
		return 1;
	char *rest;
	errno = 0;
	r->number = strtoll(r->text, &rest, 10);
	if (errno || rest == r->text || *rest)
		return -1;
	if (r->type != '$' || r->number < 0) {
		if (r->type == '$')
			r->number = 0; /* no such key */
		return 1;
	}
	size_t bulk = (size_t)r->number;
	if (bulk >= sizeof(r->text))
		return -1;
	if (n < line + bulk + 2)
		return 0;
	memcpy(r->text, p + line, bulk);
	r->text[bulk] = 0;
	r->bytes = line + bulk + 2;
	r->number = strtoll(r->text, &rest, 10);
	if (rest == r->text || *rest)
		r->number = INT64_MIN; /* nothing this client ever wrote */
	return 1;
}

int redis_next_reply(struct client *c, struct reply *r, int64_t deadline_ns)
{
	for (;;) {
		int got = parse_reply(c->buf, c->used, r);
		if (got < 0)
			return broken(c, "the answer is not Redis's protocol");
		if (got) {
			c->used -= r->bytes;
			memmove(c->buf, c->buf + r->bytes, c->used);
			return 0;
		}
		ssize_t n = recv(c->fd, c->buf + c->used, REPLY_BYTES - c->used, 0);
		if (n > 0)
			c->used += (size_t)n;
		else if (n == 0)
			return broken(c, "the server closed the connection");
		else if (errno == EAGAIN) {
			if (wait_for(c, POLLIN, deadline_ns))
				return -1;
		} else if (errno != EINTR) {
			return broken(c, "receive: %s", strerror(errno));
		}
	}
}

int redis_ask(struct client *c, struct reply *r, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line) - 2, fmt, ap);
	va_end(ap);
	memcpy(line + n, "\r\n", 2);
	int64_t deadline_ns = now_ns() + c->opt.timeout_ns;
	if (send_all(c, line, (size_t)n + 2, deadline_ns) || redis_next_reply(c, r, deadline_ns))
		return -1;
	if (r->type == '-')
		return broken(c, "the server says: %s", r->text);
	return 0;
}
