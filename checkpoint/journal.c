/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Order is kept as: full slabs, then the file, then the last slab (tail), into which bytes are
 * gathered. A tail that is full joins the slabs while memory lasts, which all journals share; after
 * that it is written to the file and used again. A record never crosses a slab's end: a tail counts as full when the record
 * whose header has just come does not fit any more, and that header moves to the next slab.
 */
#include "checkpoint/journal.h"
#include "checkpoint/spool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Four of the largest records: about what a processor's own cache holds. */
#define SLAB_BYTES (4 * (size_t)CKPT_DISK_RECORD_BYTES)
/* Epochs that may be kept at once: two in flight, and the one that is open. */
#define EPOCHS_AT_ONCE 3

struct ckpt_journal {
	struct ckpt_slabs *slabs;
	struct ckpt_room *room;
	unsigned nslabs; /* full ones */
	struct ckpt_slab_list full;
	struct ckpt_slab *tail;
	size_t tail_whole; /* bytes of whole records in it */
	struct ckpt_spool *file;
	struct ckpt_sum *sum; /* over headers */
	uint64_t records;
};

/* ---- slabs ---- */
void ckpt_slabs_init(struct ckpt_slabs *s, size_t memory_bytes)
{
	*s = (struct ckpt_slabs){.slab_bytes = SLAB_BYTES};
	STAILQ_INIT(&s->free);
	if (memory_bytes < s->slab_bytes)
		s->slab_bytes = CKPT_DISK_RECORD_BYTES;
	s->most_full = (unsigned)(memory_bytes / s->slab_bytes);
}

static struct ckpt_slab *slab_get(struct ckpt_slabs *s)
{
	struct ckpt_slab *slab = STAILQ_FIRST(&s->free);

	if (slab) {
		STAILQ_REMOVE_HEAD(&s->free, next);
		s->nfree--;
	} else {
		slab = malloc(sizeof(*slab) + s->slab_bytes);
	}
	if (slab)
		slab->bytes = 0;
	return slab;
}

static void slab_put(struct ckpt_slabs *s, struct ckpt_slab *slab)
{
	/* The one used last is used next. */
	STAILQ_INSERT_HEAD(&s->free, slab, next);
	s->nfree++;
}

static void slabs_trim(struct ckpt_slabs *s, unsigned most)
{
	struct ckpt_slab *slab;

	while (s->nfree > most) {
		slab = STAILQ_FIRST(&s->free);
		STAILQ_REMOVE_HEAD(&s->free, next);
		free(slab);
		s->nfree--;
	}
}

void ckpt_slabs_dispose(struct ckpt_slabs *s)
{
	slabs_trim(s, 0);
}

/* ---- life ---- */
int ckpt_journal_new(struct ckpt_slabs *slabs, struct ckpt_room *room, struct ckpt_journal **out)
{
	struct ckpt_journal *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->slabs = slabs;
	j->room = room;
	STAILQ_INIT(&j->full);
	j->sum = ckpt_sum_new();
	if (!j->sum || ckpt_spool_new(0, room, &j->file)) {
		ckpt_journal_free(j);
		return -ENOMEM;
	}
	*out = j;
	return 0;
}

void ckpt_journal_clear(struct ckpt_journal *j)
{
	struct ckpt_slabs *s = j->slabs;
	unsigned used = j->nslabs + (j->tail != NULL), most;
	struct ckpt_slab *slab;

	while ((slab = STAILQ_FIRST(&j->full))) {
		STAILQ_REMOVE_HEAD(&j->full, next);
		slab_put(s, slab);
		s->nfull--;
	}
	if (j->tail)
		slab_put(s, j->tail);
	j->tail = NULL;
	j->nslabs = 0;
	j->tail_whole = 0;
	j->records = 0;
	ckpt_sum_reset(j->sum);
	ckpt_spool_clear(j->file);
	/* What a burst took is given back, an eighth with every epoch after it. */
	s->want = used > s->want ? used : s->want - (s->want + 7) / 8;
	most = EPOCHS_AT_ONCE * s->want;
	slabs_trim(s,
		   most < s->most_full + CKPT_REP_EPOCHS ? most : s->most_full + CKPT_REP_EPOCHS);
}

void ckpt_journal_free(struct ckpt_journal *j)
{
	if (!j)
		return;
	if (j->file && j->sum)
		ckpt_journal_clear(j);
	ckpt_spool_free(j->file);
	ckpt_sum_free(j->sum);
	free(j);
}

/* ---- arrival ---- */
static int bad(struct tv_err *e, uint64_t number, const struct ckpt_disk_rec *rec, const char *what)
{
	return tv_fail(e, TV_E_PROTOCOL,
		       "disk record %" PRIu64 " (disk %u, offset %" PRIu64 "): %s", number,
		       rec->disk, rec->offset, what);
}

static int keep_failed(const struct ckpt_journal *j, struct tv_err *e, int rc)
{
	return tv_fail(e, rc, "cannot keep an epoch's disk data: %s", ckpt_room_why(j->room, rc));
}

/* A tail with room for more than is in it now. What is no whole record yet moves on. */
static int next_tail(struct ckpt_journal *j)
{
	struct ckpt_slab *old = j->tail, *tail = slab_get(j->slabs);
	size_t left = old ? old->bytes - j->tail_whole : 0;
	int rc = tail ? 0 : -ENOMEM;

	if (!rc && old) {
		memcpy(tail->data, old->data + j->tail_whole, left);
		tail->bytes = left;
		old->bytes = j->tail_whole;
	}
	/* Once the file is used, the slabs before it are complete: order is kept. */
	if (!rc && old && j->slabs->nfull < j->slabs->most_full && !ckpt_spool_bytes(j->file)) {
		STAILQ_INSERT_TAIL(&j->full, old, next);
		j->nslabs++;
		j->slabs->nfull++;
	} else if (!rc && old) {
		rc = ckpt_spool_add(j->file, old->data, old->bytes);
		slab_put(j->slabs, old);
	}
	if (tail) {
		j->tail = tail;
		j->tail_whole = 0;
	}
	return rc;
}

/* Up to want bytes of the record in the making. */
static void gather(struct ckpt_journal *j, size_t want, const uint8_t **p, size_t *n)
{
	size_t have = j->tail->bytes - j->tail_whole, k = want > have ? want - have : 0;

	k = k < *n ? k : *n;
	memcpy(j->tail->data + j->tail->bytes, *p, k);
	j->tail->bytes += k;
	*p += k;
	*n -= k;
}

/* Adds bytes up to the end of one record. */
static int add_some(struct ckpt_journal *j, const uint8_t **p, size_t *n,
		    const struct ckpt_journal_ops *ops, struct tv_err *e)
{
	size_t room = j->slabs->slab_bytes, bytes;
	struct ckpt_disk_rec rec;
	const uint8_t *at;
	const char *wrong;
	int rc;

	if (!j->tail || room - j->tail_whole < CKPT_DISK_HEADER_BYTES) {
		rc = next_tail(j);
		if (rc)
			return keep_failed(j, e, rc);
	}
	gather(j, CKPT_DISK_HEADER_BYTES, p, n);
	if (j->tail->bytes - j->tail_whole < CKPT_DISK_HEADER_BYTES)
		return 0;
	ckpt_disk_get(j->tail->data + j->tail_whole, &rec);
	wrong = ops->header(ops->arg, &rec);
	if (wrong)
		return bad(e, j->records, &rec, wrong);
	bytes = CKPT_DISK_HEADER_BYTES + rec.payload_bytes;
	if (room - j->tail_whole < bytes) {
		rc = next_tail(j);
		if (rc)
			return keep_failed(j, e, rc);
	}
	gather(j, bytes, p, n);
	if (j->tail->bytes - j->tail_whole < bytes)
		return 0;
	at = j->tail->data + j->tail_whole;
	ckpt_sum_add(j->sum, at, CKPT_DISK_HEADER_BYTES);
	j->tail_whole += bytes;
	j->records++;
	return ops->record(ops->arg, &rec, at + CKPT_DISK_HEADER_BYTES, e);
}

int ckpt_journal_add(struct ckpt_journal *j, const uint8_t *p, size_t n,
		     const struct ckpt_journal_ops *ops, struct tv_err *e)
{
	int rc = 0;

	while (n && !rc)
		rc = add_some(j, &p, &n, ops, e);
	return rc;
}

uint64_t ckpt_journal_records(const struct ckpt_journal *j)
{
	return j->records;
}

uint64_t ckpt_journal_sum(const struct ckpt_journal *j)
{
	return ckpt_sum_value(j->sum);
}

int ckpt_journal_whole(const struct ckpt_journal *j, struct tv_err *e)
{
	return j->tail && j->tail->bytes != j->tail_whole
		       ? tv_fail(e, TV_E_PROTOCOL, "an epoch's disk data end inside a record")
		       : 0;
}

/* ---- the way out ---- */

/* One record at p; n: bytes up to the end of what it must lie in. */
static int visit(const uint8_t *p, uint64_t n, uint64_t number, const struct ckpt_journal_ops *ops,
		 const struct ckpt_journal_ops *recheck, size_t *bytes, struct tv_err *e)
{
	const uint8_t *payload = p + CKPT_DISK_HEADER_BYTES;
	const char *wrong = NULL;
	struct ckpt_disk_rec rec;
	int rc = 0;

	ckpt_disk_get(p, &rec);
	*bytes = CKPT_DISK_HEADER_BYTES + rec.payload_bytes;
	if (recheck) {
		wrong = recheck->header(recheck->arg, &rec);
		if (!wrong && *bytes > n)
			wrong = "cut off";
	}
	if (wrong)
		return bad(e, number, &rec, wrong);
	if (recheck)
		rc = recheck->record(recheck->arg, &rec, payload, e);
	return rc ? rc : ops->record(ops->arg, &rec, payload, e);
}

static int each_of_slab(const struct ckpt_slab *slab, size_t whole, uint64_t *number,
			const struct ckpt_journal_ops *ops, struct tv_err *e)
{
	size_t bytes;
	int rc = 0;

	for (size_t at = 0; at < whole && !rc; at += bytes)
		rc = visit(slab->data + at, whole - at, (*number)++, ops, NULL, &bytes, e);
	return rc;
}

static int each_of_file(struct ckpt_spool *file, uint64_t *number,
			const struct ckpt_journal_ops *ops, const struct ckpt_journal_ops *recheck,
			struct tv_err *e)
{
	uint64_t at = 0, all = ckpt_spool_bytes(file), n;
	size_t bytes = 0;
	const uint8_t *p;
	int rc = 0;

	for (; at < all && !rc; at += bytes) {
		n = all - at < CKPT_DISK_RECORD_BYTES ? all - at : CKPT_DISK_RECORD_BYTES;
		if (n < CKPT_DISK_HEADER_BYTES)
			return tv_fail(e, TV_E_CORRUPT, "kept disk data end inside a record");
		rc = ckpt_spool_at(file, at, (size_t)n, &p);
		if (rc)
			return tv_fail(e, rc, "cannot read kept disk data: %s", tv_strerror(rc));
		rc = visit(p, n, (*number)++, ops, recheck, &bytes, e);
	}
	return rc;
}

int ckpt_journal_each(struct ckpt_journal *j, const struct ckpt_journal_ops *ops,
		      const struct ckpt_journal_ops *recheck, struct tv_err *e)
{
	const struct ckpt_slab *slab;
	uint64_t number = 0;
	int rc = 0;

	STAILQ_FOREACH(slab, &j->full, next) {
		rc = each_of_slab(slab, slab->bytes, &number, ops, e);
		if (rc)
			return rc;
	}
	rc = each_of_file(j->file, &number, ops, recheck, e);
	if (!rc && j->tail)
		rc = each_of_slab(j->tail, j->tail_whole, &number, ops, e);
	return rc;
}
