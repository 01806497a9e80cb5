/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VMs' files: written and read by one table, also those of older versions, also damaged ones;
 * and how VMs are found. */
#include "daemon_kit.h"

static void write_file(const char *text)
{
	char path[300];

	kit_path(path, sizeof(path), "vms/" ID ".json");
	assert_int_equal(tv_write_file(path, text, strlen(text)), 0);
}

/* As if the daemon had been started anew. */
static struct vm *start_anew(void)
{
	TAILQ_INIT(&d.vms);
	TAILQ_INIT(&d.asked);
	TAILQ_INIT(&d.elsewhere);
	TAILQ_INIT(&d.may_start);
	registry_load(&d);
	return vm_by_id(&d, ID);
}

static void a_vm_survives_the_daemon(void **state)
{
	struct vm *before, *vm;

	(void)state;
	before = kit_vm(SESSION_BACKUP);
	before->saved.slot = 3;
	strcpy(before->saved.dir, "/run/twinvm/" ID "-3");
	strcpy(before->saved.mode, "kemari");
	strcpy(before->saved.arbiter, "etcd://10.0.0.9:2379");
	strcpy(before->saved.session, "abc");
	strcpy(before->saved.reason, "no \"host\" to protect it");
	before->saved.epoch_ms = 40;
	before->saved.generation = UINT64_C(1) << 40;
	before->saved.last = (struct fo_candidate){"hostC", "host-c.example", 65535};
	before->reprotect.on = true;
	vm_save_later(before);
	assert_int_equal(generation_note(&d, ID, 9, "hostA", "", NULL), 0);
	vm = start_anew();
	assert_non_null(vm);
	assert_memory_equal(&vm->saved, &before->saved, sizeof(vm->saved));
	assert_string_equal(vm->name, "vm1");
	assert_true(vm->role == SESSION_BACKUP && vm->reprotect.on && vm->highest == 9);
	/* What is not on disk is as for a new one; nothing has been started. */
	assert_true(vm->phase == VM_IDLE && !vm->now.child && !vm->now.rep && !vm->timer);
	assert_ptr_equal(vm->d, &d);
	free(before);
}

static void files_of_older_versions_are_read(void **state)
{
	struct vm *vm;

	(void)state;
	write_file("{\"id\": \"" ID "\", \"name\": \"old\", \"role\": \"primary\", \"pid\": 12,"
		   " \"start_ticks\": 34, \"qmp\": \"/q\", \"generation\": 2, \"newer\": [1]}");
	vm = start_anew();
	assert_non_null(vm);
	assert_true(vm->role == SESSION_PRIMARY && vm->saved.qemu.pid == 12);
	assert_int_equal(vm->saved.slot, -1);
	assert_int_equal(vm->saved.epoch_ms, 25);
	assert_string_equal(vm->saved.arbiter, "none");
	assert_string_equal(vm->saved.mode, "adaptive");
	assert_string_equal(vm->saved.qemu.name, "old");
	assert_false(vm->reprotect.on || vm->saved.was_protected || vm->saved.last.port);
}

#define WHOLE(id, role, pid, more)                                                \
	"{\"id\": \"" id "\", \"name\": \"x\", \"role\": " role ", \"pid\": " pid \
	", \"start_ticks\": 1, \"qmp\": \"\", \"generation\": 1" more "}"

static void damaged_files_are_ignored(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{",
		"{}",
		"null",
		WHOLE("short", "\"primary\"", "1", ""),
		WHOLE(ID "0", "\"primary\"", "1", ""),
		WHOLE(ID, "7", "1", ""),
		WHOLE(ID, "\"primary\"", "-1", ""),
		WHOLE(ID, "\"primary\"", "\"1\"", ""),
		WHOLE(ID, "\"primary\"", "1", ", \"peer_port\": 65536"),
		WHOLE(ID, "\"primary\"", "1", ", \"wanted\": 1"),
		WHOLE(ID, "\"primary\"", "1", ", \"mode\": \"a-mode-of-17-char\"")};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		write_file(bad[i]);
		if (start_anew())
			fail_msg("taken: %s", bad[i]);
		assert_true(TAILQ_EMPTY(&d.vms));
	}
	write_file(WHOLE(ID, "\"backup\"", "1", ", \"mode\": \"kemari\""));
	assert_non_null(start_anew());
}

static void vms_are_found_by_any_name(void **state)
{
	struct vm *vm, *twin;
	bool several;

	(void)state;
	vm = kit_vm(SESSION_PRIMARY);
	assert_ptr_equal(vm_find(&d, "vm1", &several), vm);
	assert_ptr_equal(vm_find(&d, ID, &several), vm);
	assert_ptr_equal(vm_find(&d, "/run/vm1.qmp", &several), vm);
	assert_false(several);
	assert_null(vm_find(&d, "vm", &several));
	assert_null(vm_find(&d, "", &several));
	vm->saved.qemu.pid = 123;
	assert_ptr_equal(vm_find(&d, "123", &several), vm);
	assert_null(vm_find(&d, "123x", &several));
	twin = vm_new(&d, OTHER, "vm1", SESSION_BACKUP);
	assert_non_null(vm_find(&d, "vm1", &several));
	assert_true(several);
	assert_ptr_equal(vm_find(&d, OTHER, &several), twin);
	assert_false(several);
	assert_ptr_equal(vm_by_id(&d, OTHER), twin);
}

static void a_process_is_known_by_its_start(void **state)
{
	struct vm *vm;

	(void)state;
	vm = kit_vm(SESSION_PRIMARY);
	assert_true(vm_lives(vm));
	vm->saved.qemu.start_ticks++; /* the pid is another process's by now */
	assert_false(vm_lives(vm));
	vm->saved.qemu = (struct hv_vm_id){0};
	assert_false(vm_lives(vm));
}

static void a_forgotten_vm_leaves_nothing(void **state)
{
	char page[300], file[300];
	struct vm *vm;

	(void)state;
	vm = kit_vm(SESSION_BACKUP);
	kit_path(vm->saved.dir, sizeof(vm->saved.dir), "run/" ID);
	assert_int_equal(tv_mkdirs(vm->saved.dir), 0);
	assert_int_equal(promotion_note(vm->saved.dir, 3), 0);
	kit_path(page, sizeof(page), "run/" ID ".page");
	assert_int_equal(tv_write_file(page, "", 0), 0);
	vm_save_later(vm);
	kit_path(file, sizeof(file), "vms/" ID ".json");
	assert_int_equal(access(file, F_OK), 0);
	vm_drop(vm);
	assert_int_not_equal(access(file, F_OK), 0);
	assert_int_not_equal(access(page, F_OK), 0);
	kit_path(page, sizeof(page), "run");
	assert_int_equal(rmdir(page), 0);
	assert_null(vm_by_id(&d, ID));
}

static struct vm *due_for;
static void due(struct vm *vm)
{
	due_for = vm;
}

static void its_timer_asks_what_is_due(void **state)
{
	struct vm *vm;

	(void)state;
	vm = kit_vm(SESSION_PRIMARY);
	d.due = due;
	due_for = NULL;
	vm_timer(vm, 3600 * TV_NS_PER_S);
	vm_timer(vm, 0); /* the newest counts */
	event_base_loop(d.base, EVLOOP_ONCE);
	assert_ptr_equal(due_for, vm);
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_vm_survives_the_daemon),	    T(files_of_older_versions_are_read),
		T(damaged_files_are_ignored),	    T(vms_are_found_by_any_name),
		T(a_process_is_known_by_its_start), T(a_forgotten_vm_leaves_nothing),
		T(its_timer_asks_what_is_due)};

	return cmocka_run_group_tests_name("daemon_registry", tests, NULL, NULL);
}
