/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records that no encoder makes, bases that do not fit, and a first copy that must be refused. */
#include "tests/unit/ckpt_scene.h"

#include <lz4.h>
#include <xxhash.h>
#include "checkpoint/page_record.h"

static void put_record(struct epoch *ep, uint8_t encoding, uint16_t block, uint64_t offset,
		       uint64_t aux, const void *contents, size_t n)
{
	uint8_t h[CKPT_RECORD_HEADER_BYTES] = {encoding};

	tv_put_le16(h + 2, block);
	tv_put_le32(h + 4, encoding == CKPT_ZERO ? 0 : (uint32_t)n);
	tv_put_le64(h + 8, offset);
	tv_put_le64(h + 16, XXH3_64bits(contents, n));
	tv_put_le64(h + 24, aux);
	assert_int_equal(tv_buf_add(&ep->wire, h, sizeof(h)), 0);
	if (encoding != CKPT_ZERO)
		assert_int_equal(tv_buf_add(&ep->wire, contents, n), 0);
	ep->records++;
}

static void put_piece(struct epoch *ep, uint64_t offset, uint64_t n, uint64_t total)
{
	static const uint8_t data[256u << 10];

	put_record(ep, CKPT_RAW, CKPT_BLOCK_STATE, offset, n << 32 | total, data, n);
}

/* pieces: offset, bytes, total of each; written out by hand, as no encoder would. */
static void pieces(struct scene *s, const uint32_t (*piece)[3], unsigned n, const char *word)
{
	struct epoch ep;
	struct tv_err e = {0};

	epoch_init(&ep);
	for (unsigned i = 0; i < n; i++)
		put_piece(&ep, piece[i][0], piece[i][1], piece[i][2]);
	epoch_sum(&ep);
	if (word) {
		refused(s, &ep, TV_E_PROTOCOL, word);
	} else if (epoch_verify(s->dec, &ep, 4000, NULL, &e)) {
		fail_msg("%s", e.text);
	}
	tv_buf_dispose(&ep.wire);
}

static void test_state_pieces(void **state)
{
	struct scene s;

	(void)state;
	scene_init(&s);
	pieces(&s, (const uint32_t[][3]){{0, 10, 30}, {10, 10, 30}, {20, 10, 30}}, 3, NULL);
	pieces(&s, NULL, 0, "complete");
	pieces(&s, (const uint32_t[][3]){{0, 10, 30}, {20, 10, 30}}, 2, "gap");
	pieces(&s, (const uint32_t[][3]){{10, 20, 30}}, 1, "gap");
	pieces(&s, (const uint32_t[][3]){{0, 20, 30}, {10, 20, 30}}, 2, "gap");
	pieces(&s, (const uint32_t[][3]){{0, 10, 30}, {0, 10, 30}}, 2, "ascending");
	pieces(&s, (const uint32_t[][3]){{0, 10, 30}, {10, 20, 31}}, 2, "agree");
	pieces(&s, (const uint32_t[][3]){{0, 10, 30}, {10, 10, 30}}, 2, "complete");
	pieces(&s, (const uint32_t[][3]){{0, 30, 30}, {30, 1, 30}}, 2, "beyond");
	still_works(&s);
	scene_dispose(&s);
}

/* Payloads that are no LZ4, or the wrong amount of it, under a right hash of the guest's page. */
static void test_bad_lz4(void **state)
{
	struct scene s;
	char junk[TV_PAGE_BYTES * 2] = {0}, packed[TV_PAGE_BYTES];
	uint8_t h[CKPT_RECORD_HEADER_BYTES] = {CKPT_LZ4};

	(void)state;
	scene_init(&s);
	for (int n = 1; n <= (int)TV_PAGE_BYTES * 2; n += 13) {
		int packed_bytes = LZ4_compress_default(junk, packed, n, sizeof(packed));
		struct epoch ep;

		if (n == TV_PAGE_BYTES)
			continue;
		epoch_init(&ep);
		tv_put_le32(h + 4, (uint32_t)packed_bytes);
		tv_put_le64(h + 16, XXH3_64bits(junk, TV_PAGE_BYTES));
		assert_int_equal(tv_buf_add(&ep.wire, h, sizeof(h)), 0);
		assert_int_equal(tv_buf_add(&ep.wire, packed, (size_t)packed_bytes), 0);
		ep.records = 1;
		epoch_sum(&ep);
		refused(&s, &ep, TV_E_CORRUPT, NULL);
		tv_buf_dispose(&ep.wire);
	}
	still_works(&s);
	scene_dispose(&s);
}

/* A payload that decodes to less than a page is not taken for the rest of what was there before. */
static void test_short_lz4(void **state)
{
	struct ckpt_rec r = {.encoding = CKPT_LZ4};
	uint8_t page[TV_PAGE_BYTES] = {0}, dst[TV_PAGE_BYTES] = {0}, scratch[TV_PAGE_BYTES];
	char packed[TV_PAGE_BYTES];

	(void)state;
	r.payload_bytes = (uint32_t)LZ4_compress_default((const char *)page, packed,
							 TV_PAGE_BYTES - 1, sizeof(packed));
	assert_null(ckpt_rec_check(&r));
	assert_int_equal(ckpt_rec_decode(&r, (uint8_t *)packed, dst, dst, scratch), TV_E_CORRUPT);
}

/* The replica is not what the sender thinks: the difference must not be applied. */
static void test_wrong_base(void **state)
{
	struct scene s;

	(void)state;
	scene_init(&s);
	s.replica.block[0][3 * TV_PAGE_BYTES] ^= 1;
	model_copy(&s.before, &s.replica);
	refused(&s, &s.two, TV_E_CORRUPT, "block 0, offset 0x3000");
	s.replica.block[0][3 * TV_PAGE_BYTES] ^= 1;
	s.replica.block[1][3 * TV_PAGE_BYTES + 4095] ^= 1;
	model_copy(&s.before, &s.replica);
	refused(&s, &s.two, TV_E_CORRUPT, "block 1, offset 0x3000");
	s.replica.block[1][3 * TV_PAGE_BYTES + 4095] ^= 1;
	model_copy(&s.before, &s.replica);
	still_works(&s);
	/* Epoch 2 again, on top of itself. */
	model_copy(&s.before, &s.replica);
	refused(&s, &s.two, TV_E_CORRUPT, "hash");
	scene_dispose(&s);
}

/* Only device state of another epoch: its difference does not fit either. */
static void test_wrong_state_base(void **state)
{
	struct scene s;
	struct epoch ep;
	struct ckpt_dec *dec;
	struct tv_err e = {0};

	(void)state;
	scene_init(&s);
	epoch_init(&ep);
	assert_int_equal(tv_buf_add(&ep.wire, s.two.wire.data + epoch_record(&s.two, AT_STATE),
				    s.two.wire.bytes - epoch_record(&s.two, AT_STATE)),
			 0);
	ep.records = 1;
	epoch_sum(&ep);
	dec = model_dec(&s.replica, 5000);
	assert_int_equal(epoch_verify(dec, &ep, 100, NULL, &e), TV_E_CORRUPT);
	assert_non_null(strstr(e.text, "device state"));
	ckpt_dec_free(dec);
	tv_buf_dispose(&ep.wire);
	scene_dispose(&s);
}

static uint64_t tiny_bytes(void *arg, uint32_t block)
{
	(void)arg;
	return block ? TV_PAGE_BYTES - 1 : 0;
}

/* Blocks without room for a single page: the end minus a page must not wrap around. */
static void test_tiny_block(void **state)
{
	uint8_t page[TV_PAGE_BYTES] = {0};
	struct ckpt_mem mem;
	struct ckpt_dec *dec;
	struct model m;

	(void)state;
	model_init(&m);
	mem = model_mem(&m);
	mem.block_bytes = tiny_bytes;
	assert_int_equal(ckpt_dec_new(&mem, 0, NULL, &dec), 0);
	for (uint16_t b = 0; b < 2; b++) {
		struct tv_err e = {0};
		struct epoch ep;

		epoch_init(&ep);
		put_record(&ep, CKPT_ZERO, b, 0, 0, page, sizeof(page));
		ckpt_dec_begin(dec);
		assert_int_equal(ckpt_dec_stream(dec, ep.wire.data, ep.wire.bytes, &e),
				 TV_E_PROTOCOL);
		assert_non_null(strstr(e.text, "outside"));
		tv_buf_dispose(&ep.wire);
	}
	ckpt_dec_free(dec);
	model_dispose(&m);
}

/* The stream: what is refused there, that it stays refused, and that begin starts afresh. */
static void stream_refused(const struct epoch *ep, size_t bytes, int want, const char *word)
{
	struct model m, zero;

	model_init(&zero);
	for (size_t most = 1; most <= 4096; most *= 8) {
		struct tv_err e = {0};
		struct ckpt_dec *dec;
		int rc = 0;

		model_init(&m);
		dec = model_dec(&m, 0);
		for (size_t pos = 0; pos < bytes && !rc; pos += most)
			rc = ckpt_dec_stream(dec, ep->wire.data + pos,
					     most < bytes - pos ? most : bytes - pos, &e);
		assert_int_equal(rc, want);
		if (!strstr(e.text, word))
			fail_msg("\"%s\" does not say \"%s\"", e.text, word);
		assert_true(model_equal(&m, &zero));
		assert_int_equal(ckpt_dec_stream(dec, "", 1, &e), want);
		assert_non_null(strstr(e.text, "failed before"));
		ckpt_dec_begin(dec);
		assert_int_equal(ckpt_dec_stream(dec, "", 1, &e), 0);
		assert_int_equal(ckpt_dec_stream_pending(dec), 1);
		ckpt_dec_free(dec);
		model_dispose(&m);
	}
	model_dispose(&zero);
}

static void stream_field(const struct epoch *from, unsigned at, unsigned bytes, uint64_t value,
			 int want, const char *word)
{
	struct epoch ep = copy_of(from);

	for (unsigned i = 0; i < bytes; i++)
		ep.wire.data[at + i] = (uint8_t)(value >> 8 * i);
	/* A header alone must be enough to refuse it, unless the contents are what is wrong. */
	stream_refused(&ep, want == TV_E_CORRUPT ? ep.wire.bytes : CKPT_RECORD_HEADER_BYTES, want,
		       word);
	tv_buf_dispose(&ep.wire);
}

static void test_stream_refuses(void **state)
{
	uint8_t page[TV_PAGE_BYTES];
	struct epoch ep;
	int P = TV_E_PROTOCOL;

	(void)state;
	fill(page, sizeof(page), 8);
	epoch_init(&ep);
	put_record(&ep, CKPT_RAW, 1, 2 * TV_PAGE_BYTES, 0, page, sizeof(page));
	stream_field(&ep, F_PAYLOAD, 4, 0xffffffff, P, "length");
	stream_field(&ep, F_ENCODING, 1, 9, P, "encoding");
	stream_field(&ep, F_FLAGS, 1, 1, P, "flags");
	stream_field(&ep, F_BLOCK, 2, MODEL_BLOCKS, P, "block");
	stream_field(&ep, F_OFFSET, 8, model_bytes(NULL, 1), P, "outside");
	stream_field(&ep, F_OFFSET, 8, UINT64_MAX - 4095, P, "outside");
	stream_field(&ep, F_OFFSET, 8, 5, P, "aligned");
	stream_field(&ep, F_AUX, 8, 1ull << 63, P, "reserved");
	stream_field(&ep, F_HASH, 8, 0, TV_E_CORRUPT, "hash");
	stream_field(&ep, CKPT_RECORD_HEADER_BYTES + 77, 1, page[77] ^ 1u, TV_E_CORRUPT, "hash");
	tv_buf_dispose(&ep.wire);
	epoch_init(&ep);
	put_piece(&ep, 0, 10, 10);
	stream_refused(&ep, ep.wire.bytes, P, "outside an epoch");
	tv_buf_dispose(&ep.wire);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_pieces),	 cmocka_unit_test(test_bad_lz4),
		cmocka_unit_test(test_short_lz4),	 cmocka_unit_test(test_wrong_base),
		cmocka_unit_test(test_wrong_state_base), cmocka_unit_test(test_tiny_block),
		cmocka_unit_test(test_stream_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
