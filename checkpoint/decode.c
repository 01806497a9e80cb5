/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation (what an epoch is, and why deltas hold: encode.c)
 *
 * Two passes over the received bytes. The first trusts nothing: it decodes every page beside the
 * replica and compares hashes, so that a wrong base, a wrong byte or a wrong header is found before
 * anything is touched; the device state is decoded to its place in a second buffer. It is made as
 * the records come (ckpt_dec_add), while the primary encodes the next ones: a commit waits for the
 * last of them only. What it finds is returned by ckpt_dec_verify, which sees the epoch's end.
 * The second, ckpt_dec_apply, decodes once more, now in place where the replica is mapped, without
 * hashing, and then the two state buffers change roles. Decoding twice costs less than keeping
 * every decoded page of an epoch, and the memory for that could not be bounded.
 *
 * The passes see the same: no page comes twice in an epoch (ascending order is checked), so no
 * record's base is what another record of the epoch writes, and nobody else writes to the
 * replica while its VM is paused. An epoch is applied before anything of the next one is added, so
 * that a record is checked against the same bases whenever that is done.
 *
 * States: collecting (begin, add...) -> verified (verify) -> collecting (apply). A failed add or
 * verify leaves the replica as it was, at the last applied epoch. A failed apply leaves it between
 * two epochs: the decoder is dead and hands out no device state, so that nobody resumes from it.
 *
 * Limits: memory is memory_bytes, three times the largest device state, and fixed buffers under 2 MiB.
 */
#include "checkpoint/decode.h"
#include "checkpoint/spool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int ckpt_dec_new(const struct ckpt_mem *mem, size_t memory_bytes, struct ckpt_room *room,
		 struct ckpt_dec **out)
{
	struct ckpt_dec *dec;
	int rc;

	if (mem->blocks > CKPT_MAX_BLOCKS)
		return -EINVAL;
	dec = calloc(1, sizeof(*dec));
	if (!dec)
		return -ENOMEM;
	dec->mem = *mem;
	tv_buf_init(&dec->carry, CKPT_MAX_RECORD_BYTES);
	rc = ckpt_spool_new(memory_bytes, room, &dec->spool);
	if (rc)
		goto fail;
	rc = -ENOMEM;
	dec->page = calloc(1, TV_PAGE_BYTES);
	dec->base = malloc(CKPT_PIECE_BYTES);
	dec->scratch = malloc(CKPT_PIECE_BYTES);
	dec->sum = ckpt_sum_new();
	if (!dec->page || !dec->base || !dec->scratch || !dec->sum)
		goto fail;
	dec->zero_hash = ckpt_hash(dec->page, TV_PAGE_BYTES);
	*out = dec;
	return 0;
fail:
	ckpt_dec_free(dec);
	return rc;
}

void ckpt_dec_free(struct ckpt_dec *dec)
{
	if (!dec)
		return;
	ckpt_spool_free(dec->spool);
	ckpt_sum_free(dec->sum);
	tv_buf_dispose(&dec->carry);
	free(dec->now.data);
	free(dec->next.data);
	free(dec->spare.data);
	free(dec->page);
	free(dec->base);
	free(dec->scratch);
	free(dec);
}

void ckpt_dec_begin(struct ckpt_dec *dec)
{
	dec->verified = false;
	dec->check = (struct ckpt_check){0};
	ckpt_spool_clear(dec->spool);
	ckpt_sum_reset(dec->sum);
	dec->carry.bytes = 0;
	dec->streamed = 0;
	dec->stream_failed = 0;
}

/* ---- one record ---- */

int ckpt_dec_fail(struct tv_err *e, int rc, uint64_t number, const struct ckpt_rec *r,
		  const char *why)
{
	if (r->block == CKPT_BLOCK_STATE)
		return tv_fail(e, rc, "record %" PRIu64 " (device state, offset %" PRIu64 "): %s",
			       number, r->offset, why);
	return tv_fail(e, rc, "record %" PRIu64 " (block %u, offset 0x%" PRIx64 "): %s", number,
		       r->block, r->offset, why);
}

const char *ckpt_dec_check_place(const struct ckpt_dec *dec, const struct ckpt_rec *r)
{
	uint64_t bytes;

	if (r->block >= dec->mem.blocks)
		return "no such block";
	bytes = dec->mem.block_bytes(dec->mem.arg, r->block);
	if (bytes < TV_PAGE_BYTES || r->offset > bytes - TV_PAGE_BYTES)
		return "offset is outside the block";
	return NULL;
}

/* The replica's page as an XOR base: where it is mapped, else a copy. */
static int base_page(struct ckpt_dec *dec, const struct ckpt_rec *r, const uint8_t **out)
{
	uint8_t *map = dec->mem.map(dec->mem.arg, r->block);

	*out = map ? map + r->offset : dec->base;
	if (map || r->encoding != CKPT_XOR_LZ4)
		return 0;
	return dec->mem.read(dec->mem.arg, r->block, r->offset, dec->base, TV_PAGE_BYTES);
}

int ckpt_dec_page(struct ckpt_dec *dec, const struct ckpt_rec *r, const uint8_t *payload,
		  const uint8_t **out)
{
	const uint8_t *base;
	int rc;

	*out = dec->page;
	if (r->encoding == CKPT_RAW) {
		*out = payload;
	} else {
		rc = base_page(dec, r, &base);
		if (!rc)
			rc = ckpt_rec_decode(r, payload, base, dec->page, dec->scratch);
		if (rc)
			return rc;
		if (r->encoding == CKPT_ZERO)
			return r->hash == dec->zero_hash ? 0 : TV_E_CORRUPT;
	}
	return ckpt_hash(*out, TV_PAGE_BYTES) == r->hash ? 0 : TV_E_CORRUPT;
}

static const char *page_trouble(int rc)
{
	return rc == TV_E_CORRUPT ? "contents do not match their hash" : tv_strerror(rc);
}

/* ---- the records of an epoch, one after the other ---- */

/* 1: a record, its header checked; 0: the end; else negative with *why. -EAGAIN: a record that is not
 * complete. */
static int walk_next(struct ckpt_dec *dec, struct ckpt_walk *w, const char **why)
{
	uint64_t left = ckpt_spool_bytes(dec->spool) - w->pos;
	const uint8_t *p;
	int rc;

	if (!left)
		return 0;
	w->number++;
	w->r = (struct ckpt_rec){0};
	*why = "the epoch ends inside a header";
	if (left < CKPT_RECORD_HEADER_BYTES)
		return -EAGAIN;
	*why = "cannot read the spool file";
	rc = ckpt_spool_at(dec->spool, w->pos, CKPT_RECORD_HEADER_BYTES, &p);
	if (rc)
		return rc;
	ckpt_rec_get(p, &w->r);
	*why = ckpt_rec_check(&w->r);
	if (*why)
		return TV_E_PROTOCOL;
	*why = "the epoch ends inside a payload";
	if (left - CKPT_RECORD_HEADER_BYTES < w->r.payload_bytes)
		return -EAGAIN;
	*why = "cannot read the spool file";
	rc = ckpt_spool_at(dec->spool, w->pos, CKPT_RECORD_HEADER_BYTES + w->r.payload_bytes, &p);
	if (rc)
		return rc;
	w->payload = p + CKPT_RECORD_HEADER_BYTES;
	w->pos += CKPT_RECORD_HEADER_BYTES + w->r.payload_bytes;
	return 1;
}

/* ---- verify ---- */

static int state_room(struct ckpt_state *s, size_t bytes)
{
	uint8_t *p;

	if (bytes <= s->room)
		return 0;
	/* Nothing of the old contents is wanted, and bytes is at most CKPT_MAX_STATE_BYTES. */
	p = malloc(bytes);
	if (!p)
		return -ENOMEM;
	free(s->data);
	s->data = p;
	s->room = bytes;
	return 0;
}

/* ---- the copy of the device state ----
 *
 * The state of the last applied epoch is the base of the next one's differences, and what a promotion
 * loads, so a bit of it that flips in this host's memory must neither end the session nor be
 * loaded. It is there twice, beside the hash that it had when it was checked; before it is used, both are
 * compared with that, and the one that does not match is made anew from the other.
 */
static void keep_spare(struct ckpt_dec *dec)
{
	dec->now_hash = dec->next_hash;
	dec->spare.bytes = 0;
	if (!state_room(&dec->spare,
			dec->now.bytes)) { /* without memory for it: it is there once */
		memcpy(dec->spare.data, dec->now.data, dec->now.bytes);
		dec->spare.bytes = dec->now.bytes;
	}
}

static bool is_whole(const struct ckpt_dec *dec, const struct ckpt_state *s)
{
	return s->bytes == dec->now.bytes && ckpt_hash(s->data, s->bytes) == dec->now_hash;
}

static void mend_state(struct ckpt_dec *dec)
{
	bool whole = dec->now.bytes && is_whole(dec, &dec->now);
	struct ckpt_state *from = whole ? &dec->now : &dec->spare,
			  *to = whole ? &dec->spare : &dec->now;
	size_t at = 0;

	/* If both are damaged, a record's hash shows it. */
	if (!dec->spare.bytes || !is_whole(dec, from) || is_whole(dec, to))
		return;
	while (from->data[at] == to->data[at])
		at++;
	dec->mended.times++;
	dec->mended.offset = at;
	memcpy(to->data, from->data, from->bytes);
}

/* The current state at the record's positions; what it does not reach is zeroes. */
static const uint8_t *state_base(struct ckpt_dec *dec, const struct ckpt_rec *r)
{
	size_t n = ckpt_rec_decoded_bytes(r), old = 0;

	if (r->offset < dec->now.bytes)
		old = dec->now.bytes - (size_t)r->offset;
	if (old >= n)
		return dec->now.data + r->offset;
	if (old)
		memcpy(dec->base, dec->now.data + r->offset, old);
	memset(dec->base + old, 0, n - old);
	return dec->base;
}

/* Decodes a piece of device state to its place in next; done: bytes that are there already. */
static int verify_state(struct ckpt_dec *dec, const struct ckpt_walk *w, size_t *done,
			const char **why)
{
	const struct ckpt_rec *r = &w->r;
	uint8_t *dst;
	int rc;

	*why = "out of memory for device state";
	if (!*done) {
		mend_state(dec); /* the base of what follows */
		dec->next.bytes = ckpt_rec_state_total(r);
		rc = state_room(&dec->next, dec->next.bytes);
		if (rc)
			return rc;
	}
	*why = "pieces of device state do not agree on its size";
	if (ckpt_rec_state_total(r) != dec->next.bytes)
		return TV_E_PROTOCOL;
	*why = "a gap in the device state";
	if (r->offset != *done)
		return TV_E_PROTOCOL;
	dst = dec->next.data + *done;
	*why = page_trouble(TV_E_CORRUPT);
	rc = ckpt_rec_decode(r, w->payload, state_base(dec, r), dst, dec->scratch);
	if (rc)
		return rc;
	*done += ckpt_rec_decoded_bytes(r);
	return ckpt_hash(dst, ckpt_rec_decoded_bytes(r)) == r->hash ? 0 : TV_E_CORRUPT;
}

static int verify_page(struct ckpt_dec *dec, const struct ckpt_walk *w, const char **why)
{
	const uint8_t *contents;
	int rc;

	*why = ckpt_dec_check_place(dec, &w->r);
	if (*why)
		return TV_E_PROTOCOL;
	rc = ckpt_dec_page(dec, &w->r, w->payload, &contents);
	*why = page_trouble(rc);
	return rc;
}

static bool ascends(const struct ckpt_rec *last, const struct ckpt_rec *r)
{
	return r->block > last->block || (r->block == last->block && r->offset > last->offset);
}

/* Checks the records that are complete and were not checked yet. */
static void check_more(struct ckpt_dec *dec)
{
	struct ckpt_check *c = &dec->check;

	while (!c->rc) {
		struct ckpt_walk w = c->last;
		const char *why = NULL;
		int rc = walk_next(dec, &w, &why);

		if (!rc || rc == -EAGAIN)
			return;
		if (rc > 0 && c->last.number && !ascends(&c->last.r, &w.r)) {
			why = "not in ascending order";
			rc = TV_E_PROTOCOL;
		} else if (rc > 0 && w.r.block == CKPT_BLOCK_STATE) {
			rc = verify_state(dec, &w, &c->state_done, &why);
		} else if (rc > 0) {
			rc = verify_page(dec, &w, &why);
		}
		if (rc)
			c->rc = ckpt_dec_fail(&c->e, rc, w.number, &w.r, why);
		c->last = w;
	}
}

int ckpt_dec_add(struct ckpt_dec *dec, const void *p, size_t n)
{
	int rc;

	if (dec->dead)
		return -EIO;
	dec->verified = false;
	ckpt_sum_add(dec->sum, p, n);
	rc = ckpt_spool_add(dec->spool, p, n);
	if (!rc)
		check_more(dec);
	return rc;
}

/* What is left to be known when all records were checked. */
static int verify_end(struct ckpt_dec *dec, uint64_t records, struct tv_err *e)
{
	const struct ckpt_check *c = &dec->check;
	struct ckpt_walk w = c->last;
	const char *why;

	if (walk_next(dec, &w, &why))
		return ckpt_dec_fail(e, TV_E_PROTOCOL, w.number, &w.r, why);
	if (w.number != records)
		return tv_fail(e, TV_E_PROTOCOL,
			       "%" PRIu64 " records came, the sender counted %" PRIu64, w.number,
			       records);
	if (!c->state_done || c->state_done != dec->next.bytes)
		return tv_fail(e, TV_E_PROTOCOL, "the epoch has no complete device state");
	return 0;
}

int ckpt_dec_verify(struct ckpt_dec *dec, uint64_t records, uint64_t checksum, struct tv_err *e)
{
	int rc;

	dec->verified = false;
	if (dec->dead)
		return tv_fail(e, -EIO,
			       "an earlier epoch could not be applied; the replica is lost");
	rc = ckpt_spool_failed(dec->spool);
	if (rc)
		return tv_fail(e, rc, "the epoch's records could not be kept: %s", tv_strerror(rc));
	if (ckpt_sum_value(dec->sum) != checksum)
		return tv_fail(e, TV_E_CORRUPT,
			       "the epoch's %" PRIu64
			       " record bytes do not match the sender's checksum",
			       ckpt_spool_bytes(dec->spool));
	if (dec->check.rc)
		return tv_fail(e, dec->check.rc, "%s", dec->check.e.text);
	rc = verify_end(dec, records, e);
	if (!rc)
		dec->next_hash = ckpt_hash(dec->next.data, dec->next.bytes);
	dec->verified = !rc;
	return rc;
}

/* ---- apply ---- */

static int apply_page(struct ckpt_dec *dec, const struct ckpt_walk *w)
{
	uint8_t *map = dec->mem.map(dec->mem.arg, w->r.block);
	const uint8_t *base;
	int rc;

	if (dec->mem.before)
		dec->mem.before(dec->mem.arg, w->r.block, w->r.offset);
	if (map) {
		map += w->r.offset;
		return ckpt_rec_decode(&w->r, w->payload, map, map, dec->scratch);
	}
	rc = base_page(dec, &w->r, &base);
	if (!rc)
		rc = ckpt_rec_decode(&w->r, w->payload, base, dec->page, dec->scratch);
	if (!rc)
		rc = dec->mem.write(dec->mem.arg, w->r.block, w->r.offset, dec->page,
				    TV_PAGE_BYTES);
	return rc;
}

static int apply_records(struct ckpt_dec *dec)
{
	struct ckpt_walk w = {0};
	const char *why;
	int rc;

	while ((rc = walk_next(dec, &w, &why)) > 0) {
		if (w.r.block != CKPT_BLOCK_STATE) {
			/* Verified, but a spool file could have changed since: never write
			 * astray. */
			if (ckpt_dec_check_place(dec, &w.r))
				return TV_E_CORRUPT;
			rc = apply_page(dec, &w);
			if (rc)
				return rc;
		}
		ckpt_stats_count(&dec->stats, &w.r);
	}
	return rc;
}

int ckpt_dec_apply(struct ckpt_dec *dec)
{
	struct ckpt_state old;
	int rc;

	if (dec->dead)
		return -EIO;
	if (!dec->verified)
		return -EINVAL;
	dec->verified = false;
	/* What is added from here on without an epoch's begin is checked from the start, and refused. */
	dec->check = (struct ckpt_check){0};
	rc = apply_records(dec);
	if (rc) {
		dec->dead = true;
		return rc;
	}
	old = dec->now;
	dec->now = dec->next;
	dec->next = old;
	keep_spare(dec);
	return 0;
}

const uint8_t *ckpt_dec_next_state(const struct ckpt_dec *dec, size_t *bytes)
{
	*bytes = dec->verified ? dec->next.bytes : 0;
	return dec->verified ? dec->next.data : NULL;
}

const uint8_t *ckpt_dec_state(struct ckpt_dec *dec, size_t *bytes)
{
	bool there = dec->now.bytes && !dec->dead;

	mend_state(dec);
	*bytes = there ? dec->now.bytes : 0;
	return there ? dec->now.data : NULL;
}

void ckpt_dec_mended(struct ckpt_dec *dec, struct ckpt_mended *out)
{
	*out = dec->mended;
	dec->mended.times = 0;
}

void ckpt_dec_stats(const struct ckpt_dec *dec, struct ckpt_stats *out)
{
	*out = dec->stats;
}
