/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A daemon that starts and finds VMs without a replicator; and what is left at the arbiter after
 * the end. Helper processes are this test, started again, as in test_daemon_ends.c.
 */
#include "daemon_kit.h"

#include <sys/wait.h>

enum { FORGETS = 41, SETTLES }; /* exit status of helper processes */

static void send_register(struct end *e, const struct session_register *r)
{
	struct session_register of_it = *r;

	of_it.pid = e->pid;
	ctl_send(e->there, session_message(SESSION_OP_REGISTER, &of_it));
	kit_settle();
}

static void send_end(struct end *e, enum session_outcome outcome, bool parted)
{
	struct session_end end = {.outcome = outcome, .parted = parted};

	ctl_send(e->there, session_message(SESSION_OP_DONE, &end));
	kit_settle();
	ctl_free(e->there);
	e->there = NULL;
	kit_settle();
}

/* A helper's exit, as SIGCHLD brings it. */
static void reap(struct vm *vm)
{
	pid_t pid = vm->now.child;
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	supervise_child_exit(&d, pid, status);
}

static struct vm *found_without_replicator(bool on, bool leaving)
{
	struct vm *vm = kit_vm(SESSION_PRIMARY);

	vm->reprotect.on = on;
	vm->saved.leaving = leaving;
	vm->now.awaited = true;
	return vm;
}

static struct cap_page *page_of(struct vm *vm)
{
	char path[CAP_PAGE_PATH];
	struct cap_page *page;

	cap_page_path(d.conf.run_dir, vm->id, path);
	assert_int_equal(cap_page_map(path, true, &page), 0);
	return page;
}

static void what_is_attached_is_cleaned_up(void **state)
{
	struct vm *vm = found_without_replicator(false, false);
	struct cap_page *page = page_of(vm);

	(void)state;
	d.due(vm);
	assert_true(vm->phase == VM_IDLE); /* alone, and is not to be protected */
	page->attached = 1;
	vm->now.awaited = true;
	d.due(vm);
	assert_true(vm->phase == VM_RECOVERING);
	reap(vm);
	assert_true(vm->phase == VM_IDLE);
	assert_false(vm->reprotect.on);
	cap_page_unmap(page);
}

static void a_fenced_vm_is_looked_at(void **state)
{
	struct vm *vm = found_without_replicator(false, false);
	struct cap_page *page = page_of(vm);

	(void)state;
	page->fenced = 1;
	d.due(vm);
	assert_true(vm->phase == VM_RECOVERING);
	reap(vm);
	cap_page_unmap(page);
}

static void an_unprotect_that_was_interrupted_is_completed(void **state)
{
	struct session_register r = {.role = SESSION_PRIMARY, .vm_id = ID, .session = "s1"};
	struct vm *vm;
	struct end e;

	(void)state;
	vm = found_without_replicator(false, true);
	d.due(vm);
	assert_true(vm->phase == VM_RECOVERING);
	reap(vm);
	assert_null(vm_by_id(&d, ID));
	/* A replicator that lives gets the order again. */
	vm = found_without_replicator(false, true);
	strcpy(vm->saved.session, "s1");
	kit_connect(&e);
	send_register(&e, &r);
	kit_expect(&e, SESSION_OP_LEAVE);
	send_end(&e, SESSION_LEFT, true);
	assert_null(vm_by_id(&d, ID));
	kit_hang_up(&e);
}

/* A backup that was not reached asks the arbiter later: the answer must still be there. */
static void the_record_stays_until_the_backup_has_parted(void **state)
{
	static const enum session_outcome how[] = {SESSION_LEFT, SESSION_VM_GONE};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct session_register r = {.role = SESSION_PRIMARY, .vm_id = ID, .session = "s1"};
		struct vm *vm = kit_vm(SESSION_PRIMARY);
		struct end e;
		int status;

		strcpy(vm->saved.session, "s1");
		strcpy(vm->saved.arbiter, "file:///nowhere");
		kit_connect(&e);
		send_register(&e, &r);
		send_end(&e, how[i / 2], i % 2);
		assert_null(vm_by_id(&d, ID));
		kit_hang_up(&e);
		/* The process that removes it, or records that no host may run the VM. */
		assert_true(waitpid(-1, &status, 0) > 0);
		assert_int_equal(WEXITSTATUS(status), i % 2 ? FORGETS : SETTLES);
	}
}

/* Refused, say: the primary had it recorded before it offered the VM. */
static void a_protect_that_fails_leaves_no_record(void **state)
{
	(void)state;
	for (int parted = 0; parted < 2; parted++) {
		struct session_register r = {.role = SESSION_PRIMARY, .vm_id = ID, .session = "s1"};
		struct vm *vm = kit_vm(SESSION_PRIMARY);
		struct end e;

		vm->fresh = true;
		vm->saved.was_protected = false;
		strcpy(vm->saved.session, "s1");
		strcpy(vm->saved.arbiter, "file:///nowhere");
		kit_connect(&e);
		send_register(&e, &r);
		send_end(&e, SESSION_FAILED, parted);
		assert_null(vm_by_id(&d, ID));
		kit_hang_up(&e);
		assert_true((waitpid(-1, NULL, 0) > 0) == parted);
	}
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(what_is_attached_is_cleaned_up),
		CASE(a_fenced_vm_is_looked_at),
		CASE(an_unprotect_that_was_interrupted_is_completed),
		CASE(the_record_stays_until_the_backup_has_parted),
		CASE(a_protect_that_fails_leaves_no_record),
	};

	if (argc > 2 && !strcmp(argv[1], "replicate"))
		return !strcmp(argv[2], "forget")   ? FORGETS
		       : !strcmp(argv[2], "settle") ? SETTLES
						    : 0;
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("daemon_starts", tests, NULL, NULL);
}
