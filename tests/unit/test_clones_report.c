/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a test failover's report becomes: with what is seen from outside, for the history, for people, as JUnit. */
#include "cli/test_report.h"
#include "daemon/clones.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define ID "0123456789abcdef0123456789abcdef"

static json_t *of(const char *text)
{
	json_t *j = json_loads(text, 0, NULL);

	assert_non_null(j);
	return j;
}

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no '%s' in: %s", part, text);
}

static json_t *whole(const char *clones, const char *left)
{
	const struct clones_lag lag = {10, 25.5, NAN};
	json_t *c = of(clones), *l = of(left);
	json_t *f = of("{\"time\":\"2026-01-01\",\"data\":{\"outage_ms\":700,\"load_ms\":90}}");
	json_t *out = clones_report(c, &lag, l, f);

	json_decref(c);
	json_decref(l);
	json_decref(f);
	assert_non_null(out);
	json_object_set_new(out, "vm", json_string("web1"));
	json_object_set_new(out, "host", json_string("hostB"));
	json_object_set_new(out, "result", json_string("failed"));
	return out;
}

#define PROBES                                                                             \
	"\"probes\":[{\"probe\":\"redis\",\"passed\":true,\"ms\":5,\"output\":\"+PONG\"}," \
	"{\"probe\":\"sh <x> & \\\"y\\\"\",\"passed\":false,\"ms\":1500,\"output\":\"a\\u001b[31m\\nb]]>\"}]"

static void test_report(void **state)
{
	json_t *o = whole("{\"op\":\"report\",\"passed\":true,\"epoch\":7}", "[\"file /x\"]");
	json_t *lag = json_object_get(o, "lag_ms"), *f = json_object_get(o, "failover");
	const struct clones_lag none = {NAN, NAN, NAN};

	(void)state;
	assert_null(json_object_get(o, "op"));
	assert_int_equal(json_integer_value(json_object_get(o, "epoch")), 7);
	assert_true(json_real_value(json_object_get(lag, "while")) == 25.5);
	assert_true(json_is_null(json_object_get(lag, "after")));
	assert_int_equal(json_array_size(json_object_get(o, "left")), 1);
	assert_int_equal(json_integer_value(json_object_get(f, "load_ms")), 90);
	json_decref(o);
	/* A clone that has reported nothing has not passed. */
	o = clones_report(NULL, &none, NULL, NULL);
	assert_true(json_is_false(json_object_get(o, "passed")));
	assert_null(json_object_get(o, "failover"));
	json_decref(o);
}

static void test_brief(void **state)
{
	char text[4000];
	json_t *o, *brief, *p;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[3] = '\n';
	text[sizeof(text) - 1] = '\0';
	o = json_pack("{s[{ss ss}]}", "probes", "probe", text, "output", text);
	brief = clones_brief(o);
	p = json_array_get(json_object_get(brief, "probes"), 0);
	assert_true(json_string_length(json_object_get(p, "output")) < 200);
	assert_true(json_string_length(json_object_get(p, "probe")) < 200);
	/* Of one line, as other hosts and the journal need it. */
	assert_null(strchr(json_string_value(json_object_get(p, "output")), '\n'));
	assert_null(strchr(json_string_value(json_object_get(p, "probe")), '\n'));
	p = json_array_get(json_object_get(o, "probes"), 0);
	assert_int_equal(json_string_length(json_object_get(p, "output")), sizeof(text) - 1);
	json_decref(o);
	json_decref(brief);
}

static void test_lag(void **state)
{
	json_t *o = of("[{\"host\":\"a\"},{\"host\":\"b\",\"view\":{\"vms\":["
		       "{\"id\":\"" ID "\",\"role\":\"backup\",\"lag_ms\":1},"
		       "{\"id\":\"x\",\"role\":\"primary\",\"lag_ms\":2},"
		       "{\"id\":\"" ID "\",\"role\":\"primary\",\"lag_ms\":3.5}]}}]");

	(void)state;
	assert_true(clones_lag_of(o, ID) == 3.5);
	assert_true(isnan(clones_lag_of(o, "y")));
	assert_true(isnan(clones_lag_of(NULL, ID)));
	json_decref(o);
	/* Another host's word: of another type it is none. */
	o = of("[{\"view\":{\"vms\":[{\"id\":7,\"role\":\"primary\",\"lag_ms\":3},"
	       "{\"id\":\"" ID "\",\"role\":\"primary\",\"lag_ms\":\"3\"}]}},{\"view\":[]}]");
	assert_true(isnan(clones_lag_of(o, ID)));
	json_decref(o);
}

static void test_text(void **state)
{
	json_t *o = whole(
		"{\"epoch\":7,\"running_ms\":812.2,\"answer_ms\":900,\"guest\":\"10.0.0.2\"," PROBES
		"}",
		"[\"file /x\"]");
	char *text = test_report_text(o);

	(void)state;
	has(text, "web1: test failover on hostB failed, epoch 7");
	has(text, "812 ms");
	has(text, "before 10 ms while 26 ms after unknown");
	has(text, "ok     redis (5 ms): +PONG");
	has(text, "FAILED sh <x> & \"y\" (1500 ms): a [31m|b]]>");
	has(text, "outage 700 ms (load 90 ms)");
	has(text, "file /x");
	assert_null(strchr(text, '\033')); /* nothing that a guest says is for the terminal */
	free(text);
	json_decref(o);
}

static void test_junit(void **state)
{
	json_t *o = whole("{\"running_ms\":812.2," PROBES "}", "[]");
	char *text = test_report_junit(o);

	(void)state;
	has(text, "tests=\"4\" failures=\"1\"");
	has(text, "name=\"sh &#60;x&#62; &#38; &#34;y&#34;\" time=\"1.500\"");
	has(text, "<failure message=\"the probe failed\"/>");
	has(text, "<system-out>a [31m\nb]]&#62;</system-out>");
	has(text, "name=\"nothing left\"");
	free(text);
	json_decref(o);
	/* One that never ran, and left something. */
	o = whole("{\"reason\":\"no room\"}", "[\"file /x\"]");
	text = test_report_junit(o);
	has(text, "tests=\"2\" failures=\"2\"");
	has(text, "<failure message=\"no room\"/>");
	free(text);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_report), cmocka_unit_test(test_brief),
		cmocka_unit_test(test_lag),    cmocka_unit_test(test_text),
		cmocka_unit_test(test_junit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
