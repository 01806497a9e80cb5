/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hostile sender changes bytes of an epoch: it must be refused, and nothing may be touched. */
#include "tests/unit/ckpt_scene.h"

#include <xxhash.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_byte_flipped),
		cmocka_unit_test(test_every_byte_flipped_sum_right),
		cmocka_unit_test(test_truncated_everywhere),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_header_fields),
		cmocka_unit_test(test_state_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
