/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mailboxes between threads: the theory is in mailbox.h. */
#include "common/mailbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- wake-up ---- */
int tv_wake_init(struct tv_wake *w)
{
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return w->fd < 0 ? -errno : 0;
}

void tv_wake_dispose(struct tv_wake *w)
{
	tv_close_fd(&w->fd);
}

void tv_wake_up(struct tv_wake *w)
{
	uint64_t one = 1;

	/* -EAGAIN: the counter is at its maximum, so it is readable already. */
	if (write(w->fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		abort();
}

void tv_wake_clear(struct tv_wake *w)
{
	uint64_t n;

	if (read(w->fd, &n, sizeof(n)) < 0 && errno != EAGAIN && errno != EINTR)
		abort();
}

/* ---- mailbox ---- */
int tv_box_init(struct tv_box *b, size_t item_bytes, unsigned room)
{
	int rc;

	memset(b, 0, sizeof(*b));
	b->wake.fd = -1;
	b->item_bytes = item_bytes;
	b->room = room;
	b->items = calloc(room, item_bytes);
	if (!b->items)
		return -ENOMEM;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->changed, NULL);
	rc = tv_wake_init(&b->wake);
	if (rc)
		tv_box_dispose(b);
	return rc;
}

void tv_box_dispose(struct tv_box *b)
{
	if (!b->items)
		return;
	tv_wake_dispose(&b->wake);
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->lock);
	free(b->items);
	b->items = NULL;
}

/* Under lock. The descriptor is readable while the reader has something to look at. */
static void changed(struct tv_box *b)
{
	if (b->put != b->taken || b->woken || b->closed)
		tv_wake_up(&b->wake);
	else
		tv_wake_clear(&b->wake);
	pthread_cond_broadcast(&b->changed);
}

/* Under lock. */
static uint8_t *place(struct tv_box *b, unsigned n)
{
	return b->items + (n % b->room) * b->item_bytes;
}

static int put(struct tv_box *b, const void *item, bool wait)
{
	int rc = 0;

	pthread_mutex_lock(&b->lock);
	while (wait && !b->closed && b->put - b->taken == b->room)
		pthread_cond_wait(&b->changed, &b->lock);
	if (b->closed) {
		rc = -ECANCELED;
	} else if (b->put - b->taken == b->room) {
		rc = -EAGAIN;
	} else {
		memcpy(place(b, b->put++), item, b->item_bytes);
		changed(b);
	}
	pthread_mutex_unlock(&b->lock);
	return rc;
}

int tv_box_put(struct tv_box *b, const void *item)
{
	return put(b, item, false);
}

int tv_box_put_wait(struct tv_box *b, const void *item)
{
	return put(b, item, true);
}

void tv_box_wake(struct tv_box *b)
{
	pthread_mutex_lock(&b->lock);
	b->woken = true;
	changed(b);
	pthread_mutex_unlock(&b->lock);
}

void tv_box_close(struct tv_box *b)
{
	pthread_mutex_lock(&b->lock);
	b->closed = true;
	changed(b);
	pthread_mutex_unlock(&b->lock);
}

/* Under lock. Whether an item or not: what the reader was woken for, it looks at now. */
static bool take(struct tv_box *b, void *item)
{
	bool have = b->put != b->taken;

	if (have)
		memcpy(item, place(b, b->taken++), b->item_bytes);
	b->woken = false;
	changed(b);
	return have;
}

bool tv_box_take(struct tv_box *b, void *item)
{
	bool have;

	pthread_mutex_lock(&b->lock);
	have = take(b, item);
	pthread_mutex_unlock(&b->lock);
	return have;
}

int tv_box_take_wait(struct tv_box *b, void *item)
{
	int rc;

	pthread_mutex_lock(&b->lock);
	while (b->put == b->taken && !b->woken && !b->closed)
		pthread_cond_wait(&b->changed, &b->lock);
	rc = b->put == b->taken && b->closed ? -ECANCELED : take(b, item);
	pthread_mutex_unlock(&b->lock);
	return rc;
}

bool tv_box_is_closed(struct tv_box *b)
{
	bool closed;

	pthread_mutex_lock(&b->lock);
	closed = b->closed;
	pthread_mutex_unlock(&b->lock);
	return closed;
}

int tv_box_fd(const struct tv_box *b)
{
	return b->wake.fd;
}
