/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMs that libvirt has written to a file: their entry outlives their QEMU, and the daemon, until a QEMU
 * with that UUID is there. The processes of the daemon are this test, started again, which exits at once.
 */
#include "daemon_session_kit.h"
#include "daemon/away.h"

#include <signal.h>

#define UUID "11111111-2222-3333-4444-55555555abcd"

/* A session of it has ended, its QEMU stands in that state, and ends then. */
static struct vm *ended_in(const char *run_state, const char *uuid)
{
	struct vm *vm = kit_vm(SESSION_PRIMARY);

	strcpy(vm->saved.uuid, uuid);
	strcpy(vm->now.stats.run_state, run_state);
	vm->saved.last = vm->saved.peer;
	away_learn(vm);
	reprotect_start(vm);
	assert_false(away_is(vm)); /* it lives */
	assert_false(away_begin(vm));
	vm->saved.qemu.start_ticks--;
	return vm;
}

static void others_are_forgotten(void **state)
{
	static const char *const states[] = {"running", "paused", "shutdown", "inmigrate", ""};

	(void)state;
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
		reprotect_try(ended_in(states[i], UUID));
		assert_null(vm_by_id(&d, ID));
	}
	reprotect_try(ended_in("postmigrate", "")); /* nobody would know it again */
	assert_null(vm_by_id(&d, ID));
}

static void a_saved_one_stays(void **state)
{
	struct session_stats shown;
	struct end e;
	struct vm *vm;

	(void)state;
	vm = ended_in("postmigrate", UUID);
	reprotect_try(vm);
	assert_ptr_equal(vm_by_id(&d, ID), vm);
	shown_stats(vm, &shown);
	assert_string_equal(shown.state, "stopped");
	assert_non_null(strstr(shown.reason, "virsh save"));
	/* libvirt may start it here. */
	kit_connect(&e);
	ctl_send(e.there, json_pack("{ss ss}", "op", "may-start", "uuid", UUID));
	kit_settle();
	assert_int_equal(json_integer_value(json_object_get(kit_last(&e), "rc")), 0);
	kit_hang_up(&e);
	kit_settle();

	/* The next daemon. */
	TAILQ_REMOVE(&d.vms, vm, link);
	event_free(vm->timer);
	free(vm);
	registry_load(&d);
	vm = vm_by_id(&d, ID);
	assert_true(vm && vm->saved.away && vm->reprotect.on);
	supervise_loaded(&d);
	vm_timer(vm, 0);
	kit_settle();
	assert_true(vm_by_id(&d, ID) && !vm->now.awaited && away_is(vm));

	kit_connect(&e);
	ctl_send(e.there, json_pack("{ss ss}", "op", "unprotect", "vm", "vm1"));
	kit_settle();
	assert_int_equal(json_integer_value(json_object_get(kit_last(&e), "rc")), 0);
	assert_null(vm_by_id(&d, ID));
	kit_hang_up(&e);
}

static pid_t start_qemu(const char *uuid, char qmp[300])
{
	char arg[400];
	pid_t pid;

	kit_path(qmp, 300, "away.qmp");
	snprintf(arg, sizeof(arg), "unix:%s,server=on,wait=off", qmp);
	pid = fork();
	if (!pid) {
		execlp("qemu-system-x86_64", "qemu-system-x86_64", "-machine", "none", "-display",
		       "none", "-nodefaults", "-name", "vm1", "-uuid", uuid, "-qmp", arg, NULL);
		_exit(127);
	}
	while (access(qmp, F_OK) && !waitpid(pid, NULL, WNOHANG))
		kit_settle();
	return pid;
}

static void it_comes_back(void **state)
{
	static const char other[] = "11111111-2222-3333-4444-55555555abce";
	char qmp[300];
	struct vm *vm;
	pid_t pid;

	(void)state;
	vm = ended_in("finish-migrate", UUID);
	for (int is_it = 0; is_it < 2; is_it++) {
		pid = start_qemu(is_it ? UUID : other, qmp);
		reprotect_try(vm);
		assert_int_equal(vm_lives(vm), is_it);
		assert_int_equal(vm->saved.qemu.pid == pid, is_it);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		unlink(qmp);
	}
	assert_string_equal(vm->saved.qemu.qmp_path, qmp);
	assert_true(vm->reprotect.on && vm->saved.away);
	/* It has ended before it was protected: still the same. */
	reprotect_try(vm);
	assert_ptr_equal(vm_by_id(&d, ID), vm);
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(others_are_forgotten),
		T(a_saved_one_stays),
		T(it_comes_back),
	};

	if (argc > 1 && !strcmp(argv[1], "replicate"))
		return 0;
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("daemon_away", tests, NULL, NULL);
}
