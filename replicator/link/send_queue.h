/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The send queue: whole frames waiting for their turn. Knows no socket. */
#ifndef REPLICATOR_LINK_SEND_QUEUE_H
#define REPLICATOR_LINK_SEND_QUEUE_H

#include "replicator/link/frame.h"
#include <sys/queue.h>

/*
 * A frame of bulk data, header included: two full TLS records, and short enough that an urgent
 * message never waits long for the boundary.
 */
#define SEND_FRAME_BYTES (32u << 10)
#define SEND_SPLIT_BYTES (SEND_FRAME_BYTES - FRAME_HEAD_BYTES)
/* Control messages have no back-pressure; a peer that does not read must not cost memory without
 * bound. */
#define SEND_CONTROL_LIMIT_BYTES (4u << 20)

struct send_frame {
	STAILQ_ENTRY(send_frame) next;
	size_t bytes;
	bool bulk;
	uint8_t data[]; /* header and payload */
};
STAILQ_HEAD(send_list, send_frame);

struct send_queue {
	struct send_list urgent, ordered;
	size_t limit_bytes; /* of bulk */
	size_t bulk_bytes, control_bytes;
	bool want_drained; /* bulk was refused, or rose to half the limit */
};

void send_init(struct send_queue *q, size_t limit_bytes);
void send_dispose(struct send_queue *q);
bool send_empty(const struct send_queue *q);
/* A frame with room for n bytes of payload at data + FRAME_HEAD_BYTES; NULL when memory is
 * short. */
struct send_frame *send_frame_new(size_t n);
/* Adds a finished control frame and takes it over, or frees it and returns -ENOBUFS. */
int send_add_control(struct send_queue *q, struct send_frame *f, bool urgent) TV_MUST_CHECK;
/* All of p or nothing: -EAGAIN, -EMSGSIZE (can never fit), -ENOMEM. */
int send_add_bulk(struct send_queue *q, const void *p, size_t n) TV_MUST_CHECK;
int send_add_disk(struct send_queue *q, uint64_t epoch, const void *p, size_t n) TV_MUST_CHECK;
/* The frame whose turn it is, urgent ones first; the caller frees it. NULL when there is none. */
struct send_frame *send_next(struct send_queue *q);
/* Once after each time that bulk data had piled up and is below half the limit again. */
bool send_take_drained(struct send_queue *q);

#endif
