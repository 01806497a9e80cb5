/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What status shows beyond counters: since when, would a failover be allowed, what is done next, and
 * what the kernel counts of a VM's processes. What is not known is left out. */
#include "daemon_kit.h"

#include <math.h>
#include <time.h>

static json_t *o;

static struct vm *session(enum session_role role, const char *state, const char *core)
{
	struct vm *vm = kit_vm(role);

	vm->phase = VM_RUNNING;
	vm->reprotect.on = true;
	strcpy(vm->saved.arbiter, "file:///arbiter");
	vm->now.stats = (struct session_stats){.progress = 1,
					       .epoch_committed = 7,
					       .lag_ms = 40,
					       .lease = true,
					       .arbiter_for_ms = 2000};
	strcpy(vm->now.stats.state, state);
	strcpy(vm->now.stats.core, core);
	strcpy(vm->now.stats.arbiter_state, "reachable");
	vm->now.stats_ns = tv_now_ns();
	return vm;
}

static void show(struct vm *vm)
{
	json_decref(o);
	o = vm_status(vm);
	assert_non_null(o);
}

static void expect(const char *key, const char *value)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (!s || !strstr(s, value))
		fail_msg("%s is '%s', without '%s'", key, s ? s : "(none)", value);
}

static void expect_none(const char *key)
{
	if (json_object_get(o, key))
		fail_msg("%s is there", key);
}

static double number(const char *key)
{
	json_t *v = json_object_get(o, key);

	if (!json_is_number(v))
		fail_msg("%s is missing", key);
	return json_number_value(v);
}

/* Refused, for that reason. */
static void refused(struct vm *vm, const char *why)
{
	show(vm);
	assert_true(json_is_false(json_object_get(o, "failover_allowed")));
	expect("failover_reason", why);
}

static void headroom_is_of_what_was_measured(void **state)
{
	struct vm *vm = session(SESSION_PRIMARY, "protected", "PROTECTED");

	(void)state;
	vm->vitals.before.at_ns = 1;
	vm->vitals.link_used_bytes_s = 300;
	show(vm);
	expect_none("link_bytes_s");
	expect_none("link_headroom");
	vm->now.stats.link_bytes_s = 400;
	show(vm);
	assert_true(number("link_bytes_s") == 400 && number("link_headroom") == 0.25);
	vm->vitals.link_used_bytes_s = 500;
	show(vm);
	assert_true(number("link_headroom") == 0);
	vm->vitals.link_used_bytes_s = NAN;
	show(vm);
	expect_none("link_headroom");
	vm->phase = VM_IDLE;
	show(vm);
	expect_none("link_bytes_s");
}

static void a_failover_needs_evidence(void **state)
{
	struct vm *vm = session(SESSION_PRIMARY, "protected", "PROTECTED");
	struct session_stats good = vm->now.stats;

	(void)state;
	show(vm);
	assert_true(json_is_true(json_object_get(o, "failover_allowed")));
	expect_none("failover_reason");
	vm->now.stats.lease = false;
	refused(vm, "no heartbeat comes back from hostA");
	vm->now.stats = good;
	strcpy(vm->now.stats.arbiter_state, "unreachable");
	refused(vm, "hostB cannot reach the arbiter file:///arbiter");
	strcpy(vm->now.stats.arbiter_state, "no record");
	refused(vm, "has no record of this session");
	vm->now.stats = good;
	vm->now.stats_ns -= 10 * TV_NS_PER_S;
	refused(vm, "has reported nothing");
	vm->now.stats_ns = tv_now_ns();
	strcpy(vm->saved.arbiter, "none");
	refused(vm, "'twinvm failover vm1 --force' on hostA");
	vm->d->conf.fence_required = true;
	refused(vm, "no arbiter");
	strcpy(vm->d->conf.fence_command, "/bin/fence");
	show(vm);
	assert_true(json_is_true(json_object_get(o, "failover_allowed")));
	strcpy(vm->now.stats.state, "syncing");
	vm->now.stats.progress = 0.43;
	refused(vm, "43 %");
	vm->phase = VM_IDLE;
	refused(vm, "no other host has a copy");
	vm->highest = 9;
	refused(vm, "another host runs this VM");
}

static void as_the_backup_sees_it(void **state)
{
	struct vm *vm = session(SESSION_BACKUP, "protected", "STANDBY");

	(void)state;
	show(vm);
	assert_true(json_is_true(json_object_get(o, "failover_allowed")));
	expect("wanted", "protected");
	strcpy(vm->saved.arbiter, "none");
	refused(vm, "--force' on hostB");
	strcpy(vm->now.stats.core, "WAITING");
	show(vm);
	expect("next_action", "waits for hostA");
	strcpy(vm->now.stats.core, "KEPT");
	refused(vm, "--retry");
	strcpy(vm->now.stats.core, "SYNCING");
	refused(vm, "no whole epoch");
	strcpy(vm->now.stats.state, "promoting");
	strcpy(vm->now.stats.core, "PROMOTING");
	show(vm);
	expect("next_action", "promoted");
}

static void what_is_wanted_and_done(void **state)
{
	struct vm *vm = session(SESSION_PRIMARY, "syncing", "SYNCING");
	struct timespec now;

	(void)state;
	vm->now.stats.progress = 0.5;
	show(vm);
	expect("wanted", "protected");
	expect("next_action", "copied to hostA");
	expect_none("next_action_time");
	vm->phase = VM_IDLE;
	vm->reprotect.due_ns = tv_now_ns() + 5 * TV_NS_PER_S;
	show(vm);
	expect("next_action", "a backup is looked for");
	clock_gettime(CLOCK_REALTIME, &now);
	assert_true(fabs(number("next_action_time") - (double)now.tv_sec - 5) < 3);
	vm->reprotect.on = false;
	show(vm);
	expect("wanted", "alone");
	expect_none("next_action");
	vm->saved.leaving = true;
	show(vm);
	expect("wanted", "unprotected");
	vm->phase = VM_FENCING;
	show(vm);
	expect("wanted", "stopped");
	expect("next_action", "stopped");
}

static void since_when(void **state)
{
	struct vm *vm = session(SESSION_PRIMARY, "protected", "PROTECTED");
	double first, now = shown_wall_s(tv_now_ns());

	(void)state;
	vm->now.stats.state_for_ms = 60000; /* its replicator is older than this daemon */
	show(vm);
	first = number("state_since");
	assert_true(fabs(now - 60 - first) < 3);
	assert_true(fabs(now - 2 - number("arbiter_since")) < 3);
	vm->now.stats.state_for_ms = 61000;
	show(vm);
	assert_true(number("state_since") == first);
	vm->phase = VM_IDLE;
	show(vm);
	assert_true(number("state_since") > first + 50);
	expect_none("arbiter_since");
	expect_none("last_commit_time"); /* of no session */
	vm->now.awaited = true;
	show(vm);
	expect_none("state_since");
}

static void the_lag_is_computed_by_the_reader(void **state)
{
	struct vm *vm = session(SESSION_PRIMARY, "protected", "PROTECTED");
	double at;

	(void)state;
	show(vm);
	at = number("last_commit_time");
	assert_true(fabs(shown_wall_s(vm->now.stats_ns) - 0.040 - at) < 0.005);
	show(vm); /* no report in between: the same, so that the age grows */
	assert_true(fabs(number("last_commit_time") - at) < 0.005);
	vm->now.stats.epoch_committed = 0;
	show(vm);
	expect_none("last_commit_time"); /* and not that of 1970 */
}

static void the_kernels_numbers(void **state)
{
	struct vm *vm = session(SESSION_PRIMARY, "protected", "PROTECTED");
	int64_t until_ns;

	(void)state;
	vm->now.stats.wire_bytes = 1000;
	show(vm);
	expect_none("cpu_percent");
	expect_none("memory_bytes");
	expect_none("wire_bytes_s");
	vitals_sample(vm);
	until_ns = tv_now_ns() + 50 * TV_NS_PER_MS;
	while (tv_now_ns() < until_ns)
		;
	vm->now.stats.wire_bytes = 2000;
	vitals_sample(vm);
	show(vm);
	assert_true(number("cpu_percent") > 0 && number("memory_bytes") > 1 << 20);
	assert_true(number("wire_bytes_s") > 0 && number("disk_read_bytes_s") >= 0);
	expect_none("net_rx_bytes_s"); /* this process has no tap */
	expect_none("standby_memory_bytes");
	vm->now.stats.wire_bytes = 10; /* a new session counts anew */
	vitals_sample(vm);
	show(vm);
	expect_none("wire_bytes_s");
	vm->role = SESSION_BACKUP;
	vm->now.replicator = getpid();
	vitals_sample(vm);
	vitals_sample(vm);
	show(vm);
	expect_none("memory_bytes");
	assert_true(number("standby_memory_bytes") > 1 << 20);
	vm->saved.qemu.pid = vm->now.replicator = 0;
	vitals_sample(vm);
	vitals_sample(vm);
	show(vm);
	expect_none("standby_memory_bytes");
	expect_none("standby_cpu_percent");
	vm->now.replicator = 0;
}

static int clear(void **state)
{
	json_decref(o);
	o = NULL;
	return kit_tear_down(state);
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, clear)
int main(void)
{
	const struct CMUnitTest tests[] = {T(headroom_is_of_what_was_measured),
					   T(a_failover_needs_evidence),
					   T(as_the_backup_sees_it),
					   T(what_is_wanted_and_done),
					   T(since_when),
					   T(the_lag_is_computed_by_the_reader),
					   T(the_kernels_numbers)};

	return cmocka_run_group_tests_name("daemon_outlook", tests, NULL, NULL);
}
