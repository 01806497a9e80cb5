/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm top: numbers for people, sparklines, texts that are cut. */
#include "cli/top.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void numbers_for_people(void **state)
{
	static const struct {
		double s;
		const char *text;
	} times[] = {{0.0008, "0.8 ms"}, {0.041, "41 ms"}, {0.9997, "1.0 s"}, {2.14, "2.1 s"},
		     {59.9, "59 s"},	 {185, "3m05s"},   {7800, "2h10m"},   {273600, "3d04h"},
		     {NAN, "-"},	 {-1, "-"},	   {1e30, "-"}};
	static const struct {
		double n;
		const char *text;
	} sizes[] = {{0, "0 B"},      {812, "812 B"}, {1234, "1.2 kB"}, {999600, "1.0 MB"},
		     {34e9, "34 GB"}, {NAN, "-"},     {-1, "-"}};
	char out[TOP_WORD];

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
		top_duration(out, times[i].s);
		assert_string_equal(out, times[i].text);
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		top_bytes(out, sizes[i].n, "");
		assert_string_equal(out, sizes[i].text);
	}
}

static void sparklines(void **state)
{
	struct top_history h = {0};
	char out[200];

	(void)state;
	top_spark(out, sizeof(out), &h, 4, 1, true);
	assert_string_equal(out, "    ");
	top_remember(&h, 0);
	top_remember(&h, NAN);
	top_remember(&h, 0.5);
	top_remember(&h, 1);
	top_spark(out, sizeof(out), &h, 5, 0.1, true);
	assert_string_equal(out, " ▁ ▄█");
	top_spark(out, sizeof(out), &h, 2, 10, true); /* small ones stay low */
	assert_string_equal(out, "▁▁");
	top_spark(out, sizeof(out), &h, 5, 0.1, false);
	assert_string_equal(out, " _ -#");
	for (int i = 0; i < 3 * TOP_HISTORY; i++)
		top_remember(&h, 0.25);
	assert_true(top_largest(&h, TOP_HISTORY) == 0.25);
	top_spark(out, sizeof(out), &h, 3, 0.25, false);
	assert_string_equal(out, "###");
	top_cut(out, sizeof(out), "名前の", 5, true);
	assert_string_equal(out, "名前…");
	top_cut(out, sizeof(out), "hostname", 5, false);
	assert_string_equal(out, "host>");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_for_people),
					   cmocka_unit_test(sparklines)};

	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return 1;
	return cmocka_run_group_tests_name("top_text", tests, NULL, NULL);
}
