/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which epoch is the last before an error: by the end of its capture, and never one that is committed. */
#include "replicator/source/ends.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct ends ends_of(uint64_t newest)
{
	struct ends x = {{0}};

	/* Epoch N's capture ends at 100 N. */
	for (uint64_t n = newest < ENDS_EPOCHS ? 1 : newest - ENDS_EPOCHS + 1; n <= newest; n++)
		ends_note(&x, n, (int64_t)(100 * n));
	return x;
}

static void an_error_spoils_what_was_captured_after_it(void **state)
{
	struct ends x = ends_of(12);

	(void)state;
	assert_int_equal(ends_before(&x, 12, 10, 1201), 12);
	assert_int_equal(ends_before(&x, 12, 10, INT64_MAX), 12);
	/* While it was captured, to the last moment: it may hold the error. */
	assert_int_equal(ends_before(&x, 12, 10, 1200), 11);
	assert_int_equal(ends_before(&x, 12, 10, 1101), 11);
	assert_int_equal(ends_before(&x, 12, 10, 1100), 10);
}

static void what_is_committed_stays(void **state)
{
	struct ends x = ends_of(12);

	(void)state;
	assert_int_equal(ends_before(&x, 12, 10, 0), 10);
	assert_int_equal(ends_before(&x, 12, 12, 0), 12);
	assert_int_equal(ends_before(&x, 0, 0, 0), 0);
}

static void the_first_epochs_count_as_others(void **state)
{
	struct ends x = ends_of(2);

	(void)state;
	assert_int_equal(ends_before(&x, 2, 0, 150), 1);
	assert_int_equal(ends_before(&x, 2, 0, 50), 0);
}

static void old_ends_make_room(void **state)
{
	struct ends x = ends_of(1000);

	(void)state;
	assert_int_equal(ends_before(&x, 1000, 1000 - FO_MAX_IN_FLIGHT, 99950), 999);
	assert_int_equal(ends_before(&x, 1000, 1000 - FO_MAX_IN_FLIGHT, 1),
			 1000 - FO_MAX_IN_FLIGHT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_spoils_what_was_captured_after_it),
		cmocka_unit_test(what_is_committed_stays),
		cmocka_unit_test(the_first_epochs_count_as_others),
		cmocka_unit_test(old_ends_make_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
