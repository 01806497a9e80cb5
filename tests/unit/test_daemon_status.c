/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `twinvm status` shows: the contract's fields, whatever the VM is doing. */
#include "daemon_kit.h"

static void expect_text(json_t *o, const char *key, const char *value)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (!s || strcmp(s, value) != 0)
		fail_msg("%s is '%s', not '%s'", key, s ? s : "(none)", value);
}

static double number(json_t *o, const char *object, const char *key)
{
	json_t *v = json_object_get(object ? json_object_get(o, object) : o, key);

	if (!json_is_number(v))
		fail_msg("%s is missing", key);
	return json_number_value(v);
}

/* The names that scripts rely on, written down a second time; more: of what is left out while it is not
 * known (test_daemon_outlook.c). */
static void expect_all(json_t *o, unsigned more)
{
	static const char *const texts[] = {"name", "id",      "role",	   "peer", "state",
					    "mode", "reason",  "arbiter",  "core", "output_held_by",
					    "qemu", "warning", "run_state"};
	static const char *const numbers[] = {
		"generation",	   "epoch_running",	"epoch_committed",
		"lag_ms",	   "uncommitted_bytes", "oldest_held_frame_ms",
		"raw_bytes",	   "wire_bytes",	"held_frames",
		"released_frames", "dropped_frames",	"disk_bytes",
		"disk_kept_bytes", "progress",		"pid"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_true(json_is_string(json_object_get(o, texts[i])));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		number(o, NULL, numbers[i]);
	number(o, "pause_ms", "p50");
	number(o, "pause_ms", "p99");
	number(o, "pause_ms", "max");
	number(o, "epoch_ms", "p50");
	number(o, "commit_ms", "p50");
	number(o, "commit_ms", "p99");
	number(o, "dirty_pages", "p50");
	number(o, "dirty_pages", "p99");
	assert_true(json_is_array(json_object_get(o, "kept")));
	assert_true(json_is_array(json_object_get(o, "sockets")));
	/* What is only between the daemon and its replicators. */
	assert_null(json_object_get(o, "lease"));
	assert_null(json_object_get(o, "asked_to_run"));
	assert_null(json_object_get(o, "op"));
	assert_true(json_is_boolean(json_object_get(o, "suspended")));
	assert_int_equal(json_object_size(o), 14 + 15 + 4 + 2 + 1 + more);
}

static void a_vm_without_a_session(void **state)
{
	struct vm *vm;
	json_t *o;

	(void)state;
	vm = kit_vm(SESSION_PRIMARY);
	strcpy(vm->saved.reason, "hostA is lost");
	o = vm_status(vm);
	expect_all(o, 5);
	expect_text(o, "name", "vm1");
	expect_text(o, "id", ID);
	expect_text(o, "role", "primary");
	expect_text(o, "peer", "hostA");
	expect_text(o, "state", "alone");
	expect_text(o, "reason", "hostA is lost");
	expect_text(o, "mode", "adaptive");
	expect_text(o, "arbiter", "none");
	assert_true(number(o, NULL, "pid") == getpid());
	json_decref(o);
	vm->phase = VM_FENCING;
	o = vm_status(vm);
	expect_text(o, "state", "stopped");
	json_decref(o);
}

static struct vm *running(const char *session_state)
{
	struct vm *vm = kit_vm(SESSION_PRIMARY);

	vm->phase = VM_RUNNING;
	vm->now.stats = (struct session_stats){.epoch_committed = 7, .pause_ms = {1, 2, 3}};
	strcpy(vm->now.stats.state, session_state);
	return vm;
}

static void a_protected_vm(void **state)
{
	struct vm *vm;
	json_t *o;

	(void)state;
	vm = running("protected");
	vm->now.stats.progress = 1;
	strcpy(vm->saved.reason, "of before");
	o = vm_status(vm);
	expect_all(o, 5);
	expect_text(o, "state", "protected");
	expect_text(o, "reason", "");
	assert_true(number(o, NULL, "epoch_committed") == 7 && number(o, "pause_ms", "max") == 3);
	json_decref(o);
}

/* It is to be protected again: alone until something is copied, and the reason stays readable. */
static void a_vm_that_is_protected_again(void **state)
{
	struct vm *vm;
	json_t *o;

	(void)state;
	vm = running("syncing");
	strcpy(vm->saved.reason, "hostA is lost");
	o = vm_status(vm);
	expect_text(o, "state", "alone");
	expect_text(o, "reason", "hostA is lost");
	json_decref(o);
	vm->now.stats.progress = 0.25;
	strcpy(vm->now.stats.reason, "copying");
	o = vm_status(vm);
	expect_text(o, "state", "syncing");
	expect_text(o, "reason", "copying");
	assert_true(number(o, NULL, "progress") == 0.25);
	json_decref(o);
	vm->now.stats.progress = 0; /* the first time, it is syncing from the start */
	vm->saved.was_protected = false;
	o = vm_status(vm);
	expect_text(o, "state", "syncing");
	json_decref(o);
}

/* The counters of the last session stay; its state does not. */
static void after_a_session(void **state)
{
	struct vm *vm;
	json_t *o;

	(void)state;
	vm = running("protected");
	vm->now.stats.progress = 1;
	strcpy(vm->now.stats.reason, "of the session");
	vm->phase = VM_RECOVERING;
	o = vm_status(vm);
	expect_all(o, 6);
	expect_text(o, "state", "alone");
	expect_text(o, "reason", "");
	assert_true(number(o, NULL, "progress") == 0 && number(o, NULL, "epoch_committed") == 7);
	json_decref(o);
}

static void a_stopped_qemu(void **state)
{
	struct vm *vm;
	json_t *o, *k;

	(void)state;
	vm = kit_vm(SESSION_PRIMARY);
	vm->saved.generation = 4;
	kept_add(vm, "another host runs it");
	o = vm_status(vm);
	k = json_array_get(json_object_get(o, "kept"), 0);
	expect_text(k, "reason", "another host runs it");
	assert_true(number(k, NULL, "generation") == 4 && number(k, NULL, "pid") == getpid());
	json_decref(o);
	vm_drop(vm);
	o = kept_status(&d, TAILQ_FIRST(&d.kept));
	expect_all(o, 0);
	expect_text(o, "name", "vm1");
	expect_text(o, "state", "stopped");
	expect_text(o, "reason", "another host runs it");
	expect_text(o, "peer", "");
	expect_text(o, "mode", "");
	assert_int_equal(json_array_size(json_object_get(o, "kept")), 1);
	json_decref(o);
}

/* What its replicator has found, while that lives; the daemon's own comes first. */
static void warnings_of_both_are_shown(void **state)
{
	struct vm *vm;
	json_t *o;

	(void)state;
	vm = kit_vm(SESSION_PRIMARY);
	vm->phase = VM_RUNNING;
	strcpy(vm->now.stats.state, "protected");
	strcpy(vm->now.stats.warning, "the record is gone");
	o = vm_status(vm);
	expect_text(o, "warning", "the record is gone");
	json_decref(o);
	vm->phase = VM_IDLE;
	o = vm_status(vm);
	expect_text(o, "warning", "");
	json_decref(o);
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_vm_without_a_session), T(warnings_of_both_are_shown),
		T(a_protected_vm),	   T(a_vm_that_is_protected_again),
		T(after_a_session),	   T(a_stopped_qemu)};

	return cmocka_run_group_tests_name("daemon_status", tests, NULL, NULL);
}
