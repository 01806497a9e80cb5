/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP's texts on their way through libvirt: ids out and in, events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "lv/qmp_text.h"

static void is_taken(const char *object, const char *want_id, const char *want_rest)
{
	char id[16], *rest;

	assert_int_equal(lv_take_id(object, id, sizeof(id), &rest), 0);
	assert_string_equal(id, want_id);
	assert_string_equal(rest, want_rest);
	free(rest);
}

static void ids_are_taken_out(void **state)
{
	(void)state;
	is_taken("{\"id\":\"a-1\",\"execute\":\"stop\"}\n", "a-1", "{\"execute\":\"stop\"}");
	is_taken(" { \"return\" : { } , \"id\" : \"libvirt-7\" } ", "libvirt-7",
		 "{\"return\":{ }}");
	is_taken("{\"return\":[],\"id\":\"x\",\"y\":1}", "x", "{\"return\":[],\"y\":1}");
	is_taken("{\"id\":\"x\"}", "x", "{}");
	is_taken("{}", "", "{}");
	/* Only the top-level one, and no text that looks like one. */
	is_taken("{\"return\":{\"id\":\"in\",\"a\":[{\"id\":\"in2\"}]},\"id\":\"out\"}", "out",
		 "{\"return\":{\"id\":\"in\",\"a\":[{\"id\":\"in2\"}]}}");
	is_taken("{\"return\":\"a,\\\"id\\\":\\\"b\\\"}]\\\\\",\"id\":\"c\"}", "c",
		 "{\"return\":\"a,\\\"id\\\":\\\"b\\\"}]\\\\\"}");
	/* Numbers that a parser could not hold stay as they are. */
	is_taken("{\"return\":18446744073709551615,\"id\":\"n\"}", "n",
		 "{\"return\":18446744073709551615}");
}

static void what_is_no_object_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"x",
		"[]",
		"{",
		"{\"id\"",
		"{\"id\":",
		"{\"id\":\"x\"",
		"{\"id\":\"x",
		"{\"a\":[1,2}",
		"{a:1}",
		"{\"a\" 1}",
		"{\"a\":}",
		"{\"a\":\"\\\"}",
		"{\"a\":{\"b\":1}",
		"{\"a\":1,,}",
	};
	char id[16], *rest;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_true(lv_take_id(bad[i], id, sizeof(id), &rest) < 0);
		assert_null(rest);
	}
	assert_int_equal(lv_take_id("{\"id\":\"0123456789abcdef\"}", id, sizeof(id), &rest),
			 -E2BIG);
	assert_int_equal(lv_take_id("{\"id\":5}", id, sizeof(id), &rest), -E2BIG);
}

static void ids_are_put_in(void **state)
{
	TV_FREE char *a = lv_put_id("{\"return\":{}}", "s-1"), *b = lv_put_id(" { }", "s-1");

	(void)state;
	assert_string_equal(a, "{\"id\":\"s-1\",\"return\":{}}");
	assert_string_equal(b, "{\"id\":\"s-1\"}");
	assert_null(lv_put_id("[]", "s-1"));
}

static void commands_have_names(void **state)
{
	char name[16];

	(void)state;
	assert_true(lv_command_name("{\"arguments\":{\"execute\":\"no\"},\"execute\":\"stop\"}",
				    name, sizeof(name)));
	assert_string_equal(name, "stop");
	assert_false(lv_command_name("{\"execute\":5}", name, sizeof(name)));
	assert_false(lv_command_name("{}", name, sizeof(name)));
}

static void events_are_as_of_qemu(void **state)
{
	TV_FREE char *a = lv_event_text("STOP", NULL, 12, 34), *b = NULL, *c = NULL;
	json_t *j;

	(void)state;
	/* What hv/ looks for in the text. */
	assert_non_null(strstr(a, "\"STOP\""));
	assert_int_equal(a[strlen(a) - 1], '\n');
	b = lv_event_text("BLOCK_JOB_ERROR", "{\"device\":\"d\"}", 12, 34);
	j = json_loads(b, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(j, "event")), "BLOCK_JOB_ERROR");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(j, "data"), "device")), "d");
	json_decref(j);
	c = lv_refusal("it says \"no\"\n");
	j = json_loads(c, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(json_object_get(j, "error"), "desc")),
			    "it says \"no\"\n");
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_taken_out),
		cmocka_unit_test(what_is_no_object_is_refused),
		cmocka_unit_test(ids_are_put_in),
		cmocka_unit_test(commands_have_names),
		cmocka_unit_test(events_are_as_of_qemu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
