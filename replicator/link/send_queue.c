/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The send queue. Two lists: urgent control messages, and all else in the order it was sent. Bulk
 * data is split into frames of 32 KiB and bounded by the owner's limit; control messages are
 * bounded too.
 */
#include "replicator/link/send_queue.h"

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

/* What every frame of one piece of bulk data begins with. */
struct bulk {
	enum frame_type type;
	uint8_t prefix[FRAME_DISK_HEAD_BYTES];
	size_t prefix_bytes;
};

static struct send_frame *bulk_frame(const struct bulk *b, const void *p, size_t n)
{
	struct send_frame *f = send_frame_new(b->prefix_bytes + n);
	uint8_t *payload;

	if (!f)
		return NULL;
	f->bulk = true;
	payload = f->data + FRAME_HEAD_BYTES;
	memcpy(payload, b->prefix, b->prefix_bytes);
	memcpy(payload + b->prefix_bytes, p, n);
	/* The hash is of the copy: what the caller does to p from now on cannot change it. */
	frame_put_head(f->data, b->type, payload, b->prefix_bytes + n);
	return f;
}

static int split(struct send_list *list, const struct bulk *b, const uint8_t *p, size_t n,
		 size_t *bytes)
{
	size_t most = SEND_SPLIT_BYTES - b->prefix_bytes;

	*bytes = 0;
	while (n) {
		size_t take = n < most ? n : most;
		struct send_frame *f = bulk_frame(b, p, take);

		if (!f) {
			free_list(list);
			return -ENOMEM;
		}
		STAILQ_INSERT_TAIL(list, f, next);
		*bytes += f->bytes;
		p += take;
		n -= take;
	}
	return 0;
}

static int add_bulk(struct send_queue *q, const struct bulk *b, const void *p, size_t n)
{
	struct send_list list = STAILQ_HEAD_INITIALIZER(list);
	size_t bytes;
	int rc;

	if (n > q->limit_bytes)
		return -EMSGSIZE;
	if (q->bulk_bytes && q->bulk_bytes + n > q->limit_bytes) {
		q->want_drained = true;
		return -EAGAIN;
	}
	rc = split(&list, b, p, n, &bytes);
	if (rc)
		return rc;
	STAILQ_CONCAT(&q->ordered, &list);
	q->bulk_bytes += bytes;
	if (q->bulk_bytes >= q->limit_bytes / 2)
		q->want_drained = true;
	return 0;
}

int send_add_bulk(struct send_queue *q, const void *p, size_t n)
{
	const struct bulk b = {.type = FRAME_RECORDS};

	return add_bulk(q, &b, p, n);
}

int send_add_disk(struct send_queue *q, uint64_t epoch, const void *p, size_t n)
{
	struct bulk b = {.type = FRAME_DISK, .prefix_bytes = FRAME_DISK_HEAD_BYTES};

	tv_put_le64(b.prefix, epoch);
	return add_bulk(q, &b, p, n);
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
