/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What daemon and replicators agree on: fields, outcomes, messages. */
#include "replicator/session/session.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- fields ---- */
enum colour { UNKNOWN, RED, BLUE };
static const char *colour_name(int v)
{
	return v == RED ? "red" : v == BLUE ? "blue" : "unknown";
}
static int colour_parse(const char *word)
{
	return !strcmp(word, "red") ? RED : !strcmp(word, "blue") ? BLUE : UNKNOWN;
}
static const struct field_words colours = {colour_name, colour_parse};

struct thing {
	char text[8];
	int number;
	uint64_t big;
	uint16_t port;
	pid_t pid;
	struct {
		double p50, p99;
	} ms;
	bool yes;
	enum colour colour;
	uint64_t list[2];
};
#define T(member, kind) FIELD(struct thing, member, kind, "", "")
static const struct field thing_list[] = {
	T(text, TEXT),	T(number, INT), T(big, U64),
	T(port, PORT),	T(pid, PID),	T(ms.p50, F64),
	T(ms.p99, F64), T(yes, BOOL),	FIELD_ENUM(struct thing, colour, &colours, ""),
	T(list, LIST),
};
static const struct fields thing_fields = FIELDS("thing", thing_list);

static const struct thing example = {
	.text = "a \"b\"",
	.number = -3,
	.big = INT64_MAX,
	.port = 65535,
	.pid = 77,
	.ms = {1.5, 2},
	.yes = true,
	.colour = BLUE,
	.list = {3, INT64_MAX},
};

static void a_struct_survives_the_trip(void **state)
{
	json_t *o = fields_write(&thing_fields, &example);
	struct tv_err e = {0};
	struct thing back = {0};

	(void)state;
	assert_non_null(o);
	assert_true(json_is_object(json_object_get(o, "ms")));
	assert_string_equal(json_string_value(json_object_get(o, "colour")), "blue");
	assert_int_equal(fields_read(&thing_fields, o, &back, &e), 0);
	assert_memory_equal(&back, &example, sizeof(back));
	json_decref(o);
}

static void what_does_not_fit_is_named(void **state)
{
	static const struct {
		const char *json, *field;
	} rows[] = {
		{"{\"text\":\"12345678\"}", "text"},
		{"{\"text\":5}", "text"},
		{"{\"text\":\"a\\u0000b\"}", "text"},
		{"{\"number\":2147483648}", "number"},
		{"{\"number\":1.5}", "number"},
		{"{\"number\":\"1\"}", "number"},
		{"{\"big\":-1}", "big"},
		{"{\"port\":65536}", "port"},
		{"{\"port\":-1}", "port"},
		{"{\"pid\":2147483648}", "pid"},
		{"{\"ms\":{\"p50\":\"x\",\"p99\":1}}", "ms.p50"},
		{"{\"ms\":{\"p50\":1}}", "ms.p99"},
		{"{\"ms\":3}", "ms.p50"},
		{"{\"yes\":1}", "yes"},
		{"{\"colour\":1}", "colour"},
		{"{\"list\":[1]}", "list"},
		{"{\"list\":[1,2,3]}", "list"},
		{"{\"list\":[1,-2]}", "list"},
		{"{\"list\":[1,2.5]}", "list"},
		{"{\"list\":7}", "list"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		json_t *o = fields_write(&thing_fields, &example);
		json_t *change = json_loads(rows[i].json, JSON_ALLOW_NUL, NULL);
		struct thing back = {0};
		struct tv_err e = {0};
		char want[64];

		assert_non_null(change);
		json_object_update(o, change);
		assert_int_equal(fields_read(&thing_fields, o, &back, &e), -EINVAL);
		snprintf(want, sizeof(want), "thing: field '%s'", rows[i].field);
		assert_non_null(strstr(e.text, want));
		json_decref(change);
		json_decref(o);
	}
}

static void newer_and_broken_writers(void **state)
{
	struct thing odd = example, back = {0};
	struct tv_err e = {0};
	json_t *o;

	(void)state;
	odd.big = UINT64_MAX;	    /* JSON has no such number */
	odd.ms.p50 = 1.0 / 0.0;	    /* nor infinity */
	strcpy(odd.text, "ab\xc3"); /* nor half a letter */
	odd.colour = (enum colour)99;
	o = fields_write(&thing_fields, &odd);
	assert_non_null(o);
	json_object_set_new(o, "of a newer version", json_true());
	assert_int_equal(fields_read(&thing_fields, o, &back, &e), 0);
	assert_string_equal(back.text, "ab");
	assert_true(back.big == INT64_MAX);
	assert_true(back.ms.p50 == 0);
	assert_int_equal(back.colour, UNKNOWN);
	json_decref(o);
}

/* ---- outcomes ---- */
static void outcomes_have_words_and_sentences(void **state)
{
	(void)state;
	for (int i = 0; i < SESSION_OUTCOME_COUNT; i++) {
		enum session_outcome o = (enum session_outcome)i;

		assert_int_equal(session_outcome_parse(session_outcome_name(o)), o);
		assert_true(strlen(session_outcome_why(o)) > 10);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(session_outcome_name(o),
						session_outcome_name((enum session_outcome)k));
	}
}

static void an_unknown_outcome_is_failed(void **state)
{
	(void)state;
	assert_int_equal(session_outcome_parse("vaporised"), SESSION_FAILED);
	assert_int_equal(session_outcome_parse(""), SESSION_FAILED);
	assert_string_equal(session_outcome_name((enum session_outcome)99), "failed");
}

/* ---- messages ---- */
static void every_message_can_be_told_from_the_others(void **state)
{
	static char body[4096]; /* zeroes are a body of each kind */

	(void)state;
	for (int i = SESSION_OP_NONE + 1; i < SESSION_OP_COUNT; i++) {
		enum session_op op = (enum session_op)i;
		json_t *msg = session_message(op, body);
		char back[sizeof(body)];
		struct tv_err e = {0};

		assert_non_null(msg);
		assert_int_equal(session_op_of(msg), op);
		assert_int_equal(session_body(op, msg, back, sizeof(back), &e), 0);
		assert_memory_equal(back, body, sizeof(back));
		json_decref(msg);
	}
}

static void strangers_are_no_message(void **state)
{
	static const char *const texts[] = {"{}", "{\"op\":1}", "{\"op\":\"\"}",
					    "{\"op\":\"shout\"}"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		json_t *msg = json_loads(texts[i], 0, NULL);

		assert_int_equal(session_op_of(msg), SESSION_OP_NONE);
		json_decref(msg);
	}
	assert_int_equal(session_op_of(NULL), SESSION_OP_NONE);
}

static void the_end_is_carried_with_its_outcome(void **state)
{
	struct session_end end = {.outcome = SESSION_PROMOTED, .generation = 7}, back;
	json_t *msg = session_message(SESSION_OP_DONE, &end);
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(session_body(SESSION_OP_DONE, msg, &back, sizeof(back), &e), 0);
	assert_int_equal(back.outcome, SESSION_PROMOTED);
	assert_int_equal(back.generation, 7);
	json_object_set_new(msg, "outcome", json_string("a word of a later version"));
	assert_int_equal(session_body(SESSION_OP_DONE, msg, &back, sizeof(back), &e), 0);
	assert_int_equal(back.outcome, SESSION_FAILED);
	json_object_del(msg, "generation");
	assert_int_equal(session_body(SESSION_OP_DONE, msg, &back, sizeof(back), &e), -EINVAL);
	assert_string_equal(e.text, "done: field 'generation' is missing");
	json_decref(msg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_struct_survives_the_trip),
		cmocka_unit_test(what_does_not_fit_is_named),
		cmocka_unit_test(newer_and_broken_writers),
		cmocka_unit_test(outcomes_have_words_and_sentences),
		cmocka_unit_test(an_unknown_outcome_is_failed),
		cmocka_unit_test(every_message_can_be_told_from_the_others),
		cmocka_unit_test(strangers_are_no_message),
		cmocka_unit_test(the_end_is_carried_with_its_outcome),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
