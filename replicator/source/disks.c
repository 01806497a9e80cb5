/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "replicator/source/disks.h"

#include "checkpoint/checkpoint.h"
#include "nbd/nbd.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK_BYTES CKPT_DISK_RECORD_BYTES /* takes one record of any size */
#define COPIED_BYTES (32u << 10)	   /* a record up to this long joins others by copy */
#define SPARES 16 /* chunks kept for reuse: fresh memory costs page faults */
#define PAUSING_ROOM 8
#define EPOCHS 8 /* open at once: more than are ever in flight */

struct chunk { /* consecutive records of one epoch */
	TAILQ_ENTRY(chunk) next;
	uint64_t epoch;
	size_t bytes;
	uint8_t data[CHUNK_BYTES];
};

struct epoch_sum {
	struct ckpt_sum *sum;
	uint64_t records, bytes;
	unsigned unsent; /* chunks */
};

/* A server thread's: its next record is received and made where it will be sent from. */
struct maker {
	struct chunk *chunk; /* NULL: no such disk */
	uint8_t *scratch;
};
TAILQ_HEAD(chunk_list, chunk);

/* Between a disk's server and its records while the disk is copied for the first time. */
struct first_copy {
	struct disks *d;
	unsigned disk;
	uint8_t *hashes; /* received from the backup, until the disk is added */
	uint64_t known;
	pthread_mutex_t lock; /* of the sieve; taken before that of disks */
	struct ckpt_sieve *sieve;
};

struct disks {
	struct disks_conf conf;
	struct nbd *nbd;
	pthread_mutex_t lock;
	pthread_cond_t room;
	struct chunk_list chunks;
	size_t queued_bytes;
	uint64_t epoch, committed; /* open now; last one committed */
	struct epoch_sum sums[EPOCHS];
	uint64_t uncommitted_bytes;
	unsigned waiting;
	bool pausing, discard, head_taken, kicked, failed;
	char why[128];
	struct disks_stats stats;
	struct maker makers[NBD_MAX_DISKS];
	struct chunk_list spares;
	unsigned nspares;
	uint8_t key[CKPT_HASH_KEY_BYTES];
	bool hashes_awaited;
	atomic_bool sieving;
	struct first_copy copies[NBD_MAX_DISKS];
	int efd;
	struct event *ev;
};

static struct epoch_sum *sum_of(struct disks *d, uint64_t epoch)
{
	return &d->sums[epoch % EPOCHS];
}

/* Under lock. */
static void kick(struct disks *d)
{
	uint64_t one = 1;

	if (!d->kicked && write(d->efd, &one, sizeof(one)) < 0)
		abort();
	d->kicked = true;
}

/* ---- the server's threads ---- */
static bool must_wait(const struct disks *d, size_t n)
{
	/* What QEMU has to drain before it can pause the VM comes through: there is only so much of
	 * it. */
	size_t limit = d->pausing ? PAUSING_ROOM * d->conf.queue_bytes : d->conf.queue_bytes;

	if (d->queued_bytes && d->queued_bytes + n > limit)
		return true;
	return d->epoch && !d->pausing && d->uncommitted_bytes >= d->conf.hold_bytes;
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
	if (c && c->epoch == d->epoch && n <= COPIED_BYTES && c->bytes + n <= CHUNK_BYTES &&
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

static int queue_record(struct disks *d, struct maker *m, size_t n, uint64_t raw)
{
	int rc;

	pthread_mutex_lock(&d->lock);
	d->waiting++;
	while (!d->discard && must_wait(d, n)) {
		kick(d);
		pthread_cond_wait(&d->room, &d->lock);
	}
	d->waiting--;
	rc = d->discard ? 0 : append(d, m, n);
	d->stats.raw_bytes += raw;
	kick(d);
	pthread_mutex_unlock(&d->lock);
	return rc;
}

/*
 * Not while a sieve may keep part of a write, or add a record of its own: then the server's own
 * buffer takes it.
 */
static void *on_room(void *arg, unsigned disk)
{
	struct disks *d = arg;

	if (atomic_load_explicit(&d->sieving, memory_order_acquire))
		return NULL;
	return d->makers[disk].chunk->data + CKPT_DISK_HEADER_BYTES;
}

static int send_write(struct disks *d, unsigned disk, uint64_t offset, const void *data,
		      uint32_t bytes)
{
	struct maker *m = &d->makers[disk];
	size_t n = ckpt_disk_record(CKPT_DISK_WRITE, disk, offset, data, bytes, m->scratch,
				    m->chunk->data);

	return queue_record(d, m, n, n > CKPT_DISK_HEADER_BYTES ? bytes : 0);
}

static int send_zero(struct disks *d, unsigned disk, uint64_t offset, uint64_t bytes, bool trim)
{
	struct maker *m = &d->makers[disk];

	return queue_record(d, m,
			    ckpt_disk_record(trim ? CKPT_DISK_TRIM : CKPT_DISK_ZERO, disk, offset,
					     NULL, bytes, m->scratch, m->chunk->data),
			    0);
}

/* ---- the first copy, through a sieve (checkpoint/sieve.c) ---- */
static int sieved_write(void *arg, uint64_t offset, const void *data, uint32_t bytes)
{
	struct first_copy *fc = arg;

	return send_write(fc->d, fc->disk, offset, data, bytes);
}

static int sieved_zero(void *arg, uint64_t offset, uint64_t bytes, bool trim)
{
	struct first_copy *fc = arg;

	return send_zero(fc->d, fc->disk, offset, bytes, trim);
}

static int on_write(void *arg, unsigned disk, uint64_t offset, const void *data, uint32_t bytes)
{
	struct disks *d = arg;
	struct first_copy *fc = &d->copies[disk];
	int rc;

	if (!atomic_load_explicit(&d->sieving, memory_order_acquire))
		return send_write(d, disk, offset, data, bytes);
	pthread_mutex_lock(&fc->lock);
	rc = fc->sieve ? ckpt_sieve_write(fc->sieve, offset, data, bytes)
		       : send_write(d, disk, offset, data, bytes);
	pthread_mutex_unlock(&fc->lock);
	return rc;
}

static int on_zero(void *arg, unsigned disk, uint64_t offset, uint64_t bytes, bool trim)
{
	struct disks *d = arg;
	struct first_copy *fc = &d->copies[disk];
	int rc;

	if (!atomic_load_explicit(&d->sieving, memory_order_acquire))
		return send_zero(d, disk, offset, bytes, trim);
	pthread_mutex_lock(&fc->lock);
	rc = fc->sieve ? ckpt_sieve_zero(fc->sieve, offset, bytes, trim)
		       : send_zero(d, disk, offset, bytes, trim);
	pthread_mutex_unlock(&fc->lock);
	return rc;
}

static void on_closed(void *arg, unsigned disk, const char *why)
{
	struct disks *d = arg;

	pthread_mutex_lock(&d->lock);
	if (!d->discard && !d->failed) {
		d->failed = true;
		snprintf(d->why, sizeof(d->why), "the mirror of disk %u has ended: %s", disk, why);
		d->kicked = false;
		kick(d);
	}
	pthread_mutex_unlock(&d->lock);
}

/* ---- the capture thread ---- */
int disks_await_hashes(struct disks *d)
{
	int rc;

	pthread_mutex_lock(&d->lock);
	while (d->hashes_awaited && !d->discard)
		pthread_cond_wait(&d->room, &d->lock);
	rc = d->discard ? -ECANCELED : 0;
	pthread_mutex_unlock(&d->lock);
	return rc;
}

bool disks_hashes_awaited(struct disks *d)
{
	bool awaited;

	pthread_mutex_lock(&d->lock);
	awaited = d->hashes_awaited && !d->discard;
	pthread_mutex_unlock(&d->lock);
	return awaited;
}

/* The hashes that the backup sent of this disk are put to use. */
static int make_sieve(struct disks *d, unsigned disk, uint64_t bytes)
{
	static const struct ckpt_sieve_out out = {sieved_write, sieved_zero};
	struct first_copy *fc = &d->copies[disk];
	uint8_t *hashes = fc->hashes;

	if (!fc->known)
		return 0;
	fc->hashes = NULL;
	return ckpt_sieve_new(bytes, d->key, hashes, fc->known, &out, fc, &fc->sieve);
}

void disks_copied(struct disks *d)
{
	if (!atomic_load(&d->sieving))
		return;
	for (unsigned i = 0; i < NBD_MAX_DISKS; i++) {
		struct first_copy *fc = &d->copies[i];
		uint64_t kept = 0;
		int rc = 0;

		pthread_mutex_lock(&fc->lock);
		if (fc->sieve) {
			rc = ckpt_sieve_end(fc->sieve);
			kept = ckpt_sieve_kept_bytes(fc->sieve);
			ckpt_sieve_free(fc->sieve);
			fc->sieve = NULL;
		}
		pthread_mutex_unlock(&fc->lock);
		pthread_mutex_lock(&d->lock);
		d->stats.kept_bytes += kept;
		pthread_mutex_unlock(&d->lock);
		if (rc)
			on_closed(d, i, tv_strerror(rc));
	}
	atomic_store(&d->sieving, false);
}

int disks_add(struct disks *d, uint64_t bytes, int *fd)
{
	static const int roomy = 1 << 20;
	int pair[2], rc;
	struct maker m;
	unsigned disk;
	bool good;

	*fd = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	/* A wish: larger pieces, fewer wake-ups. */
	(void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &roomy, sizeof(roomy));
	m.chunk = malloc(sizeof(*m.chunk));
	m.scratch = malloc(CKPT_DISK_PIECE_BYTES);
	pthread_mutex_lock(&d->lock);
	for (disk = 0; disk < NBD_MAX_DISKS && d->makers[disk].chunk; disk++)
		;
	good = m.chunk && m.scratch && disk < NBD_MAX_DISKS;
	if (good)
		d->makers[disk] = m;
	pthread_mutex_unlock(&d->lock);
	if (!good) {
		rc = m.chunk && m.scratch ? -EMFILE : -ENOMEM;
		free(m.chunk);
		free(m.scratch);
		close(pair[0]);
		close(pair[1]);
		return rc;
	}
	rc = make_sieve(d, disk, bytes);
	if (rc)
		close(pair[0]);
	else
		rc = nbd_add(d->nbd, bytes, pair[0], &disk);
	if (rc)
		close(pair[1]);
	else
		*fd = pair[1];
	return rc;
}

void disks_pausing(struct disks *d, bool on)
{
	pthread_mutex_lock(&d->lock);
	d->pausing = on;
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
	kick(d); /* who waits for the end of the epoch looks again */
	pthread_mutex_unlock(&d->lock);
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
	while (d->committed < epoch)
		d->uncommitted_bytes -= sum_of(d, ++d->committed)->bytes;
	pthread_cond_broadcast(&d->room);
	pthread_mutex_unlock(&d->lock);
}

void disks_stats(struct disks *d, struct disks_stats *out)
{
	pthread_mutex_lock(&d->lock);
	*out = d->stats;
	pthread_mutex_unlock(&d->lock);
}

/* ---- what the backup has already ---- */
const uint8_t *disks_key(const struct disks *d)
{
	return d->key;
}

void disks_expect_hashes(struct disks *d)
{
	pthread_mutex_lock(&d->lock);
	d->hashes_awaited = true;
	pthread_mutex_unlock(&d->lock);
}

int disks_learn(struct disks *d, unsigned disk, uint64_t first, const uint8_t *hashes, size_t bytes)
{
	uint64_t n = bytes / CKPT_HASH_BYTES;
	struct first_copy *fc = disk < NBD_MAX_DISKS ? &d->copies[disk] : NULL;
	uint8_t *more;

	if (!bytes && d->hashes_awaited)
		return 0;
	if (!fc || !d->hashes_awaited || first != fc->known || bytes % CKPT_HASH_BYTES ||
	    fc->known + n > CKPT_HASHED_BLOCKS_MAX)
		return TV_E_PROTOCOL;
	more = realloc(fc->hashes, (fc->known + n) * CKPT_HASH_BYTES + 1);
	if (!more)
		return -ENOMEM;
	memcpy(more + fc->known * CKPT_HASH_BYTES, hashes, bytes);
	fc->hashes = more;
	fc->known += n;
	return 0;
}

void disks_learned(struct disks *d)
{
	bool any = false;

	for (unsigned i = 0; i < NBD_MAX_DISKS; i++)
		any = any || d->copies[i].known;
	atomic_store(&d->sieving, any);
	pthread_mutex_lock(&d->lock);
	d->hashes_awaited = false;
	pthread_cond_broadcast(&d->room);
	pthread_mutex_unlock(&d->lock);
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
	struct disks *d = arg;
	bool failed, discard;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&d->lock);
	d->kicked = false;
	failed = d->failed && d->why[0];
	discard = d->discard;
	pthread_mutex_unlock(&d->lock);
	if (failed && !discard) {
		char why[sizeof(d->why)];

		snprintf(why, sizeof(why), "%s", d->why);
		d->why[0] = 0;
		d->conf.failed(why, d->conf.arg);
		return;
	}
	if (!discard)
		d->conf.ready(d->conf.arg);
}

/* ---- life ---- */
int disks_new(struct event_base *base, const struct disks_conf *conf, struct disks **out)
{
	static const struct nbd_ops ops = {on_room, on_write, on_zero, on_closed};
	struct disks *d = calloc(1, sizeof(*d));
	int rc = 0;

	if (!d)
		return -ENOMEM;
	d->conf = *conf;
	d->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->room, NULL);
	TAILQ_INIT(&d->chunks);
	TAILQ_INIT(&d->spares);
	for (unsigned i = 0; i < NBD_MAX_DISKS; i++) {
		d->copies[i].d = d;
		d->copies[i].disk = i;
		pthread_mutex_init(&d->copies[i].lock, NULL);
	}
	if (getrandom(d->key, sizeof(d->key), 0) != sizeof(d->key))
		rc = -EIO;
	for (unsigned i = 0; i < EPOCHS; i++) {
		d->sums[i].sum = ckpt_sum_new();
		rc = d->sums[i].sum ? rc : -ENOMEM;
	}
	d->ev = d->efd >= 0 ? event_new(base, d->efd, EV_READ | EV_PERSIST, on_kick, d) : NULL;
	if (rc || !d->ev || event_add(d->ev, NULL) || nbd_new(&ops, d, &d->nbd)) {
		disks_free(d);
		return -ENOMEM;
	}
	*out = d;
	return 0;
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

void disks_free(struct disks *d)
{
	struct chunk *c;

	if (!d)
		return;
	disks_discard(d);
	nbd_free(d->nbd);
	if (d->ev)
		event_free(d->ev);
	tv_close_fd(&d->efd);
	while ((c = TAILQ_FIRST(&d->chunks))) {
		TAILQ_REMOVE(&d->chunks, c, next);
		free(c);
	}
	while ((c = TAILQ_FIRST(&d->spares))) {
		TAILQ_REMOVE(&d->spares, c, next);
		free(c);
	}
	for (unsigned i = 0; i < EPOCHS; i++)
		ckpt_sum_free(d->sums[i].sum);
	for (unsigned i = 0; i < NBD_MAX_DISKS; i++) {
		free(d->makers[i].chunk);
		free(d->makers[i].scratch);
		ckpt_sieve_free(d->copies[i].sieve);
		free(d->copies[i].hashes);
	}
	free(d);
}
