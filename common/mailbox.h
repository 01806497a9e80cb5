/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: how threads talk
 *
 * A mailbox carries items of one size, in order, from any thread to one reader. It takes all its
 * memory at the start (rule 6: bounded). Its descriptor is readable exactly while the reader has
 * something to look at: an item, a wake-up, or the end. So a loop waits for it with libevent or
 * poll, and a thread that has nothing else to wait for calls tv_box_take_wait.
 *
 * A full mailbox. There is one policy: nothing is dropped, and the sender learns of it.
 *   - A loop must not wait: it calls tv_box_put, and -EAGAIN means that the item was not taken.
 *     Who calls it knows how many items can be open, and says at the call what -EAGAIN means there.
 *   - A thread calls tv_box_put_wait, which waits until the reader has made room or has closed the
 *     mailbox. It never waits for a reader that waits for it: of two mailboxes between the same
 *     two threads, only one may be put into with waiting.
 *
 * A state is not an item. What is wanted of a thread (that a VM be stopped, say) can change more
 * often than a mailbox has places, and only the newest wish counts: keep it in a variable of the
 * owner's (atomic, or under its lock) and call tv_box_wake, which takes no place.
 *
 * The end. tv_box_close may be called by either side, once or more. Senders get -ECANCELED from
 * then on, also those that wait; the reader still takes what was put before.
 *
 * A wake-up alone (struct tv_wake) is for rooms that keep their own buffers and only need to tell
 * a loop to look at them.
 */
#ifndef COMMON_MAILBOX_H
#define COMMON_MAILBOX_H

#include "common/common.h"

#include <pthread.h>

/* ---- wake-up: from any thread to one loop; any number of calls before it looks count as one ---- */
struct tv_wake {
	int fd; /* readable when woken; to be watched, not read */
};
/* -errno: no descriptor could be had; tv_wake_dispose is allowed then, too. */
int tv_wake_init(struct tv_wake *w) TV_MUST_CHECK;
void tv_wake_dispose(struct tv_wake *w);
/* Never blocks, never fails. */
void tv_wake_up(struct tv_wake *w);
/* The reader looks now: the descriptor is not readable any more. Call it before looking. */
void tv_wake_clear(struct tv_wake *w);

/* ---- mailbox ---- */
struct tv_box {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct tv_wake wake;
	uint8_t *items; /* ring [taken, put) */
	size_t item_bytes;
	unsigned room, put, taken;
	bool woken, closed;
};
/* Room for `room` items of item_bytes each. -ENOMEM, -errno: nothing was taken, and only
 * tv_box_dispose may follow. */
int tv_box_init(struct tv_box *b, size_t item_bytes, unsigned room) TV_MUST_CHECK;
/* No thread may use it any more: close it and join them first. A zeroed box is allowed. */
void tv_box_dispose(struct tv_box *b);

/* Copies the item in. -EAGAIN: full; -ECANCELED: closed. Never waits. */
int tv_box_put(struct tv_box *b, const void *item) TV_MUST_CHECK;
/* As tv_box_put, but waits for room. 0 or -ECANCELED. */
int tv_box_put_wait(struct tv_box *b, const void *item) TV_MUST_CHECK;
/* The reader looks at its owner's variables; takes no place. */
void tv_box_wake(struct tv_box *b);
void tv_box_close(struct tv_box *b);

/* The reader's: copies the oldest item out. False: there is none. Never waits. */
bool tv_box_take(struct tv_box *b, void *item);
/*
 * As tv_box_take, but waits. 1: an item; 0: woken by tv_box_wake, no item; -ECANCELED: closed, and
 * everything that was put has been taken.
 */
int tv_box_take_wait(struct tv_box *b, void *item) TV_MUST_CHECK;
bool tv_box_is_closed(struct tv_box *b);
/* Readable while tv_box_take may find something; owned by the box, to be watched only. */
int tv_box_fd(const struct tv_box *b);

#endif
