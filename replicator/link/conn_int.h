/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection, as conn.c, conn_end.c, recv.c and flow.c share it. Private to
 * replicator/link/. */
#ifndef REPLICATOR_LINK_CONN_INT_H
#define REPLICATOR_LINK_CONN_INT_H

#include "replicator/link/link.h"
#include "replicator/link/dial.h"
#include "replicator/link/frame.h"
#include "replicator/link/send_queue.h"
#include "replicator/link/tls.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>

/* What libevent may hold unread; it can overrun this by one TLS record. */
#define CONN_READ_BYTES (64u << 10)
/*
 * What libevent may hold unwritten: while less than the low mark is left, one more frame is added.
 * An urgent message waits for this much, for as much again below TLS (gather.c), for what the
 * kernel has not sent yet, and for nothing else.
 */
#define CONN_WRITE_LOW_BYTES (32u << 10)
#define CONN_NOTSENT_BYTES (64 << 10)

/* Order matters: from CONN_FLUSHING on, received data do not reach the owner. */
enum conn_state {
	CONN_DIALLING,
	CONN_HANDSHAKE,
	CONN_OPEN,
	CONN_FLUSHING,	/* repl_finish: the queue empties */
	CONN_LINGERING, /* all sent and this side closed: waiting for the peer's end */
	CONN_CLOSED,
};

struct repl_conn {
	struct event_base *base;
	SSL_CTX *ctx;
	struct repl_ops ops;
	void *arg;
	enum conn_state state;
	int handshake_timeout_ms;
	int stuck_timeout_ms;

	struct dial *dial;
	struct bufferevent *bev;    /* from CONN_HANDSHAKE to the end */
	struct event *timer;	    /* handshake, then repl_finish */
	struct event *turn;	    /* zero timer: work that must not be done inside a call */
	struct event *send_goodbye; /* close_notify waits for room in the socket */
	struct event *flush_room;   /* the last bytes before a silence do */

	struct tls_peer peer;
	char where[320]; /* host:port */
	char who[600];	 /* "name (host:port)" once the name is known */

	struct send_queue out;
	uint64_t fed_bytes;   /* given to libevent so far */
	uint64_t ordered_end; /* of the newest frame that is not urgent, in fed_bytes */
	uint64_t acked_bytes;
	uint64_t idles; /* how often nothing more waited to be sent */

	struct evbuffer *in; /* taken from libevent, not yet parsed */
	struct frame_rx rx;
	bool reading;
	int64_t last_rx_ns;

	/* The end, when it has to wait: for what arrived before it, or for the loop. */
	bool ending;
	int end_rc;
	char end_why[700];

	/* Callbacks may free the connection: its memory stays until the outermost one is left. */
	unsigned depth;
	bool freed;
};

/* ---- conn_end.c ---- */
/* Every entry from the loop is between these two; after conn_leave, c may be gone. */
void conn_enter(struct repl_conn *c);
void conn_leave(struct repl_conn *c);
/* Ends the connection and calls closed; from the loop only, as the last thing done with c. */
void conn_end(struct repl_conn *c, int rc, const char *fmt, ...) TV_PRINTF(3, 4);
/* Ends it once all that was received has been handed over. The first reason given stays. */
void conn_end_later(struct repl_conn *c, int rc, const char *fmt, ...) TV_PRINTF(3, 4);
/* Runs on_turn (conn.c) in the loop's next turn. */
void conn_turn_soon(struct repl_conn *c);
void conn_set_timer(struct event *timer, int ms);
/* Frees all of it; no callback of c is running. */
void conn_destroy(struct repl_conn *c);

/* ---- recv.c ---- */
/* Hands over what was received, then a waiting end if all has been. */
void recv_run(struct repl_conn *c);
/* After an error, what openssl still has: the peer's last messages, or its alert. */
void recv_behind_error(struct repl_conn *c, unsigned long *ssl_error, bool *clean);

/* ---- flow.c ---- */
/* Feeds libevent from the queue; ends the flush when it is empty. */
void flow_pump(struct repl_conn *c);
void flow_written(struct repl_conn *c);
void flow_check_finished(struct repl_conn *c);
/* repl_send without mending what it sends: the connection must be up. The hostile peer of the tests
 * sends by it. */
int flow_send_control(struct repl_conn *c, const Twinvm__Control *msg, bool urgent) TV_MUST_CHECK;

static inline bool conn_is_up(const struct repl_conn *c)
{
	return c->state == CONN_OPEN && !c->ending;
}

#endif
