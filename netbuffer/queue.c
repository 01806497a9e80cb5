/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queue of one port, and writing it out in batches. */
#include "netbuffer/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define BATCH 64

void queue_init(struct nb_queue *q, struct nb_budget *budget)
{
	*q = (struct nb_queue){.budget = budget};
	STAILQ_INIT(&q->frames);
}

void queue_dispose(struct nb_queue *q)
{
	while (queue_first(q))
		queue_pop(q);
}

struct nb_frame *queue_frame_new(struct nb_queue *q, size_t n)
{
	struct nb_budget *b = q->budget;
	size_t cost = sizeof(struct nb_frame) + n;
	struct nb_frame *f;

	if (cost > b->limit_bytes || b->used_bytes > b->limit_bytes - cost)
		return NULL;
	f = malloc(cost);
	if (!f)
		return NULL;
	b->used_bytes += cost;
	f->bytes = n;
	f->written = 0;
	return f;
}

void queue_frame_free(struct nb_queue *q, struct nb_frame *f)
{
	if (!f)
		return;
	q->budget->used_bytes -= sizeof(*f) + f->bytes;
	free(f);
}

void queue_add(struct nb_queue *q, struct nb_frame *f)
{
	STAILQ_INSERT_TAIL(&q->frames, f, next);
	q->count++;
	q->bytes += f->bytes;
}

struct nb_frame *queue_first(const struct nb_queue *q)
{
	return STAILQ_FIRST(&q->frames);
}

void queue_pop(struct nb_queue *q)
{
	struct nb_frame *f = STAILQ_FIRST(&q->frames);

	STAILQ_REMOVE_HEAD(&q->frames, next);
	q->count--;
	q->bytes -= f->bytes;
	queue_frame_free(q, f);
}

uint64_t queue_drop_after(struct nb_queue *q, uint64_t pos)
{
	struct nb_queue keep;
	struct nb_frame *f;
	uint64_t dropped = 0;

	queue_init(&keep, q->budget);
	while ((f = STAILQ_FIRST(&q->frames))) {
		STAILQ_REMOVE_HEAD(&q->frames, next);
		if (f->end_pos <= pos) {
			queue_add(&keep, f);
		} else {
			queue_frame_free(q, f);
			dropped++;
		}
	}
	STAILQ_INIT(&q->frames);
	STAILQ_CONCAT(&q->frames, &keep.frames);
	q->count = keep.count;
	q->bytes = keep.bytes;
	return dropped;
}

static int gather(const struct nb_queue *q, uint64_t pos, struct iovec iov[BATCH],
		  const struct queue_watch *w)
{
	struct nb_frame *f;
	int n = 0;

	STAILQ_FOREACH(f, &q->frames, next) {
		if (f->end_pos > pos || n == BATCH)
			break;
		w->before(w->arg, f);
		iov[n].iov_base = f->data + f->written;
		iov[n++].iov_len = f->bytes - f->written;
	}
	return n;
}

static void account(struct nb_queue *q, size_t written, const struct queue_watch *w)
{
	while (written) {
		struct nb_frame *f = queue_first(q);
		size_t left = f->bytes - f->written;

		if (written < left) {
			f->written += written;
			return;
		}
		written -= left;
		w->after(w->arg, f);
		queue_pop(q);
	}
}

int queue_write(struct nb_queue *q, int fd, uint64_t pos, const struct queue_watch *w)
{
	struct iovec iov[BATCH];

	for (;;) {
		struct msghdr m = {.msg_iov = iov};
		ssize_t r;
		int n = gather(q, pos, iov, w);

		if (!n)
			return 1;
		m.msg_iovlen = (size_t)n;
		r = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
		account(q, (size_t)r, w);
	}
}
