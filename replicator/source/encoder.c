/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the encoder
 *
 * The capture thread fills a slot with pages and, at an epoch's end, device state; the encoder's
 * thread turns the slot into pieces: records, and markers of an epoch's begin and end; the loop
 * sends the pieces. All memory is taken and touched at the start.
 *
 * A slot is free, or with the capture thread, or queued and being encoded. There are two, the
 * staging buffer halved, so that one epoch is captured while the one before is encoded. A piece is
 * free, or being made, or ready; the pieces are a ring, and leave it in the order in which they
 * were made. A piece of an epoch's pages ends early (PIECE_PAGES), though most of them shrink to a few
 * bytes: the backup decodes and checks it while the next one is made. Not so in a first copy, for which
 * nobody waits.
 *
 * Bounded (rule 6). No piece is free: encoding waits. No slot is free: the capture thread waits,
 * before the pause where it can, and within it when one epoch has more pages than a slot. The loop
 * does not wait: a piece that the connection has no room for stays the oldest one of the ring
 * (`stalled`) until encoder_continue has it offered again.
 *
 * The end. After encoder_stop nothing waits any more, on either side; pieces that are ready are
 * still offered while the loop runs. Without memory for device state the encoder stops itself, and
 * the capture thread fails at its next slot: the session ends.
 *
 * Locks: one, held for moments. The contents of a slot or a piece belong to whoever has it.
 */
#include "replicator/source/encoder.h"

#include "common/mailbox.h"
#include "replicator/session/session.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SLOTS 2
#define PIECES 8
#define PIECE_BYTES (256u << 10)
#define PIECE_PAGES 256 /* some 300 us of encoding */

struct encoder {
	struct event_base *base;
	bool (*deliver)(const struct piece *p, void *arg);
	void *arg;
	struct ckpt_enc *enc;
	struct ckpt_sum *sum;
	pthread_t thread;
	bool started;
	bool raised; /* the thread's priority: it has begun with epochs */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stop;
	struct slot slots[SLOTS];  /* the last ones without pages */
	struct slot *queue[SLOTS]; /* filled slots, oldest first */
	unsigned queued;
	struct piece pieces[PIECES]; /* ring [sent, made) */
	unsigned made, sent;
	bool stalled;	     /* the loop did not take the oldest piece */
	struct tv_wake wake; /* the loop: a piece is ready */
	struct event *ev;
	struct tv_buf state_out;
	uint64_t epoch_records, epoch_pages, epoch_wire_bytes;
	int64_t epoch_ns; /* when it was begun */
	struct {	  /* under lock: encoder_forget's */
		uint32_t block;
		uint64_t offset;
	} forget[COMPARE_PAGES];
	unsigned forgets;
	struct ckpt_stats stats; /* under lock */
};

/* The next free piece; waits while the loop has not sent the older ones (rule 6). */
static struct piece *piece_get(struct encoder *en)
{
	struct piece *p = NULL;

	pthread_mutex_lock(&en->lock);
	while (!en->stop && en->made - en->sent == PIECES)
		pthread_cond_wait(&en->changed, &en->lock);
	if (!en->stop)
		p = &en->pieces[en->made % PIECES];
	pthread_mutex_unlock(&en->lock);
	if (p) {
		p->buf.bytes = 0;
		p->records = p->checksum = p->wire_bytes = p->pages = 0;
	}
	return p;
}

static void piece_put(struct encoder *en)
{
	pthread_mutex_lock(&en->lock);
	en->made++;
	ckpt_enc_stats(en->enc, &en->stats);
	pthread_mutex_unlock(&en->lock);
	tv_wake_up(&en->wake);
}

static void account(struct encoder *en, struct piece *p)
{
	ckpt_sum_add(en->sum, p->buf.data, p->buf.bytes);
	en->epoch_wire_bytes += p->buf.bytes;
	/* What TLS cannot see: damage before it or after it. */
	if (tv_fault("encoder_corrupt"))
		p->buf.data[p->buf.bytes - 1] ^= 0x10;
	if (tv_fault("encoder_truncate"))
		p->buf.bytes -= 7;
}

/* All pages of a slot as RECORDS pieces. False: stopping. */
static bool encode_pages(struct encoder *en, const struct slot *s)
{
	struct slot_walk w;
	struct slot_page page;
	struct piece *p = NULL;
	unsigned in_piece = 0;

	slot_walk_begin(s, &w);
	while (slot_walk_next(&w, &page)) {
		if (s->compare)
			compare_page(s->compare, page.block, page.offset, page.contents);
		while (!p || (in_piece == PIECE_PAGES && s->epoch) ||
		       ckpt_enc_page(en->enc, page.block, page.offset, page.contents, &p->buf)) {
			if (p) {
				account(en, p);
				piece_put(en);
			}
			p = piece_get(en);
			if (!p)
				return false;
			p->kind = PIECE_RECORDS;
			p->epoch = s->epoch;
			in_piece = 0;
		}
		in_piece++;
		en->epoch_records++;
		en->epoch_pages++;
	}
	if (p) {
		account(en, p);
		piece_put(en);
	}
	return true;
}

static bool encode_state(struct encoder *en, const struct slot *s)
{
	struct ckpt_stats before, after;
	size_t done = 0;

	if (s->compare)
		compare_state(s->compare, s->state, s->state_bytes);
	en->state_out.bytes = 0;
	ckpt_enc_stats(en->enc, &before);
	if (ckpt_enc_state(en->enc, s->state, s->state_bytes, &en->state_out))
		return false; /* only without memory: the session ends */
	ckpt_enc_stats(en->enc, &after);
	en->epoch_records += after.state_records - before.state_records;
	while (done < en->state_out.bytes) {
		struct piece *p = piece_get(en);
		size_t n = en->state_out.bytes - done;

		if (!p)
			return false;
		n = n < PIECE_BYTES ? n : PIECE_BYTES;
		p->kind = PIECE_RECORDS;
		p->epoch = s->epoch;
		if (tv_buf_add(&p->buf, en->state_out.data + done, n))
			return false;
		account(en, p);
		piece_put(en);
		done += n;
	}
	return true;
}

static bool marker(struct encoder *en, enum piece_kind kind, const struct slot *s)
{
	struct piece *p = piece_get(en);

	if (!p)
		return false;
	p->kind = kind;
	p->epoch = s->epoch;
	p->captured_ns = s->captured_ns;
	p->still = s->still;
	p->compare = kind == PIECE_END ? s->compare : NULL;
	p->records = en->epoch_records;
	p->pages = en->epoch_pages;
	p->checksum = ckpt_sum_value(en->sum);
	p->wire_bytes = en->epoch_wire_bytes;
	p->encode_ns = en->epoch_ns;
	p->encoded_ns = tv_now_ns();
	piece_put(en);
	return true;
}

static void forget_pages(struct encoder *en)
{
	pthread_mutex_lock(&en->lock);
	for (unsigned i = 0; i < en->forgets; i++)
		ckpt_enc_forget(en->enc, en->forget[i].block, en->forget[i].offset);
	en->forgets = 0;
	pthread_mutex_unlock(&en->lock);
}

static bool encode_slot(struct encoder *en, const struct slot *s)
{
	if (s->first) {
		forget_pages(en);
		ckpt_sum_reset(en->sum);
		en->epoch_records = en->epoch_pages = en->epoch_wire_bytes = 0;
		en->epoch_ns = tv_now_ns();
		/* As the capture thread's: a commit waits for this one. Not for a first copy. */
		if (s->epoch && !en->raised)
			job_raise_priority();
		en->raised = s->epoch != 0;
		if (s->epoch && !marker(en, PIECE_BEGIN, s))
			return false;
	}
	if (!encode_pages(en, s))
		return false;
	if (!s->last)
		return true;
	if (!s->epoch)
		return marker(en, PIECE_SYNC_END, s);
	return encode_state(en, s) && marker(en, PIECE_END, s);
}

static void *encoder_thread(void *arg)
{
	struct encoder *en = arg;

	for (;;) {
		struct slot *s;

		pthread_mutex_lock(&en->lock);
		while (!en->stop && !en->queued)
			pthread_cond_wait(&en->changed, &en->lock);
		if (en->stop) {
			pthread_mutex_unlock(&en->lock);
			return NULL;
		}
		s = en->queue[0];
		memmove(en->queue, en->queue + 1, --en->queued * sizeof(*en->queue));
		pthread_mutex_unlock(&en->lock);
		if (!encode_slot(en, s)) {
			encoder_stop(en);
			return NULL;
		}
		encoder_slot_drop(en, s);
	}
}

static void offer(evutil_socket_t fd, short what, void *arg)
{
	struct encoder *en = arg;

	(void)fd;
	(void)what;
	tv_wake_clear(&en->wake);
	while (!en->stalled) {
		struct piece *p = NULL;

		pthread_mutex_lock(&en->lock);
		if (en->sent != en->made)
			p = &en->pieces[en->sent % PIECES];
		pthread_mutex_unlock(&en->lock);
		if (!p)
			return;
		if (!en->deliver(p, en->arg)) {
			en->stalled = true;
			return;
		}
		pthread_mutex_lock(&en->lock);
		en->sent++;
		pthread_cond_broadcast(&en->changed);
		pthread_mutex_unlock(&en->lock);
	}
}

void encoder_continue(struct encoder *en)
{
	if (!en->stalled)
		return;
	en->stalled = false;
	tv_wake_up(&en->wake);
}

/* A part that is compared has no more pages than there is room; the next part is wanted after an epoch. */
void encoder_forget(struct encoder *en, uint32_t block, uint64_t offset)
{
	pthread_mutex_lock(&en->lock);
	tv_assert(en->forgets < COMPARE_PAGES);
	en->forget[en->forgets].block = block;
	en->forget[en->forgets++].offset = offset;
	pthread_mutex_unlock(&en->lock);
}

void encoder_look(struct encoder *en)
{
	pthread_mutex_lock(&en->lock);
	pthread_cond_broadcast(&en->changed);
	pthread_mutex_unlock(&en->lock);
}

/* Under lock. */
static struct slot *free_slot(struct encoder *en)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (!en->slots[i].busy)
			return &en->slots[i];
	return NULL;
}

struct slot *encoder_slot_get(struct encoder *en, bool (*gave_up)(void *arg), void *arg)
{
	struct slot *s = NULL;

	pthread_mutex_lock(&en->lock);
	while (!en->stop && !(gave_up && gave_up(arg))) {
		s = free_slot(en);
		if (s)
			break;
		pthread_cond_wait(&en->changed, &en->lock);
	}
	if (s) {
		s->busy = true;
		slot_clear(s);
		s->state_bytes = 0;
		s->first = s->last = s->still = false;
		s->compare = NULL;
	}
	pthread_mutex_unlock(&en->lock);
	return s;
}

void encoder_slot_put(struct encoder *en, struct slot *s)
{
	pthread_mutex_lock(&en->lock);
	en->queue[en->queued++] = s;
	pthread_cond_broadcast(&en->changed);
	pthread_mutex_unlock(&en->lock);
}

void encoder_slot_drop(struct encoder *en, struct slot *s)
{
	pthread_mutex_lock(&en->lock);
	s->busy = false;
	pthread_cond_broadcast(&en->changed);
	pthread_mutex_unlock(&en->lock);
}

void encoder_stats(struct encoder *en, struct ckpt_stats *out)
{
	pthread_mutex_lock(&en->lock);
	*out = en->stats;
	pthread_mutex_unlock(&en->lock);
}

static int slot_init(struct slot *s, uint64_t bytes)
{
	s->max_pages = bytes / TV_PAGE_BYTES;
	s->max_runs = (unsigned)s->max_pages;
	/* MAP_POPULATE: no page fault in this process between pause and resume. */
	s->pages = mmap(NULL, s->max_pages * TV_PAGE_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (s->pages == MAP_FAILED) {
		s->pages = NULL;
		return -ENOMEM;
	}
	s->runs = malloc(s->max_runs * sizeof(*s->runs));
	if (!s->runs)
		return -ENOMEM;
	memset(s->runs, 0, s->max_runs * sizeof(*s->runs));
	return 0;
}

int encoder_new(struct event_base *base, uint64_t staging_bytes, uint64_t cache_bytes,
		bool (*deliver)(const struct piece *p, void *arg), void *arg, struct encoder **out)
{
	struct encoder *en = calloc(1, sizeof(*en));
	int rc;

	if (!en)
		return -ENOMEM;
	*en = (struct encoder){.base = base, .deliver = deliver, .arg = arg, .wake = {-1}};
	pthread_mutex_init(&en->lock, NULL);
	pthread_cond_init(&en->changed, NULL);
	tv_buf_init(&en->state_out, CKPT_ENC_STATE_BYTES(CKPT_MAX_STATE_BYTES));
	rc = ckpt_enc_new(cache_bytes, &en->enc);
	en->sum = ckpt_sum_new();
	if (!en->sum && !rc)
		rc = -ENOMEM;
	for (unsigned i = 0; i < SLOTS && !rc; i++)
		rc = slot_init(&en->slots[i], staging_bytes / SLOTS);
	for (unsigned i = 0; i < PIECES && !rc; i++) {
		tv_buf_init(&en->pieces[i].buf, PIECE_BYTES);
		rc = tv_buf_reserve(&en->pieces[i].buf, PIECE_BYTES);
	}
	if (!rc)
		rc = tv_wake_init(&en->wake);
	if (!rc)
		en->ev = event_new(base, en->wake.fd, EV_READ | EV_PERSIST, offer, en);
	if (!rc && (!en->ev || event_add(en->ev, NULL) ||
		    pthread_create(&en->thread, NULL, encoder_thread, en)))
		rc = -ENOMEM;
	en->started = !rc;
	if (rc) {
		encoder_free(en);
		return rc;
	}
	*out = en;
	return 0;
}

void encoder_stop(struct encoder *en)
{
	pthread_mutex_lock(&en->lock);
	en->stop = true;
	pthread_cond_broadcast(&en->changed);
	pthread_mutex_unlock(&en->lock);
}

bool encoder_stopped(struct encoder *en)
{
	bool stop;

	pthread_mutex_lock(&en->lock);
	stop = en->stop;
	pthread_mutex_unlock(&en->lock);
	return stop;
}

void encoder_free(struct encoder *en)
{
	if (!en)
		return;
	if (en->started) {
		encoder_stop(en);
		pthread_join(en->thread, NULL);
	}
	if (en->ev)
		event_free(en->ev);
	tv_wake_dispose(&en->wake);
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *s = &en->slots[i];

		if (s->pages)
			munmap(s->pages, s->max_pages * TV_PAGE_BYTES);
		free(s->runs);
		free(s->state);
	}
	for (unsigned i = 0; i < PIECES; i++)
		tv_buf_dispose(&en->pieces[i].buf);
	tv_buf_dispose(&en->state_out);
	ckpt_enc_free(en->enc);
	ckpt_sum_free(en->sum);
	free(en);
}
