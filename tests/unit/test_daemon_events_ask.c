/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands about events: which are answered, what follows them, who listens, who acknowledges. */
#include "events_kit.h"

/* ---- commands ---- */
static json_t *ask(struct end *e, json_t *request)
{
	kit_connect(e);
	ctl_send(e->there, request);
	kit_settle();
	return kit_last(e);
}

static void command_selects(void **state)
{
	struct events_about a = {.vm = "vm1", .vm_id = ID}, b = {.vm = "vm2", .vm_id = OTHER};
	struct end e;
	json_t *got, *list;

	(void)state;
	events_add(&d, EVENTS_PROTECTED, &a, NULL, "1");
	events_add(&d, EVENTS_PROTECTED, &b, NULL, "2");
	events_add(&d, EVENTS_DAEMON_STARTED, NULL, NULL, "3");
	got = ask(&e, json_pack("{ss}", "op", "events"));
	assert_true(json_is_true(json_object_get(got, "done")));
	assert_int_equal(json_array_size(json_object_get(got, "events")), 3);
	kit_hang_up(&e);
	got = ask(&e, json_pack("{ss ss}", "op", "events", "vm", "vm2"));
	list = json_object_get(got, "events");
	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(text_at(list, 0, "text"), "2");
	kit_hang_up(&e);
	got = ask(&e, json_pack("{ss sI}", "op", "events", "since_ms", INT64_MAX));
	assert_int_equal(json_array_size(json_object_get(got, "events")), 0);
	assert_int_equal(json_integer_value(json_object_get(got, "rc")), 0);
	kit_hang_up(&e);
	got = ask(&e, json_pack("{ss si}", "op", "events", "limit", 2));
	assert_int_equal(json_array_size(json_object_get(got, "events")), 2);
	assert_true(json_is_true(json_object_get(got, "more")));
	kit_hang_up(&e);
	/* ids of a store that is gone */
	got = ask(&e, json_pack("{ss sI}", "op", "events", "after_id", INT64_C(1) << 50));
	assert_int_equal(json_array_size(json_object_get(got, "events")), 3);
	kit_hang_up(&e);
	got = ask(&e, json_pack("{ss ss}", "op", "events", "vm", "no-such"));
	assert_int_equal(json_integer_value(json_object_get(got, "rc")), -ENOENT);
	kit_hang_up(&e);
	/* known, and nothing has happened to it */
	events_stop(&d);
	unlink(newest);
	events_start(&d);
	kit_vm(SESSION_PRIMARY);
	got = ask(&e, json_pack("{ss ss}", "op", "events", "vm", "vm1"));
	assert_int_equal(json_integer_value(json_object_get(got, "rc")), 0);
	kit_hang_up(&e);
}

static void followers_get_what_comes(void **state)
{
	struct events_about a = {.vm = "vm1", .vm_id = ID};
	struct end all, one, many[17];
	json_t *got;

	(void)state;
	events_add(&d, EVENTS_PROTECTED, &a, NULL, "old");
	got = ask(&all, json_pack("{ss sb}", "op", "events", "follow", 1));
	assert_null(json_object_get(got, "done"));
	assert_int_equal(json_array_size(json_object_get(got, "events")), 1);
	ask(&one, json_pack("{ss ss sb}", "op", "events", "vm", "vm1", "follow", 1));
	events_add(&d, EVENTS_ALONE, &a, NULL, "new");
	events_add(&d, EVENTS_DAEMON_STOPPED, NULL, NULL, "of no VM");
	kit_settle();
	assert_int_equal(json_array_size(all.got), 3);
	assert_int_equal(json_array_size(one.got), 2);
	assert_string_equal(text_at(json_object_get(kit_last(&all), "events"), 0, "text"),
			    "of no VM");
	assert_string_equal(text_at(json_object_get(kit_last(&one), "events"), 0, "text"), "new");
	kit_hang_up(&one);
	kit_settle();
	events_add(&d, EVENTS_ALONE, &a, NULL, "newer");
	kit_settle();
	assert_int_equal(json_array_size(all.got), 4);
	for (int i = 0; i < 16; i++)
		got = ask(&many[i], json_pack("{ss sb}", "op", "events", "follow", 1));
	assert_int_equal(json_integer_value(json_object_get(got, "rc")), -EBUSY);
	for (int i = 0; i < 16; i++)
		kit_hang_up(&many[i]);
	kit_hang_up(&all);
	kit_settle();
}

static void on_new(const json_t *o, void *arg)
{
	tv_copy(arg, 64, json_string_value(json_object_get(o, "text")));
}

static void listeners_get_each_once(void **state)
{
	char last[64] = "";

	(void)state;
	events_on_new(&d, on_new, last);
	events_add(&d, EVENTS_ALONE, NULL, NULL, "now");
	assert_string_equal(last, "now");
}

/* ---- acknowledging ---- */
static void only_failovers_are_acknowledged(void **state)
{
	struct events_about a = {.vm = "vm1", .vm_id = ID};
	struct end e;
	json_t *list, *got;
	json_int_t id;

	(void)state;
	events_add(&d, EVENTS_FAILOVER, &a, NULL, "vm1 failed over");
	events_add(&d, EVENTS_PROTECTED, &a, NULL, "vm1 is protected");
	list = read_all();
	id = id_at(list, 0);
	assert_string_equal(text_at(list, 0, "acknowledged"), "");
	assert_string_equal(text_at(list, 1, "acknowledged"), "(none)");
	got = ask(&e, json_pack("{ss sI}", "op", "events-ack", "id", id_at(list, 1)));
	assert_int_equal(json_integer_value(json_object_get(got, "rc")), -EINVAL);
	kit_hang_up(&e);
	got = ask(&e, json_pack("{ss si}", "op", "events-ack", "id", 12));
	assert_int_equal(json_integer_value(json_object_get(got, "rc")), -ENOENT);
	kit_hang_up(&e);
	json_decref(list);
	for (int i = 0; i < 2; i++) { /* once more is no error, and no event */
		got = ask(&e, json_pack("{ss sI ss}", "op", "events-ack", "id", id, "by",
					i ? "eve" : "al\nice"));
		assert_int_equal(json_integer_value(json_object_get(got, "rc")), 0);
		kit_hang_up(&e);
	}
	for (int i = 0; i < 2; i++) {
		list = read_all();
		assert_int_equal(json_array_size(list), 3);
		assert_int_equal(strlen(text_at(list, 0, "acknowledged")), 24);
		assert_string_equal(text_at(list, 2, "kind"), "acknowledged");
		assert_string_equal(text_at(list, 2, "vm"), "vm1");
		assert_string_equal(text_at(list, 0, "acknowledged_by"), "al ice");
		assert_non_null(strstr(text_at(list, 2, "text"), "acknowledged by al ice"));
		json_decref(list);
		list = events_read(&d, &(struct events_query){.failovers = true}, NULL);
		assert_int_equal(json_array_size(list), 1);
		json_decref(list);
		restart();
	}
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(command_selects),
		CASE(followers_get_what_comes),
		CASE(listeners_get_each_once),
		CASE(only_failovers_are_acknowledged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
