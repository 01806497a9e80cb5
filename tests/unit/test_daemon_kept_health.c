/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What errors have made of this host, over a restart of its daemon, and when its file is damaged. */
#include "events_kit.h"

#include "daemon/health.h"
#include "daemon/moves.h"

#include <time.h>

static char path[300];

static void fault(enum ras_owner owner, enum ras_severity severity, uint64_t page, uint32_t n)
{
	struct hw_fault f = {
		.fault = {.source = severity == RAS_CORRECTED ? RAS_SRC_MC : RAS_SRC_MF,
			  .severity = severity,
			  .part = RAS_PART_MEMORY,
			  .result = RAS_RESULT_FAILED,
			  .owner = owner,
			  .has_page = true,
			  .page = {page},
			  .count = n},
		.records = 1,
		.first_ns = tv_now_ns(),
		.last_ns = tv_now_ns()};
	json_t *m;

	strcpy(f.fault.where, "DIMM_B2");
	strcpy(f.fault.sentence, "what has failed");
	m = json_pack("{ss s[o] si s{}}", "op", "faults", "faults", hw_fault_json(&f), "more", 0,
		      "total");
	health_message(&d, m);
	json_decref(m);
}

static int begin(void **state)
{
	int rc = set_up(state);

	kit_path(path, sizeof(path), "health.json");
	health_clear(&d);
	moves_clear();
	(void)health_judge();
	return rc;
}

/* What the next daemon has at its start. */
static void forget(void)
{
	health_clear(&d);
	moves_clear();
	health_saved();
	assert_int_equal(health_of_host(), FO_UNKNOWN);
}

static unsigned unread(void)
{
	json_t *all = read_all();
	unsigned n = 0;

	for (size_t i = 0; i < json_array_size(all); i++)
		n += !strcmp(text_at(all, i, "kind"), "health-unread");
	json_decref(all);
	return n;
}

static void a_restart_changes_nothing(void **state)
{
	struct ras_cause before[4], after[4];
	json_t *moves, *o;

	(void)state;
	fault(RAS_OWNER_UNKNOWN, RAS_CORRECTED, 0x100, 4);
	fault(RAS_OWNER_KERNEL, RAS_UNCORRECTED, 0x200, 1);
	moves = json_pack("[{ss ss ss sI sI sI sb}]", "id", ID, "name", "vm1", "session", "s",
			  "moved", (json_int_t)time(NULL) - 9, "begun", (json_int_t)0, "would",
			  (json_int_t)0, "moving", 0);
	moves_restore(moves);
	json_decref(moves);
	weak_page_note(ID, "page 0x100");
	assert_int_equal(health_of_host(), FO_RED);
	assert_int_equal(health_causes(before, 4), 1);
	kept_health_save(&d, false);
	assert_int_equal(access(path, F_OK), 0);
	forget();
	kept_health_start(&d);
	assert_int_equal(health_of_host(), FO_RED);
	assert_int_equal(health_causes(after, 4), 1);
	assert_int_equal(after[0].rule, before[0].rule);
	assert_string_equal(after[0].what, before[0].what);
	assert_string_equal(after[0].sentence, "what has failed");
	assert_true(after[0].until_cleared);
	/* In whole seconds: the file's time has no more. */
	assert_true(llabs((long long)(after[0].last_ns - before[0].last_ns)) < 2 * TV_NS_PER_S);
	o = moves_recent();
	assert_int_equal(json_array_size(o), 1);
	json_decref(o);
	assert_int_equal(unread(), 0);
	/* The bucket continues where it was: 6 more are 10 of the DIMM. */
	fault(RAS_OWNER_UNKNOWN, RAS_CORRECTED, 0x300, 5);
	assert_int_equal(health_causes(after, 4), 1);
	fault(RAS_OWNER_UNKNOWN, RAS_CORRECTED, 0x400, 1);
	assert_int_equal(health_causes(after, 4), 2);
	assert_int_equal(after[1].rule, RAS_RULE_DIMM_WEAK);
	/* Counts alone are written later, or at the end. */
	kept_health_save(&d, true);
	/* Cleared is cleared, also for the next daemon. */
	health_clear(&d);
	moves_clear();
	kept_health_save(&d, false);
	forget();
	kept_health_start(&d);
	assert_int_equal(health_of_host(), FO_UNKNOWN);
}

static void write_it(const char *text)
{
	assert_int_equal(tv_write_file(path, text, strlen(text)), 0);
}

static void a_damaged_file_is_put_aside(void **state)
{
	static const char *const bad[] = {
		"",
		"no json",
		"[]",
		"{\"version\":2}",
		"{\"version\":1,\"saved\":1,\"causes\":[{}]}",
		"{\"version\":1,\"saved\":1,\"buckets\":[{\"table\":0}]}",
		"{\"version\":1,\"saved\":1,\"causes\":[{\"rule\":999,\"color\":3,\"what\":\"\","
		"\"text\":\"\",\"since\":1,\"last\":1,\"errors\":1}]}",
		"{\"version\":1,\"saved\":1,\"causes\":[{\"rule\":6,\"color\":9,\"what\":\"\","
		"\"text\":\"\",\"since\":1,\"last\":1,\"errors\":1}]}",
		"{\"version\":1,\"saved\":1,\"causes\":[{\"rule\":6,\"color\":3,\"what\":\"\","
		"\"text\":\"\",\"since\":-1,\"last\":1e300,\"errors\":1}]}",
		"{\"version\":1,\"saved\":1,\"buckets\":[{\"table\":-1,\"key\":\"a\",\"of\":\"\","
		"\"age\":1,\"mce\":[],\"others\":[]}]}",
		"{\"version\":1,\"saved\":1,\"buckets\":[{\"table\":1,\"key\":\"a\",\"of\":\"\","
		"\"age\":1,\"mce\":[[25,1]],\"others\":[]}]}",
		"{\"version\":1,\"saved\":1,\"buckets\":[{\"table\":1,\"key\":\"a\",\"of\":\"\","
		"\"age\":1,\"mce\":[[0,-1]],\"others\":[]}]}"};
	char aside[310];

	(void)state;
	snprintf(aside, sizeof(aside), "%s.bad", path);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		forget();
		write_it(bad[i]);
		kept_health_start(&d);
		assert_int_equal(unread(), i + 1);
		assert_int_equal(access(path, F_OK), -1);
		assert_int_equal(access(aside, F_OK), 0);
		assert_int_equal(health_of_host(), FO_UNKNOWN);
	}
	/* What is right in it counts. */
	write_it("{\"version\":1,\"saved\":99999999999,\"causes\":[7,{\"rule\":6,\"color\":3,"
		 "\"what\":\"DIMM\",\"text\":\"it fails\",\"since\":1,\"last\":1,\"errors\":1}]}");
	kept_health_start(&d);
	assert_int_equal(unread(), sizeof(bad) / sizeof(*bad) + 1);
	assert_int_equal(health_of_host(), FO_RED);
}

/* Yellow leaves after a day without news, also when the host was off meanwhile. */
static void time_passes_while_it_is_off(void **state)
{
	char text[400];

	(void)state;
	for (int days = 0; days <= 2; days += 2) {
		snprintf(
			text, sizeof(text),
			"{\"version\":1,\"saved\":%lld,\"causes\":[{\"rule\":16,\"color\":2,\"what\":"
			"\"p\",\"text\":\"t\",\"since\":9,\"last\":9,\"errors\":1}]}",
			(long long)time(NULL) - days * 24LL * 3600);
		forget();
		write_it(text);
		kept_health_start(&d);
		assert_int_equal(health_of_host(), days ? FO_UNKNOWN : FO_YELLOW);
		assert_int_equal(unread(), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_restart_changes_nothing, begin, tear_down),
		cmocka_unit_test_setup_teardown(a_damaged_file_is_put_aside, begin, tear_down),
		cmocka_unit_test_setup_teardown(time_passes_while_it_is_off, begin, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
