/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The queue of disk records: which epoch they belong to, who waits for room, what the loop takes.
 * See disks.c.
 */
#include "replicator/source/disks_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COPIED_BYTES (32u << 10) /* a record up to this long joins others by copy */
#define SPARES 16		 /* chunks kept for reuse: fresh memory costs page faults */
#define PAUSING_ROOM 8
#define OWED_ROOM 4 /* times hold_bytes, an eighth of what the backup may have to keep */

static struct epoch_sum *sum_of(struct disks *d, uint64_t epoch)
{
	return &d->sums[epoch % DISKS_EPOCHS];
}

void disks_wake(struct disks *d)
{
	if (!d->woken)
		tv_wake_up(&d->wake);
	d->woken = true;
}

/* ---- the servers' threads ---- */
static bool must_wait(const struct disks *d, size_t n)
{
	/* What QEMU has to drain before it can pause the VM comes through: there is only so much of
	 * it. */
	size_t limit = d->pausing ? PAUSING_ROOM * d->conf.queue_bytes : d->conf.queue_bytes;
	uint64_t hold = d->owed ? OWED_ROOM * d->conf.hold_bytes : d->conf.hold_bytes;

	if (d->queued_bytes && d->queued_bytes + n > limit)
		return true;
	return d->epoch && !d->pausing && d->uncommitted_bytes >= hold;
}

static void chunk_free(struct disks *d, struct chunk *c)
{
	if (d->nspares < SPARES) {
		TAILQ_INSERT_HEAD(&d->spares, c, next);
		d->nspares++;
	} else {
		free(c);
	}
}

static struct chunk *chunk_new(struct disks *d)
{
	struct chunk *c = TAILQ_FIRST(&d->spares);

	if (!c)
		return malloc(sizeof(*c));
	TAILQ_REMOVE(&d->spares, c, next);
	d->nspares--;
	return c;
}

/* The maker's record, n bytes, joins the last chunk, or its own chunk becomes the last one. */
static int append(struct disks *d, struct maker *m, size_t n)
{
	struct chunk *c = TAILQ_LAST(&d->chunks, chunk_list), *mine = m->chunk;
	struct epoch_sum *s = sum_of(d, d->epoch);

	/* The first one may be in the loop's hands. */
	if (c && c->epoch == d->epoch && n <= COPIED_BYTES && c->bytes + n <= DISKS_CHUNK_BYTES &&
	    !(d->head_taken && c == TAILQ_FIRST(&d->chunks))) {
		memcpy(c->data + c->bytes, mine->data, n);
		c->bytes += n;
	} else {
		m->chunk = chunk_new(d);
		if (!m->chunk) {
			m->chunk = mine;
			return -ENOMEM;
		}
		mine->epoch = d->epoch;
		mine->bytes = n;
		TAILQ_INSERT_TAIL(&d->chunks, mine, next);
		s->unsent++;
	}
	ckpt_sum_add(s->sum, mine->data, CKPT_DISK_HEADER_BYTES);
	s->records++;
	s->bytes += n;
	d->queued_bytes += n;
	d->stats.wire_bytes += n;
	if (d->epoch)
		d->uncommitted_bytes += n;
	return 0;
}

/* Of the first copy nothing is behind: its progress is known by its job. */
static void count_raw(struct disks *d, unsigned disk, uint64_t raw)
{
	d->stats.raw_bytes += raw;
	if (!d->epoch || d->discard)
		return;
	sum_of(d, d->epoch)->raw_bytes[disk] += raw;
	d->uncommitted_raw[disk] += raw;
}

int disks_queue(struct disks *d, struct maker *m, size_t n, uint64_t raw)
{
	int rc;

	pthread_mutex_lock(&d->lock);
	d->waiting++;
	while (!d->discard && must_wait(d, n)) {
		disks_wake(d);
		pthread_cond_wait(&d->room, &d->lock);
	}
	d->waiting--;
	rc = d->discard ? 0 : append(d, m, n);
	count_raw(d, (unsigned)(m - d->makers), raw);
	disks_wake(d);
	pthread_mutex_unlock(&d->lock);
	return rc;
}

int disks_queue_now(struct disks *d, struct maker *m, size_t n)
{
	int rc = -EAGAIN;

	pthread_mutex_lock(&d->lock);
	if (!d->discard && !must_wait(d, n)) {
		rc = append(d, m, n);
		disks_wake(d);
	}
	pthread_mutex_unlock(&d->lock);
	return rc;
}

/* ---- the capture thread ---- */
void disks_pausing(struct disks *d, bool on)
{
	pthread_mutex_lock(&d->lock);
	d->pausing = on;
	if (on)
		pthread_cond_broadcast(&d->room);
	pthread_mutex_unlock(&d->lock);
	cdisk_pausing(d->conf.compare, on);
}

void disks_owed(struct disks *d, bool on)
{
	pthread_mutex_lock(&d->lock);
	d->owed = on;
	if (on)
		pthread_cond_broadcast(&d->room);
	pthread_mutex_unlock(&d->lock);
}

void disks_barrier(struct disks *d, uint64_t epoch)
{
	struct epoch_sum *next = sum_of(d, epoch + 1);

	pthread_mutex_lock(&d->lock);
	assert(d->epoch == epoch && !next->unsent);
	d->epoch = epoch + 1;
	ckpt_sum_reset(next->sum);
	next->records = next->bytes = 0;
	disks_wake(d); /* who waits for the end of the epoch looks again */
	pthread_mutex_unlock(&d->lock);
	cdisk_barrier(d->conf.compare, epoch);
}

/* ---- the loop ---- */
bool disks_peek(struct disks *d, uint64_t *epoch, const uint8_t **p, size_t *n)
{
	struct chunk *c;

	pthread_mutex_lock(&d->lock);
	c = d->discard ? NULL : TAILQ_FIRST(&d->chunks);
	if (c) {
		d->head_taken = true;
		*epoch = c->epoch;
		*p = c->data;
		*n = c->bytes;
	}
	pthread_mutex_unlock(&d->lock);
	return c;
}

void disks_sent(struct disks *d)
{
	struct chunk *c;

	pthread_mutex_lock(&d->lock);
	c = TAILQ_FIRST(&d->chunks);
	assert(c && d->head_taken);
	TAILQ_REMOVE(&d->chunks, c, next);
	d->head_taken = false;
	sum_of(d, c->epoch)->unsent--;
	d->queued_bytes -= c->bytes;
	if (d->waiting)
		pthread_cond_broadcast(&d->room);
	chunk_free(d, c);
	pthread_mutex_unlock(&d->lock);
}

bool disks_complete(struct disks *d, uint64_t epoch, struct disks_sum *out)
{
	struct epoch_sum *s = sum_of(d, epoch);
	bool complete;

	pthread_mutex_lock(&d->lock);
	complete = !d->discard && !d->failed && d->epoch > epoch && !s->unsent;
	if (complete)
		*out = (struct disks_sum){s->records, ckpt_sum_value(s->sum), s->bytes};
	pthread_mutex_unlock(&d->lock);
	return complete;
}

void disks_committed(struct disks *d, uint64_t epoch)
{
	pthread_mutex_lock(&d->lock);
	while (d->committed < epoch) {
		struct epoch_sum *s = sum_of(d, ++d->committed);

		d->uncommitted_bytes -= s->bytes;
		for (unsigned i = 0; i < NBD_MAX_DISKS; i++) {
			d->uncommitted_raw[i] -= s->raw_bytes[i];
			s->raw_bytes[i] = 0; /* here, and not in the pause that opens it again */
		}
	}
	pthread_cond_broadcast(&d->room);
	pthread_mutex_unlock(&d->lock);
}

void disks_stats(struct disks *d, struct disks_stats *out)
{
	pthread_mutex_lock(&d->lock);
	*out = d->stats;
	out->copied = d->epoch > 0;
	memcpy(out->behind_bytes, d->uncommitted_raw, sizeof(out->behind_bytes));
	pthread_mutex_unlock(&d->lock);
}

bool disks_waiting(struct disks *d)
{
	bool waiting;

	pthread_mutex_lock(&d->lock);
	waiting = d->waiting && d->uncommitted_bytes >= d->conf.hold_bytes;
	pthread_mutex_unlock(&d->lock);
	return waiting;
}

void disks_discard(struct disks *d)
{
	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	d->discard = true;
	pthread_cond_broadcast(&d->room);
	pthread_mutex_unlock(&d->lock);
}
