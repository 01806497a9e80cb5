/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What another host says it knows: only what is of the right shape gets through. */
#include "replicator/watch/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VM "{\"id\":\"0123456789abcdef0123456789abcdef\",\"name\":\"web1\"}"
#define HEAD "{\"host\":\"hostB\",\"time_ms\":17,\"vms\":["
#define VIEW(vms, more) "{\"host\":\"hostB\",\"time_ms\":17,\"vms\":[" vms "]" more "}"

static int check(const char *text, struct tv_err *e)
{
	json_t *out = NULL;
	int rc = watch_check("hostB", text, strlen(text), &out, e);

	assert_true(!rc == !!out);
	json_decref(out);
	return rc;
}

static void a_view_gets_through(void **state)
{
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(check(VIEW("", ""), &e), 0);
	assert_int_equal(check(VIEW(VM, ",\"arbiter\":{\"hosts\":[\"a\"]}"), &e), 0);
	/* A newer host's fields, and letters of any language. */
	assert_int_equal(check(VIEW(VM, ",\"what_is_new\":\"\xc3\xa4\xe4\xbd\xa0\""), &e), 0);
}

static void a_bad_one_does_not(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{",
		"null",
		VIEW("", "") "x",
		"{\"host\":\"hostA\",\"time_ms\":17,\"vms\":[]}",
		"{\"host\":[],\"time_ms\":17,\"vms\":[]}",
		"{\"host\":\"hostB\",\"vms\":[]}",
		"{\"host\":\"hostB\",\"time_ms\":\"17\",\"vms\":[]}",
		"{\"host\":\"hostB\",\"time_ms\":17}",
		"{\"host\":\"hostB\",\"time_ms\":17,\"vms\":{}}",
		"{\"host\":\"hostB\",\"host\":\"hostB\",\"time_ms\":17,\"vms\":[]}",
		VIEW("7", ""),
		VIEW("{\"name\":\"web1\"}", ""),
		VIEW("{\"id\":\"0123456789ABCDEF0123456789abcdef\",\"name\":\"web1\"}", ""),
		VIEW("{\"id\":\"0123456789abcdef0123456789abcdef\",\"name\":\"\"}", ""),
		VIEW(VM, ",\"A\":1"),
		VIEW(VM, ",\"\":1"),
		VIEW(VM, ",\"__proto__<\":1"),
		VIEW(VM, ",\"text\":\"a\\nb\""),
		VIEW(VM, ",\"text\":\"\\u001b[31m\""),
		VIEW(VM, ",\"text\":\"\\u009b31m\""),
		VIEW(VM, ",\"text\":\"\xff\""),
		VIEW(VM, ",\"text\":\"a\\u0000b\""),
		VIEW("", ",\"deep\":[[[[[[[[1]]]]]]]]"),
		VIEW("", ",\"number\":1e999"),
	};
	struct tv_err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		e = (struct tv_err){0};
		if (check(bad[i], &e) != TV_E_PROTOCOL)
			fail_msg("accepted: %s", bad[i]);
		assert_non_null(strstr(e.text, "hostB"));
	}
}

/* `n` times `piece` inside. */
static char *repeated(const char *before, const char *piece, const char *after, size_t n)
{
	char *text = malloc(strlen(before) + n * strlen(piece) + strlen(after) + 1), *p;

	assert_non_null(text);
	p = stpcpy(text, before);
	for (size_t i = 0; i < n; i++)
		p = stpcpy(p, piece);
	strcpy(p, after);
	return text;
}

static void too_much_does_not(void **state)
{
	static const struct {
		const char *before, *piece, *after;
		size_t most;
	} much[] = {
		{HEAD VM, "," VM, "]}", WATCH_MAX_VMS - 1},
		{HEAD "],\"list\":[0", ",0", "]}", 1023},
		{HEAD "],\"text\":\"", "a", "\"}", 1024},
		{HEAD "],\"", "k", "\":1}", 48},
		{HEAD "]}", " ", "", WATCH_MAX_BYTES - sizeof(HEAD "]}") + 1},
	};
	struct tv_err e;
	char *text;

	(void)state;
	for (size_t i = 0; i < sizeof(much) / sizeof(*much); i++) {
		text = repeated(much[i].before, much[i].piece, much[i].after, much[i].most);
		if (check(text, &e))
			fail_msg("case %zu: %s", i, e.text);
		free(text);
		text = repeated(much[i].before, much[i].piece, much[i].after, much[i].most + 1);
		if (check(text, &e) != TV_E_PROTOCOL)
			fail_msg("accepted: case %zu", i);
		free(text);
	}
}

static int check_reply(const char *text, struct tv_err *e)
{
	json_t *out = NULL;
	int rc = watch_check_reply("hostB", text, strlen(text), &out, e);

	assert_true(!rc == !!out);
	json_decref(out);
	return rc;
}

/* What a probe has printed is a guest's: as it is, where it is called so. */
static void a_reply(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"7",
		"{} x",
		"{\"rc\":0,\"rc\":1}",
		"{\"error\":\"a\\nb\"}",
		"{\"report\":{\"reason\":\"\\u001b[31m\"}}",
		"{\"output\":{\"text\":\"\\u001b[31m\"}}",
		"{\"output\":[\"\\u001b[31m\"]}",
		"{\"Output\":\"x\"}",
		"{\"deep\":[[[[[[[[1]]]]]]]]}",
	};
	struct tv_err e = {0};
	char *text;

	(void)state;
	assert_int_equal(check_reply("{\"done\":true,\"rc\":0,\"error\":\"\"}", &e), 0);
	assert_int_equal(
		check_reply("{\"report\":{\"probes\":[{\"output\":\"a\\nb\\u001b\"}]}}", &e), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (check_reply(bad[i], &e) != TV_E_PROTOCOL)
			fail_msg("accepted: %s", bad[i]);
	text = repeated("{\"output\":\"", "a", "\"}", 8192);
	assert_int_equal(check_reply(text, &e), 0);
	free(text);
	text = repeated("{\"output\":\"", "a", "\"}", 8193);
	assert_int_equal(check_reply(text, &e), TV_E_PROTOCOL);
	free(text);
	text = repeated("{", " ", "}", WATCH_MAX_REPLY_BYTES - 1);
	assert_int_equal(check_reply(text, &e), TV_E_PROTOCOL);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_view_gets_through),
		cmocka_unit_test(a_bad_one_does_not),
		cmocka_unit_test(too_much_does_not),
		cmocka_unit_test(a_reply),
	};

	return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
