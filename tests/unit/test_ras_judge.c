/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of faults, row by row: what one record makes of a host, which reports are one and the
 * same error, and that the list of causes has an end.
 */
#include "ras_health_kit.h"

/* Each owner of a page, each kind of uncorrected error: row and colour. */
static void uncorrected_errors(void **state)
{
	static const struct {
		enum ras_source source;
		enum ras_severity severity;
		enum ras_owner owner;
		enum ras_result result;
		bool page;
		enum ras_rule rule;
		enum ras_color color;
	} rows[] = {
		{RAS_SRC_MCE, RAS_DEFERRED, RAS_OWNER_VM, 0, true, RAS_RULE_VM_DEFERRED, RAS_RED},
		{RAS_SRC_MC, RAS_DEFERRED, RAS_OWNER_VM, 0, true, RAS_RULE_VM_DEFERRED, RAS_RED},
		{RAS_SRC_MCE, RAS_OPTIONAL, RAS_OWNER_VM, 0, true, RAS_RULE_VM_OPTIONAL, RAS_RED},
		{RAS_SRC_MF, RAS_UNCORRECTED, RAS_OWNER_VM, RAS_RESULT_RECOVERED, true,
		 RAS_RULE_VM_OPTIONAL, RAS_RED},
		{RAS_SRC_MCE, RAS_REQUIRED, RAS_OWNER_VM, 0, true, RAS_RULE_VM_REQUIRED, RAS_RED},
		{RAS_SRC_MCE, RAS_UNCORRECTED, RAS_OWNER_VM, 0, true, RAS_RULE_VM_REQUIRED,
		 RAS_RED},
		{RAS_SRC_MF, RAS_UNCORRECTED, RAS_OWNER_FREE, RAS_RESULT_RECOVERED, true,
		 RAS_RULE_FREE_PAGE, RAS_YELLOW},
		{RAS_SRC_MF, RAS_UNCORRECTED, RAS_OWNER_PROCESS, RAS_RESULT_RECOVERED, true,
		 RAS_RULE_OTHER_PROCESS, RAS_YELLOW},
		{RAS_SRC_MF, RAS_UNCORRECTED, RAS_OWNER_KERNEL, RAS_RESULT_IGNORED, true,
		 RAS_RULE_KERNEL_PAGE, RAS_RED},
		{RAS_SRC_MF, RAS_UNCORRECTED, RAS_OWNER_UNKNOWN, RAS_RESULT_FAILED, true,
		 RAS_RULE_KERNEL_PAGE, RAS_RED},
		{RAS_SRC_MF, RAS_UNCORRECTED, RAS_OWNER_UNKNOWN, RAS_RESULT_DELAYED, true,
		 RAS_RULE_OWNER_UNKNOWN, RAS_YELLOW},
		{RAS_SRC_MF, RAS_UNCORRECTED, RAS_OWNER_STANDBY, RAS_RESULT_RECOVERED, true,
		 RAS_RULE_STANDBY_PAGE, RAS_YELLOW},
		{RAS_SRC_MF, RAS_UNCORRECTED, RAS_OWNER_SELF, RAS_RESULT_RECOVERED, true,
		 RAS_RULE_OWN_PAGE, RAS_RED},
		{RAS_SRC_MCE, RAS_DEFERRED, RAS_OWNER_UNKNOWN, 0, false, RAS_RULE_OWNER_UNKNOWN,
		 RAS_YELLOW},
		{RAS_SRC_MCE, RAS_UNKNOWN, RAS_OWNER_UNKNOWN, 0, true, RAS_RULE_OWNER_UNKNOWN,
		 RAS_YELLOW},
		{RAS_SRC_MCE, RAS_FATAL, RAS_OWNER_UNKNOWN, 0, true, RAS_RULE_HOST_DIED, RAS_RED},
		{RAS_SRC_FIRMWARE, RAS_UNCORRECTED, RAS_OWNER_UNKNOWN, 0, false,
		 RAS_RULE_FIRMWARE_RECORD, RAS_RED},
		{RAS_SRC_FIRMWARE, RAS_UNKNOWN, RAS_OWNER_UNKNOWN, 0, false,
		 RAS_RULE_FIRMWARE_RECORD, RAS_YELLOW},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct world w = world_of(true);
		struct ras_fault f = fault(RAS_PART_MEMORY, rows[i].severity);

		f.source = rows[i].source;
		f.owner = rows[i].owner;
		f.result = rows[i].result;
		f.has_page = rows[i].page;
		f.page.n = 0x319deb;
		give(&w, &f);
		if (w.v.rule != rows[i].rule || w.v.color != rows[i].color || !w.v.fresh)
			fail_msg("row %zu: rule %d, colour %d", i, w.v.rule, w.v.color);
		/* Red stays; yellow leaves after a day of silence. */
		w.now_ns += DAY - 1;
		assert_int_equal(color(&w), rows[i].color);
		w.now_ns += 1;
		assert_int_equal(color(&w), rows[i].color == RAS_RED ? RAS_RED : RAS_GREEN);
		ras_health_free(w.h);
	}
}

/* What the firmware has found: the page counts where there is one, whoever has found it. */
static void what_the_firmware_reports(void **state)
{
	struct world w = world_of(true);
	struct ras_fault f = fault(RAS_PART_MEMORY, RAS_UNCORRECTED);

	(void)state;
	f.by_firmware = true;
	f.owner = RAS_OWNER_VM;
	assert_int_equal(give(&w, &f), RAS_RED);
	assert_int_equal(w.v.rule, RAS_RULE_FIRMWARE_RECORD);
	f.has_page = true;
	f.page.n = 7;
	give(&w, &f);
	assert_int_equal(w.v.rule, RAS_RULE_VM_REQUIRED);
	ras_health_free(w.h);
}

/* One #MC comes once for each CPU, with a trace of its own, and from QEMU: one cause, fresh once. */
static void one_error_is_one_cause(void **state)
{
	struct world w = world_of(true);
	struct ras_fault f = fault(RAS_PART_MEMORY, RAS_OPTIONAL), mf = f;
	struct ras_cause cause;

	(void)state;
	f.owner = mf.owner = RAS_OWNER_VM;
	f.has_page = mf.has_page = true;
	f.page.n = mf.page.n = 0x319deb;
	mf.source = RAS_SRC_MF;
	mf.severity = RAS_UNCORRECTED;
	give(&w, &mf);
	assert_true(w.v.fresh);
	for (unsigned cpu = 0; cpu < 64; cpu++) {
		f.cpu = cpu;
		give(&w, &f);
		assert_false(w.v.fresh);
	}
	f.severity = RAS_REQUIRED; /* says more, and is the same */
	give(&w, &f);
	assert_false(w.v.fresh);
	assert_int_equal(ras_health_causes(w.h, w.now_ns, &cause, 1), 1);
	assert_int_equal(cause.rule, RAS_RULE_VM_REQUIRED);
	give(&w, &mf); /* says less, and does not take it back */
	assert_int_equal(ras_health_causes(w.h, w.now_ns, &cause, 1), 1);
	assert_int_equal(cause.rule, RAS_RULE_VM_REQUIRED);
	f.page.n++;
	give(&w, &f);
	assert_true(w.v.fresh);
	ras_health_free(w.h);
	/* Without a page: what comes within a second, from whatever CPU. */
	w = world_of(true);
	f = fault(RAS_PART_CORE, RAS_DEFERRED);
	for (unsigned cpu = 0; cpu < 64; cpu++) {
		f.bank = cpu % 3;
		assert_int_equal(give(&w, &f), RAS_YELLOW);
		assert_int_equal(w.v.fresh, cpu == 0);
		w.now_ns += S / 100;
	}
	w.now_ns += 2 * S;
	f.bank = 7;
	assert_int_equal(give(&w, &f), RAS_RED); /* the second one, elsewhere */
	assert_true(w.v.fresh);
	assert_int_equal(ras_health_causes(w.h, w.now_ns, NULL, 0), 2);
	ras_health_free(w.h);
}

static void the_second_failure_of_other_processes_is_red(void **state)
{
	struct world w = world_of(true);
	struct ras_fault f = fault(RAS_PART_MEMORY, RAS_UNCORRECTED);

	(void)state;
	f.source = RAS_SRC_MF;
	f.owner = RAS_OWNER_PROCESS;
	f.has_page = true;
	f.page.n = 1;
	assert_int_equal(give(&w, &f), RAS_YELLOW);
	assert_int_equal(give(&w, &f), RAS_YELLOW); /* the same page */
	f.page.n = 2;
	assert_int_equal(give(&w, &f), RAS_RED);
	ras_health_free(w.h);
	/* A day later it is a first one again. */
	w = world_of(true);
	give(&w, &f);
	w.now_ns += DAY;
	f.page.n = 3;
	assert_int_equal(give(&w, &f), RAS_YELLOW);
	ras_health_free(w.h);
}

/* A page of which nothing was known, and then the kernel names its owner. */
static void the_owner_becomes_known(void **state)
{
	struct world w = world_of(true);
	struct ras_fault f = fault(RAS_PART_MEMORY, RAS_DEFERRED);
	struct ras_cause cause;

	(void)state;
	f.has_page = true;
	f.page.n = 7;
	assert_int_equal(give(&w, &f), RAS_YELLOW);
	f.owner = RAS_OWNER_FREE;
	assert_int_equal(give(&w, &f), RAS_YELLOW);
	assert_false(w.v.fresh);
	assert_int_equal(ras_health_causes(w.h, w.now_ns, &cause, 1), 1);
	assert_int_equal(cause.rule, RAS_RULE_FREE_PAGE);
	f.owner = RAS_OWNER_VM;
	assert_int_equal(give(&w, &f), RAS_RED);
	assert_true(w.v.fresh);
	assert_int_equal(ras_health_causes(w.h, w.now_ns, &cause, 1), 1);
	assert_int_equal(cause.rule, RAS_RULE_VM_DEFERRED);
	ras_health_free(w.h);
}

/* Each row that others notice has the colour that the table gives it. */
static void what_others_notice(void **state)
{
	(void)state;
	for (int rule = 1; rule < RAS_RULE_COUNT; rule++) {
		struct world w = world_of(true);
		const struct ras_row *row = ras_row((enum ras_rule)rule);
		enum ras_color want = row->color == RAS_GREY ? RAS_GREEN : row->color;

		ras_health_notice(w.h, (enum ras_rule)rule, "vm1", "noticed", w.now_ns, &w.v);
		assert_int_equal(w.v.color, want);
		assert_int_equal(w.v.rule, rule);
		assert_int_equal(w.v.fresh, row->color != RAS_GREY);
		w.now_ns += 2 * DAY;
		assert_int_equal(color(&w), row->until_cleared ? want : RAS_GREEN);
		ras_health_free(w.h);
	}
}

/* Numbers that the table's texts repeat are those of the policy. */
static void texts_have_the_numbers_of_the_policy(void **state)
{
	struct ras_policy intel, others;
	char text[96];

	(void)state;
	ras_policy_default(&intel, true);
	ras_policy_default(&others, false);
	snprintf(text, sizeof(text), "%u in 24 h (Intel) or %u (others)", intel.page_yellow,
		 others.page_yellow);
	assert_non_null(strstr(ras_row(RAS_RULE_VM_PAGE_WEAK)->seen_by, text));
	snprintf(text, sizeof(text), "%u errors in 24 h, or %u of its pages", intel.dimm_yellow,
		 intel.dimm_pages_yellow);
	assert_non_null(strstr(ras_row(RAS_RULE_DIMM_WEAK)->seen_by, text));
	snprintf(text, sizeof(text), "%u errors in 24 h, or more than %u pages", intel.dimm_red,
		 intel.dimm_pages_red - 1);
	assert_non_null(strstr(ras_row(RAS_RULE_DIMM_FAILS)->seen_by, text));
	snprintf(text, sizeof(text), "%u a second for %u s", intel.storm_per_s, intel.storm_s);
	assert_non_null(strstr(ras_row(RAS_RULE_STORM)->seen_by, text));
	snprintf(text, sizeof(text), "%u in 24 h", intel.core_yellow);
	assert_string_equal(ras_row(RAS_RULE_CORE_WEAK)->seen_by, text);
	snprintf(text, sizeof(text), "%u in 24 h; %u in 24 h", intel.package_yellow,
		 intel.package_red);
	assert_string_equal(ras_row(RAS_RULE_PACKAGE_WEAK)->seen_by, text);
	snprintf(text, sizeof(text), "%u in 1 h", intel.device_yellow);
	assert_non_null(strstr(ras_row(RAS_RULE_DEVICE_CORRECTED)->seen_by, text));
	assert_int_equal(intel.window_ns, DAY);
	assert_int_equal(intel.device_window_ns, HOUR);
}

static void the_table_is_whole(void **state)
{
	(void)state;
	assert_null(ras_row(RAS_RULE_NONE));
	assert_null(ras_row(RAS_RULE_COUNT));
	for (int rule = 1; rule < RAS_RULE_COUNT; rule++) {
		const struct ras_row *row = ras_row((enum ras_rule)rule);

		assert_non_null(row);
		assert_int_equal(row->rule, rule);
		assert_true(row->fault[0] && row->seen_by[0] && row->verdict[0] && row->planned[0]);
		assert_non_null(row->today);
		/* Red never leaves by itself. */
		assert_true(row->color != RAS_RED || row->until_cleared);
	}
}

/* Causes have no more room than they have: the worst stay, and the colour with them. */
static void causes_are_bounded(void **state)
{
	struct ras_cause causes[RAS_MAX_CAUSES];
	struct world w = world_of(true);
	struct ras_fault f = fault(RAS_PART_MEMORY, RAS_REQUIRED);

	(void)state;
	f.owner = RAS_OWNER_VM;
	f.has_page = true;
	f.page.n = 1;
	give(&w, &f);
	f.owner = RAS_OWNER_FREE;
	for (unsigned i = 0; i < 1000; i++) {
		f.page.n = 100 + i;
		w.now_ns++;
		assert_int_equal(give(&w, &f), RAS_RED);
	}
	assert_int_equal(ras_health_causes(w.h, w.now_ns, causes, RAS_MAX_CAUSES), RAS_MAX_CAUSES);
	assert_int_equal(causes[0].color, RAS_RED);
	assert_int_equal(causes[1].color, RAS_YELLOW);
	assert_true(causes[1].last_ns > causes[2].last_ns);
	assert_int_equal(ras_health_totals(w.h)->forgotten, 1001 - RAS_MAX_CAUSES);
	/* All red: nothing of less weight comes in. */
	f.owner = RAS_OWNER_VM;
	for (unsigned i = 0; i < RAS_MAX_CAUSES; i++) {
		f.page.n = 10000 + i;
		give(&w, &f);
	}
	f.owner = RAS_OWNER_FREE;
	f.page.n = 20000;
	give(&w, &f);
	assert_false(w.v.fresh);
	assert_int_equal(ras_health_causes(w.h, w.now_ns, causes, RAS_MAX_CAUSES), RAS_MAX_CAUSES);
	assert_int_equal(causes[RAS_MAX_CAUSES - 1].color, RAS_RED);
	ras_health_free(w.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uncorrected_errors),
		cmocka_unit_test(what_the_firmware_reports),
		cmocka_unit_test(one_error_is_one_cause),
		cmocka_unit_test(the_second_failure_of_other_processes_is_red),
		cmocka_unit_test(the_owner_becomes_known),
		cmocka_unit_test(what_others_notice),
		cmocka_unit_test(texts_have_the_numbers_of_the_policy),
		cmocka_unit_test(the_table_is_whole),
		cmocka_unit_test(causes_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
