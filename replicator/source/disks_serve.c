/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The servers of the disks' mirrors: from a request to its record. While a disk is copied for the
 * first time, a sieve (checkpoint/sieve.c) that was made from the backup's hashes may lie between
 * the two. See disks.c.
 */
#include "replicator/source/disks_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

	return disks_queue(d, m, n, n > CKPT_DISK_HEADER_BYTES ? bytes : 0);
}

static int send_zero(struct disks *d, unsigned disk, uint64_t offset, uint64_t bytes, bool trim)
{
	struct maker *m = &d->makers[disk];

	return disks_queue(d, m,
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

/* A server thread's first request may be waited for. */
static void note_begun(struct disks *d, unsigned disk)
{
	struct maker *m = &d->makers[disk];

	if (atomic_load_explicit(&m->begun, memory_order_relaxed))
		return;
	pthread_mutex_lock(&d->lock);
	atomic_store(&m->begun, true);
	pthread_cond_broadcast(&d->room);
	pthread_mutex_unlock(&d->lock);
}

static int on_write(void *arg, unsigned disk, uint64_t offset, const void *data, uint32_t bytes)
{
	struct disks *d = arg;
	struct first_copy *fc = &d->copies[disk];
	int rc;

	note_begun(d, disk);
	cdisk_written(d->conf.compare, disk, offset, bytes);
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

	note_begun(d, disk);
	cdisk_written(d->conf.compare, disk, offset, bytes);
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
		disks_wake(d);
	}
	pthread_mutex_unlock(&d->lock);
}

const struct nbd_ops disks_nbd_ops = {
	.room = on_room, .write = on_write, .zero = on_zero, .closed = on_closed};

int disks_repair(struct disks *d, unsigned disk, uint64_t offset, const void *data, uint32_t bytes)
{
	struct maker *m = &d->repairer;

	if (!m->chunk)
		m->chunk = malloc(sizeof(*m->chunk));
	if (!m->scratch)
		m->scratch = malloc(CKPT_DISK_PIECE_BYTES);
	if (!m->chunk || !m->scratch)
		return -ENOMEM;
	return disks_queue_now(d, m,
			       ckpt_disk_record(CKPT_DISK_WRITE, disk, offset, data, bytes,
						m->scratch, m->chunk->data));
}

/* ---- what the backup has already ---- */
const uint8_t *disks_key(const struct disks *d)
{
	return d->key;
}

void disks_expect_hashes(struct disks *d, const uint64_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n && i < NBD_MAX_DISKS; i++) {
		uint64_t blocks = bytes[i] / CKPT_BLOCK_BYTES + (bytes[i] % CKPT_BLOCK_BYTES != 0);

		d->copies[i].most =
			blocks < CKPT_HASHED_BLOCKS_MAX ? blocks : CKPT_HASHED_BLOCKS_MAX;
	}
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
	    n > fc->most - fc->known)
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

static bool all_begun(const struct disks *d)
{
	for (unsigned i = 0; i < NBD_MAX_DISKS; i++)
		if (d->makers[i].chunk && !atomic_load(&d->makers[i].begun))
			return false;
	return true;
}

int disks_await_begun(struct disks *d, int timeout_ms)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * TV_NS_PER_MS;
	if (until.tv_nsec >= TV_NS_PER_S) {
		until.tv_nsec -= TV_NS_PER_S;
		until.tv_sec++;
	}
	pthread_mutex_lock(&d->lock);
	while (!all_begun(d) && !d->discard && !rc)
		rc = -pthread_cond_timedwait(&d->room, &d->lock, &until);
	if (all_begun(d))
		rc = 0;
	else if (d->discard)
		rc = -ECANCELED;
	pthread_mutex_unlock(&d->lock);
	return rc;
}

/* The hashes that the backup sent of this disk are put to use. */
int disks_make_sieve(struct disks *d, unsigned disk, uint64_t bytes)
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
