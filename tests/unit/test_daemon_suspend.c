/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An operator's suspend and resume, as the daemon carries them out: the session's replicator has them,
 * or a process (this test, started again, which exits with TEST_EXIT and writes that). None is lost.
 */
#include "daemon_session_kit.h"

#include <signal.h>

static void give(struct end *e, const char *op, const char *vm)
{
	kit_connect(e);
	ctl_send(e->there, json_pack("{ss ss}", "op", op, "vm", vm));
	kit_settle();
}

/* Has the last line come, with this code and these words? */
static void answered(struct end *e, int rc, const char *words)
{
	const char *error;

	kit_settle();
	assert_true(json_is_true(json_object_get(kit_last(e), "done")));
	assert_int_equal(json_integer_value(json_object_get(kit_last(e), "rc")), rc);
	error = json_string_value(json_object_get(kit_last(e), "error"));
	if (!strstr(error, words))
		fail_msg("'%s' does not contain '%s'", error, words);
	kit_hang_up(e);
}

static void is_not_answered(const struct end *e)
{
	kit_settle();
	assert_int_equal(json_array_size(e->got), 0);
}

static void answer(struct end *rep, bool ok, const char *text)
{
	struct session_answer a = {.ok = ok};

	strcpy(a.text, text);
	ctl_send(rep->there, session_message(SESSION_OP_SUSPEND_ANSWER, &a));
	kit_settle();
}

/* The helper's exit. */
static void reap_helper(void)
{
	struct asked *a = TAILQ_FIRST(&d.asked);
	int status;

	assert_non_null(a);
	assert_true(a->pid > 0);
	assert_int_equal(waitpid(a->pid, &status, 0), a->pid);
	supervise_child_exit(&d, a->pid, status);
}

static void the_replicator_does_it(void **state)
{
	struct end rep, e, other;
	struct vm *vm;

	(void)state;
	vm = protected_vm(&rep);
	give(&e, "suspend", "vm1");
	kit_expect(&rep, SESSION_OP_SUSPEND);
	is_not_answered(&e);
	give(&other, "resume", "vm1");
	answered(&other, -EBUSY, "another suspend or resume");
	answer(&rep, true, "");
	answered(&e, 0, "");
	assert_true(vm->saved.suspended);
	give(&e, "resume", ID);
	kit_expect(&rep, SESSION_OP_RESUME);
	answer(&rep, false, "it is being moved");
	answered(&e, TV_E_REFUSED, "it is being moved");
	assert_true(vm->saved.suspended);
	answer(&rep, true, ""); /* to nothing */
	assert_null(TAILQ_FIRST(&d.asked));
	send_end(&rep, SESSION_LEFT, 0, "");
	kit_hang_up(&rep);
}

/* The session ends before it has answered: the VM runs alone, and a process does it. */
static void the_next_one_does_it(void **state)
{
	struct end rep, e;
	struct vm *vm;
	json_t *o;

	(void)state;
	vm = protected_vm(&rep);
	give(&e, "suspend", "vm1");
	kit_hang_up(&rep); /* it dies */
	kit_settle();
	assert_int_equal(vm->phase, VM_RECOVERING);
	is_not_answered(&e);
	setenv("TEST_EXIT", "0", 1);
	reap(vm);
	assert_int_equal(vm->phase, VM_IDLE);
	is_not_answered(&e);
	reap_helper();
	answered(&e, 0, "");
	o = vm_status(vm);
	assert_true(json_is_true(json_object_get(o, "suspended")));
	assert_string_equal(json_string_value(json_object_get(o, "run_state")), "paused");
	assert_non_null(strstr(json_string_value(json_object_get(o, "reason")), "twinvm resume"));
	json_decref(o);
}

/* Whoever gave it does not wait any more: it is carried out all the same. */
static void nobody_waits_for_it(void **state)
{
	struct end e;
	struct vm *vm;

	(void)state;
	vm = kit_vm(SESSION_PRIMARY);
	setenv("TEST_EXIT", "0", 1);
	give(&e, "suspend", "vm1");
	kit_hang_up(&e);
	kit_settle();
	reap_helper();
	assert_true(vm->saved.suspended);
	/* The next daemon knows it. */
	vm_drop(vm_new(&d, OTHER, "vm2", SESSION_PRIMARY));
	assert_int_equal(vm_save(vm, NULL), 0);
	TAILQ_REMOVE(&d.vms, vm, link);
	registry_load(&d);
	assert_true(vm_by_id(&d, ID) != vm && vm_by_id(&d, ID)->saved.suspended);
	TAILQ_INSERT_TAIL(&d.vms, vm, link);
}

static void a_process_says_why_not(void **state)
{
	struct end e;
	struct vm *vm;

	(void)state;
	vm = kit_vm(SESSION_PRIMARY);
	setenv("TEST_EXIT", "3", 1);
	give(&e, "resume", "vm1");
	reap_helper();
	answered(&e, TV_E_REFUSED, "exit 3");
	setenv("TEST_EXIT", "1", 1);
	give(&e, "suspend", "vm1");
	reap_helper();
	answered(&e, -EIO, "exit 1");
	assert_false(vm->saved.suspended);
}

/* Its session had begun meanwhile and has its monitor: the replicator does it. */
static void a_session_begins_meanwhile(void **state)
{
	struct session_register r = {.role = SESSION_PRIMARY, .vm_id = ID, .session = "s1"};
	struct end rep, e;
	struct vm *vm;

	(void)state;
	vm = kit_vm(SESSION_PRIMARY);
	strcpy(vm->saved.session, "s1");
	setenv("TEST_EXIT", "1", 1);
	give(&e, "suspend", "vm1");
	vm->phase = VM_RUNNING;
	kit_connect(&rep);
	send_register(&rep, &r);
	assert_int_equal(json_array_size(rep.got), 0);
	reap_helper();
	kit_settle();
	kit_expect(&rep, SESSION_OP_SUSPEND);
	answer(&rep, true, "");
	answered(&e, 0, "");
	send_end(&rep, SESSION_LEFT, 0, "");
	kit_hang_up(&rep);
}

static void not_on_this_host(void **state)
{
	struct end e;
	struct vm *vm;

	(void)state;
	vm = kit_vm(SESSION_BACKUP);
	give(&e, "resume", "vm1");
	answered(&e, -EINVAL, "runs on hostA");
	vm->role = SESSION_PRIMARY;
	vm->phase = VM_FENCING;
	give(&e, "resume", "vm1");
	answered(&e, TV_E_REFUSED, "another host runs it");
	kept_add(vm, "another host runs it");
	vm_drop(vm);
	give(&e, "resume", "vm1");
	answered(&e, TV_E_REFUSED, "was stopped here");
	give(&e, "suspend", "no-such-vm");
	answered(&e, -ENOENT, "no-such-vm");
}

/* The VM is forgotten, whatever waits: an answer, and no process that is lost. */
static void the_vm_goes(void **state)
{
	struct end e;
	struct vm *vm;

	(void)state;
	vm = kit_vm(SESSION_PRIMARY);
	vm->phase = VM_RECOVERING;
	give(&e, "suspend", "vm1");
	is_not_answered(&e);
	vm->highest = vm->saved.generation + 1;
	vm_drop(vm);
	answered(&e, TV_E_REFUSED, "another host runs vm1");
	vm = kit_vm(SESSION_PRIMARY);
	setenv("TEST_EXIT", "0", 1);
	give(&e, "suspend", "vm1");
	vm_drop(vm);
	is_not_answered(&e);
	reap_helper();
	answered(&e, 0, "");
}

static int replicate(void)
{
	const char *code = getenv("TEST_EXIT");

	dprintf(3, "exit %s", code ? code : "");
	return code ? atoi(code) : 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(the_replicator_does_it),
		T(the_next_one_does_it),
		T(nobody_waits_for_it),
		T(a_process_says_why_not),
		T(not_on_this_host),
		T(a_session_begins_meanwhile),
		T(the_vm_goes),
	};

	if (argc > 1 && !strcmp(argv[1], "replicate"))
		return replicate();
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("daemon_suspend", tests, NULL, NULL);
}
