/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * An epoch is a run of records (page_record.h; docs/WIRE.md, "Page records"): one for every page
 * the guest wrote, ascending, then the device state in pieces. The primary's encoder makes them,
 * the backup's decoder (decode.c) keeps them until all have come, checks all, then applies all.
 *
 * Deltas. The encoder remembers, within a bound, what it sent last for a page (cache.c) and may
 * send the difference. The receiver needs no such memory: its replica is what was sent. This holds
 * because records are applied in the order they were made, none is left out, and both start from
 * nothing together (ckpt_enc_reset). So every record made counts as sent, also one whose epoch the
 * network then loses: after a loss only a new first copy helps, and it begins with ckpt_enc_reset.
 * A base that is wrong all the same is found: the hash is of the page, not of the difference.
 *
 * Choice. Zero pages first, because guests free memory in bulk. With a base, zero bytes are counted
 * in the difference and in the page: they are what LZ4 lives on, and counting is fifty times faster
 * than trying. Fewer in the difference: the page was rewritten, only the page itself is tried.
 * Mostly zero: only the difference. Between: both, and the smaller wins. Where nothing saves an
 * eighth the page goes as it is, since the receiver's time for LZ4 would be spent for nothing.
 * Guests rewrite pages with the contents they had: the difference is zero, its LZ4 form kept ready.
 *
 * Invariants: the cache's contents for a page are what was sent last, or absent (a zero page is
 * absent: a difference to zeroes is the page). A call that fails has changed nothing: room for the
 * worst case is made sure of first, and no step after that can fail.
 *
 * Limits: no threads of its own; several encoders may share a VM's blocks, not its pages.
 */
#include "checkpoint/cache.h"
#include "checkpoint/page_record.h"

#include <assert.h>
#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

/* With this many zero bytes in a page's difference, nothing else is tried. */
#define MOSTLY_ZERO (TV_PAGE_BYTES * 3 / 4)

struct ckpt_enc {
	struct ckpt_cache *cache;
	struct ckpt_stats stats;
	uint64_t zero_hash;
	void *lz4;
	uint8_t *scratch; /* a difference: a page's or a piece of state's */
	uint8_t *other;	  /* the second of two ways to compress it */
	uint8_t *state;	  /* the last one sent */
	size_t state_bytes, state_room;
	uint8_t same[64]; /* a zero page in LZ4 */
	uint32_t same_bytes;
};

int ckpt_enc_new(size_t cache_bytes, struct ckpt_enc **out)
{
	struct ckpt_enc *enc = calloc(1, sizeof(*enc));
	uint8_t zero[TV_PAGE_BYTES] = {0};
	int rc = -ENOMEM, n;

	if (!enc)
		return -ENOMEM;
	enc->lz4 = malloc((size_t)LZ4_sizeofState());
	enc->scratch = malloc(CKPT_PIECE_BYTES);
	enc->other = malloc(CKPT_PIECE_BYTES);
	if (!enc->lz4 || !enc->scratch || !enc->other)
		goto fail;
	rc = ckpt_cache_new(cache_bytes, &enc->cache);
	if (rc)
		goto fail;
	enc->zero_hash = ckpt_hash(zero, sizeof(zero));
	n = LZ4_compress_default((const char *)zero, (char *)enc->same, sizeof(zero),
				 sizeof(enc->same));
	assert(n > 0);
	enc->same_bytes = (uint32_t)n;
	*out = enc;
	return 0;
fail:
	ckpt_enc_free(enc);
	return rc;
}

void ckpt_enc_free(struct ckpt_enc *enc)
{
	if (!enc)
		return;
	ckpt_cache_free(enc->cache);
	free(enc->lz4);
	free(enc->scratch);
	free(enc->other);
	free(enc->state);
	free(enc);
}

void ckpt_enc_reset(struct ckpt_enc *enc)
{
	ckpt_cache_clear(enc->cache);
	enc->state_bytes = 0;
}

void ckpt_enc_stats(const struct ckpt_enc *enc, struct ckpt_stats *out)
{
	*out = enc->stats;
}

/* Largest LZ4 form of n bytes that is worth the receiver's time. */
static uint32_t worth(uint32_t n)
{
	return n - (n < 8 ? 1 : n / 8);
}

/* LZ4 form of src in dst when it takes at most limit bytes; else 0. */
static uint32_t squeeze(struct ckpt_enc *enc, const uint8_t *src, uint32_t n, uint8_t *dst,
			uint32_t limit)
{
	int r;

	if (!limit)
		return 0;
	r = LZ4_compress_fast_extState(enc->lz4, (const char *)src, (char *)dst, (int)n, (int)limit,
				       1);
	return r > 0 ? (uint32_t)r : 0;
}

/*
 * Writes the payload of n bytes at src to dst (room for n) and says how in r. diff: the difference
 * to the base, or NULL. enough: when the difference takes no more than this, look no further.
 */
static void pack(struct ckpt_enc *enc, struct ckpt_rec *r, const uint8_t *src, uint32_t n,
		 const uint8_t *diff, uint32_t enough, uint8_t *dst)
{
	uint32_t limit = worth(n), bytes = 0, plain;

	if (diff) {
		bytes = squeeze(enc, diff, n, dst, limit);
		r->encoding = CKPT_XOR_LZ4;
		r->payload_bytes = bytes;
		if (bytes && bytes <= enough)
			return;
		limit = bytes ? bytes - 1 : limit;
	}
	/* dst holds the better one so far, so the second goes beside it. */
	plain = squeeze(enc, src, n, bytes ? enc->other : dst, limit);
	if (plain) {
		if (bytes)
			memcpy(dst, enc->other, plain);
		r->encoding = CKPT_LZ4;
		r->payload_bytes = plain;
	} else if (!bytes) {
		memcpy(dst, src, n);
		r->encoding = CKPT_RAW;
		r->payload_bytes = n;
	}
}

static void finish(struct ckpt_enc *enc, const struct ckpt_rec *r, struct tv_buf *out)
{
	ckpt_rec_put(out->data + out->bytes, r);
	out->bytes += CKPT_RECORD_HEADER_BYTES + r->payload_bytes;
	ckpt_stats_count(&enc->stats, r);
}

/* A page that is not all zeroes, and the cache with it. */
static void pack_page(struct ckpt_enc *enc, struct ckpt_rec *r, const uint8_t *page, uint8_t *dst)
{
	uint8_t *base = ckpt_cache_find(enc->cache, r->block, r->offset);
	unsigned zeroes, page_zeroes;

	if (!base) {
		pack(enc, r, page, TV_PAGE_BYTES, NULL, 0, dst);
		base = ckpt_cache_insert(enc->cache, r->block, r->offset);
		if (base)
			memcpy(base, page, TV_PAGE_BYTES);
		return;
	}
	ckpt_xor_page(enc->scratch, page, base, &zeroes, &page_zeroes);
	if (zeroes == TV_PAGE_BYTES) {
		r->encoding = CKPT_XOR_LZ4;
		r->payload_bytes = enc->same_bytes;
		memcpy(dst, enc->same, enc->same_bytes);
		return;
	}
	pack(enc, r, page, TV_PAGE_BYTES, zeroes < page_zeroes ? NULL : enc->scratch,
	     zeroes >= MOSTLY_ZERO ? TV_PAGE_BYTES : 0, dst);
	memcpy(base, page, TV_PAGE_BYTES);
}

int ckpt_enc_page(struct ckpt_enc *enc, uint32_t block, uint64_t offset, const void *page,
		  struct tv_buf *out)
{
	struct ckpt_rec r = {.block = (uint16_t)block, .offset = offset};
	int rc;

	if (block >= CKPT_MAX_BLOCKS || offset % TV_PAGE_BYTES)
		return -EINVAL;
	rc = tv_buf_reserve(out, CKPT_RECORD_HEADER_BYTES + TV_PAGE_BYTES);
	if (rc)
		return rc;
	if (ckpt_is_zero(page)) {
		r.encoding = CKPT_ZERO;
		r.hash = enc->zero_hash;
		ckpt_cache_drop(enc->cache, block, offset);
	} else {
		r.hash = ckpt_hash(page, TV_PAGE_BYTES);
		pack_page(enc, &r, page, out->data + out->bytes + CKPT_RECORD_HEADER_BYTES);
	}
	finish(enc, &r, out);
	return 0;
}

void ckpt_enc_forget(struct ckpt_enc *enc, uint32_t block, uint64_t offset)
{
	ckpt_cache_drop(enc->cache, block, offset);
}

/* The difference of n bytes at pos to the last state, in scratch; NULL when there is none there. */
static const uint8_t *state_diff(struct ckpt_enc *enc, const uint8_t *src, size_t pos, size_t n)
{
	size_t old;

	if (pos >= enc->state_bytes)
		return NULL;
	old = enc->state_bytes - pos < n ? enc->state_bytes - pos : n;
	ckpt_xor(enc->scratch, src, enc->state + pos, old);
	/* Beyond the old end the base is zeroes. */
	memcpy(enc->scratch + old, src + old, n - old);
	return enc->scratch;
}

static int state_room(struct ckpt_enc *enc, size_t bytes)
{
	uint8_t *p;

	if (bytes <= enc->state_room)
		return 0;
	p = realloc(enc->state, bytes);
	if (!p)
		return -ENOMEM;
	enc->state = p;
	enc->state_room = bytes;
	return 0;
}

int ckpt_enc_state(struct ckpt_enc *enc, const void *state, size_t bytes, struct tv_buf *out)
{
	const uint8_t *src = state;
	int rc;

	if (!bytes)
		return -EINVAL;
	if (bytes > CKPT_MAX_STATE_BYTES)
		return -EFBIG;
	rc = tv_buf_reserve(out, CKPT_ENC_STATE_BYTES(bytes));
	if (!rc)
		rc = state_room(enc, bytes);
	if (rc)
		return rc;
	for (size_t pos = 0; pos < bytes;) {
		size_t left = bytes - pos, n = left < CKPT_PIECE_BYTES ? left : CKPT_PIECE_BYTES;
		struct ckpt_rec r = {
			.block = CKPT_BLOCK_STATE,
			.offset = pos,
			.hash = ckpt_hash(src + pos, n),
			.aux = (uint64_t)n << 32 | bytes,
		};

		pack(enc, &r, src + pos, (uint32_t)n, state_diff(enc, src + pos, pos, n),
		     (uint32_t)n / 8, out->data + out->bytes + CKPT_RECORD_HEADER_BYTES);
		finish(enc, &r, out);
		pos += n;
	}
	memcpy(enc->state, src, bytes);
	enc->state_bytes = bytes;
	ckpt_cache_tick(enc->cache);
	return 0;
}
