/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A storm of errors does not become a load. And a list: what has gone wrong with programs that read such reports, and the test
 * of each rule that follows from it.
 *
 *   poll() slept until half of a buffer was full      it_is_made_and_leaves_no_trace (test_hardware_instance)
 *   endless on a broken page                          a_broken_page_is_thrown_away_whole, every_bit_may_be_wrong
 *                                                     (test_ras_page), pages_become_faults_and_a_broken_one_none
 *   a format file that is longer than a buffer        a_format_file_is_of_any_length, .._is_cut_anywhere (test_ras_reader)
 *   structs of one kernel; a record without VAL       fields_are_found_by_name, a_record_of_wrong_length_is_refused
 *                                                     (test_ras_reader), a_record_without_val_is_refused (test_ras_decode)
 *   every uncorrected error has the same sentence     amds_records, intels_records (test_ras_decode)
 *   reports flood log and CPU                         a_storm_is_a_message_a_second (test_hardware), below
 *   a CPU may be gone while its record arrives        errors_are_counted_where_the_cpu_counts (test_ras_decode): nothing
 *                                                     of a CPU is looked up
 *   x86's CPUs were never fed from machine checks     weak_cores_and_packages (test_ras_health)
 *   a tree of pages without bound; a window that      a_million_pages_take_no_more_memory,
 *   restarts                                          it_leaks_a_window_after_it_came (test_ras_bucket)
 *   a fixed table of page types                       types_of_pages_have_the_kernels_names (test_ras_reader)
 *   "deferred, no action required"                    amds_records (test_ras_decode), uncorrected_errors (test_ras_judge)
 *   v_data that is the FRU's text; other lengths      machine_checks (test_ras_sources),
 *                                                     a_record_that_points_out_of_itself_is_refused
 *   an unknown vendor crashes it                      records_of_firmware_and_strangers (test_ras_decode)
 *   labels that are wrong or empty                    errors_of_a_memory_controller (test_ras_sources)
 *   events that were lost are not noticed             lost_events_are_noticed (test_ras_page), what_is_lost_is_an_event
 *                                                     (test_daemon_health), errors_without_an_event_are_counted_by_their_counters
 */
#include "events_kit.h"
#include "hardware_storm_kit.h"

#include "daemon/health.h"

#define RECORDS 5000

static void sources(void)
{
	json_t *m = json_pack("{ss s[{ss sb ss}] ss}", "op", "sources", "sources", "name",
			      "mce_record", "there", 1, "why", "", "trace", "");

	health_message(&d, m);
	json_decref(m);
}

static void to_the_daemon(const json_t *m, void *arg)
{
	(void)arg;
	health_message(&d, m);
}

static json_int_t corrected(void)
{
	json_t *o = health_json(&d);
	json_int_t n =
		json_integer_value(json_object_get(json_object_get(o, "errors"), "corrected"));

	json_decref(o);
	return n;
}

/*
 * What a second of it may take: 50 ms, a 20th of a core. A busy machine, and one that checks addresses, is allowed four
 * times that: the figure is printed (build/tools/ras_storm has more of it).
 */
static void five_thousand_records_a_second(void **state)
{
	struct storm s = {.records = RECORDS, .message = to_the_daemon};
	size_t before;

	(void)state;
	sources();
	before = count();
	assert_true(storm_run(&s));
	print_message("%u records: %.1f ms of CPU, %llu messages\n", RECORDS,
		      (double)s.cpu_ns / 1e6, (unsigned long long)s.messages);
	assert_int_equal(s.faults, RECORDS);
	assert_int_equal(corrected(), RECORDS);
	/* One a second, however long it took; none of them long. */
	assert_true(s.messages <= 2 + (uint64_t)(s.wall_ns / TV_NS_PER_S));
	/* Each is a line of the log: the parts that have become weak, the host's state, and no more. */
	assert_true(count() - before <= 2 * HW_DIFFERENT + 2);
	assert_string_not_equal(health_state(NULL), "green");
	assert_true(s.cpu_ns < 200 * TV_NS_PER_MS);
	/* And when it has been reported, another second of it makes no new event. */
	health_unwatched("the process is another one"); /* which counts anew */
	before = count();
	s.faults = s.messages = 0;
	assert_true(storm_run(&s));
	assert_int_equal(s.faults, RECORDS);
	assert_int_equal(corrected(), 2 * RECORDS);
	assert_true(count() - before <= 2 * HW_DIFFERENT + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(five_thousand_records_a_second),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
