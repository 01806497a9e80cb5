/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * One struct repl_conn is one TCP connection with TLS 1.3 on it, on one event_base, used by one
 * thread. Its life is a line of states that is only walked forward:
 *
 *   dialling -> handshake -> open -> flushing -> lingering -> closed
 *
 * Dialling (dial.c) gives a connected socket; an accepted one starts at the handshake. openssl
 * checks the peer's certificate, common name included, inside the handshake (tls.c). In TLS 1.3 the
 * client's handshake ends before the server has seen the client's certificate: the client may get
 * `opened`, and then closed(-EPROTO) with the server's alert. So on the connecting side `opened`
 * means that the peer is authentic, not yet that the peer accepted this side; the first message
 * from the peer means that.
 *
 * Sending (send_queue.c, flow.c): frames wait in the send queue, and libevent gets only some 64 KiB
 * ahead; the kernel accepts only some 64 KiB that it has not sent (TCP_NOTSENT_LOWAT). An urgent
 * message goes to the head of the send queue, so on a slow link it waits for those two amounts and
 * no more.
 *
 * Receiving (recv.c): high-water mark, parser, callbacks. The parser (frame.c, control.c) is pure.
 *
 * Ends. Whatever ends a connection (peer, error, time-out) passes conn_end, which calls closed
 * once, as the last thing done. What the peer sent before it ended is handed over first, also when
 * the owner has switched reading off: then closed waits until it is switched on again. No callback
 * ever comes from inside a call by the owner; such work waits for the zero timer `turn`.
 * The owner may call repl_free in any callback: the memory stays until the outermost callback is
 * left (depth).
 *
 * Limits: dial 8 addresses; receive buffers 2 x 64 KiB and one frame (1 MiB); queues as in
 * send_queue.h.
 */
#include "replicator/link/conn_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>

#define DEFAULT_QUEUE_BYTES (4u << 20)
/* failover's timeline never waits for this one: it bounds only what a dead address costs. */
#define DEFAULT_HANDSHAKE_TIMEOUT_MS 5000

/* ---- ends that the peer or the network make ---- */

static void end_by_peer(struct repl_conn *c, bool clean, unsigned long ssl_error, int error)
{
	bool handshake = c->state == CONN_HANDSHAKE;
	struct tv_err e = {0};
	int rc;

	if (c->state >= CONN_FLUSHING)
		conn_end_later(c, 0, "closed the connection to %s", c->who);
	else if (clean)
		conn_end_later(c, -EPIPE, "%s closed the connection", c->who);
	else if (ssl_error || c->peer.refused[0] || !error) {
		rc = tls_explain(&c->peer, ssl_error, handshake, &e);
		conn_end_later(c, rc, "connection to %s: %s", c->who, e.text);
	} else {
		/* EPIPE is what a write gets after the peer's reset. */
		rc = error == EPIPE ? -ECONNRESET : -error;
		conn_end_later(c, rc, "connection to %s: %s%s", c->who, strerror(-rc),
			       handshake ? " during the TLS handshake" : "");
	}
}

/* The first of openssl's errors is the cause. libevent mixes in SSL_get_error's small numbers. */
static unsigned long first_ssl_error(struct bufferevent *bev)
{
	unsigned long err, first = 0;

	while ((err = bufferevent_get_openssl_error(bev)))
		if (ERR_GET_LIB(err) && ERR_GET_LIB(err) != ERR_LIB_SYS)
			first = err;
	return first;
}

/* ---- callbacks from libevent, in the order they happen ---- */

static void opened(struct repl_conn *c)
{
	c->state = CONN_OPEN;
	SSL_certs_clear(bufferevent_openssl_get_ssl(c->bev)); /* its use was the handshake's */
	event_del(c->timer);
	c->last_rx_ns = tv_now_ns();
	snprintf(c->who, sizeof(c->who), "%s (%s)", c->peer.name, c->where);
	if (!c->reading)
		bufferevent_disable(c->bev, EV_READ);
	c->ops.opened(c, c->peer.name, c->arg);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	int error = what & BEV_EVENT_ERROR ? EVUTIL_SOCKET_ERROR() : 0;
	struct repl_conn *c = arg;
	unsigned long ssl_error;
	bool clean;

	conn_enter(c);
	if (what & BEV_EVENT_CONNECTED) {
		opened(c);
	} else if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) {
		clean = what & BEV_EVENT_EOF;
		ssl_error = first_ssl_error(bev);
		if (!clean && !ssl_error)
			recv_behind_error(c, &ssl_error, &clean);
		end_by_peer(c, clean, ssl_error, error);
		recv_run(c);
	}
	conn_leave(c);
}

static void on_readable(struct bufferevent *bev, void *arg)
{
	struct repl_conn *c = arg;

	(void)bev;
	conn_enter(c);
	c->last_rx_ns = tv_now_ns();
	recv_run(c);
	conn_leave(c);
}

static void on_writable(struct bufferevent *bev, void *arg)
{
	struct repl_conn *c = arg;

	(void)bev;
	conn_enter(c);
	flow_written(c);
	conn_leave(c);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct repl_conn *c = arg;

	(void)fd, (void)what;
	conn_enter(c);
	if (!c->bev) {
		if (c->ending)
			conn_end(c, c->end_rc, "%s", c->end_why);
	} else {
		recv_run(c);
		flow_check_finished(c);
	}
	conn_leave(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct repl_conn *c = arg;

	(void)fd, (void)what;
	conn_enter(c);
	if (c->state == CONN_DIALLING && dial_is_looking_up(c->dial))
		conn_end(c, -ETIMEDOUT,
			 "the address of %s was not found within %d ms: check the name, or use an "
			 "address",
			 c->who, c->handshake_timeout_ms);
	else if (c->state == CONN_DIALLING)
		conn_end(c, -ETIMEDOUT,
			 "%s did not answer within %d ms: is that host up, and is twinvmd running "
			 "there?",
			 c->who, c->handshake_timeout_ms);
	else if (c->state == CONN_HANDSHAKE)
		conn_end(c, -ETIMEDOUT, "%s did not finish the TLS handshake within %d ms", c->who,
			 c->handshake_timeout_ms);
	else
		conn_end(c, -ETIMEDOUT, "closed the connection to %s; %s", c->who,
			 c->state == CONN_FLUSHING ? "not all queued data could be sent"
						   : "it did not close its side in time");
	conn_leave(c);
}

/* ---- starting ---- */

static void tune_socket(int fd, int stuck_timeout_ms)
{
	int on = 1, notsent = CONN_NOTSENT_BYTES;

	/* Best effort: a UNIX socket in a test has neither, and latency suffers, not
	 * correctness. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &notsent, sizeof(notsent));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &stuck_timeout_ms,
			 sizeof(stuck_timeout_ms));
}

/* Takes fd over, also on failure. */
static int start_tls(struct repl_conn *c, int fd, enum bufferevent_ssl_state side)
{
	SSL *ssl = tls_ssl_new(c->ctx, &c->peer);

	tune_socket(fd, c->stuck_timeout_ms);
	/* Deferred: draining the input may read again, and that must not call back from inside. */
	if (ssl && !tls_set_socket(ssl, fd))
		c->bev = bufferevent_openssl_socket_new(
			c->base, fd, ssl, side, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (!c->bev) {
		if (ssl)
			SSL_free(ssl);
		close(fd);
		return -ENOMEM;
	}
	c->state = CONN_HANDSHAKE;
	bufferevent_setcb(c->bev, on_readable, on_writable, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, CONN_READ_BYTES);
	bufferevent_setwatermark(c->bev, EV_WRITE, CONN_WRITE_LOW_BYTES, 0);
	return bufferevent_enable(c->bev, EV_READ | EV_WRITE) ? -ENOMEM : 0;
}

static void dialled(int fd, int rc, const char *why, void *arg)
{
	struct repl_conn *c = arg;

	conn_enter(c);
	if (fd < 0)
		conn_end(c, rc, "%s", why);
	else if (start_tls(c, fd, BUFFEREVENT_SSL_CONNECTING))
		conn_end(c, -ENOMEM, "no memory for a connection to %s", c->who);
	conn_leave(c);
}

static int conn_new(struct event_base *base, struct repl_tls *tls, const struct repl_opts *opts,
		    const struct repl_ops *ops, void *arg, struct repl_conn **out)
{
	const char *expect = opts && opts->expect_peer ? opts->expect_peer : "";
	struct repl_conn *c;

	if (strlen(expect) >= sizeof(c->peer.expect))
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->base = base;
	c->ctx = tls_ctx_get(tls);
	c->ops = *ops;
	c->arg = arg;
	c->reading = true;
	c->stuck_timeout_ms = opts ? opts->stuck_timeout_ms : 0;
	c->handshake_timeout_ms = opts && opts->handshake_timeout_ms ? opts->handshake_timeout_ms
								     : DEFAULT_HANDSHAKE_TIMEOUT_MS;
	strcpy(c->peer.expect, expect);
	send_init(&c->out, opts && opts->queue_bytes ? opts->queue_bytes : DEFAULT_QUEUE_BYTES);
	frame_rx_init(&c->rx);
	c->in = evbuffer_new();
	c->timer = evtimer_new(base, on_timer, c);
	c->turn = evtimer_new(base, on_turn, c);
	if (!c->in || !c->timer || !c->turn) {
		conn_destroy(c);
		return -ENOMEM;
	}
	conn_set_timer(c->timer, c->handshake_timeout_ms);
	*out = c;
	return 0;
}

static void set_where(struct repl_conn *c, const char *host, uint16_t port)
{
	char at[REPL_ENDPOINT_ROOM];

	tv_copy(c->where, sizeof(c->where), repl_endpoint(at, host, port));
	tv_copy(c->who, sizeof(c->who), c->where);
}

int repl_connect(struct event_base *base, struct repl_tls *tls, const char *host, uint16_t port,
		 const struct repl_opts *opts, const struct repl_ops *ops, void *arg,
		 struct repl_conn **out, struct tv_err *e)
{
	struct repl_conn *c = NULL;
	char at[REPL_ENDPOINT_ROOM];
	int rc;

	*out = NULL;
	rc = conn_new(base, tls, opts, ops, arg, &c);
	if (rc)
		return tv_fail(e, rc, "cannot connect to %s: %s", repl_endpoint(at, host, port),
			       strerror(-rc));
	set_where(c, host, port);
	rc = dial_start(base, host, port, dialled, c, &c->dial, e);
	if (rc)
		conn_destroy(c);
	else
		*out = c;
	return rc;
}

static void name_accepted(struct repl_conn *c, int fd)
{
	struct sockaddr_storage ss = {0};
	char text[NI_MAXHOST], port[8];
	socklen_t n = sizeof(ss);

	/* With its scope, if it has one: %eth0. */
	if (getpeername(fd, (struct sockaddr *)&ss, &n) ||
	    (ss.ss_family != AF_INET && ss.ss_family != AF_INET6) ||
	    getnameinfo((struct sockaddr *)&ss, n, text, sizeof(text), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		set_where(c, "an unnamed socket", 0);
	else
		set_where(c, text, (uint16_t)strtoul(port, NULL, 10));
}

int repl_accept(struct event_base *base, struct repl_tls *tls, int fd, const struct repl_opts *opts,
		const struct repl_ops *ops, void *arg, struct repl_conn **out, struct tv_err *e)
{
	struct repl_conn *c = NULL;
	int rc;

	*out = NULL;
	evutil_make_socket_nonblocking(fd);
	rc = conn_new(base, tls, opts, ops, arg, &c);
	if (rc) {
		close(fd);
		return tv_fail(e, rc, "cannot accept a connection: %s", strerror(-rc));
	}
	name_accepted(c, fd);
	rc = start_tls(c, fd, BUFFEREVENT_SSL_ACCEPTING);
	if (rc) {
		rc = tv_fail(e, rc, "cannot accept the connection from %s: %s", c->who,
			     strerror(-rc));
		conn_destroy(c);
		return rc;
	}
	*out = c;
	return 0;
}

/* ---- the owner's other calls ---- */

void repl_finish(struct repl_conn *c, int timeout_ms)
{
	if (c->state >= CONN_FLUSHING)
		return;
	if (c->state < CONN_OPEN || c->ending) {
		c->ending = false;
		conn_end_later(c, 0, "ended the connection to %s before it was open", c->who);
		return;
	}
	c->state = CONN_FLUSHING;
	c->reading = true;
	bufferevent_enable(c->bev, EV_READ);
	conn_set_timer(c->timer, timeout_ms);
	conn_turn_soon(c);
}

void repl_read_enable(struct repl_conn *c, bool on)
{
	if (c->state >= CONN_FLUSHING || c->reading == on)
		return;
	c->reading = on;
	if (c->bev && !c->ending) {
		if (on)
			bufferevent_enable(c->bev, EV_READ);
		else if (c->state == CONN_OPEN)
			bufferevent_disable(c->bev, EV_READ);
	}
	if (on)
		conn_turn_soon(c);
}

int64_t repl_last_rx_ns(const struct repl_conn *c)
{
	return c->last_rx_ns;
}

const char *repl_peer(const struct repl_conn *c)
{
	return c->peer.name[0] ? c->peer.name : c->where;
}
