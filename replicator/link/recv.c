/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Receiving. libevent's buffer is emptied into c->in as a whole (draining it bit by bit would
 * make libevent try the socket each time), and then parsed frame by frame. What one turn handles is
 * bounded by libevent's high-water mark; what may wait is two such buffers and one frame.
 */
#include "replicator/link/conn_int.h"
#include "replicator/link/control.h"

#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>

static void deliver_control(struct repl_conn *c, int64_t now_ns)
{
	Twinvm__Control *msg;
	struct tv_err e = {0};
	int rc = control_unpack(c->rx.payload.data, c->rx.payload.bytes, &msg, &e);

	if (rc) {
		conn_end(c, rc, "%s broke the protocol: %s", c->who, e.text);
		return;
	}
	c->ops.control(c, msg, now_ns, c->arg);
	control_free(msg);
}

static void deliver_disk(struct repl_conn *c, int64_t now_ns)
{
	if (!c->ops.disk)
		conn_end(c, TV_E_PROTOCOL, "%s broke the protocol: unexpected disk frame", c->who);
	else
		c->ops.disk(c, tv_get_le64(c->rx.payload.data), c->rx.piece, c->rx.piece_bytes,
			    now_ns, c->arg);
}

static void deliver(struct repl_conn *c, int64_t now_ns)
{
	if (c->rx.head.type == FRAME_CONTROL)
		deliver_control(c, now_ns);
	else if (c->rx.head.type == FRAME_DISK)
		deliver_disk(c, now_ns);
	else
		c->ops.records(c, c->rx.payload.data, c->rx.payload.bytes, now_ns, c->arg);
}

static bool wants_frames(const struct repl_conn *c)
{
	return c->state == CONN_OPEN && c->reading;
}

/* Takes one stretch of bytes; false when the connection has ended over it. */
static bool parse_some(struct repl_conn *c, int64_t now_ns)
{
	struct evbuffer_iovec v;
	struct tv_err e = {0};
	size_t used = 0;
	int rc;

	if (evbuffer_peek(c->in, -1, NULL, &v, 1) < 1)
		return false;
	rc = frame_rx_feed(&c->rx, v.iov_base, v.iov_len, &used, &e);
	if (rc < 0) {
		conn_end(c, rc, "%s %s: %s", c->who,
			 rc == TV_E_CORRUPT ? "sent damaged data" : "broke the protocol", e.text);
		return false;
	}
	/* Before the bytes are drained: a piece of disk data lies in them. */
	if (rc)
		deliver(c, now_ns);
	evbuffer_drain(c->in, used);
	return true;
}

static void parse(struct repl_conn *c, int64_t now_ns)
{
	while (wants_frames(c) && evbuffer_get_length(c->in))
		if (!parse_some(c, now_ns))
			return;
}

static void discard(struct repl_conn *c)
{
	struct evbuffer *input = bufferevent_get_input(c->bev);

	evbuffer_drain(c->in, evbuffer_get_length(c->in));
	evbuffer_drain(input, evbuffer_get_length(input));
}

static void end_if_all_read(struct repl_conn *c)
{
	if (!c->ending || c->state == CONN_CLOSED)
		return;
	if (c->state == CONN_OPEN &&
	    (evbuffer_get_length(c->in) || evbuffer_get_length(bufferevent_get_input(c->bev))))
		return;
	conn_end(c, c->end_rc, "%s%s", c->end_why,
		 c->state == CONN_OPEN && !frame_rx_between(&c->rx) ? ", in the middle of a message"
								    : "");
}

void recv_run(struct repl_conn *c)
{
	int64_t now_ns = tv_now_ns();

	if (c->state >= CONN_FLUSHING && c->state < CONN_CLOSED)
		discard(c);
	parse(c, now_ns);
	if (wants_frames(c) && !evbuffer_get_length(c->in)) {
		evbuffer_add_buffer(c->in, bufferevent_get_input(c->bev));
		parse(c, now_ns);
	}
	end_if_all_read(c);
}

/*
 * When a write fails (RST, the peer is gone), there may still be unread messages from the peer: a
 * Refuse, or in TLS 1.3 the alert with which it rejected this side's certificate after this side's
 * handshake had ended. libevent stops at the first error, so the rest is read here. Bounded, in
 * case a live peer keeps sending.
 */
void recv_behind_error(struct repl_conn *c, unsigned long *ssl_error, bool *clean)
{
	SSL *ssl = bufferevent_openssl_get_ssl(c->bev);
	uint8_t some[4096];
	int r = 1;

	if (SSL_in_init(ssl))
		return;
	evbuffer_add_buffer(c->in, bufferevent_get_input(c->bev));
	ERR_clear_error();
	for (int i = 0; i < 256 && r > 0; i++) {
		r = SSL_read(ssl, some, sizeof(some));
		if (r > 0 && evbuffer_add(c->in, some, (size_t)r))
			break;
	}
	if (r <= 0 && SSL_get_error(ssl, r) == SSL_ERROR_SSL)
		*ssl_error = ERR_peek_error();
	else if (r <= 0 && SSL_get_error(ssl, r) == SSL_ERROR_ZERO_RETURN)
		*clean = true;
	ERR_clear_error();
}
