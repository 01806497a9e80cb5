/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The decoder's device state is there twice: bits of it that flip between two epochs are mended, or seen. */
#include "checkpoint/decode.h"
#include "tests/unit/ckpt_rig.h"

static void next_epoch(struct rig *r)
{
	struct epoch ep;

	make_epoch(r, &ep, 20);
	epoch_deliver(r->dec, &ep);
	tv_buf_dispose(&ep.wire);
}

/* The copy that is handed out. */
static uint8_t *copy(struct rig *r, size_t *bytes)
{
	return (uint8_t *)(uintptr_t)ckpt_dec_state(r->dec, bytes);
}

static void test_flipped_bit_is_mended(void **state)
{
	struct ckpt_mended m;
	struct rig r;
	size_t bytes;

	(void)state;
	rig_init(&r, 100 * TV_PAGE_BYTES, 1u << 20, 1);
	next_epoch(&r);
	for (unsigned i = 0; i < 50; i++) {
		uint8_t *p = copy(&r, &bytes);
		size_t at = model_rand(&r.seed) % bytes;

		p[at] ^= (uint8_t)(1u << model_rand(&r.seed) % 8);
		if (i % 2)
			next_epoch(&r); /* its base */
		check_same(&r);		/* and what a promotion would load */
		ckpt_dec_mended(r.dec, &m);
		assert_int_equal(m.times, 1);
		assert_int_equal(m.offset, at);
		ckpt_dec_mended(r.dec, &m);
		assert_int_equal(m.times, 0);
	}
	rig_dispose(&r);
}

/* A difference to a base that is damaged twice is refused: nothing is loaded that never was. */
static void test_both_copies(void **state)
{
	struct tv_err e = {0};
	struct ckpt_mended m;
	struct epoch ep;
	struct rig r;
	size_t bytes;
	uint8_t *p;

	(void)state;
	rig_init(&r, 0, 1u << 20, 2);
	next_epoch(&r);
	p = copy(&r, &bytes);
	p[bytes / 2] ^= 1;
	p = r.dec->spare.data;
	p[bytes / 2] ^= 1;
	epoch_init(&ep);
	assert_int_equal(ckpt_enc_state(r.enc, r.state, r.state_bytes, &ep.wire), 0);
	ep.records = (r.state_bytes + (256u << 10) - 1) / (256u << 10);
	epoch_sum(&ep);
	assert_int_equal(epoch_verify(r.dec, &ep, 9000, &r.seed, &e), TV_E_CORRUPT);
	ckpt_dec_mended(r.dec, &m);
	assert_int_equal(m.times, 0);
	tv_buf_dispose(&ep.wire);
	rig_dispose(&r);
}

/* A page of which the receiver's contents are wrong can be sent again: without a base. */
static void test_forgotten_page_is_whole(void **state)
{
	struct rig r;
	size_t payload;

	(void)state;
	rig_init(&r, 100 * TV_PAGE_BYTES, 1u << 20, 3);
	memset(r.guest.block[0] + TV_PAGE_BYTES, 7, 100);
	send_page(&r, 1, &payload);
	r.guest.block[0][TV_PAGE_BYTES + 50] = 8;
	assert_int_equal(send_page(&r, 1, &payload), CKPT_XOR_LZ4);
	r.replica.block[0][TV_PAGE_BYTES + 2000] ^= 4;
	ckpt_enc_forget(r.enc, 0, TV_PAGE_BYTES);
	assert_int_not_equal(send_page(&r, 1, &payload), CKPT_XOR_LZ4);
	rig_dispose(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flipped_bit_is_mended),
		cmocka_unit_test(test_both_copies),
		cmocka_unit_test(test_forgotten_page_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
