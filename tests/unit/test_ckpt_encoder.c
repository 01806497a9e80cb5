/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The encoder: which encoding it chooses, and that a call without room changes nothing. */
#include "tests/unit/ckpt_rig.h"

static void test_choice(void **state)
{
	struct rig r;
	uint8_t *p;
	size_t n;

	(void)state;
	rig_init(&r, 1u << 20, 1u << 20, 77);
	p = r.guest.block[0] + TV_PAGE_BYTES;
	assert_int_equal(send_page(&r, 1, &n), CKPT_ZERO);
	assert_int_equal(n, 0);
	for (unsigned i = 0; i < TV_PAGE_BYTES; i++)
		p[i] = (uint8_t)(model_rand(&r.seed) >> 24);
	assert_int_equal(send_page(&r, 1, &n), CKPT_RAW);
	assert_int_equal(n, TV_PAGE_BYTES);
	/* Unchanged noise is a tiny record, a changed byte hardly more. */
	assert_int_equal(send_page(&r, 1, &n), CKPT_XOR_LZ4);
	assert_true(n < 40);
	p[2000] ^= 1;
	assert_int_equal(send_page(&r, 1, &n), CKPT_XOR_LZ4);
	assert_true(n < 60);
	/* Rewritten with text: the difference to noise is noise, the text is not. */
	for (unsigned i = 0; i < TV_PAGE_BYTES; i++)
		p[i] = (uint8_t) "a sentence of some length. "[i % 27];
	assert_int_equal(send_page(&r, 1, &n), CKPT_LZ4);
	assert_true(n < 100);
	/* Zero, then what it was: the base must be the zeroes, not the text. */
	memset(p, 0, TV_PAGE_BYTES);
	assert_int_equal(send_page(&r, 1, &n), CKPT_ZERO);
	for (unsigned i = 0; i < TV_PAGE_BYTES; i++)
		p[i] = (uint8_t) "a sentence of some length. "[i % 27];
	assert_int_equal(send_page(&r, 1, &n), CKPT_LZ4);
	rig_dispose(&r);
}

/* A cache full of pages the guest no longer writes makes room for those it does. */
static void test_cache_follows_guest(void **state)
{
	uint8_t encoding = CKPT_RAW;
	struct rig r;
	size_t n;

	(void)state;
	rig_init(&r, TV_PAGE_BYTES, 1u << 20, 78);
	for (unsigned i = 0; i < TV_PAGE_BYTES; i++)
		r.guest.block[0][i] = (uint8_t)(model_rand(&r.seed) >> 24);
	assert_int_equal(send_page(&r, 0, &n), CKPT_RAW);
	memcpy(r.guest.block[0] + TV_PAGE_BYTES, r.guest.block[0], TV_PAGE_BYTES);
	for (unsigned i = 0; i < 6; i++)
		encoding = send_page(&r, 1, &n);
	assert_int_equal(encoding, CKPT_XOR_LZ4);
	rig_dispose(&r);
}

/* Every place a byte of a page can be in: the zero test sees it, the hash covers it. */
static void test_zero_every_byte(void **state)
{
	uint8_t buf[TV_PAGE_BYTES + 1] = {0}, *page = buf + 1; /* at an odd address */
	struct ckpt_enc *enc;
	struct tv_buf out;

	(void)state;
	assert_int_equal(ckpt_enc_new(0, &enc), 0);
	tv_buf_init(&out, 1u << 20);
	for (unsigned i = 0; i < TV_PAGE_BYTES; i++) {
		page[i] = 0x80;
		out.bytes = 0;
		assert_int_equal(ckpt_enc_page(enc, 0, 0, page, &out), 0);
		assert_int_equal(out.data[0], CKPT_LZ4);
		page[i] = 0;
	}
	out.bytes = 0;
	assert_int_equal(ckpt_enc_page(enc, 0, 0, page, &out), 0);
	assert_int_equal(out.data[0], CKPT_ZERO);
	assert_int_equal(out.bytes, CKPT_RECORD_HEADER_BYTES);
	tv_buf_dispose(&out);
	ckpt_enc_free(enc);
}

/* A call without room changes nothing: two encoders, one of them refused now and then, agree. */
static void test_no_room_changes_nothing(void **state)
{
	struct rig r;
	struct ckpt_enc *twin;
	struct tv_buf a, b;
	struct tv_buf none = {0};
	size_t room;

	(void)state;
	rig_init(&r, 10 * TV_PAGE_BYTES, 0, 5);
	assert_int_equal(ckpt_enc_new(10 * TV_PAGE_BYTES, &twin), 0);
	tv_buf_init(&a, 8u << 20);
	tv_buf_init(&b, 8u << 20);
	for (unsigned i = 0; i < 400; i++) {
		uint64_t off = model_rand(&r.seed) % 20 * TV_PAGE_BYTES;
		uint8_t *p = r.guest.block[0] + off;

		model_change(p, &r.seed);
		for (room = 0; room < CKPT_RECORD_HEADER_BYTES + TV_PAGE_BYTES; room += 511) {
			none.limit_bytes = room;
			assert_int_equal(ckpt_enc_page(twin, 0, off, p, &none), -ENOBUFS);
		}
		a.bytes = b.bytes = 0;
		assert_int_equal(ckpt_enc_page(r.enc, 0, off, p, &a), 0);
		assert_int_equal(ckpt_enc_page(twin, 0, off, p, &b), 0);
		if (i % 10 == 9) {
			change_state(&r);
			none.limit_bytes = r.state_bytes;
			assert_int_equal(ckpt_enc_state(twin, r.state, r.state_bytes, &none),
					 -ENOBUFS);
			assert_int_equal(ckpt_enc_state(r.enc, r.state, r.state_bytes, &a), 0);
			assert_int_equal(ckpt_enc_state(twin, r.state, r.state_bytes, &b), 0);
		}
		assert_int_equal(a.bytes, b.bytes);
		assert_memory_equal(a.data, b.data, a.bytes);
	}
	assert_null(none.data);
	tv_buf_dispose(&a);
	tv_buf_dispose(&b);
	ckpt_enc_free(twin);
	rig_dispose(&r);
}

/* What the header promises is enough, is: noise at exactly that room. */
static void test_promised_room_is_enough(void **state)
{
	static const size_t sizes[] = {1, 2, 7, 262143, 262144, 262145, 524288, STATE_MOST};
	struct rig r;

	(void)state;
	rig_init(&r, 0, 0, 6);
	for (unsigned i = 0; i < STATE_MOST; i++)
		r.state[i] = (uint8_t)(model_rand(&r.seed) >> 24);
	for (unsigned i = 0; i < 8; i++) {
		struct tv_buf out;

		tv_buf_init(&out, CKPT_ENC_STATE_BYTES(sizes[i]));
		ckpt_enc_reset(r.enc);
		assert_int_equal(ckpt_enc_state(r.enc, r.state, sizes[i], &out), 0);
		assert_true(out.bytes > sizes[i]);
		tv_buf_dispose(&out);
	}
	rig_dispose(&r);
}

static void test_bad_calls(void **state)
{
	uint8_t page[TV_PAGE_BYTES] = {0};
	struct ckpt_mem mem = {.blocks = CKPT_MAX_BLOCKS + 1};
	struct ckpt_dec *dec = NULL;
	struct ckpt_enc *enc;
	struct model m;
	struct tv_buf out;
	size_t bytes = 1;

	(void)state;
	tv_buf_init(&out, 1u << 20);
	assert_int_equal(ckpt_enc_new(0, &enc), 0);
	assert_int_equal(ckpt_enc_page(enc, CKPT_MAX_BLOCKS, 0, page, &out), -EINVAL);
	assert_int_equal(ckpt_enc_page(enc, CKPT_BLOCK_STATE, 0, page, &out), -EINVAL);
	assert_int_equal(ckpt_enc_page(enc, 0, 1, page, &out), -EINVAL);
	assert_int_equal(ckpt_enc_state(enc, page, 0, &out), -EINVAL);
	assert_int_equal(ckpt_enc_state(enc, page, CKPT_MAX_STATE_BYTES + 1, &out), -EFBIG);
	assert_int_equal(out.bytes, 0);
	assert_int_equal(ckpt_dec_new(&mem, 0, NULL, &dec), -EINVAL);
	assert_null(dec);
	model_init(&m);
	dec = model_dec(&m, 0);
	assert_null(ckpt_dec_state(dec, &bytes));
	assert_int_equal(bytes, 0);
	assert_int_equal(ckpt_dec_apply(dec), -EINVAL);
	ckpt_dec_free(dec);
	model_dispose(&m);
	ckpt_enc_free(enc);
	ckpt_enc_free(NULL);
	ckpt_dec_free(NULL);
	ckpt_sum_free(NULL);
	tv_buf_dispose(&out);
}

/* After a reset the output is what a new encoder makes, and a new decoder takes it. */
static void test_reset_forgets(void **state)
{
	struct rig r, fresh;
	struct epoch a, b;

	(void)state;
	rig_init(&r, 1u << 20, 1u << 20, 9);
	rig_init(&fresh, 1u << 20, 1u << 20, 9);
	for (unsigned i = 0; i < 5; i++) {
		make_epoch(&r, &a, 80);
		tv_buf_dispose(&a.wire);
	}
	ckpt_enc_reset(r.enc);
	model_copy(&fresh.guest, &r.guest);
	memcpy(fresh.state, r.state, STATE_MOST);
	fresh.state_bytes = r.state_bytes;
	fresh.seed = r.seed;
	make_epoch(&r, &a, 80);
	make_epoch(&fresh, &b, 80);
	assert_int_equal(a.wire.bytes, b.wire.bytes);
	assert_memory_equal(a.wire.data, b.wire.data, a.wire.bytes);
	epoch_deliver(fresh.dec, &a);
	tv_buf_dispose(&a.wire);
	tv_buf_dispose(&b.wire);
	rig_dispose(&r);
	rig_dispose(&fresh);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_cache_follows_guest),
		cmocka_unit_test(test_zero_every_byte),
		cmocka_unit_test(test_no_room_changes_nothing),
		cmocka_unit_test(test_promised_room_is_enough),
		cmocka_unit_test(test_bad_calls),
		cmocka_unit_test(test_reset_forgets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
