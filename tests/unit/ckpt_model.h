/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests of checkpoint/: a guest's memory as plain arrays, a replica as plain arrays, and random
 * changes. Nothing here uses the room's own code: what comes out of a decoder is compared with
 * bytes that never saw an encoder.
 */
#ifndef CKPT_MODEL_H
#define CKPT_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/unit/room_kit.h"
#include "checkpoint/checkpoint.h"

#define MODEL_BLOCKS 3u
#define MODEL_UNMAPPED 1u /* reached through read and write only */
static const uint32_t model_pages[MODEL_BLOCKS] = {64, 40, 8};

struct model {
	uint8_t *block[MODEL_BLOCKS];
	int fail_write_at; /* the Nth write from now fails; 0: none */
	int fail_read;	   /* an errno every read answers with */
};

static inline uint64_t model_rand(uint64_t *seed)
{
	uint64_t x = *seed;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *seed = x;
}

static inline uint64_t model_bytes(void *arg, uint32_t block)
{
	(void)arg;
	assert_true(block < MODEL_BLOCKS);
	return (uint64_t)model_pages[block] * TV_PAGE_BYTES;
}

static inline uint8_t *model_map(void *arg, uint32_t block)
{
	struct model *m = arg;

	assert_true(block < MODEL_BLOCKS);
	return block == MODEL_UNMAPPED ? NULL : m->block[block];
}

static inline int model_read(void *arg, uint32_t block, uint64_t offset, void *p, size_t n)
{
	struct model *m = arg;

	assert_true(block == MODEL_UNMAPPED && offset + n <= model_bytes(arg, block));
	if (m->fail_read)
		return -m->fail_read;
	memcpy(p, m->block[block] + offset, n);
	return 0;
}

static inline int model_write(void *arg, uint32_t block, uint64_t offset, const void *p, size_t n)
{
	struct model *m = arg;

	assert_true(block == MODEL_UNMAPPED && offset + n <= model_bytes(arg, block));
	if (m->fail_write_at && !--m->fail_write_at)
		return -EIO;
	memcpy(m->block[block] + offset, p, n);
	return 0;
}

static inline struct ckpt_mem model_mem(struct model *m)
{
	return (struct ckpt_mem){m,	     MODEL_BLOCKS, model_bytes, model_map,
				 model_read, model_write,  NULL};
}

static inline void model_init(struct model *m)
{
	*m = (struct model){0};
	for (unsigned b = 0; b < MODEL_BLOCKS; b++) {
		m->block[b] = calloc(model_pages[b], TV_PAGE_BYTES);
		assert_non_null(m->block[b]);
	}
}

static inline void model_dispose(struct model *m)
{
	for (unsigned b = 0; b < MODEL_BLOCKS; b++)
		free(m->block[b]);
}

static inline void model_copy(struct model *to, const struct model *from)
{
	for (unsigned b = 0; b < MODEL_BLOCKS; b++)
		memcpy(to->block[b], from->block[b], model_bytes(NULL, b));
}

static inline bool model_equal(const struct model *a, const struct model *b)
{
	for (unsigned i = 0; i < MODEL_BLOCKS; i++)
		if (memcmp(a->block[i], b->block[i], model_bytes(NULL, i)))
			return false;
	return true;
}

/* One of the ways a guest changes a page: free, noise, text, a few bytes, nothing, half of it. */
static inline void model_change(uint8_t *p, uint64_t *seed)
{
	static const char text[] = "the quick brown fox jumps over the lazy dog, again and again; ";
	unsigned n;

	switch (model_rand(seed) % 7) {
	case 0:
		memset(p, 0, TV_PAGE_BYTES);
		return;
	case 1:
		for (unsigned i = 0; i < TV_PAGE_BYTES; i++)
			p[i] = (uint8_t)(model_rand(seed) >> 24);
		return;
	case 2:
		for (unsigned i = 0; i < TV_PAGE_BYTES; i++)
			p[i] = (uint8_t)text[(i + *seed % 7) % (sizeof(text) - 1)];
		p[model_rand(seed) % TV_PAGE_BYTES] ^= 0x55;
		return;
	case 3:
		n = 1 + (unsigned)(model_rand(seed) % 40);
		while (n--)
			p[model_rand(seed) % TV_PAGE_BYTES] = (uint8_t)(model_rand(seed) >> 16);
		return;
	case 4: /* dirty, and the same */
		return;
	case 5:
		for (unsigned i = 0; i < TV_PAGE_BYTES / 2; i++)
			p[i] = (uint8_t)(model_rand(seed) >> 32);
		return;
	default: /* a single byte in zeroes: the last one, where a zero test could stop early */
		memset(p, 0, TV_PAGE_BYTES);
		p[TV_PAGE_BYTES - 1] = 1;
	}
}

/* What a sender makes of an epoch. */
struct epoch {
	struct tv_buf wire;
	uint64_t records, checksum;
};

static inline void epoch_init(struct epoch *ep)
{
	memset(ep, 0, sizeof(*ep));
	tv_buf_init(&ep->wire, 64u << 20);
}

static inline void epoch_sum(struct epoch *ep)
{
	struct ckpt_sum *s = ckpt_sum_new();

	assert_non_null(s);
	ckpt_sum_add(s, ep->wire.data, ep->wire.bytes);
	ep->checksum = ckpt_sum_value(s);
	ckpt_sum_free(s);
}

static inline uint64_t enc_records(const struct ckpt_enc *enc)
{
	struct ckpt_stats st;

	ckpt_enc_stats(enc, &st);
	return st.pages + st.state_records;
}

static inline void epoch_page(struct epoch *ep, struct ckpt_enc *enc, const struct model *m,
			      uint32_t block, uint32_t page)
{
	uint64_t offset = (uint64_t)page * TV_PAGE_BYTES;

	assert_int_equal(ckpt_enc_page(enc, block, offset, m->block[block] + offset, &ep->wire), 0);
}

static inline struct ckpt_room *model_room(void)
{
	static struct ckpt_room *room;

	if (!room)
		room = room_kit("/tmp", UINT64_C(1) << 40);
	return room;
}

static inline struct ckpt_dec *model_dec(struct model *m, size_t memory_bytes)
{
	struct ckpt_mem mem = model_mem(m);
	struct ckpt_dec *dec = NULL;

	assert_int_equal(ckpt_dec_new(&mem, memory_bytes, model_room(), &dec), 0);
	return dec;
}

/* A whole epoch through a decoder in pieces of at most most bytes; what verify says. */
static inline int epoch_verify(struct ckpt_dec *dec, const struct epoch *ep, size_t most,
			       uint64_t *seed, struct tv_err *e)
{
	size_t pos = 0;

	ckpt_dec_begin(dec);
	while (pos < ep->wire.bytes) {
		size_t n = seed ? 1 + (size_t)(model_rand(seed) % most) : most;

		n = n < ep->wire.bytes - pos ? n : ep->wire.bytes - pos;
		assert_int_equal(ckpt_dec_add(dec, ep->wire.data + pos, n), 0);
		pos += n;
	}
	return ckpt_dec_verify(dec, ep->records, ep->checksum, e);
}

static inline void epoch_deliver(struct ckpt_dec *dec, const struct epoch *ep)
{
	struct tv_err e = {0};
	int rc = epoch_verify(dec, ep, ep->wire.bytes, NULL, &e);

	if (rc)
		print_error("%s\n", e.text);
	assert_int_equal(rc, 0);
	assert_int_equal(ckpt_dec_apply(dec), 0);
}

/* Where record number index starts; records are walked by the header's length only. */
static inline size_t epoch_record(const struct epoch *ep, unsigned index)
{
	size_t pos = 0;

	while (index--)
		pos += CKPT_RECORD_HEADER_BYTES + tv_get_le32(ep->wire.data + pos + 4);
	assert_true(pos < ep->wire.bytes);
	return pos;
}

#endif
