/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What twinvm is answered, and what a replicator process is given; no VM and no process is needed. */
#include "daemon_kit.h"

/* Sends a request and expects the last line: rc, and a sentence with these words. */
static void refused(json_t *request, int rc, const char *words)
{
	const char *error;
	struct end e;

	kit_connect(&e);
	ctl_send(e.there, request);
	kit_settle();
	assert_true(json_is_true(json_object_get(kit_last(&e), "done")));
	assert_int_equal(json_integer_value(json_object_get(kit_last(&e), "rc")), rc);
	error = json_string_value(json_object_get(kit_last(&e), "error"));
	if (!strstr(error, words))
		fail_msg("'%s' does not contain '%s'", error, words);
	assert_true(e.closed);
	kit_hang_up(&e);
}

static json_t *request(const char *op, const char *vm)
{
	return json_pack("{ss ss}", "op", op, "vm", vm);
}

static json_t *with(json_t *o, const char *key, json_t *value)
{
	json_object_set_new(o, key, value);
	return o;
}

static void unknown_things_are_refused(void **state)
{
	static const char *const ops[] = {"unprotect", "failover", "status"};

	(void)state;
	refused(request("explode", "vm1"), -EINVAL, "of one version");
	refused(json_object(), -EINVAL, "of one version");
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		refused(request(ops[i], "vm1"), -ENOENT, "no VM 'vm1'");
	kit_vm(SESSION_PRIMARY);
	vm_new(&d, OTHER, "vm1", SESSION_BACKUP);
	refused(request("failover", "vm1"), TV_E_AMBIGUOUS, "use its id");
	refused(with(request("unprotect", "vm1"), "kept", json_true()), -ENOENT,
		"no stopped QEMU of 'vm1'");
}

static void protect_checks_its_request(void **state)
{
	char url[300];

	(void)state;
	refused(with(request("protect", "x"), "mode", json_string("fast")), -EINVAL, "adaptive");
	refused(with(request("protect", "x"), "epoch_ms", json_integer(-1)), -EINVAL, "60000");
	refused(with(request("protect", "x"), "epoch_ms", json_integer(60001)), -EINVAL, "60000");
	memset(url, 'u', sizeof(url) - 1);
	url[sizeof(url) - 1] = 0;
	refused(with(request("protect", "x"), "arbiter", json_string(url)), -EINVAL, "longer than");
	refused(with(request("protect", "x"), "to", json_string("a:b")), -EINVAL, "a:b");
}

static void protect_names_what_is_in_the_way(void **state)
{
	struct vm *vm;

	(void)state;
	vm = kit_vm(SESSION_BACKUP);
	refused(request("protect", "vm1"), -EALREADY, "hostB is the backup of vm1");
	vm->role = SESSION_PRIMARY;
	vm->phase = VM_FENCING;
	refused(request("protect", "vm1"), -EALREADY, "another host runs it");
	vm->phase = VM_RECOVERING;
	refused(request("protect", "vm1"), -EALREADY, "being cleaned up");
	vm->phase = VM_RUNNING;
	strcpy(vm->now.stats.state, "protected");
	refused(request("protect", "vm1"), -EALREADY, "already protected (backup: hostA)");
	strcpy(vm->now.stats.state, "syncing");
	vm->saved.was_protected = false;
	refused(request("protect", "vm1"), -EALREADY, "already protected (backup: hostA)");
}

static void commands_belong_to_one_of_the_hosts(void **state)
{
	struct vm *vm;

	(void)state;
	vm = kit_vm(SESSION_BACKUP);
	refused(request("unprotect", "vm1"), -EINVAL, "give the command on hostA");
	refused(request("failover", "vm1"), -EINVAL, "vm1 runs on hostA");
	refused(with(request("failover", "vm1"), "force", json_true()), -EBUSY, "still starting");
	vm->role = SESSION_PRIMARY;
	refused(with(request("failover", "vm1"), "force", json_true()), TV_E_REFUSED,
		"--force is for the backup (hostA)");
	refused(request("failover", "vm1"), TV_E_REFUSED, "no backup that could take over");
}

/* Alone: nothing is attached, so that the end is at once. */
static void unprotect_of_a_vm_alone(void **state)
{
	(void)state;
	kit_vm(SESSION_PRIMARY);
	refused(request("unprotect", "vm1"), 0, "");
	assert_null(vm_by_id(&d, ID));
}

static void one_command_waits_at_a_time(void **state)
{
	struct end e;
	struct vm *vm;

	(void)state;
	vm = kit_vm(SESSION_PRIMARY);
	vm->phase = VM_RUNNING;
	kit_connect(&e);
	ctl_send(e.there, request("unprotect", "vm1"));
	kit_settle();
	assert_ptr_equal(vm->waiter, e.here);
	assert_true(vm->waiter_leaves && !vm->reprotect.on);
	refused(request("unprotect", "vm1"), -EBUSY, "another twinvm command");
	refused(request("failover", "vm1"), -EBUSY, "another twinvm command");
	refused(request("protect", "vm1"), -EALREADY, "another twinvm command");
	vm_progress(vm, "syncing", 0.5);
	kit_settle();
	assert_true(json_number_value(json_object_get(kit_last(&e), "progress")) == 0.5);
	kit_hang_up(&e); /* it gives up: the VM has no command any more */
	kit_settle();
	assert_null(vm->waiter);
}

static size_t shown(const char *vm)
{
	struct end e;
	size_t n;

	kit_connect(&e);
	ctl_send(e.there, vm ? request("status", vm) : json_pack("{ss}", "op", "status"));
	kit_settle();
	assert_int_equal(json_integer_value(json_object_get(kit_last(&e), "rc")), 0);
	n = json_array_size(json_object_get(kit_last(&e), "vms"));
	kit_hang_up(&e);
	return n;
}

static void status_lists_vms_and_stopped_ones(void **state)
{
	struct vm *vm;

	(void)state;
	assert_int_equal(shown(NULL), 0);
	vm = kit_vm(SESSION_PRIMARY);
	vm_new(&d, OTHER, "vm2", SESSION_BACKUP);
	assert_int_equal(shown(NULL), 2);
	assert_int_equal(shown("vm1"), 1);
	assert_int_equal(shown(OTHER), 1);
	kept_add(vm, "another host runs it");
	assert_int_equal(shown(NULL), 2); /* it is part of vm1 */
	vm_drop(vm);
	assert_int_equal(shown(NULL), 2);
	assert_int_equal(shown("vm1"), 1);
	refused(request("unprotect", "vm1"), 0, "");
	assert_int_equal(shown(NULL), 1);
}

/* ---- what a process is given ---- */
static void a_job_has_all_of_the_vm(void **state)
{
	struct vm *vm;
	struct job j;

	(void)state;
	vm = kit_vm(SESSION_PRIMARY);
	vm->saved.generation = 6;
	vm->saved.epoch_ms = 33;
	strcpy(vm->saved.mode, "remus");
	strcpy(vm->saved.arbiter, "/srv/arbiter");
	strcpy(vm->saved.session, "s1");
	vm_job(vm, &j);
	assert_string_equal(j.vm_id, ID);
	assert_string_equal(j.vm_name, "vm1");
	assert_string_equal(j.vm_qmp, "/run/vm1.qmp");
	assert_true(j.vm_pid == getpid() && j.vm_start_ticks == vm->saved.qemu.start_ticks);
	assert_memory_equal(&j.peer, &vm->saved.peer, sizeof(j.peer));
	assert_string_equal(j.mode, "remus");
	assert_string_equal(j.arbiter, "/srv/arbiter");
	assert_string_equal(j.session, "s1");
	assert_true(j.generation == 6 && j.epoch_ms == 33);
	assert_string_equal(j.conf.host, "hostB");
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(unknown_things_are_refused),	      T(protect_checks_its_request),
		T(protect_names_what_is_in_the_way),  T(commands_belong_to_one_of_the_hosts),
		T(unprotect_of_a_vm_alone),	      T(one_command_waits_at_a_time),
		T(status_lists_vms_and_stopped_ones), T(a_job_has_all_of_the_vm)};

	return cmocka_run_group_tests_name("daemon_commands", tests, NULL, NULL);
}
