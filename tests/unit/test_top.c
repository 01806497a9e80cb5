/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm top, without a terminal: from answers of twinvmd to the lines of a screen. */
#include "cli/top.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define AT 1795700000.0 /* when the daemon answers */
#define ESC "\x1b"

static struct top t;
static struct top_page page;
static struct top_screen s;
static json_t *vms;

static int set_up(void **state)
{
	(void)state;
	t = (struct top){.utf8 = true, .data_s = NAN, .every_s = 1};
	s = (struct top_screen){.width = 80, .height = 24, .now_s = 1000, .interval_s = 1};
	vms = json_array();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	top_page_dispose(&page);
	top_dispose(&t);
	json_decref(vms);
	return 0;
}

static json_t *vm(const char *name, const char *state)
{
	char id[33];
	json_t *o;

	snprintf(id, sizeof(id), "%032zu", json_array_size(vms) + 1);
	o = json_pack("{ss ss ss ss ss si sf sf sb s{sf sf sf} s{sf} s{si} ss}", "id", id, "name",
		      name, "role", "primary", "peer", "hostB", "state", state, "generation", 1,
		      "last_commit_time", AT - 0.041, "state_since", AT - 500, "failover_allowed",
		      1, "pause_ms", "p50", 3.2, "p99", 9.0, "max", 30.0, "epoch_ms", "p50", 100.0,
		      "dirty_pages", "p50", 312, "wanted", "protected");
	assert_non_null(o);
	json_array_append_new(vms, o);
	return o;
}

static void set(json_t *o, const char *key, json_t *value)
{
	json_object_set_new(o, key, value);
}

/* The daemon answers at that time of the program's clock. */
static void answer(double now_s)
{
	json_t *all =
		json_pack("{ss sf sO}", "host", "hostA", "time", AT + now_s - 1000, "vms", vms);

	assert_int_equal(top_take(&t, all, now_s), 0);
	json_decref(all);
}

/* No line may reach a terminal that has what could control it, or is wider than the screen. */
static void check_lines(void)
{
	for (unsigned i = 0; i < page.n; i++) {
		const struct top_line *l = &page.lines[i];

		if (top_columns(l->text) > s.width || l->columns != top_columns(l->text))
			fail_msg("%u columns of %u: %s", top_columns(l->text), s.width, l->text);
		for (const char *p = l->text; *p; p++) {
			unsigned char c = (unsigned char)*p;

			assert_true(c >= ' ' && c != 0x7f);
			assert_true(t.utf8 || c < 0x80);
			assert_false(c == 0xc2 && (unsigned char)p[1] < 0xa0); /* C1 */
		}
		assert_true(tv_is_utf8(l->text));
	}
}

static void show(void)
{
	top_page_dispose(&page);
	top_view(&t, &s, &page);
	check_lines();
	if (s.height)
		assert_int_equal(page.n, s.height);
}

/* The first line that has the text; NULL: none. */
static const struct top_line *find(const char *text)
{
	for (unsigned i = 0; i < page.n; i++)
		if (strstr(page.lines[i].text, text))
			return &page.lines[i];
	return NULL;
}

static const struct top_line *line(const char *text)
{
	const struct top_line *l = find(text);

	if (!l) {
		for (unsigned i = 0; i < page.n; i++)
			print_message("%s\n", page.lines[i].text);
		fail_msg("no line has '%s'", text);
	}
	return l;
}

static bool has_style(enum top_style style)
{
	for (unsigned i = 0; i < page.n; i++)
		for (unsigned k = 0; k < page.lines[i].spans; k++)
			if (page.lines[i].span[k].style == style)
				return true;
	return false;
}

/* ---- widths ---- */
static void every_width_has_its_columns(void **state)
{
	json_t *o = vm("web1", "protected");

	(void)state;
	set(o, "wire_bytes_s", json_real(12.3e6));
	set(o, "cpu_percent", json_real(34));
	set(o, "memory_bytes", json_integer(512000000));
	answer(1000);
	for (s.width = 1; s.width <= 260; s.width++)
		show();
	s.width = 40;
	show();
	assert_non_null(strstr(line("web1")->text, "protected"));
	assert_non_null(strstr(line("web1")->text, "41 ms"));
	assert_null(find("PAUSE"));
	s.width = 80;
	show();
	assert_non_null(strstr(line("web1")->text, "● primary → hostB"));
	assert_non_null(strstr(line("web1")->text, "3.2 ms"));
	assert_non_null(strstr(line("web1")->text, "▂"));
	line("1 of 1 protected, worst lag 41 ms");
	s.width = 200;
	show();
	assert_non_null(strstr(line("web1")->text, "12 MB/s"));
	assert_non_null(strstr(line("web1")->text, "34%"));
	assert_non_null(strstr(line("web1")->text, "512 MB"));
	line("losing nothing that was seen; its state there is 41 ms old");
	t.utf8 = false;
	show();
	assert_non_null(strstr(line("web1")->text, "* primary -> hostB"));
}

static void a_table_is_printed_once(void **state)
{
	(void)state;
	s.height = 0;
	show(); /* before any answer */
	for (int i = 0; i < 100; i++)
		vm("many", "protected");
	answer(1000);
	show();
	assert_int_equal(page.n, 2 + 100);
	assert_null(find("q quit"));
	assert_false(has_style(TOP_SELECTED));
}

/* ---- order ---- */
static unsigned row_of(const char *name)
{
	return (unsigned)(line(name) - page.lines);
}

static void problems_come_first(void **state)
{
	json_t *o;

	(void)state;
	vm("aaa", "protected");
	o = vm("bbb", "protected");
	set(o, "last_commit_time", json_real(AT - 3));
	set(o, "wire_bytes_s", json_real(5));
	o = vm("ccc", "alone");
	set(o, "reason", json_string("the backup is lost"));
	o = vm("ddd", "protected");
	set(o, "failover_allowed", json_false());
	set(o, "failover_reason", json_string("no arbiter"));
	answer(1000);
	show();
	assert_true(row_of("ccc") < row_of("bbb") && row_of("bbb") < row_of("ddd") &&
		    row_of("ddd") < row_of("aaa"));
	line("    the backup is lost");
	line("    no automatic failover: no arbiter");
	line("3 of 4 protected");
	s.sort = TOP_BY_NAME;
	show();
	assert_true(row_of("aaa") < row_of("bbb") && row_of("bbb") < row_of("ccc"));
	s.sort = TOP_BY_WIRE;
	show();
	assert_true(row_of("bbb") < row_of("aaa"));
	s.problems = true;
	show();
	assert_null(find("aaa"));
	line("ccc");
	assert_true(has_style(TOP_BAD) && has_style(TOP_WARN));
}

/* A word that is a column too long for its line is cut, and nothing behind it is read. */
static void a_long_word_is_cut(void **state)
{
	json_t *o = vm("web1", "alone");
	char word[78];

	(void)state;
	memset(word, 'w', sizeof(word) - 1);
	word[sizeof(word) - 1] = 0;
	set(o, "reason", json_string(word));
	answer(1000);
	tv_copy(t.vms[0].reason + sizeof(word), 20, "behind it");
	s.height = 0;
	show();
	line("www…");
	assert_null(find("ehind"));
}

static void the_selected_one_is_seen(void **state)
{
	char name[20];

	(void)state;
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "vm%02d", i);
		vm(name, "protected");
	}
	answer(1000);
	show();
	line("vm00");
	assert_null(find("vm59"));
	line("more lines");
	tv_copy(s.selected, sizeof(s.selected), t.vms[59].key);
	show();
	assert_int_equal(line("vm59")->span[0].style, TOP_SELECTED);
	assert_null(find("vm00"));
	tv_copy(s.selected, sizeof(s.selected), t.vms[30].key);
	s.height = 10;
	show();
	line("vm30");
	s.selected[0] = 0;
	for (s.height = 8; s.height < 40; s.height++)
		show();
}

/* ---- ages ---- */
static void the_lag_grows_when_commits_stop(void **state)
{
	(void)state;
	s.height = 0; /* nothing is selected */
	vm("web1", "protected");
	answer(1000);
	s.now_s = 1000.9; /* the next answer is not late */
	show();
	assert_non_null(strstr(line("web1")->text, " 41 ms"));
	answer(1004); /* the daemon answers, and nothing was committed */
	s.now_s = 1004;
	show();
	assert_non_null(strstr(line("web1")->text, " 4.0 s"));
	assert_true(has_style(TOP_WARN));
	s.now_s = 1026; /* nor does the daemon answer */
	show();
	assert_non_null(strstr(line("web1")->text, " 26 s"));
}

static void old_data_are_grey(void **state)
{
	(void)state;
	vm("web1", "protected");
	answer(1000);
	s.width = 120;
	show();
	assert_true(has_style(TOP_GOOD));
	assert_non_null(strstr(line("web1")->text, "✔ protected"));
	line("1 of 1 VMs protected");
	line("0 s ago");
	s.now_s = 1012;
	top_away(&t, "twinvmd is away", 1002);
	show();
	assert_false(has_style(TOP_GOOD));
	assert_non_null(strstr(line("web1")->text, "? protected"));
	line("✘ twinvmd is away");
	line("for 10 s: what is shown is old");
	line("12 s ago");
	line("If hostA died now: not known.");
	answer(1013); /* it is back */
	s.now_s = 1013;
	show();
	assert_null(find("away"));
}

static void what_is_not_known_is_no_number(void **state)
{
	json_t *o = vm("web1", "syncing");

	(void)state;
	json_object_del(o, "last_commit_time"); /* before the first commit: not since 1970 */
	json_object_del(o, "state_since");
	json_object_del(o, "pause_ms");
	set(o, "progress", json_real(0.2));
	answer(1000);
	s.width = 200;
	show();
	assert_null(strstr(line("web1")->text, "1970"));
	assert_null(strstr(line("web1")->text, " ms"));
	assert_null(find("worst lag"));
	assert_null(find("left"));
	set(o, "progress", json_real(0.4));
	answer(1010);
	s.now_s = 1010;
	show();
	line("40 %, about 30 s left");
	s.detail = true;
	show();
	assert_null(find("nan"));
	json_array_clear(vms);
	answer(1011);
	s.detail = false;
	show();
	line("no protected VMs");
}

/* ---- hostile texts ---- */
static void names_cannot_control_a_terminal(void **state)
{
	static const char *const names[] = {ESC "[2J",
					    "a\nb\tc\r",
					    "\302\23331m",
					    "\342\200\256evil",
					    "e\314\201\314\201",
					    "\357\277\277",
					    "\342\200\213",
					    "名前",
					    "-n",
					    "%s%n",
					    ""};
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		json_t *o = vm(names[i], names[i]);

		set(o, "peer", json_string(names[i]));
		set(o, "reason", json_string(names[i]));
		set(o, "warning", json_string(names[i]));
		set(o, "failover_reason", json_string(names[i]));
		set(o, "next_action", json_string(names[i]));
		set(o, "role", json_string(i % 2 ? "backup" : "primary"));
		set(o, "arbiter", json_string(names[i]));
		set(o, "qemu", json_string(names[i]));
	}
	for (int ascii = 0; ascii < 2; ascii++) {
		t.utf8 = !ascii;
		answer(1000);
		for (s.width = 1; s.width < 130; s.width += 9)
			show();
		s.detail = true;
		for (unsigned i = 0; i < t.n; i++) {
			tv_copy(s.selected, sizeof(s.selected), t.vms[i].key);
			show();
		}
		s.detail = false;
	}
	top_clean(text, sizeof(text), ESC "[31m\342\200\256名x\377", true);
	assert_string_equal(text, "?[31m?名x?");
	top_clean(text, sizeof(text), "名x", false);
	assert_string_equal(text, "?x");
	top_clean(text, 4, "aa名", true); /* no room for half a letter */
	assert_string_equal(text, "aa");
}

static void strange_answers_are_refused(void **state)
{
	static const char *const texts[] = {"{}", "[]", "{\"vms\": 7}", "{\"vms\": {}}"};
	json_t *o;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		o = json_loads(texts[i], 0, NULL);
		assert_int_equal(top_take(&t, o, 1000), -EINVAL);
		json_decref(o);
	}
	json_array_append_new(vms, json_integer(3));
	json_array_append_new(vms, json_pack("{si sn s[]}", "name", 3, "role", "state"));
	o = vm("odd", "protected");
	set(o, "pause_ms", json_string("x"));
	set(o, "last_commit_time", json_real(-1e300));
	set(o, "progress", json_real(1e300));
	set(o, "wire_bytes_s", json_real(1e300));
	set(o, "cpu_percent", json_real(-1e300));
	answer(1000);
	for (s.width = 10; s.width < 220; s.width += 30)
		show();
	s.detail = true;
	show();
}

/* ---- one VM ---- */
static void a_vm_is_shown_whole(void **state)
{
	json_t *o = vm("web1", "protected"), *events;

	(void)state;
	set(o, "arbiter", json_string("etcd://a:1"));
	set(o, "arbiter_state", json_string("unreachable"));
	set(o, "arbiter_since", json_real(AT - 60));
	set(o, "failover_allowed", json_false());
	set(o, "failover_reason", json_string("hostA cannot reach the arbiter"));
	set(o, "rtt_ms", json_real(0.31));
	answer(1000);
	events = json_pack("{s[{sI ss ss}]}", "events", "unix_ms", (json_int_t)((AT - 9) * 1000),
			   "host", "hostA", "text", "web1 is protected" ESC);
	top_take_events(&t, t.vms[0].id, events);
	json_decref(events);
	s.detail = true;
	show();
	line("● web1  primary on hostA → hostB, generation 1");
	line("p50 3.2 ms, p99 9.0 ms, longest 30 ms");
	line("round trip 0.3 ms");
	line("etcd://a:1: unreachable since");
	line("web1 is protected?");
	line("If hostA died now: web1 does not continue by itself");
	assert_true(has_style(TOP_BAD));
	s.height = 10; /* scrolls */
	s.first = 1000;
	show();
	line("web1 is protected?");
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {T(every_width_has_its_columns),
					   T(a_table_is_printed_once),
					   T(problems_come_first),
					   T(the_selected_one_is_seen),
					   T(a_long_word_is_cut),
					   T(the_lag_grows_when_commits_stop),
					   T(old_data_are_grey),
					   T(what_is_not_known_is_no_number),
					   T(names_cannot_control_a_terminal),
					   T(strange_answers_are_refused),
					   T(a_vm_is_shown_whole)};

	setenv("TZ", "UTC", 1);
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return 1;
	return cmocka_run_group_tests_name("top", tests, NULL, NULL);
}
