/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a broken or hostile sender can say: nothing of it may be taken, nothing may be touched. */
#include "tests/unit/ckpt_model.h"

#include <lz4.h>
#include <xxhash.h>
#include "checkpoint/page_record.h"

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

static void fill(uint8_t *p, size_t n, uint64_t seed)
{
	seed = seed * 0x9e3779b97f4a7c15u + 1;
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(model_rand(&seed) >> 24);
}

static void scene_pages(struct scene *s, struct epoch *ep)
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

static void scene_init(struct scene *s)
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

static void scene_dispose(struct scene *s)
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
static void refused(struct scene *s, const struct epoch *ep, int want, const char *word)
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
static void still_works(struct scene *s)
{
	const uint8_t *state;
	size_t bytes;

	epoch_deliver(s->dec, &s->two);
	assert_true(model_equal(&s->replica, &s->guest));
	state = ckpt_dec_state(s->dec, &bytes);
	assert_int_equal(bytes, sizeof(s->state));
	assert_memory_equal(state, s->state, bytes);
}

static struct epoch copy_of(const struct epoch *from)
{
	struct epoch ep;

	epoch_init(&ep);
	assert_int_equal(tv_buf_add(&ep.wire, from->wire.data, from->wire.bytes), 0);
	ep.records = from->records;
	ep.checksum = from->checksum;
	return ep;
}

static void test_every_byte_flipped(void **state)
{
	struct scene s;
	struct epoch ep;

	(void)state;
	scene_init(&s);
	ep = copy_of(&s.two);
	for (size_t i = 0; i < ep.wire.bytes; i++) {
		uint8_t was = ep.wire.data[i];

		ep.wire.data[i] ^= (uint8_t)(1u << i % 8);
		refused(&s, &ep, TV_E_CORRUPT, "checksum");
		ep.wire.data[i] = was ^ 0xff;
		refused(&s, &ep, TV_E_CORRUPT, "checksum");
		ep.wire.data[i] = was;
	}
	still_works(&s);
	tv_buf_dispose(&ep.wire);
	scene_dispose(&s);
}

/* One replica page as the model sees it. */
static const uint8_t *page_at(const struct model *m, const uint8_t *header)
{
	return m->block[tv_get_le16(header + 2)] + tv_get_le64(header + 8);
}

/*
 * The same with the checksum made right: now the record's own checks have to find it. Two flips are
 * no lie about the contents and may pass: a page record moved to another place it could have, and
 * another LZ4 form of the same page. What is then applied must match the header's hash.
 */
static void test_every_byte_flipped_sum_right(void **state)
{
	struct scene s;
	struct epoch ep;
	unsigned passed = 0;

	(void)state;
	scene_init(&s);
	ep = copy_of(&s.two);
	for (size_t bit = 0; bit < ep.wire.bytes * 8; bit++) {
		uint8_t *p = ep.wire.data + bit / 8;
		struct tv_err e = {0};

		*p ^= (uint8_t)(1u << bit % 8);
		epoch_sum(&ep);
		if (epoch_verify(s.dec, &ep, 4000, NULL, &e)) {
			assert_true(model_equal(&s.replica, &s.before));
			assert_true(e.text[0]);
		} else {
			assert_int_equal(ckpt_dec_apply(s.dec), 0);
			for (unsigned i = 0; i < AT_STATE; i++) {
				const uint8_t *h = ep.wire.data + epoch_record(&ep, i);

				assert_int_equal(XXH3_64bits(page_at(&s.replica, h), TV_PAGE_BYTES),
						 tv_get_le64(h + 16));
			}
			passed++;
			scene_dispose(&s);
			scene_init(&s);
		}
		*p ^= (uint8_t)(1u << bit % 8);
	}
	/* Raw pages alone are 32768 bits; what may pass is a matter of a few bits of place. */
	assert_true(passed < 60);
	still_works(&s);
	tv_buf_dispose(&ep.wire);
	scene_dispose(&s);
}

static void test_truncated_everywhere(void **state)
{
	struct scene s;
	struct epoch ep;
	size_t whole;

	(void)state;
	scene_init(&s);
	ep = copy_of(&s.two);
	for (whole = ep.wire.bytes; ep.wire.bytes--;) {
		ep.checksum = s.two.checksum;
		refused(&s, &ep, TV_E_CORRUPT, "checksum");
		epoch_sum(&ep);
		refused(&s, &ep, TV_E_PROTOCOL, NULL);
	}
	assert_true(whole == s.two.wire.bytes);
	still_works(&s);
	tv_buf_dispose(&ep.wire);
	scene_dispose(&s);
}

static void test_counts(void **state)
{
	struct scene s;
	struct epoch ep;

	(void)state;
	scene_init(&s);
	ep = copy_of(&s.two);
	ep.records = RECORDS - 1;
	refused(&s, &ep, TV_E_PROTOCOL, "counted");
	ep.records = RECORDS + 1;
	refused(&s, &ep, TV_E_PROTOCOL, "counted");
	ep.records = UINT64_MAX;
	refused(&s, &ep, TV_E_PROTOCOL, "counted");
	ep.records = RECORDS;
	ep.checksum++;
	refused(&s, &ep, TV_E_CORRUPT, "checksum");
	still_works(&s);
	tv_buf_dispose(&ep.wire);
	scene_dispose(&s);
}

/* Sets one field of one record to each of some values; the checksum follows. */
static void field(struct scene *s, unsigned record, unsigned at, unsigned bytes, uint64_t value,
		  int want, const char *word)
{
	struct epoch ep = copy_of(&s->two);
	uint8_t *p = ep.wire.data + epoch_record(&ep, record) + at;

	for (unsigned i = 0; i < bytes; i++)
		p[i] = (uint8_t)(value >> 8 * i);
	epoch_sum(&ep);
	refused(s, &ep, want, word);
	tv_buf_dispose(&ep.wire);
}

enum {
	F_ENCODING = 0,
	F_FLAGS = 1,
	F_BLOCK = 2,
	F_PAYLOAD = 4,
	F_OFFSET = 8,
	F_HASH = 16,
	F_AUX = 24
};

static void test_header_fields(void **state)
{
	struct scene s;
	uint64_t end = model_bytes(NULL, 0), top = UINT64_MAX - TV_PAGE_BYTES + 1;
	int P = TV_E_PROTOCOL;

	(void)state;
	scene_init(&s);
	for (unsigned i = 4; i < 256; i++)
		field(&s, AT_LZ4, F_ENCODING, 1, i, P, "encoding");
	for (unsigned i = 1; i < 256; i++)
		field(&s, AT_LZ4, F_FLAGS, 1, i, P, "flags");
	for (unsigned i = AT_ZERO; i < RECORDS; i++) {
		field(&s, i, F_PAYLOAD, 4, 0xffffffff, P, NULL);
		field(&s, i, F_PAYLOAD, 4, 0x7fffffff, P, NULL);
		field(&s, i, F_PAYLOAD, 4, 1u << 20, P, NULL);
		field(&s, i, F_HASH, 8, 0, TV_E_CORRUPT, "hash");
	}
	field(&s, AT_ZERO, F_PAYLOAD, 4, 1, P, "payload");
	field(&s, AT_RAW, F_PAYLOAD, 4, TV_PAGE_BYTES - 1, P, "length");
	field(&s, AT_LZ4, F_PAYLOAD, 4, 0, P, "length");
	field(&s, AT_LZ4, F_PAYLOAD, 4, TV_PAGE_BYTES, P, "length");
	field(&s, AT_LZ4, F_BLOCK, 2, MODEL_BLOCKS, P, "block");
	field(&s, AT_LZ4, F_BLOCK, 2, CKPT_MAX_BLOCKS, P, "block");
	field(&s, AT_LZ4, F_BLOCK, 2, 0xfffe, P, "block");
	field(&s, AT_XOR, F_OFFSET, 8, end, P, "outside");
	field(&s, AT_XOR, F_OFFSET, 8, top, P, "outside");
	field(&s, AT_XOR, F_OFFSET, 8, INT64_MAX & ~4095ll, P, "outside");
	field(&s, AT_XOR, F_OFFSET, 8, 3 * TV_PAGE_BYTES + 1, P, "aligned");
	field(&s, AT_XOR, F_OFFSET, 8, 3 * TV_PAGE_BYTES + 2048, P, "aligned");
	field(&s, AT_XOR, F_AUX, 8, 1, P, "reserved");
	/* The same page twice, and going back. */
	field(&s, AT_XOR, F_OFFSET, 8, 2 * TV_PAGE_BYTES, P, "ascending");
	field(&s, AT_XOR, F_OFFSET, 8, TV_PAGE_BYTES, P, "ascending");
	field(&s, AT_RAW, F_BLOCK, 2, 2, P, "ascending");
	/* Another place for a difference: the base is wrong. */
	field(&s, AT_XOR, F_OFFSET, 8, 9 * TV_PAGE_BYTES, TV_E_CORRUPT, "hash");
	field(&s, AT_XOR_UNMAPPED, F_OFFSET, 8, 9 * TV_PAGE_BYTES, TV_E_CORRUPT, "hash");
	still_works(&s);
	scene_dispose(&s);
}

static void test_state_fields(void **state)
{
	struct scene s;
	uint64_t n = sizeof(s.state), piece = n << 32;
	int P = TV_E_PROTOCOL;

	(void)state;
	scene_init(&s);
	field(&s, AT_STATE, F_ENCODING, 1, CKPT_ZERO, P, "zero");
	field(&s, AT_STATE, F_AUX, 8, piece | 0xffffffff, P, "size");
	field(&s, AT_STATE, F_AUX, 8, piece | (CKPT_MAX_STATE_BYTES + 1), P, "size");
	field(&s, AT_STATE, F_AUX, 8, piece, P, "size");
	field(&s, AT_STATE, F_AUX, 8, 0, P, "size");
	field(&s, AT_STATE, F_AUX, 8, n, P, "size");
	field(&s, AT_STATE, F_AUX, 8, UINT64_MAX, P, "size");
	field(&s, AT_STATE, F_AUX, 8, (uint64_t)((256u << 10) + 1) << 32 | 1u << 20, P, "size");
	field(&s, AT_STATE, F_AUX, 8, piece | (n - 1), P, "beyond");
	field(&s, AT_STATE, F_AUX, 8, piece | (n + 1), P, "complete");
	field(&s, AT_STATE, F_AUX, 8, piece | CKPT_MAX_STATE_BYTES, P, "complete");
	field(&s, AT_STATE, F_OFFSET, 8, 1, P, "beyond");
	field(&s, AT_STATE, F_OFFSET, 8, UINT64_MAX, P, "beyond");
	field(&s, AT_STATE, F_OFFSET, 8, UINT64_MAX - n + 1, P, "beyond");
	field(&s, AT_STATE, F_BLOCK, 2, 2, P, NULL);
	still_works(&s);
	scene_dispose(&s);
}

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
	assert_int_equal(ckpt_dec_new(&mem, 0, NULL, 0, &dec), 0);
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
		cmocka_unit_test(test_every_byte_flipped),
		cmocka_unit_test(test_every_byte_flipped_sum_right),
		cmocka_unit_test(test_truncated_everywhere),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_header_fields),
		cmocka_unit_test(test_state_fields),
		cmocka_unit_test(test_state_pieces),
		cmocka_unit_test(test_bad_lz4),
		cmocka_unit_test(test_short_lz4),
		cmocka_unit_test(test_wrong_base),
		cmocka_unit_test(test_wrong_state_base),
		cmocka_unit_test(test_tiny_block),
		cmocka_unit_test(test_stream_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
