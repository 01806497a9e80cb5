/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages of trace data: whole ones to the last record, broken ones not at all, and never for ever. */
#include "ras_format_kit.h"

#include <errno.h>
#include <stdlib.h>

struct seen {
	unsigned n;
	int64_t first_ns, last_ns;
	struct ras_record last;
};

static void see(void *arg, const struct ras_record *r)
{
	struct seen *s = arg;

	if (!s->n++)
		s->first_ns = r->time_ns;
	assert_true(r->time_ns >= s->last_ns);
	s->last_ns = r->time_ns;
	s->last = *r;
}

static struct ras_reader *new_reader(void)
{
	struct ras_reader *r = ras_reader_new();

	assert_non_null(r);
	assert_int_equal(ras_reader_format(r, RAS_SRC_MCE, mce_6_12, strlen(mce_6_12), NULL), 0);
	assert_int_equal(ras_reader_format(r, RAS_SRC_MF, mf_6_12, strlen(mf_6_12), NULL), 0);
	return r;
}

static void records_come_in_order_with_their_time(void **state)
{
	struct raw mce = raw_mce(), mf = raw_of(482, 24), other = raw_of(77, 12);
	struct ras_reader *r = new_reader();
	struct raw_page p;
	struct seen s = {0};
	bool lost = true;

	(void)state;
	assert_int_equal(ras_reader_page_head(r, page_head, strlen(page_head), NULL), 0);
	page_begin(&p, 1000000);
	page_add(&p, 5, &mce); /* 120 bytes: with a length of its own */
	page_add(&p, 10, &mf);
	page_word(&p, 30 | 3u << 5); /* the next one comes much later */
	page_word(&p, 2);
	page_add(&p, 1, &other);
	page_add(&p, 0, &mce);
	assert_int_equal(ras_reader_page(r, p.b, sizeof(p.b), see, &s, &lost), 0);
	assert_false(lost);
	assert_int_equal(s.n, 3);
	assert_int_equal(s.first_ns, 1000005);
	assert_int_equal(s.last_ns, 1000005 + 10 + 3 + (2ll << 27) + 1);
	assert_int_equal(s.last.mce.bank, 8);
	assert_int_equal(ras_reader_counts(r)->records[RAS_SRC_MCE], 2);
	assert_int_equal(ras_reader_counts(r)->records[RAS_SRC_MF], 1);
	assert_int_equal(ras_reader_counts(r)->strangers, 1);
	ras_reader_free(r);
}

static void padding_stamps_and_the_end_of_a_page(void **state)
{
	struct ras_reader *r = new_reader();
	struct raw mf = raw_of(482, 24);
	struct raw_page p;
	struct seen s = {0};

	(void)state;
	page_begin(&p, 1000);
	page_word(&p, 29 | 1u << 5); /* a record that was thrown away: 4 + 12 bytes */
	page_word(&p, 12);
	page_word(&p, 0xffffffff);
	page_word(&p, 0xffffffff);
	page_add(&p, 7, &mf);
	page_word(&p, 31 | 9u << 5); /* an absolute time */
	page_word(&p, 4);
	page_add(&p, 0, &mf);
	page_word(&p, 29); /* nothing more in this page */
	page_word(&p, 0xffffffff);
	assert_int_equal(ras_reader_page(r, p.b, sizeof(p.b), see, &s, NULL), 0);
	assert_int_equal(s.n, 2);
	assert_int_equal(s.first_ns, 1007);
	assert_int_equal(s.last_ns, (4ll << 27) + 9);
	/* An empty page. */
	page_begin(&p, 1);
	assert_int_equal(ras_reader_page(r, p.b, sizeof(p.b), see, &s, NULL), 0);
	assert_int_equal(s.n, 2);
	ras_reader_free(r);
}

static void lost_events_are_noticed(void **state)
{
	struct ras_reader *r = new_reader();
	struct raw mf = raw_of(482, 24);
	struct raw_page p;
	struct seen s = {0};
	bool lost = false;

	(void)state;
	page_begin(&p, 1000);
	page_add(&p, 7, &mf);
	tv_put_le64(p.b + 8, p.used | UINT64_C(1) << 31 | UINT64_C(1) << 30);
	tv_put_le64(p.b + 16 + p.used, 4711); /* how many */
	assert_int_equal(ras_reader_page(r, p.b, sizeof(p.b), see, &s, &lost), 0);
	assert_true(lost);
	assert_int_equal(s.n, 1);
	assert_int_equal(ras_reader_counts(r)->lost, 1);
	ras_reader_free(r);
}

/* Other readers have looped for ever over such pages, at 100 % of a CPU. */
static void a_broken_page_is_thrown_away_whole(void **state)
{
	static const uint32_t bad[][2] = {
		{0, 0},		 /* a length that does not hold itself */
		{0, 3},		 /* likewise */
		{0, 0xffffffff}, /* beyond the page */
		{0, 4000},	 /* beyond the data */
		{28, 0},	 /* likewise, in the first word */
		{29 | 1 << 5, 0}, {29 | 1 << 5, 0xfffffff0},
	};
	struct ras_reader *r = new_reader();
	struct raw mf = raw_of(482, 24);
	struct raw_page p;
	struct seen s = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		page_begin(&p, 1000);
		page_add(&p, 7, &mf);
		page_word(&p, bad[i][0]);
		page_word(&p, bad[i][1]);
		assert_int_equal(ras_reader_page(r, p.b, sizeof(p.b), see, &s, NULL), -EBADMSG);
	}
	/* A word that has no room for its second. */
	page_begin(&p, 1000);
	page_add(&p, 7, &mf);
	page_word(&p, 30);
	assert_int_equal(ras_reader_page(r, p.b, sizeof(p.b), see, &s, NULL), -EBADMSG);
	/* More data than a page has. */
	tv_put_le64(p.b + 8, 4081);
	assert_int_equal(ras_reader_page(r, p.b, sizeof(p.b), see, &s, NULL), -EBADMSG);
	for (size_t n = 0; n < 16; n++)
		assert_int_equal(ras_reader_page(r, p.b, n, see, &s, NULL), -EBADMSG);
	/* Cut in the middle of its data. */
	page_begin(&p, 1000);
	page_add(&p, 7, &mf);
	page_add(&p, 7, &mf);
	for (size_t n = 16; n < 16 + p.used; n++)
		assert_int_equal(ras_reader_page(r, p.b, n, see, &s, NULL), -EBADMSG);
	assert_int_equal(s.n, 0);
	assert_int_equal(ras_reader_counts(r)->broken_pages,
			 sizeof(bad) / sizeof(*bad) + 2 + 16 + p.used);
	assert_int_equal(ras_reader_counts(r)->records[RAS_SRC_MF], 0);
	ras_reader_free(r);
}

/* Each bit of a page turned: the page is given or refused, each time to its end. */
static void every_bit_may_be_wrong(void **state)
{
	struct ras_reader *r = new_reader();
	struct raw mce = raw_mce(), mf = raw_of(482, 24);
	struct raw_page p;
	unsigned given = 0, refused = 0;
	uint8_t *exact;

	(void)state;
	page_begin(&p, 1000);
	for (unsigned i = 0; i < 4; i++) {
		page_add(&p, 7, &mf);
		page_add(&p, 7, &mce);
	}
	exact = malloc(16 + p.used);
	for (size_t bit = 0; bit < 8 * (16 + p.used); bit++) {
		struct seen s = {0};
		int rc;

		memcpy(exact, p.b, 16 + p.used);
		exact[bit / 8] ^= (uint8_t)(1u << bit % 8);
		rc = ras_reader_page(r, exact, 16 + p.used, see, &s, NULL);
		assert_true(rc == 0 || (rc == -EBADMSG && !s.n));
		given += !rc;
		refused += !!rc;
	}
	assert_true(given && refused);
	free(exact);
	ras_reader_free(r);
}

/* Boxes report thousands a second: every record is counted, and every page is one call. */
static void a_storm_is_counted_exactly(void **state)
{
	struct ras_reader *r = new_reader();
	struct raw mce = raw_mce();
	struct seen s = {0};
	struct raw_page p;
	unsigned records = 0;

	(void)state;
	for (unsigned page = 0; page < 167; page++) {
		page_begin(&p, 1000 + (uint64_t)page * 1000000);
		while (p.used + mce.bytes + 8 <= 4080) {
			page_add(&p, 100, &mce);
			records++;
		}
		assert_int_equal(ras_reader_page(r, p.b, sizeof(p.b), see, &s, NULL), 0);
	}
	assert_true(records > 5000);
	assert_int_equal(s.n, records);
	assert_int_equal(ras_reader_counts(r)->records[RAS_SRC_MCE], records);
	ras_reader_free(r);
}

static void another_layout_of_pages(void **state)
{
	static const char head[] = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
				   "\tfield: local_t commit;\toffset:8;\tsize:4;\tsigned:1;\n"
				   "\tfield: char data;\toffset:12;\tsize:4084;\tsigned:1;\n";
	static const char *const bad[] = {
		"",
		"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n",
		"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
		"\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
		"\tfield: char data;\toffset:12;\tsize:4084;\tsigned:1;\n",
		"\tfield: u64 timestamp;\toffset:0;\tsize:2;\tsigned:0;\n"
		"\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
		"\tfield: char data;\toffset:16;\tsize:4084;\tsigned:1;\n",
	};
	struct ras_reader *r = new_reader();
	uint8_t page[64] = {0};
	struct seen s = {0};
	struct tv_err e = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(ras_reader_page_head(r, bad[i], strlen(bad[i]), &e), -EINVAL);
		assert_true(e.text[0]);
	}
	assert_int_equal(ras_reader_page_head(r, head, strlen(head), NULL), 0);
	tv_put_le64(page, 50);
	tv_put_le32(page + 8, 28);
	tv_put_le32(page + 12, 6 | 1 << 5);
	tv_put_le16(page + 16, 482);
	assert_int_equal(ras_reader_page(r, page, sizeof(page), see, &s, NULL), 0);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.last_ns, 51);
	ras_reader_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_come_in_order_with_their_time),
		cmocka_unit_test(padding_stamps_and_the_end_of_a_page),
		cmocka_unit_test(lost_events_are_noticed),
		cmocka_unit_test(a_broken_page_is_thrown_away_whole),
		cmocka_unit_test(every_bit_may_be_wrong),
		cmocka_unit_test(a_storm_is_counted_exactly),
		cmocka_unit_test(another_layout_of_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
