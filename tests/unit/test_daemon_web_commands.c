/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the dashboard's process may ask for: a few commands, and no option of an operator's. */
#include "events_kit.h"

static struct end e;

/* What was made of the request; its answer is the last one. The caller's. */
static json_t *asks(json_t *request)
{
	kit_connect(&e);
	web_command(&d, e.here, json_incref(request));
	json_decref(request);
	kit_settle();
	return request;
}

static void answered(int rc, const char *text)
{
	const char *error = json_string_value(json_object_get(kit_last(&e), "error"));

	assert_int_equal(json_integer_value(json_object_get(kit_last(&e), "rc")), rc);
	if (!strstr(error ? error : "", text))
		fail_msg("'%s' is without '%s'", error ? error : "", text);
	kit_hang_up(&e);
	kit_settle();
}

static json_t *protect(const char *vm, const char *to)
{
	return json_pack("{ss ss ss ss si}", "op", "protect", "vm", vm, "to", to, "arbiter", "none",
			 "epoch_ms", 1);
}

static void a_few_commands(void **state)
{
	static const char *const others[] = {"may-start", "doctor", "", "x"};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		asks(json_pack("{ss}", "op", others[i]));
		answered(-EPERM, "may not ask");
	}
	asks(json_pack("{ss}", "op", "status"));
	answered(0, "");
}

static void no_force(void **state)
{
	json_t *made = json_pack("{ss ss sb sb}", "op", "failover", "vm", "no-such", "force", 1,
				 "retry", 1);

	(void)state;
	json_incref(made);
	asks(made);
	assert_null(json_object_get(made, "force"));
	assert_null(json_object_get(made, "retry"));
	answered(-ENOENT, "no-such");
	json_decref(made);
}

static void protects_only_again(void **state)
{
	struct vm *vm;

	(void)state;
	asks(protect("vm1", "hostA"));
	answered(TV_E_REFUSED, "runs no VM 'vm1'");
	asks(protect("1", "hostA")); /* a process of this host */
	answered(TV_E_REFUSED, "runs no VM '1'");
	vm = kit_vm(SESSION_PRIMARY);
	vm->saved.was_protected = false;
	asks(protect("vm1", "hostA"));
	answered(TV_E_REFUSED, "protected before");
	vm->saved.was_protected = true;
	vm->saved.last = vm->saved.peer;
	asks(protect("vm1", "10.0.0.1:7890"));
	answered(-EPERM, "is not a peer of hostB");
	asks(protect("vm1", "hostA"));
	answered(-EPERM, "is not a peer of hostB");
	asks(protect("vm1", "hostB"));
	answered(-ELOOP, "this host itself");
	vm->role = SESSION_BACKUP;
	asks(protect("vm1", "hostA"));
	answered(TV_E_REFUSED, "runs no VM");
}

static void protects_by_a_known_address(void **state)
{
	json_t *made = protect("vm1", "hostA");
	struct vm *vm = kit_vm(SESSION_PRIMARY);

	(void)state;
	d.conf.peer_count = 1; /* the arbiter is to have its address */
	strcpy(d.conf.peers[0].name, "hostA");
	asks(protect("vm1", "hostA"));
	answered(-EINVAL, "no address of hostA");
	vm->saved.last = vm->saved.peer;
	json_incref(made);
	vm->waiter = e.here; /* so that nothing begins */
	asks(made);
	assert_string_equal(json_string_value(json_object_get(made, "to")), "10.0.0.1:7890");
	assert_string_equal(json_string_value(json_object_get(made, "vm")), ID);
	assert_null(json_object_get(made, "arbiter"));
	assert_null(json_object_get(made, "epoch_ms"));
	answered(-EALREADY, "another twinvm command waits");
	vm->waiter = NULL;
	json_decref(made);
}

static void suspends_no_stranger(void **state)
{
	static const char *const ops[] = {"suspend", "resume", "drill"};

	(void)state;
	for (int i = 0; i < 3; i++) {
		asks(json_pack("{ss ss}", "op", ops[i], "vm", "1")); /* a process of this host */
		answered(TV_E_REFUSED, "runs no VM '1'");
	}
	asks(json_pack("{ss ss}", "op", "test-failover", "vm", "1"));
	answered(TV_E_REFUSED, "not the backup of a VM '1'");
	kit_vm(SESSION_BACKUP);
	asks(json_pack("{ss ss}", "op", "suspend", "vm", "vm1"));
	answered(TV_E_REFUSED, "runs no VM");
}

static void acknowledges_in_its_name(void **state)
{
	struct events_about a = {.vm = "vm1", .vm_id = ID};
	json_t *list;

	(void)state;
	events_add(&d, EVENTS_FAILOVER, &a, NULL, "vm1 failed over");
	list = read_all();
	asks(json_pack("{ss sI ss}", "op", "events-ack", "id", id_at(list, 0), "by", "10.0.0.9"));
	answered(0, "");
	json_decref(list);
	list = read_all();
	assert_string_equal(text_at(list, 0, "acknowledged_by"), "the dashboard at 10.0.0.9");
	json_decref(list);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(a_few_commands),	    CASE(no_force),
		CASE(protects_only_again),  CASE(protects_by_a_known_address),
		CASE(suspends_no_stranger), CASE(acknowledges_in_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
