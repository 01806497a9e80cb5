/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the apply thread's queue and its answers
 *
 * Work goes to the thread in a queue of its own, not in a mailbox: it is bounded in bytes, not in
 * pieces, since a piece holds anything from a mark to a frame of records; pieces of a stream that
 * wait are joined, so that the thread is woken and work is handled once for many of them; and work
 * that will never be whole can be taken back. A piece counts as the memory pages that it has
 * written, so that a peer which sends many small ones is bounded as well. The poster keeps the
 * bound: while applier_full is true it does not read the peer, from `drained` (below half) on it
 * does again. What the peer's connection has read already may exceed the bound.
 *
 * Answers come back in a mailbox. When it is full the thread waits until the loop has taken one:
 * no answer may be lost (each is a commit, a failure, or what the loop waits for), and a thread
 * that waits lets the queue fill, which stops the peer. The loop never waits for the thread but in
 * applier_free, which closes the mailbox first. `drained` is a state, not an item.
 */
#include "replicator/sink/applier.h"
#include "common/mailbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#define JOIN_BYTES (256u << 10)
#define SPARES 32  /* of those kept for reuse: fresh memory costs a page fault every 4 KiB */
#define ANSWERS 64 /* usual are two: one for each epoch in flight */

struct piece {
	TAILQ_ENTRY(piece) link;
	struct apply_work work; /* its data is the piece's */
	size_t room;
	uint8_t data[];
};

struct applier {
	struct applier_conf conf;
	struct apply *apply; /* the thread's */
	pthread_t thread;
	pthread_mutex_t lock; /* of all up to the answers */
	pthread_cond_t changed;
	TAILQ_HEAD(piece_queue, piece) queue;
	size_t queued_bytes; /* waiting or being worked on */
	struct piece *spares[SPARES];
	unsigned nspares;
	struct piece *kill, *promote; /* made beforehand; NULL: used */
	struct sink_still *still;     /* to be begun */
	bool idles;		      /* there may be something to do though no work waits */
	bool stop, was_full, drained;
	struct tv_box answers;
	struct event *ev;
};

/* ---- pieces ---- */

static size_t bytes_of(const struct piece *p)
{
	return (sizeof(*p) + p->work.n + TV_PAGE_BYTES - 1) / TV_PAGE_BYTES * TV_PAGE_BYTES;
}

/* Bytes of a stream: any split of them is as good as any other to who takes them. */
static bool is_stream(enum apply_kind kind)
{
	return kind == APPLY_SYNC || kind == APPLY_EPOCH || kind == APPLY_DISK;
}

/* Under lock. The end of a standby, and its promotion, need no memory: *reserve was made before. */
static struct piece *take_reserve(struct applier *a, enum apply_kind kind)
{
	struct piece **reserve = kind == APPLY_KILL	 ? &a->kill
				 : kind == APPLY_PROMOTE ? &a->promote
							 : NULL;
	struct piece *p = reserve ? *reserve : NULL;

	if (p)
		*reserve = NULL;
	return p;
}

/* Under lock. NULL: no memory. */
static struct piece *piece_new(struct applier *a, const struct apply_work *w)
{
	size_t room = is_stream(w->kind) && w->n < JOIN_BYTES ? JOIN_BYTES : w->n;
	struct piece *p = NULL;

	if (room == JOIN_BYTES && a->nspares)
		p = a->spares[--a->nspares];
	else if (!tv_fault("applier_memory"))
		p = malloc(sizeof(*p) + room);
	if (!p && !w->n)
		p = take_reserve(a, w->kind);
	if (!p)
		return NULL;
	p->work = *w;
	p->work.data = p->data;
	p->room = room;
	if (w->n)
		memcpy(p->data, w->data, w->n);
	return p;
}

/* Under lock. */
static void piece_free(struct applier *a, struct piece *p)
{
	if (p->room == JOIN_BYTES && a->nspares < SPARES)
		a->spares[a->nspares++] = p;
	else
		free(p);
}

/* Under lock. Adds to the last piece that waits, if that is the same stream and has room. */
static bool join(struct applier *a, const struct apply_work *w)
{
	struct piece *p = TAILQ_LAST(&a->queue, piece_queue);

	if (!p || !is_stream(w->kind) || p->work.kind != w->kind || p->work.epoch != w->epoch ||
	    w->n > p->room - p->work.n)
		return false;
	memcpy(p->data + p->work.n, w->data, w->n);
	a->queued_bytes -= bytes_of(p);
	p->work.n += w->n;
	a->queued_bytes += bytes_of(p);
	return true;
}

/* ---- the thread ---- */

/* apply_answer_cb; in the apply thread, not under lock. */
static void put_answer(const struct apply_answer *ans, void *arg)
{
	struct applier *a = arg;

	/* Waits for the loop when full. -ECANCELED: the session has ended, nobody reads it. */
	if (tv_box_put_wait(&a->answers, ans))
		free(ans->hashes);
}

/* Under lock, which is given up meanwhile. */
static void do_besides(struct applier *a)
{
	struct sink_still *still = a->still;
	bool idles;

	a->still = NULL;
	a->idles = false;
	pthread_mutex_unlock(&a->lock);
	if (still)
		apply_freeze(a->apply, still);
	idles = apply_idle(a->apply);
	pthread_mutex_lock(&a->lock);
	a->idles |= idles;
}

/* The oldest piece, when there is one; NULL: the thread is to end. */
static struct piece *next(struct applier *a)
{
	struct piece *p;

	pthread_mutex_lock(&a->lock);
	while (!a->stop && (a->still || TAILQ_EMPTY(&a->queue))) {
		if (a->still || a->idles)
			do_besides(a);
		else
			pthread_cond_wait(&a->changed, &a->lock);
	}
	p = a->stop ? NULL : TAILQ_FIRST(&a->queue);
	if (p)
		TAILQ_REMOVE(&a->queue, p, link);
	pthread_mutex_unlock(&a->lock);
	return p;
}

static void done(struct applier *a, struct piece *p)
{
	bool drained;

	pthread_mutex_lock(&a->lock);
	a->queued_bytes -= bytes_of(p);
	drained = a->was_full && a->queued_bytes < a->conf.queue_bytes / 2;
	if (drained) {
		a->was_full = false;
		a->drained = true;
	}
	piece_free(a, p);
	pthread_mutex_unlock(&a->lock);
	if (drained)
		tv_box_wake(&a->answers);
}

static void *apply_thread(void *arg)
{
	struct applier *a = arg;
	struct piece *p;

	while ((p = next(a))) {
		apply_run(a->apply, &p->work);
		done(a, p);
	}
	return NULL;
}

/* ---- the loop's side ---- */

static bool take_drained(struct applier *a)
{
	bool drained;

	pthread_mutex_lock(&a->lock);
	drained = a->drained;
	a->drained = false;
	pthread_mutex_unlock(&a->lock);
	return drained;
}

static void deliver(evutil_socket_t fd, short what, void *arg)
{
	struct applier *a = arg;
	struct apply_answer ans;
	bool have;

	(void)fd;
	(void)what;
	do {
		have = tv_box_take(&a->answers, &ans);
		if (take_drained(a))
			a->conf.drained(a->conf.arg);
		if (have)
			a->conf.answer(&ans, a->conf.arg);
	} while (have);
}

/* After a failure applier_free takes back what there is, but for the thread. */
static int start(struct applier *a, struct event_base *base)
{
	int rc = tv_box_init(&a->answers, sizeof(struct apply_answer), ANSWERS);

	if (rc)
		return rc;
	a->apply = apply_new(&a->conf.apply, put_answer, a);
	a->ev = event_new(base, tv_box_fd(&a->answers), EV_READ | EV_PERSIST, deliver, a);
	if (!a->apply || !a->ev || event_add(a->ev, NULL))
		return -ENOMEM;
	return -pthread_create(&a->thread, NULL, apply_thread, a);
}

static void destroy(struct applier *a)
{
	struct apply_answer ans;
	struct piece *p;

	while ((p = TAILQ_FIRST(&a->queue))) {
		TAILQ_REMOVE(&a->queue, p, link);
		free(p);
	}
	while (a->nspares)
		free(a->spares[--a->nspares]);
	free(a->kill);
	free(a->promote);
	apply_free(a->apply);
	if (a->ev)
		event_free(a->ev);
	while (a->answers.items && tv_box_take(&a->answers, &ans))
		free(ans.hashes);
	tv_box_dispose(&a->answers);
	pthread_cond_destroy(&a->changed);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

int applier_new(struct event_base *base, const struct applier_conf *conf, struct applier **out)
{
	struct applier *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->conf = *conf;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->changed, NULL);
	TAILQ_INIT(&a->queue);
	a->kill = calloc(1, sizeof(*a->kill));
	a->promote = calloc(1, sizeof(*a->promote));
	if (!a->kill || !a->promote || start(a, base)) {
		destroy(a);
		return -ENOMEM;
	}
	*out = a;
	return 0;
}

int applier_post(struct applier *a, enum apply_kind kind, const void *data, size_t n,
		 uint64_t epoch, const struct apply_sums *sums)
{
	struct apply_work w = {.kind = kind, .epoch = epoch, .data = data, .n = n};
	struct piece *p;
	int rc = 0;

	if (sums)
		w.sums = *sums;
	pthread_mutex_lock(&a->lock);
	if (!join(a, &w)) {
		p = piece_new(a, &w);
		if (p) {
			TAILQ_INSERT_TAIL(&a->queue, p, link);
			a->queued_bytes += bytes_of(p);
		} else {
			rc = -ENOMEM;
		}
	}
	if (a->queued_bytes >= a->conf.queue_bytes)
		a->was_full = true;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
	return rc;
}

bool applier_full(struct applier *a)
{
	bool full;

	pthread_mutex_lock(&a->lock);
	full = a->was_full;
	pthread_mutex_unlock(&a->lock);
	return full;
}

bool applier_has_work(struct applier *a)
{
	bool has;

	pthread_mutex_lock(&a->lock);
	has = a->queued_bytes > 0;
	pthread_mutex_unlock(&a->lock);
	return has;
}

uint64_t applier_cpu_ns(struct applier *a)
{
	struct timespec t = {0};
	clockid_t clock;

	if (!pthread_getcpuclockid(a->thread, &clock) && !clock_gettime(clock, &t))
		return (uint64_t)t.tv_sec * TV_NS_PER_S + (uint64_t)t.tv_nsec;
	return 0;
}

void applier_drop_queued(struct applier *a)
{
	struct piece *p, *end = NULL;

	pthread_mutex_lock(&a->lock);
	TAILQ_FOREACH(p, &a->queue, link)
		if (p->work.kind == APPLY_END)
			end = p;
	while ((p = TAILQ_LAST(&a->queue, piece_queue)) && p != end) {
		TAILQ_REMOVE(&a->queue, p, link);
		a->queued_bytes -= bytes_of(p);
		piece_free(a, p);
	}
	pthread_mutex_unlock(&a->lock);
}

void applier_freeze(struct applier *a, struct sink_still *s)
{
	pthread_mutex_lock(&a->lock);
	a->still = s;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
}

void applier_look(struct applier *a)
{
	pthread_mutex_lock(&a->lock);
	a->idles = true;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
}

void applier_free(struct applier *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
	tv_box_close(&a->answers); /* a thread that waits for room is let go */
	pthread_join(a->thread, NULL);
	destroy(a);
}
