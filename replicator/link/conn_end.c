/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of a connection: its one way out (conn_end), and its memory, which stays until the
 * outermost callback has returned. Below flow.c, recv.c and conn.c, which all end connections.
 */
#include "replicator/link/conn_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* ---- memory and entry ---- */

void conn_set_timer(struct event *timer, int ms)
{
	struct timeval tv = tv_timeval(ms * TV_NS_PER_MS);

	event_add(timer, &tv);
}

void conn_turn_soon(struct repl_conn *c)
{
	conn_set_timer(c->turn, 0);
}

static void free_event(struct event **ev)
{
	if (*ev)
		event_free(*ev);
	*ev = NULL;
}

/* Everything the loop could still call is gone after this. */
static void tear_down(struct repl_conn *c)
{
	dial_free(c->dial);
	c->dial = NULL;
	free_event(&c->timer);
	free_event(&c->turn);
	free_event(&c->send_goodbye);
	free_event(&c->flush_room);
	if (c->bev) {
		int fd = bufferevent_getfd(c->bev);

		/* libevent closes the socket in its next turn; the peer must see the end now. */
		if (fd >= 0)
			shutdown(fd, SHUT_RDWR);
		bufferevent_free(c->bev);
	}
	c->bev = NULL;
	send_dispose(&c->out);
	frame_rx_dispose(&c->rx);
	c->state = CONN_CLOSED;
}

void conn_destroy(struct repl_conn *c)
{
	tear_down(c);
	if (c->in)
		evbuffer_free(c->in);
	SSL_CTX_free(c->ctx);
	free(c);
}

void conn_enter(struct repl_conn *c)
{
	c->depth++;
}

void conn_leave(struct repl_conn *c)
{
	if (!--c->depth && c->freed)
		conn_destroy(c);
}

void repl_free(struct repl_conn *c)
{
	if (!c)
		return;
	if (!c->depth) {
		conn_destroy(c);
		return;
	}
	c->freed = true;
	/* The frame being handed over right now is in rx: it must outlive the callback. */
	if (c->state != CONN_CLOSED) {
		struct frame_rx rx = c->rx;

		frame_rx_init(&c->rx);
		tear_down(c);
		c->rx = rx;
	}
}

/* ---- the end ---- */

void conn_end(struct repl_conn *c, int rc, const char *fmt, ...)
{
	char why[sizeof(c->end_why)];
	va_list ap;

	if (c->state == CONN_CLOSED)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	tear_down(c);
	c->ops.closed(c, rc, why, c->arg);
}

void conn_end_later(struct repl_conn *c, int rc, const char *fmt, ...)
{
	va_list ap;

	if (c->ending || c->state == CONN_CLOSED)
		return;
	c->ending = true;
	c->end_rc = rc;
	va_start(ap, fmt);
	vsnprintf(c->end_why, sizeof(c->end_why), fmt, ap);
	va_end(ap);
	conn_turn_soon(c);
}
