/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is counted: corrected errors by page, DIMM, core, package and device; at how many a host
 * changes its colour, and when it changes back. The clock is an argument.
 */
#include "ras_health_kit.h"

static void a_host_without_sources_is_grey(void **state)
{
	struct world w = world_of(true);
	struct ras_fault f = fault(RAS_PART_UNKNOWN, RAS_FATAL);

	(void)state;
	assert_int_equal(color(&w), RAS_GREEN);
	ras_health_watched(w.h, false);
	assert_int_equal(color(&w), RAS_GREY);
	assert_int_equal(give(&w, &f), RAS_RED);
	ras_health_clear(w.h);
	assert_int_equal(color(&w), RAS_GREY);
	ras_health_free(w.h);
	ras_health_free(NULL);
}

static void one_corrected_error_is_counted_and_nothing_else(void **state)
{
	struct world w = world_of(true);
	struct ras_fault f = memory(0x319deb, "A1");

	(void)state;
	assert_int_equal(give(&w, &f), RAS_GREEN);
	assert_int_equal(w.v.rule, RAS_RULE_ONE_CORRECTED);
	assert_false(w.v.fresh);
	assert_int_equal(ras_health_totals(w.h)->corrected, 1);
	assert_int_equal(ras_health_causes(w.h, w.now_ns, NULL, 0), 0);
	f.severity = RAS_NOTHING;
	assert_int_equal(give(&w, &f), RAS_GREEN);
	assert_int_equal(w.v.rule, RAS_RULE_NONE);
	assert_int_equal(ras_health_totals(w.h)->ignored, 1);
	assert_int_equal(ras_health_totals(w.h)->corrected, 1);
	ras_health_free(w.h);
}

/* Twice on Intel, ten times elsewhere; whoever has the page decides what is to be done. */
static void a_weak_page(void **state)
{
	(void)state;
	for (int intel = 0; intel < 2; intel++)
		for (int vm = 0; vm < 2; vm++) {
			struct world w = world_of(intel);
			struct ras_fault f = memory(0x319deb, "A1"), other = memory(0x319dec, "A2");
			unsigned least = intel ? 2 : 10;

			f.owner = other.owner = vm ? RAS_OWNER_VM : RAS_OWNER_FREE;
			for (unsigned i = 1; i < least; i++) {
				assert_int_equal(give(&w, &f), RAS_GREEN);
				w.now_ns += 2 * HOUR;
			}
			assert_int_equal(give(&w, &other), RAS_GREEN);
			assert_int_equal(give(&w, &f), RAS_YELLOW);
			assert_true(w.v.fresh);
			assert_true(has_cause(&w, vm ? RAS_RULE_VM_PAGE_WEAK : RAS_RULE_PAGE_WEAK));
			assert_false(
				has_cause(&w, vm ? RAS_RULE_PAGE_WEAK : RAS_RULE_VM_PAGE_WEAK));
			/* The next one is no news. */
			give(&w, &f);
			assert_false(w.v.fresh && w.v.rule != RAS_RULE_DIMM_WEAK);
			ras_health_free(w.h);
		}
}

/* The same error as a machine check and from the driver is one, whichever comes first. */
static void streams_are_not_added(void **state)
{
	struct world w = world_of(true);
	struct ras_fault mce = memory(0x319deb, "A1"), mc = mce;

	(void)state;
	mc.source = RAS_SRC_MC;
	assert_int_equal(give(&w, &mce), RAS_GREEN);
	assert_int_equal(give(&w, &mc), RAS_GREEN);
	/* Under the kernel's collector of corrected errors only the machine check comes. */
	assert_int_equal(give(&w, &mce), RAS_YELLOW);
	ras_health_free(w.h);
}

static void a_weak_and_a_failing_dimm(void **state)
{
	struct world w = world_of(false);

	(void)state;
	for (unsigned i = 1; i <= 50; i++) {
		/* Each on another page, so that no page is weak. */
		struct ras_fault f = memory(0x1000 + i, "A1");
		enum ras_color want = i < 10 ? RAS_GREEN : i < 50 ? RAS_YELLOW : RAS_RED;

		assert_int_equal(give(&w, &f), want);
		assert_int_equal(w.v.fresh, i == 10 || i == 50);
		w.now_ns += 20 * 60 * S;
	}
	assert_true(has_cause(&w, RAS_RULE_DIMM_FAILS));
	/* Red stays, however long it is silent. */
	w.now_ns += 1000 * DAY;
	assert_int_equal(color(&w), RAS_RED);
	ras_health_clear(w.h);
	assert_int_equal(color(&w), RAS_GREEN);
	ras_health_free(w.h);
}

static void three_weak_pages_make_a_weak_dimm(void **state)
{
	struct world w = world_of(true);

	(void)state;
	for (unsigned page = 1; page <= 3; page++)
		for (unsigned i = 0; i < 2; i++) {
			struct ras_fault f = memory(page, "A1");

			give(&w, &f);
			assert_int_equal(has_cause(&w, RAS_RULE_DIMM_WEAK), page == 3 && i == 1);
		}
	ras_health_free(w.h);
}

/* A driver's name of a DIMM is better than what a machine check has: its pages are counted by it. */
static void pages_belong_to_the_dimm_that_the_driver_names(void **state)
{
	struct world w = world_of(true);

	(void)state;
	for (unsigned page = 1; page <= 3; page++) {
		char channel[32];
		struct ras_fault mc = memory(page, "A1"), mce;

		snprintf(channel, sizeof(channel), "package 0 bank 8 channel %u", page);
		mce = memory(page, channel);
		mc.source = RAS_SRC_MC;
		for (unsigned i = 0; i < 2; i++) {
			give(&w, &mce);
			give(&w, &mc);
		}
	}
	assert_true(has_cause(&w, RAS_RULE_DIMM_WEAK));
	ras_health_free(w.h);
}

static void more_than_eight_pages_taken_make_a_failing_dimm(void **state)
{
	struct world w = world_of(true);

	(void)state;
	for (unsigned i = 1; i <= 9; i++) {
		struct ras_fault f = memory(i, i < 9 ? "A1" : "B1");

		give(&w, &f);
		ras_health_taken(w.h, f.page, "", w.now_ns, &w.v);
		assert_int_equal(w.v.color, RAS_YELLOW);
		ras_health_taken(w.h, f.page, "", w.now_ns, &w.v);
		assert_false(w.v.fresh);
	}
	{
		struct ras_fault f = memory(10, "A1");

		give(&w, &f);
		ras_health_taken(w.h, f.page, "", w.now_ns, &w.v);
	}
	assert_int_equal(w.v.color, RAS_RED);
	assert_true(has_cause(&w, RAS_RULE_DIMM_FAILS));
	ras_health_free(w.h);
	/* Of a DIMM that nobody can name, too. */
	w = world_of(true);
	for (unsigned i = 1; i <= 9; i++)
		ras_health_taken(w.h, (struct ras_pfn){i}, "", w.now_ns, &w.v);
	assert_int_equal(w.v.color, RAS_RED);
	ras_health_free(w.h);
	/* They are not forgotten for pages that come and go. */
	w = world_of(false);
	for (unsigned i = 1; i <= 8; i++)
		ras_health_taken(w.h, (struct ras_pfn){i}, "", w.now_ns, &w.v);
	for (unsigned i = 0; i < 2000; i++) {
		struct ras_fault f = memory(1000 + i, "B1");

		give(&w, &f);
		w.now_ns += DAY / 5;
	}
	assert_int_equal(color(&w), RAS_GREEN);
	ras_health_taken(w.h, (struct ras_pfn){9}, "", w.now_ns, &w.v);
	assert_int_equal(w.v.color, RAS_RED);
	ras_health_free(w.h);
}

static void a_storm(void **state)
{
	struct world w = world_of(true);
	unsigned fresh = 0;

	(void)state;
	/* 99 a second: no storm, but many errors of one DIMM. 100 a second for 5 s: a storm. */
	for (unsigned per_s = 99; per_s <= 100; per_s++) {
		ras_health_clear(w.h);
		w.now_ns += DAY;
		for (unsigned s = 0; s < 5; s++) {
			for (unsigned i = 0; i < per_s; i++) {
				struct ras_fault f = fault(RAS_PART_CORE, RAS_CORRECTED);

				give(&w, &f);
				fresh += w.v.fresh;
				w.now_ns += S / per_s;
			}
			w.now_ns = (w.now_ns / S + (w.now_ns % S > S / 2)) * S;
		}
		assert_int_equal(has_cause(&w, RAS_RULE_STORM), per_s == 100);
	}
	assert_int_equal(color(&w), RAS_RED);
	assert_int_equal(fresh, 3); /* the core twice, the storm once */
	assert_int_equal(ras_health_totals(w.h)->corrected, 995);
	ras_health_clear(w.h);
	/* A break of one second begins anew. */
	for (unsigned s = 0; s < 9; s++) {
		struct ras_fault f = fault(RAS_PART_CORE, RAS_CORRECTED);

		f.count = s == 4 ? 1 : 5000;
		give(&w, &f);
		w.now_ns += S;
	}
	assert_false(has_cause(&w, RAS_RULE_STORM));
	ras_health_free(w.h);
}

/* Reports come once a second or later, and name no part: what is missing between them counts. */
static void a_storm_that_is_reported_late(void **state)
{
	static const struct {
		int64_t every_ns;
		uint32_t errors;
		unsigned reports;
		bool storm;
	} rows[] = {
		{S, 100, 4, false},	   {S, 100, 5, true},	   {S, 99, 50, false},
		{6 * S / 5, 200, 5, true}, {2 * S, 5000, 3, true}, {2 * S, 199, 50, false},
		{3 * S, 5000, 50, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct world w = world_of(true);
		unsigned fresh = 0;

		for (unsigned r = 0; r < rows[i].reports; r++) {
			ras_health_more(w.h, rows[i].errors, w.now_ns, &w.v);
			fresh += w.v.fresh;
			w.now_ns += rows[i].every_ns;
		}
		if (has_cause(&w, RAS_RULE_STORM) != rows[i].storm)
			fail_msg("row %zu", i);
		assert_int_equal(fresh, rows[i].storm);
		assert_int_equal(w.v.color, rows[i].storm ? RAS_RED : RAS_GREEN);
		assert_int_equal(ras_health_totals(w.h)->corrected,
				 (uint64_t)rows[i].errors * rows[i].reports);
		ras_health_free(w.h);
	}
}

static void weak_cores_and_packages(void **state)
{
	struct world w = world_of(true);
	struct ras_fault core = fault(RAS_PART_CORE, RAS_CORRECTED),
			 package = fault(RAS_PART_PACKAGE, RAS_CORRECTED);

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		core.core = i % 3; /* not one and the same */
		assert_int_equal(give(&w, &core), RAS_GREEN);
	}
	core.core = 1;
	assert_int_equal(give(&w, &core), RAS_YELLOW);
	assert_true(has_cause(&w, RAS_RULE_CORE_WEAK));
	ras_health_clear(w.h);
	for (unsigned i = 1; i <= 10; i++) {
		package.cpu = i; /* whichever CPU reports it */
		assert_int_equal(give(&w, &package), i < 3    ? RAS_GREEN
						     : i < 10 ? RAS_YELLOW
							      : RAS_RED);
		assert_int_equal(w.v.fresh, i == 3 || i == 10);
	}
	ras_health_free(w.h);
}

/* A cache of Intel's that turns yellow has counted by itself. */
static void what_the_cpu_calls_too_many(void **state)
{
	struct world w = world_of(true);
	struct ras_fault f = fault(RAS_PART_CORE, RAS_CORRECTED);

	(void)state;
	f.many = true;
	assert_int_equal(give(&w, &f), RAS_YELLOW);
	assert_int_equal(w.v.rule, RAS_RULE_CORE_WEAK);
	ras_health_clear(w.h);
	f.part = RAS_PART_PACKAGE;
	assert_int_equal(give(&w, &f), RAS_YELLOW);
	assert_int_equal(w.v.rule, RAS_RULE_PACKAGE_WEAK);
	w.now_ns += DAY + HOUR;
	assert_int_equal(color(&w), RAS_GREEN);
	ras_health_free(w.h);
}

static void devices(void **state)
{
	struct world w = world_of(true);
	struct ras_fault f = fault(RAS_PART_DEVICE, RAS_CORRECTED);

	(void)state;
	f.source = RAS_SRC_AER;
	snprintf(f.where, sizeof(f.where), "0000:00:01.0");
	for (unsigned i = 1; i <= 20; i++) {
		assert_int_equal(give(&w, &f), RAS_GREEN); /* 10 in an hour, not in a day */
		w.now_ns += HOUR / 8;
	}
	w.now_ns += 2 * HOUR;
	for (unsigned i = 1; i <= 10; i++)
		assert_int_equal(give(&w, &f), i < 10 ? RAS_GREEN : RAS_YELLOW);
	assert_true(has_cause(&w, RAS_RULE_DEVICE_CORRECTED));
	ras_health_clear(w.h);
	f.severity = RAS_UNCORRECTED;
	assert_int_equal(give(&w, &f), RAS_YELLOW);
	assert_int_equal(w.v.rule, RAS_RULE_DEVICE_ERROR);
	f.owner = RAS_OWNER_VM;
	assert_int_equal(give(&w, &f), RAS_RED);
	assert_true(w.v.fresh);
	ras_health_clear(w.h);
	f.owner = RAS_OWNER_UNKNOWN;
	f.device_fails = true;
	assert_int_equal(give(&w, &f), RAS_RED);
	assert_int_equal(w.v.rule, RAS_RULE_DEVICE_FAILS);
	ras_health_free(w.h);
}

/* In at the threshold, out at half of it and after a day without news. */
static void hysteresis(void **state)
{
	struct world w = world_of(false);
	unsigned page = 0;

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		struct ras_fault f = memory(++page, "A1");

		give(&w, &f);
	}
	assert_int_equal(color(&w), RAS_YELLOW);
	/* One each 12 hours: far below the threshold, and yet no silence. */
	for (unsigned i = 0; i < 8; i++) {
		struct ras_fault f = memory(++page, "A1");

		w.now_ns += 12 * HOUR;
		assert_int_equal(give(&w, &f), RAS_YELLOW);
		assert_false(w.v.fresh);
	}
	w.now_ns += DAY - 1;
	assert_int_equal(color(&w), RAS_YELLOW);
	w.now_ns += 1;
	assert_int_equal(color(&w), RAS_GREEN);
	/* It is not weak any more: it begins anew. */
	{
		struct ras_fault f = memory(++page, "A1");

		assert_int_equal(give(&w, &f), RAS_GREEN);
	}
	ras_health_free(w.h);
	/* Silent, but the bucket still holds more than half: what comes late leaks late. */
	w = world_of(false);
	w.now_ns += HOUR - 1;
	{
		struct ras_fault f = memory(1, "A1");

		f.count = 10;
		give(&w, &f);
	}
	w.now_ns += DAY;
	assert_int_equal(color(&w), RAS_YELLOW);
	w.now_ns += HOUR;
	assert_int_equal(color(&w), RAS_GREEN);
	ras_health_free(w.h);
}

static void a_clock_that_steps_back_counts_as_standing(void **state)
{
	struct world w = world_of(true);
	struct ras_fault f = memory(1, "A1");

	(void)state;
	give(&w, &f);
	w.now_ns -= 50 * DAY;
	assert_int_equal(give(&w, &f), RAS_YELLOW);
	ras_health_clear(w.h);
	/* It came now, whatever its time says: it is a cause for a day from now. */
	f.severity = RAS_DEFERRED;
	assert_int_equal(give(&w, &f), RAS_YELLOW);
	w.now_ns = 101 * DAY - 1;
	assert_int_equal(color(&w), RAS_YELLOW);
	w.now_ns = -5;
	assert_int_equal(color(&w), RAS_YELLOW);
	w.now_ns = 101 * DAY;
	assert_int_equal(color(&w), RAS_GREEN);
	ras_health_free(w.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_without_sources_is_grey),
		cmocka_unit_test(one_corrected_error_is_counted_and_nothing_else),
		cmocka_unit_test(a_weak_page),
		cmocka_unit_test(streams_are_not_added),
		cmocka_unit_test(a_weak_and_a_failing_dimm),
		cmocka_unit_test(three_weak_pages_make_a_weak_dimm),
		cmocka_unit_test(pages_belong_to_the_dimm_that_the_driver_names),
		cmocka_unit_test(more_than_eight_pages_taken_make_a_failing_dimm),
		cmocka_unit_test(a_storm),
		cmocka_unit_test(a_storm_that_is_reported_late),
		cmocka_unit_test(weak_cores_and_packages),
		cmocka_unit_test(what_the_cpu_calls_too_many),
		cmocka_unit_test(devices),
		cmocka_unit_test(hysteresis),
		cmocka_unit_test(a_clock_that_steps_back_counts_as_standing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
