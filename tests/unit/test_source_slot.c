/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages that were copied ahead of a pause, and in it: as one list, in one slot and over several. */
#include "replicator/source/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BLOCKS 3u
#define PAGES 40u /* of each block */
#define ALL (BLOCKS * PAGES)

static uint64_t seed = 88172645463325252u;

static unsigned any(unsigned n)
{
	seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
	return (unsigned)((seed >> 20) % n);
}

static struct slot *new_slot(void)
{
	struct slot *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->max_pages = s->max_runs = 2 * ALL;
	s->pages = malloc(s->max_pages * TV_PAGE_BYTES);
	s->runs = malloc(s->max_runs * sizeof(*s->runs));
	assert_non_null(s->pages);
	assert_non_null(s->runs);
	slot_clear(s);
	return s;
}

static void free_slot(struct slot *s)
{
	free(s->pages);
	free(s->runs);
	free(s);
}

/* What a harvest finds from page `from` on, at most `most` pages, each full of `mark`; returns where it got
 * to. */
static unsigned harvest(struct slot *s, const bool *dirty, unsigned from, unsigned most, int mark)
{
	unsigned at = from;

	for (; at < ALL && most; at++) {
		struct hv_run *last = &s->runs[s->nruns - 1];

		if (!dirty[at])
			continue;
		memset(s->pages + s->npages * TV_PAGE_BYTES, mark, TV_PAGE_BYTES);
		if (s->nruns > s->first_run && at % PAGES && dirty[at - 1] && at > from)
			last->pages++;
		else
			s->runs[s->nruns++] =
				(struct hv_run){.block = at / PAGES,
						.pages = 1,
						.offset = (uint64_t)(at % PAGES) << TV_PAGE_SHIFT};
		s->npages++;
		most--;
	}
	return at;
}

/* Adds what is in the slot to got: the mark of each page. Ascending, each once. */
static void walk(const struct slot *s, uint8_t *got, int *last)
{
	struct slot_walk w;
	struct slot_page p;

	slot_walk_begin(s, &w);
	while (slot_walk_next(&w, &p)) {
		int at = (int)(p.block * PAGES + (p.offset >> TV_PAGE_SHIFT));

		assert_true(at > *last);
		*last = at;
		got[at] = p.contents[0];
		assert_int_equal(p.contents[TV_PAGE_BYTES - 1], p.contents[0]);
	}
}

static void make_dirty(bool *dirty, unsigned percent)
{
	for (unsigned i = 0; i < ALL; i++)
		dirty[i] = any(100) < percent;
}

/* Pages of both lists in one slot, or in so many that each holds only a few of the pause's. */
static void one_round(unsigned percent_ahead, unsigned percent_then, unsigned most)
{
	bool ahead[ALL], then[ALL];
	uint8_t got[ALL] = {0};
	uint64_t twice = 0, pages = 0, both = 0;
	struct slot *s = new_slot();
	unsigned at;
	int last = -1;

	make_dirty(ahead, percent_ahead);
	make_dirty(then, percent_then);
	harvest(s, ahead, 0, ALL, 1);
	slot_ahead_done(s);
	at = harvest(s, then, 0, most, 2);
	while (at < ALL) {
		struct slot *next = new_slot();

		slot_split(s, next, at / PAGES, (uint64_t)(at % PAGES) << TV_PAGE_SHIFT);
		at = harvest(next, then, at, most, 2);
		walk(s, got, &last);
		twice += slot_twice(s);
		pages += s->npages;
		free_slot(s);
		s = next;
	}
	walk(s, got, &last);
	twice += slot_twice(s);
	pages += s->npages;
	free_slot(s);
	for (unsigned i = 0; i < ALL; i++) {
		assert_int_equal(got[i], then[i] ? 2 : ahead[i] ? 1 : 0);
		both += ahead[i] && then[i];
		pages -= ahead[i] + then[i];
	}
	assert_int_equal(pages, 0);
	assert_int_equal(twice, both);
}

static void test_two_lists_in_one_slot(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 300; i++)
		one_round(any(101), any(101), ALL);
	one_round(0, 0, ALL);
	one_round(100, 0, ALL);
	one_round(0, 100, ALL);
	one_round(100, 100, ALL);
}

static void test_two_lists_over_several_slots(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 300; i++)
		one_round(any(101), any(101), 1 + any(30));
	one_round(100, 100, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_lists_in_one_slot),
		cmocka_unit_test(test_two_lists_over_several_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
