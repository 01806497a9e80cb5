/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which epochs are copied ahead, by what the last ones did. */
#include "replicator/source/precopy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define SLOT 8192u

static void note_some(struct precopy *p, unsigned n, uint64_t pages)
{
	for (unsigned i = 0; i < n; i++)
		precopy_note(p, pages, 0, 0);
}

static void test_needs_epochs_of_the_right_size(void **state)
{
	struct precopy p = {0};

	(void)state;
	assert_false(precopy_wanted(&p, SLOT));
	note_some(&p, PRECOPY_EPOCHS - 1, 2000);
	assert_false(precopy_wanted(&p, SLOT));
	note_some(&p, 1, 2000);
	assert_true(precopy_wanted(&p, SLOT));
	note_some(&p, 1, 999); /* one that is small, and it needs as many large ones again */
	for (unsigned i = 0; i < PRECOPY_EPOCHS; i++) {
		assert_false(precopy_wanted(&p, SLOT));
		note_some(&p, 1, 1000);
	}
	assert_true(precopy_wanted(&p, SLOT));
	note_some(&p, 1, SLOT / 2);
	assert_true(precopy_wanted(&p, SLOT));
	note_some(&p, 1, SLOT / 2 + 1);
	assert_false(precopy_wanted(&p, SLOT));
}

static void test_goes_on_while_it_pays(void **state)
{
	struct precopy p = {0};

	(void)state;
	note_some(&p, PRECOPY_EPOCHS, 2000);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(precopy_wanted(&p, SLOT));
		precopy_note(&p, 2000, 1900, 950);
	}
}

/* How many epochs pass until the next try; each try is in vain. */
static unsigned until_next(struct precopy *p)
{
	unsigned n = 0;

	precopy_note(p, 2000, 2000, 1001);
	while (!precopy_wanted(p, SLOT)) {
		precopy_note(p, 2000, 0, 0);
		n++;
	}
	return n;
}

static void test_rests_after_a_try_in_vain(void **state)
{
	static const unsigned want[] = {8, 16, 32, 64, 128, 256, 256, 256};
	struct precopy p = {0};

	(void)state;
	note_some(&p, PRECOPY_EPOCHS, 2000);
	for (unsigned i = 0; i < sizeof(want) / sizeof(*want); i++)
		assert_int_equal(until_next(&p), want[i]);
	precopy_note(&p, 2000, 2000, 1000); /* one that pays: from the start again */
	assert_true(precopy_wanted(&p, SLOT));
	assert_int_equal(until_next(&p), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_needs_epochs_of_the_right_size),
		cmocka_unit_test(test_goes_on_while_it_pays),
		cmocka_unit_test(test_rests_after_a_try_in_vain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
