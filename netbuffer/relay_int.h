/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The relay, as relay.c (modes, barriers, the owner's calls) and port.c (one port's sockets) share
 * it. Private to netbuffer/. */
#ifndef NETBUFFER_RELAY_INT_H
#define NETBUFFER_RELAY_INT_H

#include "netbuffer/netbuffer.h"
#include "netbuffer/gate.h"
#include "netbuffer/queue.h"
#include "netbuffer/deframe.h"
#include "netbuffer/way.h"

#include <pthread.h>

#define NB_MAX_PORTS 32
#define NB_READ_BYTES (64u << 10)

struct port {
	struct relay *nb;
	char name[64];
	int capture_fd, inject_fd;
	struct event *readable, *writable, *report;

	/* Under nb->lock. */
	uint64_t read_pos;
	struct gate gate;
	int failed_rc;

	/* The loop's own. */
	struct deframe deframe;
	struct nb_frame *coming; /* the frame that deframe fills */
	bool skipping;		 /* no room for it */
	bool discard;		 /* read, and throw away */
	bool mute;		 /* inject_fd is broken */
	struct nb_queue queue;
	struct gate leaving;	/* the gate as queue_write goes by it ... */
	uint64_t leaving_epoch; /* ... and the last released epoch */
};

struct relay {
	struct nb nb; /* first: the owner knows only this */
	struct event_base *base;
	struct nb_conf conf;
	struct nb_budget budget;
	struct nb_stats counts; /* the three totals */
	int64_t now_ns;		/* of this turn */

	pthread_mutex_t lock;
	enum nb_mode mode;
	bool armed;	/* nb_hold came, its barrier has not */
	bool announced; /* first_held has been called since the last barrier */
	uint64_t last_epoch, released_epoch;

	bool quiet;	/* no first_held: nb_drop is reading */
	unsigned depth; /* callbacks under way; nb_free then only marks */
	bool freed;
	unsigned ports_n;
	struct port ports[NB_MAX_PORTS];
	uint8_t buf[NB_READ_BYTES];
};

/* ---- port.c ---- */
/* Entries from the loop, and calls that may call back, are between these; after leave nb may be
 * gone. */
void relay_enter(struct relay *nb);
void relay_leave(struct relay *nb);
/* Frees all of it; no callback of it is running. */
void relay_destroy(struct relay *nb);

/* Takes the fds over, also on failure. */
int port_init(struct port *p, struct relay *nb, const struct nb_port *from) TV_MUST_CHECK;
void port_dispose(struct port *p);
/* Writes what may leave, as far as the socket takes it now; the rest when it is writable. */
void port_flush(struct port *p);
/* Drops all that may not leave, what is unread in the socket included. */
void port_drop(struct port *p);
/* Nothing that may leave is left, and nothing is unread. */
bool port_idle(struct port *p);

#endif
