/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encoder to decoder to replica: many random epochs, and first copies, against plain memory. */
#include "tests/unit/ckpt_rig.h"

static void run_epochs(size_t cache_bytes, size_t memory_bytes, uint64_t seed, unsigned epochs,
		       struct ckpt_stats *st)
{
	struct ckpt_stats dst;
	struct tv_err e = {0};
	struct rig r;

	rig_init(&r, cache_bytes, memory_bytes, seed);
	for (unsigned i = 0; i < epochs; i++) {
		struct model before;
		struct epoch ep;

		model_init(&before);
		model_copy(&before, &r.replica);
		make_epoch(&r, &ep, i % 5 == 0 ? 90 : 25);
		if (epoch_verify(r.dec, &ep, 9000, &r.seed, &e))
			fail_msg("epoch %u: %s", i, e.text);
		assert_true(model_equal(&before, &r.replica));
		assert_int_equal(ckpt_dec_apply(r.dec), 0);
		check_same(&r);
		tv_buf_dispose(&ep.wire);
		model_dispose(&before);
	}
	ckpt_enc_stats(r.enc, st);
	ckpt_dec_stats(r.dec, &dst);
	assert_memory_equal(st, &dst, sizeof(dst)); /* all that was made was applied */
	assert_int_equal(st->pages, st->zero_pages + st->raw_pages + st->lz4_pages + st->xor_pages);
	rig_dispose(&r);
}

static void test_random_epochs(void **state)
{
	static const size_t caches[] = {0, 1, 3, 20, 100, 4096};
	static const size_t memories[] = {0, 10000, 16u << 20};
	uint64_t seed = 1;
	struct ckpt_stats st;

	(void)state;
	for (unsigned c = 0; c < 6; c++) {
		for (unsigned m = 0; m < 3; m++) {
			run_epochs(caches[c] * TV_PAGE_BYTES, memories[m], seed++, 25, &st);
			assert_true(st.zero_pages && st.raw_pages && st.lz4_pages);
			assert_true(st.wire_bytes < st.raw_bytes);
			if (!c)
				assert_int_equal(st.xor_pages, 0);
			if (c >= 2)
				assert_true(st.xor_pages > 0);
			if (c >= 4)
				assert_true(st.xor_pages > st.lz4_pages / 4);
		}
	}
}

/* What was in each page that an epoch has written, and how often it was asked for. */
static struct model was;
static struct model *watched;
static unsigned calls;

static void on_before(void *arg, uint32_t block, uint64_t offset)
{
	assert_ptr_equal(arg, watched);
	memcpy(was.block[block] + offset, watched->block[block] + offset, TV_PAGE_BYTES);
	calls++;
}

/* Each page of an epoch is announced before it is written: what was there can be put together again. */
static void test_called_before_each_write(void **state)
{
	struct ckpt_mem mem;
	struct tv_err e = {0};
	struct rig r;

	(void)state;
	rig_init(&r, 20 * TV_PAGE_BYTES, 16u << 20, 77);
	watched = &r.replica;
	mem = model_mem(watched);
	mem.before = on_before;
	ckpt_dec_free(r.dec);
	assert_int_equal(ckpt_dec_new(&mem, 16u << 20, model_room(), &r.dec), 0);
	model_init(&was);
	for (unsigned i = 0; i < 10; i++) {
		struct model before;
		struct epoch ep;

		model_init(&before);
		model_copy(&before, &r.replica);
		make_epoch(&r, &ep, 30);
		assert_int_equal(epoch_verify(r.dec, &ep, 9000, &r.seed, &e), 0);
		calls = 0;
		assert_int_equal(ckpt_dec_apply(r.dec), 0);
		assert_true(calls > 0);
		/* What was not announced is what it was: the replica has it still. */
		for (unsigned b = 0; b < MODEL_BLOCKS; b++)
			for (uint64_t at = 0; at < model_bytes(NULL, b); at += TV_PAGE_BYTES)
				assert_true(!memcmp(was.block[b] + at, before.block[b] + at,
						    TV_PAGE_BYTES) ||
					    !memcmp(r.replica.block[b] + at, before.block[b] + at,
						    TV_PAGE_BYTES));
		check_same(&r);
		tv_buf_dispose(&ep.wire);
		model_dispose(&before);
	}
	model_dispose(&was);
	rig_dispose(&r);
}

/* Only what verify has just seen may be applied, once. */
static void test_apply_needs_verify(void **state)
{
	struct tv_err e = {0};
	struct epoch ep;
	struct rig r;

	(void)state;
	rig_init(&r, 1u << 20, 1u << 20, 79);
	r.guest.block[0][0] = 1;
	ep = one_page(&r, 0);
	assert_int_equal(epoch_verify(r.dec, &ep, 4096, NULL, &e), 0);
	assert_int_equal(ckpt_dec_add(r.dec, "x", 1), 0);
	assert_int_equal(ckpt_dec_apply(r.dec), -EINVAL);
	assert_int_equal(epoch_verify(r.dec, &ep, 4096, NULL, &e), 0);
	ckpt_dec_begin(r.dec);
	assert_int_equal(ckpt_dec_apply(r.dec), -EINVAL);
	assert_int_equal(epoch_verify(r.dec, &ep, 4096, NULL, &e), 0);
	assert_int_equal(ckpt_dec_apply(r.dec), 0);
	assert_int_equal(ckpt_dec_apply(r.dec), -EINVAL);
	check_same(&r);
	tv_buf_dispose(&ep.wire);
	rig_dispose(&r);
}

static void test_sum_any_split(void **state)
{
	struct ckpt_sum *whole = ckpt_sum_new(), *split = ckpt_sum_new();
	uint8_t data[3000];
	uint64_t seed = 3, empty = ckpt_sum_value(whole);

	(void)state;
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)model_rand(&seed);
	ckpt_sum_add(whole, data, sizeof(data));
	for (size_t at = 0; at <= sizeof(data); at += 7) {
		ckpt_sum_reset(split);
		assert_int_equal(ckpt_sum_value(split), empty);
		ckpt_sum_add(split, data, at);
		ckpt_sum_add(split, data + at, sizeof(data) - at);
		assert_int_equal(ckpt_sum_value(split), ckpt_sum_value(whole));
	}
	data[0] ^= 1;
	ckpt_sum_reset(split);
	ckpt_sum_add(split, data, sizeof(data));
	assert_true(ckpt_sum_value(split) != ckpt_sum_value(whole));
	ckpt_sum_free(whole);
	ckpt_sum_free(split);
}

/* The first copy: random pages, repeated, in no order, cut anywhere; then epochs follow. */
static void stream_then_epochs(size_t most, uint64_t seed)
{
	struct rig r;
	struct epoch ep;
	struct ckpt_stats st;
	struct tv_err e = {0};
	size_t pos = 0;

	rig_init(&r, 30 * TV_PAGE_BYTES, 0, seed);
	epoch_init(&ep);
	for (unsigned i = 0; i < 600; i++) {
		uint32_t b = (uint32_t)(model_rand(&r.seed) % MODEL_BLOCKS);
		uint32_t p = (uint32_t)(model_rand(&r.seed) % model_pages[b]);

		model_change(r.guest.block[b] + (size_t)p * TV_PAGE_BYTES, &r.seed);
		epoch_page(&ep, r.enc, &r.guest, b, p);
	}
	while (pos < ep.wire.bytes) {
		size_t n = 1 + (size_t)(model_rand(&r.seed) % most);

		n = n < ep.wire.bytes - pos ? n : ep.wire.bytes - pos;
		if (ckpt_dec_stream(r.dec, ep.wire.data + pos, n, &e))
			fail_msg("%s", e.text);
		pos += n;
	}
	assert_int_equal(ckpt_dec_stream_pending(r.dec), 0);
	ckpt_dec_stats(r.dec, &st);
	assert_int_equal(st.pages, 600);
	assert_true(st.xor_pages > 0);
	assert_true(model_equal(&r.guest, &r.replica));
	tv_buf_dispose(&ep.wire);
	for (unsigned i = 0; i < 3; i++) {
		make_epoch(&r, &ep, 50);
		epoch_deliver(r.dec, &ep);
		check_same(&r);
		tv_buf_dispose(&ep.wire);
	}
	rig_dispose(&r);
}

static void test_stream(void **state)
{
	(void)state;
	stream_then_epochs(1, 1);
	stream_then_epochs(33, 2);
	stream_then_epochs(5000, 3);
	stream_then_epochs(1u << 20, 4);
}

/* A small epoch and a small stream, cut in two at every byte. */
static void test_every_split(void **state)
{
	struct rig r;
	struct epoch ep;
	struct ckpt_dec *dec;
	struct model copy;
	struct tv_err e = {0};
	size_t pages_end;

	(void)state;
	rig_init(&r, 1u << 20, 0, 11);
	epoch_init(&ep);
	memset(r.guest.block[0] + 2 * TV_PAGE_BYTES, 'x', TV_PAGE_BYTES);
	r.guest.block[1][5] = 1;
	epoch_page(&ep, r.enc, &r.guest, 0, 1);
	epoch_page(&ep, r.enc, &r.guest, 0, 2);
	epoch_page(&ep, r.enc, &r.guest, 1, 0);
	epoch_page(&ep, r.enc, &r.guest, 2, 7); /* zero: a record that ends with its header */
	pages_end = ep.wire.bytes;
	assert_int_equal(ckpt_enc_state(r.enc, r.state, r.state_bytes = 200, &ep.wire), 0);
	ep.records = 5;
	epoch_sum(&ep);
	for (size_t at = 0; at <= ep.wire.bytes; at++) {
		ckpt_dec_begin(r.dec);
		assert_int_equal(ckpt_dec_add(r.dec, ep.wire.data, at), 0);
		assert_int_equal(ckpt_dec_add(r.dec, ep.wire.data + at, ep.wire.bytes - at), 0);
		assert_int_equal(ckpt_dec_verify(r.dec, 5, ep.checksum, &e), 0);
	}
	assert_int_equal(ckpt_dec_apply(r.dec), 0);
	check_same(&r);
	for (size_t at = 0; at <= pages_end; at++) {
		model_init(&copy);
		dec = model_dec(&copy, 0);
		assert_int_equal(ckpt_dec_stream(dec, ep.wire.data, at, &e), 0);
		assert_int_equal(ckpt_dec_stream(dec, ep.wire.data + at, pages_end - at, &e), 0);
		assert_int_equal(ckpt_dec_stream_pending(dec), 0);
		assert_true(model_equal(&copy, &r.guest));
		ckpt_dec_free(dec);
		model_dispose(&copy);
	}
	tv_buf_dispose(&ep.wire);
	rig_dispose(&r);
}

static uint64_t (*block_bytes)(void *arg, uint32_t block);
static unsigned places; /* that were looked at: one for each page that is checked */

static uint64_t count_places(void *arg, uint32_t block)
{
	places++;
	return block_bytes(arg, block);
}

/* Each record when it is complete, and once; what an unfinished epoch left is forgotten. */
static void test_checked_as_it_comes(void **state)
{
	struct ckpt_mem mem;
	struct tv_err e = {0};
	struct rig r;
	struct epoch ep;

	(void)state;
	rig_init(&r, 1u << 20, 0, 12);
	ckpt_dec_free(r.dec);
	mem = model_mem(&r.replica);
	block_bytes = mem.block_bytes;
	mem.block_bytes = count_places;
	assert_int_equal(ckpt_dec_new(&mem, 1u << 20, model_room(), &r.dec), 0);
	epoch_init(&ep);
	for (unsigned page = 0; page < 3; page++)
		epoch_page(&ep, r.enc, &r.guest, 2, page);
	assert_int_equal(ep.wire.bytes, 3 * CKPT_RECORD_HEADER_BYTES);
	assert_int_equal(ckpt_enc_state(r.enc, r.state, r.state_bytes = 200, &ep.wire), 0);
	ep.records = 4;
	epoch_sum(&ep);
	for (unsigned round = 0; round < 2; round++) {
		places = 0;
		ckpt_dec_begin(r.dec);
		for (size_t at = 0; at < ep.wire.bytes - 1; at++) {
			size_t whole = (at + 1) / CKPT_RECORD_HEADER_BYTES;

			assert_int_equal(ckpt_dec_add(r.dec, ep.wire.data + at, 1), 0);
			assert_int_equal(places, whole < 3 ? whole : 3);
		}
	}
	assert_int_equal(ckpt_dec_add(r.dec, ep.wire.data + ep.wire.bytes - 1, 1), 0);
	assert_int_equal(ckpt_dec_verify(r.dec, 4, ep.checksum, &e), 0);
	assert_int_equal(places, 3);
	assert_int_equal(ckpt_dec_apply(r.dec), 0);
	check_same(&r);
	tv_buf_dispose(&ep.wire);
	rig_dispose(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_epochs),
		cmocka_unit_test(test_called_before_each_write),
		cmocka_unit_test(test_apply_needs_verify),
		cmocka_unit_test(test_sum_any_split),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_checked_as_it_comes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
