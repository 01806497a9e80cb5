/* SPDX-License-Identifier: GPL-2.0-or-later */
/* common: mailboxes between real threads (run it with SAN=thread, too), times, strings. */
#include "common/mailbox.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WRITERS 4
#define ITEMS 20000
#define ROOM 8

struct letter {
	unsigned writer, n;
};

static bool readable(const struct tv_box *b)
{
	struct pollfd p = {tv_box_fd(b), POLLIN, 0};

	return poll(&p, 1, 0) == 1;
}

static void a_full_box_refuses_and_keeps_order(void **state)
{
	struct letter l = {0}, got;
	struct tv_box b;

	(void)state;
	assert_int_equal(tv_box_init(&b, sizeof(l), ROOM), 0);
	assert_false(readable(&b));
	assert_false(tv_box_take(&b, &got));
	for (l.n = 0; l.n < ROOM; l.n++)
		assert_int_equal(tv_box_put(&b, &l), 0);
	assert_int_equal(tv_box_put(&b, &l), -EAGAIN);
	for (unsigned n = 0; n < ROOM; n++) {
		assert_true(readable(&b));
		assert_true(tv_box_take(&b, &got));
		assert_int_equal(got.n, n);
	}
	assert_false(readable(&b));
	assert_false(tv_box_take(&b, &got));
	tv_box_dispose(&b);
}

static void a_wake_up_takes_no_place(void **state)
{
	struct letter l = {0}, got;
	struct tv_box b;

	(void)state;
	assert_int_equal(tv_box_init(&b, sizeof(l), 1), 0);
	for (unsigned i = 0; i < 1000; i++)
		tv_box_wake(&b);
	assert_true(readable(&b));
	assert_int_equal(tv_box_put(&b, &l), 0);
	assert_int_equal(tv_box_take_wait(&b, &got), 1);
	assert_false(readable(&b));
	tv_box_wake(&b);
	assert_int_equal(tv_box_take_wait(&b, &got), 0);
	assert_false(readable(&b));
	tv_box_dispose(&b);
}

static void a_closed_box_gives_what_it_holds(void **state)
{
	struct letter l = {0}, got;
	struct tv_box b;

	(void)state;
	assert_int_equal(tv_box_init(&b, sizeof(l), ROOM), 0);
	assert_int_equal(tv_box_put(&b, &l), 0);
	tv_box_close(&b);
	assert_true(tv_box_is_closed(&b));
	assert_int_equal(tv_box_put(&b, &l), -ECANCELED);
	assert_int_equal(tv_box_put_wait(&b, &l), -ECANCELED);
	assert_int_equal(tv_box_take_wait(&b, &got), 1);
	assert_int_equal(tv_box_take_wait(&b, &got), -ECANCELED);
	assert_true(readable(&b)); /* a loop sees the end */
	tv_box_dispose(&b);
	tv_box_dispose(&b);
}

struct crowd {
	struct tv_box box;
	unsigned writer;
	int wanted; /* a state, not an item: see mailbox.h */
	unsigned refused;
};

static void *writer(void *arg)
{
	struct crowd *c = arg;
	struct letter l = {.writer = __atomic_fetch_add(&c->writer, 1, __ATOMIC_RELAXED)};

	for (l.n = 0; l.n < ITEMS; l.n++) {
		int rc = l.writer % 2 ? tv_box_put_wait(&c->box, &l) : -EAGAIN;

		while (rc == -EAGAIN) { /* a sender that may not wait tries again by itself */
			rc = tv_box_put(&c->box, &l);
			if (rc == -EAGAIN)
				__atomic_fetch_add(&c->refused, 1, __ATOMIC_RELAXED);
		}
		if (rc)
			break;
		if (l.n % 64 == 0) {
			__atomic_store_n(&c->wanted, (int)l.n, __ATOMIC_RELEASE);
			tv_box_wake(&c->box);
		}
	}
	return NULL;
}

static void many_threads_lose_nothing(void **state)
{
	struct crowd c = {0};
	unsigned next[WRITERS] = {0}, taken = 0;
	pthread_t t[WRITERS];

	(void)state;
	assert_int_equal(tv_box_init(&c.box, sizeof(struct letter), ROOM), 0);
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, writer, &c), 0);
	while (taken < WRITERS * ITEMS) {
		struct pollfd p = {tv_box_fd(&c.box), POLLIN, 0};
		struct letter l;

		/* Half of the time as a loop would, half as a thread would. */
		if (taken % 2)
			assert_int_equal(poll(&p, 1, 60000), 1);
		if (taken % 2 ? !tv_box_take(&c.box, &l) : tv_box_take_wait(&c.box, &l) != 1) {
			(void)__atomic_load_n(&c.wanted, __ATOMIC_ACQUIRE);
			continue;
		}
		assert_in_range(l.writer, 0, WRITERS - 1);
		assert_int_equal(l.n, next[l.writer]++);
		taken++;
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(t[i], NULL);
	tv_box_dispose(&c.box);
}

static void closing_ends_writers_that_wait(void **state)
{
	struct crowd c = {.writer = 1};
	struct letter l;
	pthread_t t;

	(void)state;
	assert_int_equal(tv_box_init(&c.box, sizeof(l), 1), 0);
	assert_int_equal(pthread_create(&t, NULL, writer, &c), 0);
	assert_int_not_equal(tv_box_take_wait(&c.box, &l), -ECANCELED);
	tv_box_close(&c.box);
	pthread_join(t, NULL);
	tv_box_dispose(&c.box);
}

static void times_are_rounded_up_and_carried(void **state)
{
	static const struct {
		int64_t ns;
		long s, us;
	} rows[] = {
		{-5, 0, 0},
		{0, 0, 0},
		{1, 0, 1},
		{1000, 0, 1},
		{1001, 0, 2},
		{999999001, 1, 0}, /* 1,000,000 us would be refused by select */
		{2500000000, 2, 500000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct timeval tv = tv_timeval(rows[i].ns);

		assert_int_equal(tv.tv_sec, rows[i].s);
		assert_int_equal(tv.tv_usec, rows[i].us);
	}
}

static void what_is_no_utf8_is_mended(void **state)
{
	static const struct {
		const char *from, *to;
	} rows[] = {
		{"plain, \xc3\xa4, \xe2\x82\xac, \xf0\x9f\x98\x80", NULL}, /* valid: as it is */
		{"\xf4\x8f\xbf\xbf", NULL},
		{"cut \xc3", "cut "},
		{"cut \xe2\x82", "cut "},
		{"cut \xf0\x9f\x98", "cut "},
		{"in \xe2\x82 between", "in ?? between"},
		{"latin \xe4\xf6 1", "latin ?? 1"},
		{"\x80 tail", "? tail"},
		{"\xc0\xaf overlong", "?? overlong"},
		{"\xe0\x80\xaf overlong", "??? overlong"},
		{"\xed\xa0\x80 surrogate", "??? surrogate"},
		{"\xf4\x90\x80\x80 beyond", "???? beyond"},
		{"\xff", "?"},
		{"\xe0\x80", "??"}, /* could not become a letter */
		{"", NULL},
	};
	struct tv_err e;
	char s[700];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		tv_copy(s, sizeof(s), rows[i].from);
		assert_int_equal(tv_is_utf8(s), !rows[i].to);
		tv_mend_utf8(s);
		assert_string_equal(s, rows[i].to ? rows[i].to : rows[i].from);
		assert_true(tv_is_utf8(s));
	}
	/* Sentences: cut by a precision, and for want of room at every place of a letter. */
	tv_fail(&e, 0, "host %.3s has it", "ab\xc3\xa4");
	assert_string_equal(e.text, "host ab? has it");
	for (int pad = 0; pad < 5; pad++) {
		memset(s, 'x', sizeof(s));
		strcpy(s + sizeof(e.text) - 4 + pad - 2, "\xf0\x9f\x98\x80!");
		tv_fail(&e, 0, "%s", s);
		assert_true(tv_is_utf8(e.text) && strlen(e.text) >= sizeof(e.text) - 5);
		tv_fail(&e, 0, "%s", s + 100);
		tv_fail_prefix(&e, 0, "%.98s", s);
		assert_true(tv_is_utf8(e.text));
	}
}

static void strings_are_cut_between_letters(void **state)
{
	char out[5];

	(void)state;
	assert_true(tv_copy(out, sizeof(out), "abcd"));
	assert_string_equal(out, "abcd");
	assert_false(tv_copy(out, sizeof(out), "abcde"));
	assert_string_equal(out, "abcd");
	assert_false(tv_copy(out, sizeof(out), "abc\xc3\xa4")); /* a-umlaut would be cut in two */
	assert_string_equal(out, "abc");
	assert_false(tv_copy(out, sizeof(out), "a\xf0\x9f\x98\x80"));
	assert_string_equal(out, "a");
	assert_true(tv_copy(out, sizeof(out), NULL));
	assert_string_equal(out, "");
	assert_true(tv_copy_n(out, sizeof(out), "abcdef", 4));
	assert_string_equal(out, "abcd");
	assert_true(tv_copy_n(out, sizeof(out), "abcdef", 0));
	assert_string_equal(out, "");
	assert_false(tv_copy_n(out, sizeof(out), "abc\xc3\xa4 and more", 6));
	assert_string_equal(out, "abc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_box_refuses_and_keeps_order),
		cmocka_unit_test(a_wake_up_takes_no_place),
		cmocka_unit_test(a_closed_box_gives_what_it_holds),
		cmocka_unit_test(many_threads_lose_nothing),
		cmocka_unit_test(closing_ends_writers_that_wait),
		cmocka_unit_test(times_are_rounded_up_and_carried),
		cmocka_unit_test(strings_are_cut_between_letters),
		cmocka_unit_test(what_is_no_utf8_is_mended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
