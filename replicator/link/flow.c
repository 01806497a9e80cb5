/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sending: the queue is fed to libevent a frame at a time, so that the order can still change until
 * shortly before the socket; and the orderly end (repl_finish).
 *
 * The orderly end: queue empty -> close_notify -> shutdown(SHUT_WR) -> read and discard until the
 * peer ends too. Closing at once would be wrong: with unread bytes in the socket the kernel sends
 * RST and discards what it has not sent, which may be the message that gives the reason for
 * closing.
 */
#include "replicator/link/conn_int.h"
#include "replicator/link/control.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>

static size_t unwritten(const struct repl_conn *c)
{
	return c->bev ? evbuffer_get_length(bufferevent_get_output(c->bev)) : 0;
}

static size_t unflushed(const struct repl_conn *c)
{
	return c->bev ? tls_unflushed(bufferevent_openssl_get_ssl(c->bev)) : 0;
}

static void free_frame(const void *data, size_t n, void *frame)
{
	(void)data, (void)n;
	free(frame);
}

void flow_pump(struct repl_conn *c)
{
	struct evbuffer *output;
	struct send_frame *f;

	if (c->ending || (c->state != CONN_OPEN && c->state != CONN_FLUSHING))
		return;
	output = bufferevent_get_output(c->bev);
	while (unwritten(c) < CONN_WRITE_LOW_BYTES && (f = send_next(&c->out))) {
		size_t bytes = f->bytes;

		if (evbuffer_add_reference(output, f->data, bytes, free_frame, f)) {
			free(f);
			conn_end_later(c, -ENOMEM, "no memory to send to %s", c->who);
			return;
		}
		c->fed_bytes += bytes;
	}
}

static void goodbye_room(evutil_socket_t fd, short what, void *arg);

/* close_notify, then FIN. Either may have to wait for room in the socket. */
static void send_goodbye(struct repl_conn *c)
{
	SSL *ssl = bufferevent_openssl_get_ssl(c->bev);
	int fd = bufferevent_getfd(c->bev);
	bool wait = false;
	int r;

	ERR_clear_error();
	if (!(SSL_get_shutdown(ssl) & SSL_SENT_SHUTDOWN)) {
		r = SSL_shutdown(ssl);
		wait = r < 0 && SSL_get_error(ssl, r) == SSL_ERROR_WANT_WRITE;
	}
	if (wait || !tls_flush(ssl)) {
		if (!c->send_goodbye)
			c->send_goodbye = event_new(c->base, fd, EV_WRITE, goodbye_room, c);
		if (c->send_goodbye && !event_add(c->send_goodbye, NULL))
			return;
	}
	ERR_clear_error();
	shutdown(fd, SHUT_WR);
}

static void goodbye_room(evutil_socket_t fd, short what, void *arg)
{
	struct repl_conn *c = arg;

	(void)fd, (void)what;
	send_goodbye(c);
}

void flow_check_finished(struct repl_conn *c)
{
	if (c->state != CONN_FLUSHING || c->ending || !send_empty(&c->out) || unwritten(c))
		return;
	c->state = CONN_LINGERING;
	send_goodbye(c);
}

static void on_flush_room(evutil_socket_t fd, short what, void *arg);

/* Nothing follows for now: what waits below TLS for a larger write is written as it is. */
static void flush(struct repl_conn *c)
{
	int fd = bufferevent_getfd(c->bev), r;

	ERR_clear_error();
	r = tls_flush(bufferevent_openssl_get_ssl(c->bev));
	ERR_clear_error();
	/* An error is libevent's to find: the socket has become readable over it. */
	if (r)
		return;
	if (!c->flush_room)
		c->flush_room = event_new(c->base, fd, EV_WRITE, on_flush_room, c);
	if (!c->flush_room || event_add(c->flush_room, NULL))
		conn_end_later(c, -ENOMEM, "no memory to send to %s", c->who);
}

static void on_flush_room(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	flush(arg);
}

void flow_written(struct repl_conn *c)
{
	flow_pump(c);
	if (c->bev && !unwritten(c)) {
		c->idles++;
		flush(c);
	}
	if (c->state == CONN_OPEN && send_take_drained(&c->out) && c->ops.drained)
		c->ops.drained(c, c->arg);
	flow_check_finished(c);
}

/* Everything before the end of what goes in order; urgent messages may have overtaken it. */
static void accepted(struct repl_conn *c, bool in_order)
{
	if (in_order)
		c->ordered_end = c->fed_bytes + c->out.bulk_bytes + c->out.control_bytes;
	flow_pump(c);
}

int flow_send_control(struct repl_conn *c, const Twinvm__Control *msg, bool urgent)
{
	size_t n = twinvm__control__get_packed_size(msg);
	struct send_frame *f;
	int rc;

	if (n > REPL_MAX_CONTROL_BYTES)
		return -EMSGSIZE;
	if (!n)
		return -EINVAL;
	f = send_frame_new(n);
	if (!f)
		return -ENOMEM;
	twinvm__control__pack(msg, f->data + FRAME_HEAD_BYTES);
	frame_put_head(f->data, FRAME_CONTROL, f->data + FRAME_HEAD_BYTES, n);
	rc = send_add_control(&c->out, f, urgent);
	if (!rc)
		accepted(c, !urgent);
	return rc;
}

int repl_send(struct repl_conn *c, const Twinvm__Control *msg, bool urgent)
{
	struct control_mended mended;
	int rc;

	if (!conn_is_up(c))
		return -ENOTCONN;
	rc = control_mend(msg, &mended);
	if (rc)
		return rc;
	rc = flow_send_control(c, msg, urgent);
	control_unmend(&mended);
	return rc;
}

int repl_send_records(struct repl_conn *c, const void *p, size_t n)
{
	int rc;

	if (!conn_is_up(c))
		return -ENOTCONN;
	rc = send_add_bulk(&c->out, p, n);
	if (!rc)
		accepted(c, true);
	return rc;
}

int repl_send_disk(struct repl_conn *c, uint64_t epoch, const void *p, size_t n)
{
	int rc;

	if (!conn_is_up(c))
		return -ENOTCONN;
	rc = send_add_disk(&c->out, epoch, p, n);
	if (!rc)
		accepted(c, true);
	return rc;
}

size_t repl_queued_bytes(const struct repl_conn *c)
{
	return c->out.bulk_bytes + c->out.control_bytes + unwritten(c) + unflushed(c);
}

uint64_t repl_sent_bytes(const struct repl_conn *c)
{
	return c->fed_bytes - unwritten(c);
}

uint64_t repl_idles(const struct repl_conn *c)
{
	return c->idles;
}

uint64_t repl_acked_bytes(struct repl_conn *c)
{
	int in_kernel = 0;
	uint64_t acked;

	if (c->bev && ioctl(bufferevent_getfd(c->bev), SIOCOUTQ, &in_kernel))
		in_kernel = 0; /* not a TCP socket, in a test */
	acked = c->fed_bytes - unwritten(c);
	acked -=
		acked < unflushed(c) + (size_t)in_kernel ? acked : unflushed(c) + (size_t)in_kernel;
	if (acked > c->ordered_end)
		acked = c->ordered_end;
	if (acked > c->acked_bytes) /* TLS adds to what waits in the kernel: never back */
		c->acked_bytes = acked;
	return c->acked_bytes;
}

static bool read_info(struct repl_conn *c, struct tcp_info *info)
{
	socklen_t n = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return c->bev && !getsockopt(bufferevent_getfd(c->bev), IPPROTO_TCP, TCP_INFO, info, &n) &&
	       n >= offsetof(struct tcp_info, tcpi_min_rtt) + sizeof(info->tcpi_min_rtt);
}

int64_t repl_min_rtt_ns(struct repl_conn *c)
{
	struct tcp_info info;

	if (!read_info(c, &info) || info.tcpi_min_rtt == UINT32_MAX)
		return 0;
	return (int64_t)info.tcpi_min_rtt * 1000;
}

int64_t repl_rtt_ns(struct repl_conn *c)
{
	struct tcp_info info;

	return read_info(c, &info) ? (int64_t)info.tcpi_rtt * 1000 : 0;
}
