/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encoder to decoder to replica: many random epochs against plain memory. */
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

static void rig_init(struct rig *r, size_t cache_bytes, size_t memory_bytes, uint64_t seed)
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

static void rig_dispose(struct rig *r)
{
	ckpt_enc_free(r->enc);
	ckpt_dec_free(r->dec);
	model_dispose(&r->guest);
	model_dispose(&r->replica);
	free(r->state);
}

static void change_state(struct rig *r)
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
static void page_small_out(struct rig *r, struct epoch *ep, struct tv_buf *out, uint32_t b,
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

static void make_epoch(struct rig *r, struct epoch *ep, unsigned percent)
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

static void check_same(struct rig *r)
{
	const uint8_t *state;
	size_t bytes;

	assert_true(model_equal(&r->guest, &r->replica));
	state = ckpt_dec_state(r->dec, &bytes);
	assert_non_null(state);
	assert_int_equal(bytes, r->state_bytes);
	assert_memory_equal(state, r->state, bytes);
}

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

static struct epoch one_page(struct rig *r, uint32_t page)
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

static uint8_t send_page(struct rig *r, uint32_t page, size_t *payload)
{
	struct epoch ep = one_page(r, page);
	uint8_t encoding = ep.wire.data[0];

	*payload = tv_get_le32(ep.wire.data + 4);
	epoch_deliver(r->dec, &ep);
	check_same(r);
	tv_buf_dispose(&ep.wire);
	return encoding;
}

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
	assert_int_equal(ckpt_dec_new(&mem, 0, "/tmp", 0, &dec), -EINVAL);
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

/* The first copy: random pages, repeated, in no order, cut anywhere; then epochs go on from
 * there. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_epochs),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_cache_follows_guest),
		cmocka_unit_test(test_apply_needs_verify),
		cmocka_unit_test(test_zero_every_byte),
		cmocka_unit_test(test_no_room_changes_nothing),
		cmocka_unit_test(test_promised_room_is_enough),
		cmocka_unit_test(test_bad_calls),
		cmocka_unit_test(test_reset_forgets),
		cmocka_unit_test(test_sum_any_split),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_every_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
