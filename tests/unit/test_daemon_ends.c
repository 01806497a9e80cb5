/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sessions that begin and end, as the daemon sees them: replicators are the other ends of control
 * connections, helper processes are this test, started again as `replicate KIND JOB`, which exits
 * at once.
 */
#include "daemon_session_kit.h"

#include <signal.h>
#include <sys/wait.h>

static void note_qemu(const struct vm *vm, const struct hv_vm_id *qemu)
{
	struct standby_note n = {.pid = qemu->pid, .start_ticks = qemu->start_ticks};

	strcpy(n.qmp, qemu->qmp_path);
	assert_int_equal(standby_note(vm->saved.dir, &n), 0);
}

/* ---- the backup's side ---- */
static void a_backup_is_admitted_and_ends(void **state)
{
	struct session_register r = offer(3, "s1");
	struct end e;
	struct vm *vm;

	(void)state;
	kit_connect(&e);
	send_register(&e, &r);
	kit_expect(&e, SESSION_OP_GO);
	assert_int_equal(json_integer_value(json_object_get(kit_last(&e), "slot")), 0);
	vm = vm_by_id(&d, ID);
	assert_true(vm->role == SESSION_BACKUP && vm->phase == VM_RUNNING);
	assert_true(vm->saved.generation == 3 && generation_seen(&d, ID) == 3);
	assert_string_equal(vm->saved.peer.name, "hostA");
	assert_string_equal(vm->saved.mode, "remus");
	assert_int_equal(vm->saved.epoch_ms, 50);
	/* Its standby gets a process: root's note counts, and nothing that the sink reports. */
	send_register(&e, &r);
	assert_int_equal(vm->saved.qemu.pid, 0);
	assert_int_equal(standby_note(vm->saved.dir, &(struct standby_note){77, 88, "/q"}), 0);
	send_register(&e, &r);
	assert_true(vm->saved.qemu.pid == 77 && vm->saved.qemu.start_ticks == 88);
	assert_string_equal(vm->saved.qemu.qmp_path, "/q");
	send_end(&e, SESSION_DISCARDED, 0, "");
	assert_null(vm_by_id(&d, ID));
	kit_hang_up(&e);
}

/* A process that registers is that process; with less than root's rights it is a sink at most. */
static void nobody_registers_for_another(void **state)
{
	struct session_register r = offer(3, "s1");
	struct end e;

	(void)state;
	kit_connect(&e);
	r.pid = 1;
	ctl_send(e.there, session_message(SESSION_OP_REGISTER, &r));
	kit_settle();
	assert_null(vm_by_id(&d, ID));
	assert_true(e.closed);
	kit_hang_up(&e);
}

static void a_sink_has_no_more_rights_than_its_part(void **state)
{
	struct session_register r = offer(3, "s1");
	struct end e;
	struct vm *vm;

	(void)state;
	if (geteuid()) {
		skip(); /* needs another user */
		return;
	}
	vm = kit_vm(SESSION_PRIMARY);
	strcpy(vm->saved.session, "s1");
	r.role = SESSION_PRIMARY;
	kit_connect_as(&e, 65534);
	send_register(&e, &r);
	assert_true(e.closed && !vm->now.rep);
	kit_hang_up(&e);
	vm_drop(vm);
	r.role = SESSION_BACKUP;
	kit_connect_as(&e, 65534);
	send_register(&e, &r);
	kit_expect(&e, SESSION_OP_GO);
	send_end(&e, SESSION_DISCARDED, 0, "");
	kit_hang_up(&e);
}

/* The older session of the same VM is ended first; then, in the loop's next turn, the newer one
 * begins. Of several that wait the newest does. */
static void a_newer_session_waits_for_the_older(void **state)
{
	struct session_register r = offer(3, "s1");
	struct end older, refused, newer;

	(void)state;
	kit_connect(&older);
	send_register(&older, &r);
	r = offer(3, "s2");
	kit_connect(&refused);
	send_register(&refused, &r);
	kit_expect(&older, SESSION_OP_DISCARD);
	assert_int_equal(json_array_size(refused.got), 0);
	r = offer(3, "s3");
	kit_connect(&newer);
	send_register(&newer, &r);
	kit_expect(&refused, SESSION_OP_REFUSE);
	assert_int_equal(json_array_size(newer.got), 0);
	send_end(&older, SESSION_DISCARDED, 0, "");
	kit_expect(&newer, SESSION_OP_GO);
	assert_string_equal(vm_by_id(&d, ID)->saved.session, "s3");
	assert_true(TAILQ_EMPTY(&d.waiting));
	kit_hang_up(&older);
	kit_hang_up(&refused);
	send_end(&newer, SESSION_FAILED, -EIO, "");
	kit_hang_up(&newer);
}

static void one_that_gives_up_waiting_is_forgotten(void **state)
{
	struct session_register r = offer(3, "s1");
	struct end older, newer;

	(void)state;
	kit_connect(&older);
	send_register(&older, &r);
	r = offer(3, "s2");
	kit_connect(&newer);
	send_register(&newer, &r);
	kit_hang_up(&newer);
	kit_settle();
	assert_true(TAILQ_EMPTY(&d.waiting));
	send_end(&older, SESSION_DISCARDED, 0, "");
	assert_null(vm_by_id(&d, ID));
	kit_hang_up(&older);
}

/* A daemon's death: the session registers again, and is the same. */
static void a_session_is_adopted(void **state)
{
	struct session_register r = offer(3, "s1");
	struct end e, again;
	struct vm *vm;

	(void)state;
	kit_connect(&e);
	send_register(&e, &r);
	vm = vm_by_id(&d, ID);
	ctl_free(vm->now.rep); /* as after a start */
	vm->now.rep = NULL;
	vm->phase = VM_IDLE;
	strcpy(vm->saved.peer.address, "10.0.0.1");
	kit_connect(&again);
	send_register(&again, &r);
	kit_expect(&again, SESSION_OP_GO);
	assert_ptr_equal(vm_by_id(&d, ID), vm);
	assert_true(vm->phase == VM_RUNNING && vm->now.rep == again.here);
	assert_string_equal(vm->saved.peer.address, "10.0.0.1");
	send_end(&again, SESSION_DISCARDED, 0, "");
	kit_hang_up(&again);
	kit_hang_up(&e);
}

static void a_promoted_standby_is_the_vm(void **state)
{
	struct session_register r = offer(3, "s1");
	/* The generation is not the sink's to choose: it is one more than before. */
	struct session_end end = {.outcome = SESSION_PROMOTED, .generation = 400};
	struct hv_vm_id qemu = kit_qemu();
	struct end e, stale;
	struct vm *vm;

	(void)state;
	d.conf.reprotect = false;
	kit_connect(&e);
	send_register(&e, &r);
	r = offer(3, "s2"); /* comes while the older one is about to be promoted */
	kit_connect(&stale);
	send_register(&stale, &r);
	note_qemu(vm_by_id(&d, ID), &qemu);
	ctl_send(e.there, session_message(SESSION_OP_DONE, &end));
	kit_settle();
	ctl_free(e.there);
	e.there = NULL;
	kit_settle();
	vm = vm_by_id(&d, ID);
	assert_true(vm->role == SESSION_PRIMARY && vm->phase == VM_IDLE && vm_lives(vm));
	assert_true(vm->saved.generation == 4 && generation_seen(&d, ID) == 4);
	assert_string_equal(vm->saved.last.name, "hostA");
	assert_true(vm->saved.was_protected && !vm->reprotect.on);
	assert_non_null(strstr(vm->saved.reason, "failed over from hostA; protect it again"));
	kit_expect(&stale, SESSION_OP_FENCED);
	kit_hang_up(&e);
	kit_hang_up(&stale);
}

/* Its replicator died after it had promoted the standby, and before it could report that. */
static void a_promotion_that_was_not_reported_counts(void **state)
{
	struct vm *vm;

	(void)state;
	vm = kit_vm(SESSION_BACKUP);
	vm->saved.generation = 3;
	kit_path(vm->saved.dir, sizeof(vm->saved.dir), "run/" ID);
	assert_int_equal(tv_mkdirs(vm->saved.dir), 0);
	assert_int_equal(promotion_note(vm->saved.dir, 4), 0);
	session_ended(vm);
	assert_ptr_equal(vm_by_id(&d, ID), vm);
	assert_true(vm->role == SESSION_PRIMARY && vm->saved.generation == 4);
	assert_true(vm->reprotect.on);
	assert_non_null(strstr(vm->saved.reason, "failed over from hostA; a new backup"));
}

/* ---- the primary's side ---- */
static void a_lost_backup_is_looked_for_again(void **state)
{
	struct end e;
	struct vm *vm;

	(void)state;
	vm = protected_vm(&e);
	send_end(&e, SESSION_ALONE, -EIO, "hostA is lost");
	assert_ptr_equal(vm_by_id(&d, ID), vm);
	assert_true(vm->phase == VM_IDLE);
	assert_string_equal(vm->saved.reason, "hostA is lost");
	kit_hang_up(&e);
}

static void unprotect_forgets_the_vm(void **state)
{
	struct end e, command;
	struct vm *vm;

	(void)state;
	vm = protected_vm(&e);
	kit_connect(&command);
	ctl_send(command.there, json_pack("{ss ss}", "op", "unprotect", "vm", "vm1"));
	kit_settle();
	kit_expect(&e, SESSION_OP_LEAVE);
	assert_ptr_equal(vm->waiter, command.here);
	send_end(&e, SESSION_LEFT, 0, "");
	assert_null(vm_by_id(&d, ID));
	assert_int_equal(json_integer_value(json_object_get(kit_last(&command), "rc")), 0);
	assert_true(command.closed);
	kit_hang_up(&e);
	kit_hang_up(&command);
}

static void a_switch_leaves_the_vm_to_the_other_host(void **state)
{
	struct end e, command;
	struct vm *vm;

	(void)state;
	vm = protected_vm(&e);
	kit_connect(&command);
	ctl_send(command.there, json_pack("{ss ss}", "op", "failover", "vm", ID));
	kit_settle();
	kit_expect(&e, SESSION_OP_SWITCH);
	vm->saved.qemu.start_ticks++; /* its process has ended */
	send_end(&e, SESSION_SWITCHED, 0, "");
	assert_null(vm_by_id(&d, ID));
	assert_int_equal(generation_seen(&d, ID), 2);
	assert_string_equal(json_string_value(json_object_get(kit_last(&command), "host")),
			    "hostA");
	kit_hang_up(&e);
	kit_hang_up(&command);
}

/* Both processes are this test, started again; it exits with 0: all is done. */
static void a_dead_replicator_is_recovered_from(void **state)
{
	struct end e;
	struct vm *vm;

	(void)state;
	vm = protected_vm(&e);
	kit_hang_up(&e);
	kit_settle();
	assert_true(vm->phase == VM_RECOVERING);
	reap(vm);
	assert_true(vm->phase == VM_IDLE);
	assert_non_null(strstr(vm->saved.reason, "the replicator died"));
}

/* Versions that do not fit: the replicator lives, but what it reports cannot be read. Its end is
 * then cleaned up after, as a death. */
static void malformed_messages_are_not_believed(void **state)
{
	struct end e;
	struct vm *vm;

	(void)state;
	vm = protected_vm(&e);
	vm->now.stats_ns = 0;
	ctl_send(e.there, json_pack("{ss ss}", "op", "stats", "state", "alone"));
	ctl_send(e.there, json_pack("{ss}", "op", "no-such-message"));
	ctl_send(e.there, json_object());
	kit_settle();
	assert_true(vm->now.malformed && vm->now.stats_ns > 0);
	assert_string_equal(vm->now.stats.state, "protected");
	ctl_send(e.there, json_pack("{ss ss}", "op", "done", "outcome", "left"));
	kit_settle();
	assert_false(vm->now.done);
	kit_hang_up(&e);
	kit_settle();
	assert_true(vm->phase == VM_RECOVERING);
	reap(vm);
	assert_true(vm->phase == VM_IDLE);
}

static void a_stale_instance_is_stopped_and_kept(void **state)
{
	struct end e;
	struct vm *vm;

	(void)state;
	vm = protected_vm(&e);
	send_end(&e, SESSION_FENCED, TV_E_LOST, "hostA runs it");
	assert_true(vm->phase == VM_FENCING && generation_seen(&d, ID) == 2);
	assert_false(vm->reprotect.on);
	reap(vm);
	assert_null(vm_by_id(&d, ID));
	assert_non_null(kept_find(&d, "vm1"));
	kit_hang_up(&e);
}

static void an_unknown_session_must_leave(void **state)
{
	struct session_register r = {.role = SESSION_PRIMARY, .vm_id = ID, .session = "s2"};
	struct end e;

	(void)state;
	kit_connect(&e);
	send_register(&e, &r);
	kit_expect(&e, SESSION_OP_LEAVE);
	kit_hang_up(&e);
	kit_connect(&e);
	ctl_send(e.there, json_pack("{ss ss}", "op", "register", "vm_id", "short"));
	kit_settle();
	assert_true(e.closed);
	kit_hang_up(&e);
	kit_settle();
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_backup_is_admitted_and_ends),
		T(nobody_registers_for_another),
		T(a_sink_has_no_more_rights_than_its_part),
		T(a_newer_session_waits_for_the_older),
		T(one_that_gives_up_waiting_is_forgotten),
		T(a_session_is_adopted),
		T(a_promoted_standby_is_the_vm),
		T(a_promotion_that_was_not_reported_counts),
		T(a_lost_backup_is_looked_for_again),
		T(unprotect_forgets_the_vm),
		T(a_switch_leaves_the_vm_to_the_other_host),
		T(a_dead_replicator_is_recovered_from),
		T(malformed_messages_are_not_believed),
		T(a_stale_instance_is_stopped_and_kept),
		T(an_unknown_session_must_leave),
	};

	if (argc > 1 && !strcmp(argv[1], "replicate"))
		return 0;
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("daemon_ends", tests, NULL, NULL);
}
