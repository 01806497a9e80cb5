/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cache of bases against a plain table of what each page was last. */
#include "tests/unit/ckpt_model.h"

#include "checkpoint/cache.h"

#define PAGES 300u
#define BLOCKS 4u

/* One number stands for a page's contents; the last byte shows a torn or a mixed-up page. */
static void put(uint8_t *p, uint64_t v)
{
	tv_put_le64(p, v);
	p[TV_PAGE_BYTES - 1] = (uint8_t)v;
}

static void check(const uint8_t *p, uint64_t v)
{
	assert_int_equal(tv_get_le64(p), v);
	assert_int_equal(p[TV_PAGE_BYTES - 1], (uint8_t)v);
}

/* Blocks far apart and pages far apart: the whole range a key may have. */
static uint32_t block_of(unsigned i)
{
	return (i % BLOCKS) * (CKPT_MAX_BLOCKS - 1) / (BLOCKS - 1);
}

static uint64_t offset_of(unsigned i)
{
	return i % 3 ? (uint64_t)i * TV_PAGE_BYTES : UINT64_MAX - (i + 1) * 4096ull + 1;
}

static void random_use(unsigned slots, uint64_t seed)
{
	static uint64_t
		known[PAGES]; /* contents when in the cache for certain or perhaps; 0: never */
	struct ckpt_cache *c;
	unsigned hits = 0, there;

	memset(known, 0, sizeof(known));
	assert_int_equal(ckpt_cache_new((size_t)slots * TV_PAGE_BYTES + 7, &c), 0);
	for (unsigned n = 1; n < 60000; n++) {
		unsigned i = (unsigned)(model_rand(&seed) % PAGES);
		uint8_t *p = ckpt_cache_find(c, block_of(i), offset_of(i));

		if (p) {
			assert_true(known[i] != 0);
			check(p, known[i]);
			hits++;
		}
		if (model_rand(&seed) % 8 == 0) {
			ckpt_cache_drop(c, block_of(i), offset_of(i));
			known[i] = 0;
			assert_null(ckpt_cache_find(c, block_of(i), offset_of(i)));
			continue;
		}
		if (!p)
			p = ckpt_cache_insert(c, block_of(i), offset_of(i));
		known[i] = p ? n : 0;
		if (p)
			put(p, n);
		if (n % 40 == 0)
			ckpt_cache_tick(c);
		if (n % 20000 == 0) {
			ckpt_cache_clear(c);
			memset(known, 0, sizeof(known));
		}
	}
	there = 0;
	for (unsigned i = 0; i < PAGES; i++) {
		uint8_t *p = ckpt_cache_find(c, block_of(i), offset_of(i));

		if (p)
			check(p, known[i]);
		there += p != NULL;
	}
	assert_true(there <= slots);
	/* Nearly full, and hits in proportion to what fits. */
	assert_true(there + 1 + slots / 4 >= (slots < PAGES ? slots : PAGES * 3 / 4));
	if (slots)
		assert_true(hits > 59000u / PAGES * (slots < PAGES ? slots : PAGES) / 3);
	ckpt_cache_free(c);
}

static void test_random_use(void **state)
{
	static const unsigned slots[] = {0, 1, 2, 3, 17, 64, 299, 300, 1000};

	(void)state;
	for (unsigned i = 0; i < 9; i++)
		random_use(slots[i], i * 77 + 5);
}

/* A guest that dirties more than fits, in the same order every epoch: a plain LRU never hits. */
static void test_larger_than_cache(void **state)
{
	struct ckpt_cache *c;
	unsigned hits = 0;

	(void)state;
	assert_int_equal(ckpt_cache_new(100 * TV_PAGE_BYTES, &c), 0);
	for (unsigned epoch = 0; epoch < 20; epoch++) {
		for (uint64_t i = 0; i < 150; i++) {
			if (ckpt_cache_find(c, 0, i * TV_PAGE_BYTES))
				hits++;
			else
				(void)ckpt_cache_insert(c, 0, i * TV_PAGE_BYTES);
		}
		ckpt_cache_tick(c);
	}
	assert_int_equal(hits, 19 * 100);
	ckpt_cache_free(c);
}

/* The same, but the pages that do not fit come before those that are remembered. */
static void test_larger_than_cache_from_below(void **state)
{
	struct ckpt_cache *c;
	unsigned hits = 0;

	(void)state;
	assert_int_equal(ckpt_cache_new(100 * TV_PAGE_BYTES, &c), 0);
	for (unsigned epoch = 0; epoch < 20; epoch++) {
		for (uint64_t i = epoch ? 0 : 50; i < 150; i++) {
			if (ckpt_cache_find(c, 0, i * TV_PAGE_BYTES))
				hits++;
			else
				(void)ckpt_cache_insert(c, 0, i * TV_PAGE_BYTES);
		}
		ckpt_cache_tick(c);
	}
	assert_int_equal(hits, 19 * 100);
	ckpt_cache_free(c);
}

/* The guest moves on to other pages: they take over after two epochs, all of them. */
static void test_working_set_moves(void **state)
{
	struct ckpt_cache *c;
	unsigned hits = 0;

	(void)state;
	assert_int_equal(ckpt_cache_new(100 * TV_PAGE_BYTES, &c), 0);
	for (unsigned epoch = 0; epoch < 12; epoch++) {
		uint64_t first = epoch < 6 ? 0 : 1000;

		hits = 0;
		for (uint64_t i = first; i < first + 100; i++) {
			if (ckpt_cache_find(c, 0, i * TV_PAGE_BYTES))
				hits++;
			else
				(void)ckpt_cache_insert(c, 0, i * TV_PAGE_BYTES);
		}
		ckpt_cache_tick(c);
	}
	assert_int_equal(hits, 100);
	ckpt_cache_free(c);
}

static void test_absurd_size(void **state)
{
	struct ckpt_cache *c = NULL;

	(void)state;
	assert_int_equal(ckpt_cache_new(SIZE_MAX, &c), -EINVAL);
	assert_null(c);
	ckpt_cache_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_use),
		cmocka_unit_test(test_larger_than_cache),
		cmocka_unit_test(test_larger_than_cache_from_below),
		cmocka_unit_test(test_working_set_moves),
		cmocka_unit_test(test_absurd_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
