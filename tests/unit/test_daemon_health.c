/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon makes of what its hardware's process reports. */
#include "events_kit.h"

#include "daemon/health.h"

static void sources(const char *trace, bool mce)
{
	json_t *m = json_pack("{ss s[{ss sb ss}] ss}", "op", "sources", "sources", "name",
			      "mce_record", "there", mce, "why", "", "trace", trace);

	health_message(&d, m);
	json_decref(m);
}

static struct hw_fault fault(enum ras_severity severity, unsigned cpu)
{
	struct hw_fault f = {
		.fault = {.severity = severity, .count = 1, .has_cpu = true, .cpu = cpu},
		.records = 1,
		.first_ns = tv_now_ns(),
		.last_ns = tv_now_ns()};

	snprintf(f.fault.sentence, sizeof(f.fault.sentence), "what CPU %u says", cpu);
	return f;
}

static void faults(const struct hw_fault *f, json_int_t corrected, json_int_t uncorrected)
{
	json_t *m =
		json_pack("{ss s[o] si s{sI sI}}", "op", "faults", "faults", hw_fault_json(f),
			  "more", 3, "total", "corrected", corrected, "uncorrected", uncorrected);

	health_message(&d, m);
	json_decref(m);
}

static unsigned events_of(const char *kind)
{
	json_t *all = read_all(), *o;
	unsigned n = 0;
	size_t i;

	json_array_foreach(all, i, o)
		if (!strcmp(json_string_value(json_object_get(o, "kind")), kind))
			n++;
	json_decref(all);
	return n;
}

static json_int_t errors_of(const char *severity)
{
	json_t *o = health_json(&d);
	json_int_t n = json_integer_value(json_object_get(json_object_get(o, "errors"), severity));

	json_decref(o);
	return n;
}

/* In order: what the daemon knows is of its whole life. */
static void unknown_until_somebody_reports(void **state)
{
	const char *why;

	(void)state;
	assert_string_equal(health_state(&why), "unknown");
	assert_true(*why);
	sources("tracefs is not mounted", false);
	assert_string_equal(health_state(&why), "unknown");
	assert_string_equal(why, "tracefs is not mounted");
	sources("", false);
	assert_string_equal(health_state(&why), "unknown");
	assert_non_null(strstr(why, "nothing on this host"));
	sources("", true);
	assert_string_equal(health_state(&why), "green");
	assert_string_equal(why, "");
}

static void a_corrected_error_is_counted_only(void **state)
{
	struct hw_fault f = fault(RAS_CORRECTED, 1);
	json_t *o, *list;

	(void)state;
	faults(&f, 2, 0);
	faults(&f, 4, 0);
	assert_int_equal(errors_of("corrected"), 4);
	assert_string_equal(health_state(NULL), "green");
	assert_int_equal(events_of("hardware-fault"), 0);
	o = health_json(&d);
	list = json_object_get(o, "faults");
	assert_int_equal(json_array_size(list), 1);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "count")), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "records")),
			 2);
	assert_int_equal(json_integer_value(json_object_get(o, "errors_not_shown")), 6);
	json_decref(o);
}

static void a_lost_page_is_an_event_once(void **state)
{
	struct hw_fault f = fault(RAS_UNCORRECTED, 2);
	const char *why;
	json_t *o;

	(void)state;
	f.fault.source = RAS_SRC_MF;
	f.fault.part = RAS_PART_MEMORY;
	f.fault.result = RAS_RESULT_FAILED;
	f.fault.owner = RAS_OWNER_KERNEL;
	f.fault.has_page = true;
	f.fault.page.n = 0x1234;
	for (int i = 1; i <= 100; i++)
		faults(&f, 4, 2 * i);
	assert_int_equal(events_of("hardware-fault"), 1);
	assert_int_equal(events_of("hardware-state"), 1);
	assert_int_equal(errors_of("uncorrected"), 200);
	assert_string_equal(health_state(&why), "red");
	assert_string_equal(why, "what CPU 2 says");
	o = health_json(&d);
	assert_int_equal(json_array_size(json_object_get(o, "causes")), 1);
	json_decref(o);
	health_clear(&d);
	assert_string_equal(health_state(&why), "green");
	assert_int_equal(events_of("hardware-state"), 2);
	assert_int_equal(errors_of("uncorrected"), 200);
}

static void counts_outlive_the_process(void **state)
{
	struct hw_fault f = fault(RAS_CORRECTED, 1);
	const char *why;

	(void)state;
	health_unwatched("it has ended");
	assert_string_equal(health_state(&why), "unknown");
	assert_string_equal(why, "it has ended");
	assert_int_equal(errors_of("corrected"), 4);
	sources("", true);
	faults(&f, 2, 0);
	assert_int_equal(errors_of("corrected"), 6);
	assert_int_equal(errors_of("uncorrected"), 200);
}

static void what_is_lost_is_an_event(void **state)
{
	json_t *shown;
	json_t *m = json_pack("{ss si si si}", "op", "counters", "lost", 0, "overrun", 0,
			      "broken_pages", 0);

	(void)state;
	health_message(&d, m);
	assert_int_equal(events_of("hardware-lost"), 0);
	/* It reports counters, and nothing else by their way. */
	json_object_set_new(m, "state", json_string("blue"));
	json_object_set_new(m, "overrun", json_integer(7));
	health_message(&d, m);
	health_message(&d, m);
	json_object_set_new(m, "overrun", json_integer(9));
	health_message(&d, m);
	assert_int_equal(events_of("hardware-lost"), 1);
	assert_string_equal(health_state(NULL), "yellow");
	shown = health_json(&d);
	assert_string_equal(json_string_value(json_object_get(shown, "state")), "yellow");
	json_decref(shown);
	health_clear(&d);
	json_decref(m);
}

static void the_last_different_ones_are_kept(void **state)
{
	struct hw_fault f;
	json_t *o, *list, *bad = json_pack("{ss s[s]}", "op", "faults", "faults", "no object");

	(void)state;
	health_message(&d, bad);
	json_decref(bad);
	for (unsigned cpu = 0; cpu < 3 * HEALTH_FAULTS; cpu++) {
		f = fault(RAS_CORRECTED, 100 + cpu);
		f.last_ns = INT64_MAX - 1000 + cpu;
		faults(&f, 2, 0);
	}
	o = health_json(&d);
	list = json_object_get(o, "faults");
	assert_int_equal(json_array_size(list), HEALTH_FAULTS);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "cpu")),
			 100 + 3 * HEALTH_FAULTS - 1);
	json_decref(o);
}

static void offered(struct session_register *r, const char *refusal)
{
	struct end e;

	kit_connect(&e);
	send_register(&e, r);
	kit_expect(&e, refusal ? SESSION_OP_REFUSE : SESSION_OP_GO);
	if (refusal)
		assert_non_null(
			strstr(json_string_value(json_object_get(kit_last(&e), "text")), refusal));
	else
		send_end(&e, SESSION_DISCARDED, 0, "");
	kit_hang_up(&e);
}

static void metrics_have(const char *color)
{
	json_t *o = health_metrics(&d), *worst = health_worst(1);

	assert_string_equal(json_string_value(json_object_get(o, "state")), color);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "causes"), color)),
			 1);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(o, "errors"), "uncorrected")),
		errors_of("uncorrected"));
	assert_null(json_object_get(json_object_get(o, "errors"), "nothing"));
	assert_true(json_is_integer(json_object_get(json_object_get(o, "errors"), "fatal")));
	assert_int_equal(json_array_size(worst), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(worst, 0), "state")),
			    color);
	json_decref(worst);
	json_decref(o);
}

/* Whatever the other host knows. */
static void a_sick_host_is_no_backup(void **state)
{
	struct hw_fault f = fault(RAS_UNCORRECTED, 2);
	struct session_register r = offer(3, "s1");

	(void)state;
	health_clear(&d);
	sources("", true);
	assert_int_equal(health_of_host(), FO_GREEN);
	offered(&r, NULL);
	f.fault.source = RAS_SRC_MF;
	f.fault.part = RAS_PART_MEMORY;
	f.fault.result = RAS_RESULT_RECOVERED;
	f.fault.owner = RAS_OWNER_FREE;
	f.fault.has_page = true;
	f.fault.page.n = 0x99;
	faults(&f, 0, 0);
	assert_int_equal(health_of_host(), FO_YELLOW);
	offered(&r, "the hardware of hostB is yellow: what CPU 2 says");
	assert_null(vm_by_id(&d, ID));
	r.by_operator = true;
	offered(&r, NULL);
	f.fault.owner = RAS_OWNER_KERNEL;
	f.fault.result = RAS_RESULT_IGNORED;
	faults(&f, 0, 200);
	assert_int_equal(health_of_host(), FO_RED);
	offered(&r, "the hardware of hostB is red");
	metrics_have("red");
	health_clear(&d);
	assert_int_equal(health_of_host(), FO_GREEN);
	r.by_operator = false;
	offered(&r, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unknown_until_somebody_reports),
		cmocka_unit_test(a_corrected_error_is_counted_only),
		cmocka_unit_test(a_lost_page_is_an_event_once),
		cmocka_unit_test(counts_outlive_the_process),
		cmocka_unit_test(what_is_lost_is_an_event),
		cmocka_unit_test(the_last_different_ones_are_kept),
		cmocka_unit_test(a_sick_host_is_no_backup),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
