/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The record format does not change by accident: tests/golden/records-v1.bin holds two epochs as
 * they were encoded when format version 1 was fixed. Today's decoder must understand them, and
 * today's encoder must write the same headers (the LZ4 bytes may differ between versions of the
 * library).
 *
 * File: for each epoch a 24-byte little-endian head {u64 record bytes, u64 records, u64 checksum},
 * then the records. It is written once, with TWINVM_GOLDEN_WRITE=1, and never again for a version.
 */
#include "tests/unit/ckpt_model.h"

#define GOLDEN "tests/golden/records-v1.bin"
#define HEAD_BYTES 24u
#define STATE_BYTES (300u * 1024)

static void noise(uint8_t *p, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(model_rand(&seed) >> 24);
}

/* The guest at epoch 1 and 2. Every encoding, a mapped and an unmapped block, two pieces of
 * state. */
static void contents(struct model *m, uint8_t *state, unsigned epoch)
{
	uint8_t *p = m->block[0];

	if (epoch == 1) {
		noise(p + TV_PAGE_BYTES, TV_PAGE_BYTES, 1234567);
		memset(p + 5 * TV_PAGE_BYTES, 'g', TV_PAGE_BYTES);
		noise(m->block[1], 100, 42);
		for (unsigned i = 0; i < STATE_BYTES; i++)
			state[i] = (uint8_t)(i / 1000);
		return;
	}
	p[TV_PAGE_BYTES + 17] ^= 0xff;
	memset(p + 5 * TV_PAGE_BYTES, 0, TV_PAGE_BYTES);
	noise(m->block[1], TV_PAGE_BYTES, 43);
	state[7] ^= 1;
	noise(state + (256u << 10), 10000, 44);
}

static void encode(struct epoch *ep, struct ckpt_enc *enc, const struct model *m,
		   const uint8_t *state)
{
	uint64_t before = enc_records(enc);

	epoch_init(ep);
	epoch_page(ep, enc, m, 0, 1);
	epoch_page(ep, enc, m, 0, 2);
	epoch_page(ep, enc, m, 0, 5);
	epoch_page(ep, enc, m, 1, 0);
	assert_int_equal(ckpt_enc_state(enc, state, STATE_BYTES, &ep->wire), 0);
	ep->records = enc_records(enc) - before;
	epoch_sum(ep);
}

static void write_golden(void)
{
	uint8_t *state = calloc(1, STATE_BYTES), head[HEAD_BYTES];
	struct ckpt_enc *enc;
	struct tv_buf file;
	struct model m;

	model_init(&m);
	tv_buf_init(&file, 4u << 20);
	assert_int_equal(ckpt_enc_new(1u << 20, &enc), 0);
	for (unsigned i = 1; i <= 2; i++) {
		struct epoch ep;

		contents(&m, state, i);
		encode(&ep, enc, &m, state);
		tv_put_le64(head, ep.wire.bytes);
		tv_put_le64(head + 8, ep.records);
		tv_put_le64(head + 16, ep.checksum);
		assert_int_equal(tv_buf_add(&file, head, sizeof(head)), 0);
		assert_int_equal(tv_buf_add(&file, ep.wire.data, ep.wire.bytes), 0);
		tv_buf_dispose(&ep.wire);
	}
	assert_int_equal(tv_write_file(GOLDEN, file.data, file.bytes), 0);
	tv_buf_dispose(&file);
	ckpt_enc_free(enc);
	model_dispose(&m);
	free(state);
}

/* Header fields that do not depend on the LZ4 library: all but the payload's length. */
static void same_headers(const struct epoch *a, const struct epoch *b)
{
	assert_int_equal(a->records, b->records);
	for (unsigned i = 0; i < a->records; i++) {
		const uint8_t *x = a->wire.data + epoch_record(a, i);
		const uint8_t *y = b->wire.data + epoch_record(b, i);

		assert_memory_equal(x, y, 4);
		assert_memory_equal(x + 8, y + 8, CKPT_RECORD_HEADER_BYTES - 8);
	}
}

static void test_golden(void **unused)
{
	static const uint8_t encodings[2][6] = {
		{CKPT_RAW, CKPT_ZERO, CKPT_LZ4, CKPT_LZ4, CKPT_LZ4, CKPT_LZ4},
		{CKPT_XOR_LZ4, CKPT_ZERO, CKPT_ZERO, CKPT_RAW, CKPT_XOR_LZ4, CKPT_XOR_LZ4}};
	uint8_t *state = calloc(1, STATE_BYTES);
	struct model guest, replica;
	struct ckpt_enc *enc;
	struct ckpt_dec *dec;
	const uint8_t *got;
	size_t bytes, pos = 0;
	char *file;

	(void)unused;
	if (getenv("TWINVM_GOLDEN_WRITE"))
		write_golden();
	if (tv_read_file(GOLDEN, 4u << 20, &file, &bytes))
		fail_msg("cannot read %s: run tests from the top of the repository", GOLDEN);
	model_init(&guest);
	model_init(&replica);
	dec = model_dec(&replica, 1u << 20);
	assert_int_equal(ckpt_enc_new(1u << 20, &enc), 0);
	for (unsigned i = 1; i <= 2; i++) {
		const uint8_t *head = (const uint8_t *)file + pos;
		struct epoch ep, now;
		size_t n;

		assert_true(bytes - pos >= HEAD_BYTES &&
			    bytes - pos - HEAD_BYTES >= tv_get_le64(head));
		epoch_init(&ep);
		n = (size_t)tv_get_le64(head);
		ep.records = tv_get_le64(head + 8);
		ep.checksum = tv_get_le64(head + 16);
		assert_int_equal(tv_buf_add(&ep.wire, head + HEAD_BYTES, n), 0);
		pos += HEAD_BYTES + n;
		epoch_deliver(dec, &ep);
		contents(&guest, state, i);
		assert_true(model_equal(&replica, &guest));
		got = ckpt_dec_state(dec, &n);
		assert_int_equal(n, STATE_BYTES);
		assert_memory_equal(got, state, STATE_BYTES);
		for (unsigned k = 0; k < 6; k++)
			assert_int_equal(ep.wire.data[epoch_record(&ep, k)], encodings[i - 1][k]);
		encode(&now, enc, &guest, state);
		same_headers(&ep, &now);
		tv_buf_dispose(&now.wire);
		tv_buf_dispose(&ep.wire);
	}
	assert_int_equal(pos, bytes);
	ckpt_dec_free(dec);
	ckpt_enc_free(enc);
	model_dispose(&guest);
	model_dispose(&replica);
	free(file);
	free(state);
}

/* One record written out byte by byte, from docs/WIRE.md alone. */
static void test_header_by_hand(void **unused)
{
	static const uint8_t want[CKPT_RECORD_HEADER_BYTES] = {
		CKPT_LZ4, 0, 3, 0, 0, 0, 0, 0, 0, 0x50, 0x34, 0x12, 1, 0, 0, 0};
	uint8_t page[TV_PAGE_BYTES];
	struct ckpt_enc *enc;
	struct tv_buf out;

	(void)unused;
	memset(page, 7, sizeof(page));
	tv_buf_init(&out, 1u << 16);
	assert_int_equal(ckpt_enc_new(0, &enc), 0);
	assert_int_equal(ckpt_enc_page(enc, 3, 0x112345000, page, &out), 0);
	assert_memory_equal(out.data, want, 4);
	assert_int_equal(tv_get_le32(out.data + 4), out.bytes - CKPT_RECORD_HEADER_BYTES);
	assert_memory_equal(out.data + 8, want + 8, 8);
	assert_memory_equal(out.data + 24, want + 24, 8);
	ckpt_enc_free(enc);
	tv_buf_dispose(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_header_by_hand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
