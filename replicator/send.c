// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The send queue. Two lists: urgent control messages, and all else in the order it was sent. Bulk
 * data is split into frames of 32 KiB and bounded by the owner's limit; control messages are
 * bounded too.
 */
#include "replicator/send.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void send_init(struct send_queue *q, size_t limit_bytes)
{
	*q = (struct send_queue){.limit_bytes = limit_bytes};
	STAILQ_INIT(&q->urgent);
	STAILQ_INIT(&q->ordered);
}

static void free_list(struct send_list *list)
{
	struct send_frame *f;

	while ((f = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, next);
		free(f);
	}
}

void send_dispose(struct send_queue *q)
{
	free_list(&q->urgent);
	free_list(&q->ordered);
	send_init(q, q->limit_bytes);
}

bool send_empty(const struct send_queue *q)
{
	return STAILQ_EMPTY(&q->urgent) && STAILQ_EMPTY(&q->ordered);
}

struct send_frame *send_frame_new(size_t n)
{
	struct send_frame *f = malloc(sizeof(*f) + FRAME_HEAD_BYTES + n);

	if (f) {
		f->bytes = FRAME_HEAD_BYTES + n;
		f->bulk = false;
	}
	return f;
}

int send_add_control(struct send_queue *q, struct send_frame *f, bool urgent)
{
	if (q->control_bytes + f->bytes > SEND_CONTROL_LIMIT_BYTES) {
		free(f);
		return -ENOBUFS;
	}
	q->control_bytes += f->bytes;
	STAILQ_INSERT_TAIL(urgent ? &q->urgent : &q->ordered, f, next);
	return 0;
}

static struct send_frame *bulk_frame(const void *p, size_t n)
{
	struct send_frame *f = send_frame_new(n);

	if (!f)
		return NULL;
	f->bulk = true;
	memcpy(f->data + FRAME_HEAD_BYTES, p, n);
	/* The hash is of our copy: what the caller does to p from now on cannot spoil it. */
	frame_put_head(f->data, FRAME_RECORDS, f->data + FRAME_HEAD_BYTES, n);
	return f;
}

static int split(struct send_list *list, const uint8_t *p, size_t n)
{
	while (n) {
		size_t take = n < SEND_SPLIT_BYTES ? n : SEND_SPLIT_BYTES;
		struct send_frame *f = bulk_frame(p, take);

		if (!f) {
			free_list(list);
			return -ENOMEM;
		}
		STAILQ_INSERT_TAIL(list, f, next);
		p += take;
		n -= take;
	}
	return 0;
}

int send_add_bulk(struct send_queue *q, const void *p, size_t n)
{
	size_t frames = (n + SEND_SPLIT_BYTES - 1) / SEND_SPLIT_BYTES;
	struct send_list list = STAILQ_HEAD_INITIALIZER(list);
	int rc;

	if (n > q->limit_bytes)
		return -EMSGSIZE;
	if (q->bulk_bytes && q->bulk_bytes + n > q->limit_bytes) {
		q->want_drained = true;
		return -EAGAIN;
	}
	rc = split(&list, p, n);
	if (rc)
		return rc;
	STAILQ_CONCAT(&q->ordered, &list);
	q->bulk_bytes += n + frames * FRAME_HEAD_BYTES;
	if (q->bulk_bytes >= q->limit_bytes / 2)
		q->want_drained = true;
	return 0;
}

struct send_frame *send_next(struct send_queue *q)
{
	struct send_list *list = STAILQ_EMPTY(&q->urgent) ? &q->ordered : &q->urgent;
	struct send_frame *f = STAILQ_FIRST(list);

	if (!f)
		return NULL;
	STAILQ_REMOVE_HEAD(list, next);
	if (f->bulk)
		q->bulk_bytes -= f->bytes;
	else
		q->control_bytes -= f->bytes;
	return f;
}

bool send_take_drained(struct send_queue *q)
{
	if (!q->want_drained || (q->bulk_bytes && q->bulk_bytes >= q->limit_bytes / 2))
		return false;
	q->want_drained = false;
	return true;
}
