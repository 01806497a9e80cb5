/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A command that another host passes on: what becomes of it here, and what is refused. */
#include "events_kit.h"

#include "daemon/passing.h"

static struct vm *vm;
static json_t *made;

static int begin(void **state)
{
	int rc = set_up(state);

	d.conf.peer_commands = true;
	vm = kit_vm(SESSION_BACKUP);
	return rc;
}

static int end(void **state)
{
	json_decref(made);
	made = NULL;
	return tear_down(state);
}

/* Words of the request without the VM's id. */
static int check(const char *peer, const char *words, struct tv_err *e)
{
	char text[8192];
	json_t *request;
	struct vm *of = NULL;
	int rc;

	snprintf(text, sizeof(text), "{\"vm\":\"" ID "\",%s}", words);
	request = json_loads(text, 0, NULL);
	if (!request)
		fail_msg("no JSON: %s", text);
	json_decref(made);
	*e = (struct tv_err){0};
	rc = passed_check(&d, peer, request, &made, &of, e);
	assert_true(!rc == !!made);
	if (!rc)
		assert_ptr_equal(of, vm);
	json_decref(request);
	return rc;
}

static void allowed(const char *words)
{
	struct tv_err e;

	if (check("hostA", words, &e))
		fail_msg("%s: %s", words, e.text);
}

static void refused(int rc, const char *words, const char *why)
{
	struct tv_err e;
	int is = check("hostA", words, &e);

	if (is != rc || !strstr(e.text, why))
		fail_msg("%s: %d, '%s' is without '%s'", words, is, e.text, why);
}

#define TEST "\"op\":\"test-failover\""
#define NAMED \
	"\"probes\":[\"redis\",\"tcp:22\",\"agent\",\"screen\",\"named:x\",\"http:http://h/\"]"

static void it_is_made_anew(void **state)
{
	(void)state;
	allowed(TEST "," NAMED ",\"keep\":true,\"for_s\":30,\"note\":\"a\",\"guest\":\"10.0.0.1\"");
	assert_string_equal(command_text(made, "op", ""), "test-failover");
	assert_string_equal(command_text(made, "vm", ""), ID);
	assert_string_equal(command_text(made, "by", ""), "operator on hostA");
	assert_string_equal(command_text(made, "passed_by", ""), "hostA");
	assert_int_equal(json_integer_value(json_object_get(made, "for_s")), 30);
	assert_int_equal(json_array_size(json_object_get(made, "probes")), 6);
	allowed("\"op\":\"ready\"");
	assert_int_equal(json_object_size(made), 4);
	vm->role = SESSION_PRIMARY;
	allowed("\"op\":\"verify\",\"rate_mb_s\":2.5,\"repair\":false");
	allowed("\"op\":\"verify\",\"rate_mb_s\":20");
	allowed("\"op\":\"drill\",\"ping\":\"10.0.0.1\",\"note\":\"\xc3\xa4\",\"wait\":false");
}

static void options_of_a_wrong_kind(void **state)
{
	static const char *const bad[] = {
		TEST ",\"by\":\"schedule\"",
		TEST ",\"passed_by\":\"hostB\"",
		TEST ",\"force\":true",
		TEST ",\"repair\":true",
		TEST ",\"keep\":1",
		TEST ",\"for_s\":\"30\"",
		TEST ",\"for_s\":-1",
		TEST ",\"for_s\":30.0",
		TEST ",\"for_s\":4294967296",
		TEST ",\"note\":\"a\\nb\"",
		TEST ",\"note\":\"\\u001b[2J\"",
		TEST ",\"note\":[\"a\"]",
		TEST ",\"probes\":\"redis\"",
		TEST ",\"probes\":[1]",
		TEST ",\"probes\":[[\"redis\"]]",
		TEST
		",\"probes\":[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\","
		"\"a\",\"a\",\"a\",\"a\",\"a\",\"a\"]",
		"\"op\":\"ready\",\"note\":\"a\"",
	};
	char text[400];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refused(-EINVAL, bad[i], "give the command there");
	snprintf(text, sizeof(text), TEST ",\"note\":\"%0257d\"", 0);
	refused(-EINVAL, text, "'note'");
	snprintf(text, sizeof(text), TEST ",\"note\":\"%0256d\"", 0);
	allowed(text);
	vm->role = SESSION_PRIMARY;
	refused(-EINVAL, "\"op\":\"verify\",\"rate_mb_s\":\"1\"", "'rate_mb_s'");
	refused(-EINVAL, "\"op\":\"drill\",\"ping\":7", "'ping'");
}

static void no_text_reaches_a_shell(void **state)
{
	static const char *const commands[] = {"true",	  "agent ",  " redis", "named",
					       "screen;", "https:x", "/bin/sh"};
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		snprintf(text, sizeof(text), TEST ",\"probes\":[\"redis\",\"%s\"]", commands[i]);
		refused(TV_E_REFUSED, text, "runs as root on hostB");
	}
	refused(-EINVAL, TEST ",\"probes\":[\"tcp:x\"]", "no valid port");
	refused(-EINVAL, TEST ",\"probes\":[\"\"]", "empty");
	refused(TV_E_REFUSED, TEST ",\"disk_mib\":8193", "at most 8192");
}

static void only_its_own_vms(void **state)
{
	struct tv_err e;

	(void)state;
	assert_int_equal(check("hostC", TEST, &e), -ENOENT);
	assert_int_equal(check("", TEST, &e), -ENOENT);
	refused(-ENOENT, TEST ",\"vm\":\"" OTHER "\"", "no VM of that id");
	refused(-ENOENT, TEST ",\"vm\":\"vm1\"", "no VM of that id");
	refused(-ENOENT, TEST ",\"vm\":7", "no VM of that id");
	refused(TV_E_REFUSED, "\"op\":\"verify\",\"rate_mb_s\":1", "does not run vm1");
	vm->role = SESSION_PRIMARY;
	refused(TV_E_REFUSED, TEST, "is not the backup of vm1");
}

static void no_other_command(void **state)
{
	static const char *const ops[] = {
		"\"failover\"", "\"protect\"", "\"unprotect\"", "\"suspend\"",
		"\"resume\"",	"\"freeze\"",  "\"status\"",	"\"health\"",
		"\"\"",		"7",	       "null"};
	char text[100];

	(void)state;
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		snprintf(text, sizeof(text), "\"op\":%s", ops[i]);
		refused(TV_E_REFUSED, text, "no such command");
	}
	d.conf.peer_commands = false;
	refused(TV_E_REFUSED, "\"op\":\"ready\"", "peer_commands");
}

static void it_shows_what_it_takes(void **state)
{
	json_t *taken = passed_taken(&d);

	(void)state;
	assert_int_equal(json_array_size(taken), 4);
	json_decref(taken);
	d.conf.peer_commands = false;
	taken = passed_taken(&d);
	assert_int_equal(json_array_size(taken), 0);
	json_decref(taken);
}

/* One that came from there does not go back, and one that has no other host goes nowhere. */
static void it_is_passed_on_once(void **state)
{
	json_t *msg = json_pack("{ss ss}", "op", "verify", "passed_by", "hostA");
	struct end e;

	(void)state;
	kit_connect(&e);
	assert_false(pass_on(vm, e.here, msg));
	json_object_del(msg, "passed_by");
	vm->saved.peer = (struct fo_candidate){0};
	assert_false(pass_on(vm, e.here, msg));
	json_decref(msg);
	kit_hang_up(&e);
	kit_settle();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_is_made_anew, begin, end),
		cmocka_unit_test_setup_teardown(options_of_a_wrong_kind, begin, end),
		cmocka_unit_test_setup_teardown(no_text_reaches_a_shell, begin, end),
		cmocka_unit_test_setup_teardown(only_its_own_vms, begin, end),
		cmocka_unit_test_setup_teardown(no_other_command, begin, end),
		cmocka_unit_test_setup_teardown(it_shows_what_it_takes, begin, end),
		cmocka_unit_test_setup_teardown(it_is_passed_on_once, begin, end),
	};

	return cmocka_run_group_tests_name("daemon: commands of another host", tests, NULL, NULL);
}
