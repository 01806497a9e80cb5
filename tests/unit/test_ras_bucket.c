/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leaky buckets: what leaks out and when, who is forgotten, and that no table grows. */
#include "ras_kit.h"
#include "ras/bucket.h"

#define HOUR (3600 * TV_NS_PER_S)
#define DAY (24 * HOUR)

static void it_leaks_a_window_after_it_came(void **state)
{
	struct bucket_table t;
	struct bucket *b;

	(void)state;
	assert_int_equal(bucket_table_init(&t, 4, DAY), 0);
	/* Wherever a window begins: nothing of less than a window ago is ever missing. */
	for (int64_t start = 0; start < 3 * DAY; start += HOUR / 3) {
		bucket_table_clear(&t);
		b = bucket_get(&t, "x", start);
		bucket_add(&t, b, STREAM_MCE, 3, start);
		bucket_add(&t, b, STREAM_MCE, 4, start + 5 * HOUR);
		assert_int_equal(bucket_level(&t, b, start + 5 * HOUR), 7);
		assert_int_equal(bucket_level(&t, b, start + DAY - 1), 7);
		assert_int_equal(bucket_level(&t, b, start + DAY + HOUR), 4);
		assert_int_equal(bucket_level(&t, b, start + DAY + 5 * HOUR - 1), 4);
		assert_int_equal(bucket_level(&t, b, start + DAY + 6 * HOUR), 0);
	}
	bucket_table_dispose(&t);
}

/* One DRAM error comes as a machine check and from the driver: it is one. */
static void two_streams_are_not_added(void **state)
{
	struct bucket_table t;
	struct bucket *b;

	(void)state;
	assert_int_equal(bucket_table_init(&t, 4, DAY), 0);
	b = bucket_get(&t, "x", 0);
	for (unsigned i = 0; i < 5; i++) {
		bucket_add(&t, b, STREAM_MCE, 1, i);
		bucket_add(&t, b, STREAM_OTHERS, 1, i);
	}
	assert_int_equal(bucket_level(&t, b, 5), 5);
	bucket_add(&t, b, STREAM_OTHERS, 2, 6);
	assert_int_equal(bucket_level(&t, b, 6), 7);
	bucket_table_dispose(&t);
}

static void counts_do_not_wrap(void **state)
{
	struct bucket_table t;
	struct bucket *b;

	(void)state;
	assert_int_equal(bucket_table_init(&t, 1, DAY), 0);
	b = bucket_get(&t, "x", 0);
	for (unsigned i = 0; i < 8; i++)
		bucket_add(&t, b, STREAM_MCE, UINT32_MAX - 2, 0);
	assert_int_equal(bucket_level(&t, b, 0), UINT32_MAX);
	bucket_add(&t, b, STREAM_MCE, UINT32_MAX, 5 * HOUR);
	assert_int_equal(bucket_level(&t, b, 5 * HOUR), UINT32_MAX);
	assert_int_equal(bucket_level(&t, b, 3 * DAY), 0);
	bucket_table_dispose(&t);
}

static void the_one_with_the_least_is_forgotten(void **state)
{
	struct bucket_table t;
	char key[RAS_TEXT_ROOM];

	(void)state;
	assert_int_equal(bucket_table_init(&t, 8, DAY), 0);
	for (unsigned i = 0; i < 8; i++) {
		snprintf(key, sizeof(key), "part %u", i);
		bucket_add(&t, bucket_get(&t, key, i), STREAM_MCE, i == 5 ? 1 : 4, i);
	}
	assert_int_equal(t.forgotten, 0);
	assert_ptr_equal(bucket_get(&t, "part 3", 9), bucket_find(&t, "part 3"));
	bucket_add(&t, bucket_get(&t, "new", 10), STREAM_MCE, 9, 10);
	assert_int_equal(t.forgotten, 1);
	assert_null(bucket_find(&t, "part 5"));
	/* Of those with as many, the oldest; a pinned one never, as long as there is another. */
	bucket_find(&t, "part 0")->pinned = true;
	bucket_get(&t, "newer", 11);
	assert_non_null(bucket_find(&t, "part 0"));
	assert_null(bucket_find(&t, "part 1"));
	for (unsigned i = 0; i < 8; i++)
		t.buckets[i].pinned = true;
	assert_non_null(bucket_get(&t, "newest", 12));
	assert_null(bucket_find(&t, "newer"));
	bucket_table_dispose(&t);
}

/* rasdaemon's tree of pages has no limit. */
static void a_million_pages_take_no_more_memory(void **state)
{
	struct bucket_table t;
	struct bucket *buckets;
	char key[RAS_TEXT_ROOM];

	(void)state;
	assert_int_equal(bucket_table_init(&t, 64, DAY), 0);
	buckets = t.buckets;
	for (unsigned i = 0; i < 1000000; i++) {
		struct bucket *b;

		snprintf(key, sizeof(key), "page 0x%x", i);
		b = bucket_get(&t, key, i);
		assert_true(b >= buckets && b < buckets + 64);
		bucket_add(&t, b, STREAM_MCE, 1, i);
	}
	assert_int_equal(t.forgotten, 1000000 - 64);
	assert_ptr_equal(t.buckets, buckets);
	bucket_table_dispose(&t);
}

static void pages_of_one_dimm(void **state)
{
	struct bucket_table t;
	char key[RAS_TEXT_ROOM];

	(void)state;
	assert_int_equal(bucket_table_init(&t, 16, DAY), 0);
	for (unsigned i = 0; i < 6; i++) {
		struct bucket *b;

		snprintf(key, sizeof(key), "page %u", i);
		b = bucket_get(&t, key, 0);
		tv_copy(b->of, sizeof(b->of), i < 4 ? "A1" : "B1");
		b->taken = i % 2;
		bucket_add(&t, b, STREAM_MCE, i, 0);
	}
	assert_int_equal(bucket_count_taken(&t, "A1"), 2);
	assert_int_equal(bucket_count_taken(&t, "B1"), 1);
	assert_int_equal(bucket_count_taken(&t, ""), 0);
	assert_int_equal(bucket_count_weak(&t, "A1", 2, 0), 2);
	assert_int_equal(bucket_count_weak(&t, "B1", 2, 0), 2);
	assert_int_equal(bucket_count_weak(&t, "B1", 2, 2 * DAY), 0);
	bucket_table_dispose(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_leaks_a_window_after_it_came),
		cmocka_unit_test(two_streams_are_not_added),
		cmocka_unit_test(counts_do_not_wrap),
		cmocka_unit_test(the_one_with_the_least_is_forgotten),
		cmocka_unit_test(a_million_pages_take_no_more_memory),
		cmocka_unit_test(pages_of_one_dimm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
