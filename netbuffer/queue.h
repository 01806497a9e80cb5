/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames that wait, of one port, in order; and the budget that all ports share. */
#ifndef NETBUFFER_QUEUE_H
#define NETBUFFER_QUEUE_H

#include "common/common.h"
#include <sys/queue.h>

struct nb_frame {
	STAILQ_ENTRY(nb_frame) next;
	uint64_t end_pos;
	int64_t arrived_ns;
	bool passing; /* sent while the VM was alone */
	size_t bytes, written;
	uint8_t data[]; /* as it was on the wire, length included */
};

/* Memory of all frames, the struct included, so that many tiny frames are bounded too. */
struct nb_budget {
	size_t used_bytes, limit_bytes;
};

struct nb_queue {
	STAILQ_HEAD(, nb_frame) frames;
	uint64_t count, bytes;
	struct nb_budget *budget;
};

void queue_init(struct nb_queue *q, struct nb_budget *budget);
void queue_dispose(struct nb_queue *q);
/* A frame of n wire bytes, charged to the budget; NULL when that is full or memory is short. */
struct nb_frame *queue_frame_new(struct nb_queue *q, size_t n);
void queue_frame_free(struct nb_queue *q, struct nb_frame *f);
void queue_add(struct nb_queue *q, struct nb_frame *f);
struct nb_frame *queue_first(const struct nb_queue *q);
/* Takes out the first frame and frees it. */
void queue_pop(struct nb_queue *q);
/* Frees all frames that end after pos; returns how many. */
uint64_t queue_drop_after(struct nb_queue *q, uint64_t pos);
/*
 * Writes the frames that end at or before pos to the socket fd, in order, as far as it takes them.
 * before is called for each frame before its first byte goes, after for each that went whole. 1:
 * all are written; 0: the socket is full; negative errno: it is broken.
 */
struct queue_watch {
	void (*before)(void *arg, const struct nb_frame *f);
	void (*after)(void *arg, const struct nb_frame *f);
	void *arg;
};
int queue_write(struct nb_queue *q, int fd, uint64_t pos,
		const struct queue_watch *w) TV_MUST_CHECK;

#endif
