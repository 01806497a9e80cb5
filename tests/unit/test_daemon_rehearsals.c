/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The history of rehearsals: bounded, kept over a restart, and never what a damaged file says. */
#include "events_kit.h"

#include <math.h>

static char file[300];

static int start(void **state)
{
	int rc = set_up(state);

	kit_path(file, sizeof(file), "rehearsals/" ID);
	return rc;
}

static struct rehearsal of_kind(enum rehearsal_kind kind, enum rehearsal_result result)
{
	return (struct rehearsal){
		.kind = kind, .result = result, .generation = 3, .by = "operator"};
}

static uint64_t whole(enum rehearsal_kind kind, enum rehearsal_result result, const char *reason)
{
	struct rehearsal r = of_kind(kind, result);
	uint64_t id = rehearsals_begin(&d, ID, "vm1", &r);

	tv_copy(r.reason, sizeof(r.reason), reason);
	assert_int_not_equal(id, 0);
	assert_int_equal(rehearsals_end(&d, ID, "vm1", id, &r), 0);
	return id;
}

static const char *word(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "(none)";
}

static void one_that_begins_and_ends_is_kept_over_a_restart(void **state)
{
	struct rehearsal r = of_kind(REHEARSAL_DRILL, REHEARSAL_PASSED);
	const struct rehearsal *last;
	uint64_t id;

	(void)state;
	strcpy(r.note, "after\nthe upgrade");
	id = rehearsals_begin(&d, ID, "vm1", &r);
	assert_int_equal(rehearsals_running(&d, ID, REHEARSAL_DRILL)->id, id);
	assert_null(rehearsals_last(&d, ID, REHEARSAL_DRILL, false));
	r.result = REHEARSAL_PASSED;
	r.epoch = 77;
	r.figures = json_pack("{sf}", "gap_ms", 12.5);
	assert_int_equal(rehearsals_end(&d, ID, "vm1", id, &r), 0);
	assert_int_equal(rehearsals_end(&d, ID, "vm1", id, &r), -ENOENT);
	rehearsals_stop(&d);
	last = rehearsals_last(&d, ID, REHEARSAL_DRILL, true);
	assert_non_null(last);
	assert_int_equal(last->epoch, 77);
	assert_int_equal(last->generation, 3);
	assert_string_equal(last->note, "after the upgrade");
	assert_true(last->ended >= last->started);
	assert_true(json_real_value(json_object_get(last->figures, "gap_ms")) > 12);
	assert_null(rehearsals_running(&d, ID, REHEARSAL_DRILL));
}

static void each_end_is_one_event(void **state)
{
	struct rehearsal no = of_kind(REHEARSAL_TEST_FAILOVER, REHEARSAL_REFUSED);
	json_t *list;

	(void)state;
	whole(REHEARSAL_DRILL, REHEARSAL_PASSED, "");
	whole(REHEARSAL_VERIFY, REHEARSAL_FAILED, "1 page differs");
	strcpy(no.reason, "hostB is red");
	rehearsals_refused(&d, ID, "vm1", &no);
	list = read_all();
	assert_int_equal(json_array_size(list), 5);
	assert_string_equal(text_at(list, 0, "kind"), "rehearsal-begun");
	assert_string_equal(text_at(list, 1, "kind"), "rehearsal-passed");
	assert_string_equal(text_at(list, 3, "text"), "vm1: the verify failed: 1 page differs");
	assert_string_equal(text_at(list, 4, "kind"), "rehearsal-failed");
	assert_string_equal(text_at(list, 4, "text"),
			    "vm1: the test-failover was refused: hostB is red");
	json_decref(list);
}

static void what_status_shows_is_never_pushed_out(void **state)
{
	uint64_t passed = whole(REHEARSAL_DRILL, REHEARSAL_PASSED, "");
	uint64_t verified = whole(REHEARSAL_VERIFY, REHEARSAL_FAILED, "x");
	json_t *all;

	(void)state;
	for (int i = 0; i < 3 * REHEARSALS_KEPT; i++)
		whole(REHEARSAL_DRILL, REHEARSAL_FAILED, "no");
	rehearsals_stop(&d);
	all = rehearsals_json(&d, ID, 0, true);
	assert_int_equal(json_array_size(all), REHEARSALS_KEPT);
	json_decref(all);
	assert_int_equal(rehearsals_last(&d, ID, REHEARSAL_DRILL, true)->id, passed);
	assert_int_equal(rehearsals_last(&d, ID, REHEARSAL_VERIFY, false)->id, verified);
	assert_null(rehearsals_last(&d, ID, REHEARSAL_VERIFY, true));
}

static void status_has_the_last_of_each_kind(void **state)
{
	struct rehearsal r = of_kind(REHEARSAL_SNAPSHOT, REHEARSAL_PASSED);
	json_t *s, *one;

	(void)state;
	s = rehearsals_status(&d, ID);
	assert_int_equal(json_object_size(s), 0);
	json_decref(s);
	whole(REHEARSAL_DRILL, REHEARSAL_PASSED, "");
	whole(REHEARSAL_DRILL, REHEARSAL_FAILED, "no way back");
	rehearsals_begin(&d, ID, "vm1", &r);
	s = rehearsals_status(&d, ID);
	one = json_object_get(s, "drill");
	assert_string_equal(word(json_object_get(one, "last"), "result"), "failed");
	assert_string_equal(word(json_object_get(one, "last"), "reason"), "no way back");
	assert_true(json_real_value(json_object_get(one, "passed")) > 0);
	/* A name with other letters would have the whole view refused by other hosts. */
	assert_string_equal(rehearsal_key(REHEARSAL_TEST_FAILOVER), "test_failover");
	for (int k = 0; k < REHEARSAL_KINDS; k++)
		assert_int_equal(strspn(rehearsal_key((enum rehearsal_kind)k),
					"abcdefghijklmnopqrstuvwxyz_"),
				 strlen(rehearsal_key((enum rehearsal_kind)k)));
	one = json_object_get(s, "snapshot");
	assert_null(json_object_get(one, "last"));
	assert_string_equal(word(json_object_get(one, "running"), "result"), "running");
	json_decref(s);
}

static void what_ran_when_the_daemon_died_was_cut_short(void **state)
{
	struct rehearsal r = of_kind(REHEARSAL_DRILL, REHEARSAL_PASSED);

	(void)state;
	rehearsals_begin(&d, ID, "vm1", &r);
	rehearsals_stop(&d);
	rehearsals_cut_short(&d, NULL, REHEARSAL_VERIFY, "twinvmd has ended");
	assert_non_null(rehearsals_running(&d, ID, REHEARSAL_DRILL));
	rehearsals_cut_short(&d, NULL, REHEARSAL_DRILL, "twinvmd has ended");
	assert_null(rehearsals_running(&d, ID, REHEARSAL_DRILL));
	assert_int_equal(rehearsals_last(&d, ID, REHEARSAL_DRILL, false)->result,
			 REHEARSAL_CUT_SHORT);
}

static void figures_that_are_too_long_are_left_out(void **state)
{
	struct rehearsal r = of_kind(REHEARSAL_VERIFY, REHEARSAL_PASSED);
	char *text = calloc(1, REHEARSAL_FIGURES_BYTES + 1);
	uint64_t id = rehearsals_begin(&d, ID, "vm1", &r);

	(void)state;
	memset(text, 'x', REHEARSAL_FIGURES_BYTES);
	r.result = REHEARSAL_PASSED;
	r.figures = json_pack("{ss}", "text", text);
	free(text);
	assert_int_equal(rehearsals_end(&d, ID, "vm1", id, &r), 0);
	assert_null(r.figures);
	assert_null(rehearsals_last(&d, ID, REHEARSAL_VERIFY, true)->figures);
	assert_non_null(
		strstr(rehearsals_last(&d, ID, REHEARSAL_VERIFY, true)->reason, "too long"));
}

static void a_full_disk_is_no_warning_of_a_mere_date(void **state)
{
	char folder[300], away[310], warning[300];

	(void)state;
	kit_path(folder, sizeof(folder), "rehearsals");
	snprintf(away, sizeof(away), "%s.away", folder);
	assert_int_equal(rename(folder, away), 0);
	assert_true(rehearsals_since(&d, ID, 1000) == 1000);
	durable_warning(&d, warning, sizeof(warning));
	assert_string_equal(warning, "");
	assert_int_equal(rename(away, folder), 0);
	assert_true(rehearsals_since(&d, ID, 2000) == 2000);
	rehearsals_stop(&d);
	assert_true(rehearsals_since(&d, ID, 3000) == 2000);
}

static void no_file_is_made_for_what_is_no_vm(void **state)
{
	struct rehearsal r = of_kind(REHEARSAL_DRILL, REHEARSAL_PASSED);

	(void)state;
	r.figures = json_object();
	assert_int_equal(rehearsals_begin(&d, "../../etc/passwd", "vm1", &r), 0);
	assert_null(r.figures);
	assert_null(rehearsals_last(&d, "..", REHEARSAL_DRILL, false));
}

#define GOOD(id)                                                                              \
	"{\"id\":" #id ",\"kind\":\"drill\",\"result\":\"passed\",\"started\":1.5,\"ended\":" \
	"2.5,\"generation\":1,\"epoch\":2,\"by\":\"operator\",\"reason\":\"\",\"note\":\"\"}"

static unsigned kept(const char *text)
{
	json_t *all;
	unsigned n;

	rehearsals_stop(&d);
	assert_int_equal(tv_write_file(file, text, strlen(text)), 0);
	all = rehearsals_json(&d, ID, 0, true);
	n = (unsigned)json_array_size(all);
	json_decref(all);
	return n;
}

/* `was` is replaced in a good entry, which must then be passed over; the one after it stays. */
static void is_passed_over(const char *was, const char *becomes)
{
	const char *good = GOOD(1), *at = strstr(good, was);
	char text[4096];

	assert_non_null(at);
	snprintf(text, sizeof(text), "{\"list\":[%.*s%s%s,%s]}", (int)(at - good), good, becomes,
		 at + strlen(was), GOOD(2));
	if (kept(text) != 1)
		fail_msg("taken: %s", text);
	assert_int_equal(rehearsals_last(&d, ID, REHEARSAL_DRILL, true)->id, 2);
}

static void a_damaged_file_is_no_history(void **state)
{
	static const char *const files[] = {
		"", "x", "[]", "{}", "{\"list\":", "{\"list\":3}", "{\"list\":[1,null,[]]}"};
	char text[8000], by[200];

	(void)state;
	assert_int_equal(kept("{\"list\":[" GOOD(1) "," GOOD(2) "]}"), 2);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		assert_int_equal(kept(files[i]), 0);
	is_passed_over("\"drill\"", "\"party\"");
	is_passed_over("\"passed\"", "\"won\"");
	is_passed_over("\"passed\"", "\"running\"");
	is_passed_over(",\"ended\":2.5", "");
	is_passed_over("1.5", "-1");
	is_passed_over("1.5", "1e300");
	is_passed_over("2.5", "\"soon\"");
	is_passed_over("\"id\":1", "\"id\":0");
	is_passed_over("\"id\":1", "\"id\":-4");
	snprintf(by, sizeof(by), "\"%0*d\"", (int)sizeof(((struct rehearsal *)0)->by), 0);
	is_passed_over("\"operator\"", by);
	is_passed_over("\"note\":\"\"", "\"note\":\"\",\"figures\":[1]");
	/* An id that is not above the one before: of which of the two is what follows? */
	assert_int_equal(kept("{\"list\":[" GOOD(7) "," GOOD(7) "]}"), 1);
	/* What another has written with control characters is shown as one line. */
	snprintf(text, sizeof(text),
		 "{\"list\":[%.*s\"reason\":\"a\\u001b[2J\\nb\",\"note\":\"\"}]}",
		 (int)(strstr(GOOD(1), "\"reason\"") - GOOD(1)), GOOD(1));
	assert_int_equal(kept(text), 1);
	assert_null(strchr(rehearsals_last(&d, ID, REHEARSAL_DRILL, true)->reason, '\033'));
}

static void a_file_with_too_many_entries_is_bounded(void **state)
{
	struct tv_buf b;
	char one[400];

	(void)state;
	tv_buf_init(&b, REHEARSALS_FILE_BYTES);
	assert_int_equal(tv_buf_add(&b, "{\"list\":[", 9), 0);
	for (int i = 1; i <= 500; i++) {
		snprintf(one, sizeof(one), "%s%.6s%d%s", i > 1 ? "," : "", GOOD(1), i,
			 GOOD(1) + strlen("{\"id\":1"));
		assert_int_equal(tv_buf_add(&b, one, strlen(one)), 0);
	}
	assert_int_equal(tv_buf_add(&b, "]}", 3), 0);
	assert_int_equal(kept((const char *)b.data), REHEARSALS_KEPT);
	assert_int_equal(rehearsals_last(&d, ID, REHEARSAL_DRILL, true)->id, 500);
	tv_buf_dispose(&b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, start, tear_down)
	const struct CMUnitTest tests[] = {
		T(one_that_begins_and_ends_is_kept_over_a_restart),
		T(each_end_is_one_event),
		T(what_status_shows_is_never_pushed_out),
		T(status_has_the_last_of_each_kind),
		T(what_ran_when_the_daemon_died_was_cut_short),
		T(figures_that_are_too_long_are_left_out),
		T(a_full_disk_is_no_warning_of_a_mere_date),
		T(no_file_is_made_for_what_is_no_vm),
		T(a_damaged_file_is_no_history),
		T(a_file_with_too_many_entries_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
