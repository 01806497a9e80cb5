/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests of hostile records: a replica at epoch 1, an epoch 2 with every encoding in it, and the
 * check that a changed epoch 2 is refused and changes nothing.
 */
#ifndef CKPT_SCENE_H
#define CKPT_SCENE_H

#include "tests/unit/ckpt_model.h"

/* A replica at epoch 1, and epoch 2 as the sender made it: every encoding is in it. */
struct scene {
	struct model guest, replica, before;
	struct ckpt_enc *enc;
	struct ckpt_dec *dec;
	struct epoch one, two;
	uint8_t state[600];
};

/* Where epoch 2's records are. */
enum { AT_ZERO, AT_RAW, AT_LZ4, AT_XOR, AT_XOR_UNMAPPED, AT_STATE, RECORDS };

/* Where a field is in a record header. */
enum {
	F_ENCODING = 0,
	F_FLAGS = 1,
	F_BLOCK = 2,
	F_PAYLOAD = 4,
	F_OFFSET = 8,
	F_HASH = 16,
	F_AUX = 24
};

static inline void fill(uint8_t *p, size_t n, uint64_t seed)
{
	seed = seed * 0x9e3779b97f4a7c15u + 1;
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(model_rand(&seed) >> 24);
}

static inline void scene_pages(struct scene *s, struct epoch *ep)
{
	uint64_t before = enc_records(s->enc);

	epoch_init(ep);
	for (uint32_t p = 0; p < 4; p++)
		epoch_page(ep, s->enc, &s->guest, 0, p);
	epoch_page(ep, s->enc, &s->guest, 1, 3);
	assert_int_equal(ckpt_enc_state(s->enc, s->state, sizeof(s->state), &ep->wire), 0);
	ep->records = enc_records(s->enc) - before;
	assert_int_equal(ep->records, RECORDS);
	epoch_sum(ep);
}

static inline void scene_init(struct scene *s)
{
	static const uint8_t encodings[RECORDS] = {CKPT_ZERO,	 CKPT_RAW,     CKPT_LZ4,
						   CKPT_XOR_LZ4, CKPT_XOR_LZ4, CKPT_XOR_LZ4};

	memset(s, 0, sizeof(*s));
	model_init(&s->guest);
	model_init(&s->replica);
	model_init(&s->before);
	assert_int_equal(ckpt_enc_new(1u << 20, &s->enc), 0);
	s->dec = model_dec(&s->replica, 5000);
	fill(s->guest.block[0], 4 * TV_PAGE_BYTES, 1);
	memset(s->guest.block[0] + 2 * TV_PAGE_BYTES, 0, TV_PAGE_BYTES);
	fill(s->guest.block[1] + 3 * TV_PAGE_BYTES, TV_PAGE_BYTES, 2);
	fill(s->state, sizeof(s->state), 3);
	scene_pages(s, &s->one);
	epoch_deliver(s->dec, &s->one);
	memset(s->guest.block[0], 0, TV_PAGE_BYTES);
	fill(s->guest.block[0] + TV_PAGE_BYTES, TV_PAGE_BYTES, 4);
	memset(s->guest.block[0] + 2 * TV_PAGE_BYTES, 'x', TV_PAGE_BYTES);
	s->guest.block[0][3 * TV_PAGE_BYTES + 9] ^= 1;
	s->guest.block[1][3 * TV_PAGE_BYTES + 99] ^= 1;
	s->state[300] ^= 1;
	scene_pages(s, &s->two);
	for (unsigned i = 0; i < RECORDS; i++)
		assert_int_equal(s->two.wire.data[epoch_record(&s->two, i)], encodings[i]);
	model_copy(&s->before, &s->replica);
}

static inline void scene_dispose(struct scene *s)
{
	ckpt_enc_free(s->enc);
	ckpt_dec_free(s->dec);
	tv_buf_dispose(&s->one.wire);
	tv_buf_dispose(&s->two.wire);
	model_dispose(&s->guest);
	model_dispose(&s->replica);
	model_dispose(&s->before);
}

/* The epoch must be refused with want (0: any code), and nothing may have changed by it. */
static inline void refused(struct scene *s, const struct epoch *ep, int want, const char *word)
{
	size_t bytes, was;
	const uint8_t *state, *old = ckpt_dec_state(s->dec, &was);
	struct tv_err e = {0};
	int rc = epoch_verify(s->dec, ep, 4000, NULL, &e);

	if (!rc)
		fail_msg("taken, not refused");
	assert_true(rc == TV_E_CORRUPT || rc == TV_E_PROTOCOL);
	if (want && rc != want)
		fail_msg("%d where %d was due: %s", rc, want, e.text);
	if (word && !strstr(e.text, word))
		fail_msg("\"%s\" does not say \"%s\"", e.text, word);
	assert_int_equal(ckpt_dec_apply(s->dec), -EINVAL);
	assert_true(model_equal(&s->replica, &s->before));
	state = ckpt_dec_state(s->dec, &bytes);
	assert_ptr_equal(state, old);
	assert_int_equal(bytes, was);
}

/* After all that was refused, the right epoch still goes through. */
static inline void still_works(struct scene *s)
{
	const uint8_t *state;
	size_t bytes;

	epoch_deliver(s->dec, &s->two);
	assert_true(model_equal(&s->replica, &s->guest));
	state = ckpt_dec_state(s->dec, &bytes);
	assert_int_equal(bytes, sizeof(s->state));
	assert_memory_equal(state, s->state, bytes);
}

static inline struct epoch copy_of(const struct epoch *from)
{
	struct epoch ep;

	epoch_init(&ep);
	assert_int_equal(tv_buf_add(&ep.wire, from->wire.data, from->wire.bytes), 0);
	ep.records = from->records;
	ep.checksum = from->checksum;
	return ep;
}

#endif
