/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of checkpoint/: an encoder, a decoder and a replica together, and random epochs. */
#ifndef CKPT_RIG_H
#define CKPT_RIG_H

#include "tests/unit/ckpt_model.h"

#define STATE_MOST (700u << 10)

struct rig {
	struct model guest, replica;
	uint8_t *state;
	size_t state_bytes;
	struct ckpt_enc *enc;
	struct ckpt_dec *dec;
	uint64_t seed;
};

static inline void rig_init(struct rig *r, size_t cache_bytes, size_t memory_bytes, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	model_init(&r->guest);
	model_init(&r->replica);
	r->state = calloc(1, STATE_MOST);
	assert_non_null(r->state);
	r->seed = seed * 0x9e3779b97f4a7c15u + 1;
	assert_int_equal(ckpt_enc_new(cache_bytes, &r->enc), 0);
	r->dec = model_dec(&r->replica, memory_bytes);
}

static inline void rig_dispose(struct rig *r)
{
	ckpt_enc_free(r->enc);
	ckpt_dec_free(r->dec);
	model_dispose(&r->guest);
	model_dispose(&r->replica);
	free(r->state);
}

static inline void change_state(struct rig *r)
{
	static const size_t sizes[] = {1, 7, 8, 4096, 79000, 262144, 262145, 524288, STATE_MOST};
	unsigned n;

	if (!r->state_bytes || model_rand(&r->seed) % 4 == 0)
		r->state_bytes = sizes[model_rand(&r->seed) % 9];
	/* Bytes beyond the end change too: a later, longer state must not rely on them. */
	for (n = 0; n < 200; n++)
		r->state[model_rand(&r->seed) % STATE_MOST] = (uint8_t)model_rand(&r->seed);
	if (model_rand(&r->seed) % 8 == 0)
		for (n = 0; n < r->state_bytes; n++)
			r->state[n] = (uint8_t)(model_rand(&r->seed) >> 40);
}

/* Encodes a page through a buffer with little room, as a sender with a bounded queue does. */
static inline void page_small_out(struct rig *r, struct epoch *ep, struct tv_buf *out, uint32_t b,
				  uint32_t page)
{
	uint64_t offset = (uint64_t)page * TV_PAGE_BYTES;
	struct ckpt_stats before, after;
	size_t bytes = out->bytes;
	int rc;

	ckpt_enc_stats(r->enc, &before);
	rc = ckpt_enc_page(r->enc, b, offset, r->guest.block[b] + offset, out);
	if (rc == -ENOBUFS) {
		ckpt_enc_stats(r->enc, &after);
		assert_memory_equal(&before, &after, sizeof(before));
		assert_int_equal(out->bytes, bytes);
		assert_int_equal(tv_buf_add(&ep->wire, out->data, out->bytes), 0);
		out->bytes = 0;
		rc = ckpt_enc_page(r->enc, b, offset, r->guest.block[b] + offset, out);
	}
	assert_int_equal(rc, 0);
}

static inline void make_epoch(struct rig *r, struct epoch *ep, unsigned percent)
{
	uint64_t before = enc_records(r->enc), pages = 0;
	struct tv_buf out;

	epoch_init(ep);
	tv_buf_init(&out, CKPT_RECORD_HEADER_BYTES + TV_PAGE_BYTES + 5000);
	for (uint32_t b = 0; b < MODEL_BLOCKS; b++) {
		for (uint32_t p = 0; p < model_pages[b]; p++) {
			if (model_rand(&r->seed) % 100 >= percent)
				continue;
			model_change(r->guest.block[b] + (size_t)p * TV_PAGE_BYTES, &r->seed);
			page_small_out(r, ep, &out, b, p);
			pages++;
		}
	}
	assert_int_equal(tv_buf_add(&ep->wire, out.data, out.bytes), 0);
	tv_buf_dispose(&out);
	change_state(r);
	assert_int_equal(ckpt_enc_state(r->enc, r->state, r->state_bytes, &ep->wire), 0);
	ep->records = enc_records(r->enc) - before;
	assert_int_equal(ep->records, pages + (r->state_bytes + (256u << 10) - 1) / (256u << 10));
	epoch_sum(ep);
}

static inline void check_same(struct rig *r)
{
	const uint8_t *state;
	size_t bytes;

	assert_true(model_equal(&r->guest, &r->replica));
	state = ckpt_dec_state(r->dec, &bytes);
	assert_non_null(state);
	assert_int_equal(bytes, r->state_bytes);
	assert_memory_equal(state, r->state, bytes);
}

static inline struct epoch one_page(struct rig *r, uint32_t page)
{
	uint64_t before = enc_records(r->enc);
	struct epoch ep;

	epoch_init(&ep);
	epoch_page(&ep, r->enc, &r->guest, 0, page);
	r->state_bytes = 100;
	assert_int_equal(ckpt_enc_state(r->enc, r->state, 100, &ep.wire), 0);
	ep.records = enc_records(r->enc) - before;
	epoch_sum(&ep);
	return ep;
}

static inline uint8_t send_page(struct rig *r, uint32_t page, size_t *payload)
{
	struct epoch ep = one_page(r, page);
	uint8_t encoding = ep.wire.data[0];

	*payload = tv_get_le32(ep.wire.data + 4);
	epoch_deliver(r->dec, &ep);
	check_same(r);
	tv_buf_dispose(&ep.wire);
	return encoding;
}

#endif
