/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMs leave a host whose hardware fails: what the daemon sends, and what it says. */
#include "events_kit.h"

#include "daemon/health.h"
#include "daemon/moves.h"

#include <sched.h>
#include <time.h>

static void sources(void)
{
	json_t *m = json_pack("{ss s[{ss sb ss}] ss}", "op", "sources", "sources", "name",
			      "mce_record", "there", 1, "why", "", "trace", "");

	health_message(&d, m);
	json_decref(m);
}

/* A page of the kernel has failed (red), or one that was free (yellow). */
static void page_fails(enum ras_owner owner)
{
	static uint64_t page = 0x1000;
	struct hw_fault f = {.fault = {.source = RAS_SRC_MF,
				       .severity = RAS_UNCORRECTED,
				       .part = RAS_PART_MEMORY,
				       .result = owner == RAS_OWNER_KERNEL ? RAS_RESULT_FAILED
									   : RAS_RESULT_RECOVERED,
				       .owner = owner,
				       .has_page = true,
				       .page = {page++},
				       .count = 1},
			     .records = 1,
			     .first_ns = tv_now_ns(),
			     .last_ns = tv_now_ns()};
	json_t *m;

	strcpy(f.fault.sentence, "a page has failed");
	m = json_pack("{ss s[o] si s{}}", "op", "faults", "faults", hw_fault_json(&f), "more", 0,
		      "total");
	health_message(&d, m);
	json_decref(m);
}

/* Corrected errors of a DIMM, or of a page of a VM. */
static void corrected(const char *dimm, enum ras_owner owner, uint32_t n)
{
	struct hw_fault f = {.fault = {.source = RAS_SRC_MC,
				       .severity = RAS_CORRECTED,
				       .part = RAS_PART_MEMORY,
				       .owner = owner,
				       .count = n},
			     .records = 1,
			     .first_ns = tv_now_ns(),
			     .last_ns = tv_now_ns()};
	json_t *m;

	strcpy(f.fault.where, dimm);
	strcpy(f.fault.sentence, "a DIMM is weak");
	m = json_pack("{ss s[o] si s{}}", "op", "faults", "faults", hw_fault_json(&f), "more", 0,
		      "total");
	health_message(&d, m);
	json_decref(m);
}

/* Of a VM, as its owner was found. */
static void page_is_weak(uint64_t page)
{
	struct ras_fault f = {.source = RAS_SRC_MC,
			      .severity = RAS_CORRECTED,
			      .part = RAS_PART_MEMORY,
			      .owner = RAS_OWNER_VM,
			      .has_page = true,
			      .page = {page},
			      .count = 1};
	struct ras_verdict v;

	strcpy(f.sentence, "a page is weak");
	for (int i = 0; i < 10 && health_of_host() != FO_YELLOW; i++) {
		f.where[0] = (char)('a' + i); /* each of another DIMM */
		ras_health_fault(health_judge(), &f, tv_now_ns(), &v);
	}
}

static struct vm *another(struct end *e, const char *id, const char *name)
{
	struct session_register r = {.role = SESSION_PRIMARY, .session = "s2"};
	struct session_stats stats = {.state = "protected"};
	struct vm *vm = vm_new(&d, id, name, SESSION_PRIMARY);

	vm->saved.qemu = kit_qemu();
	vm->saved.peer = (struct fo_candidate){"hostA", "10.0.0.1", 7890};
	strcpy(r.vm_id, id);
	strcpy(vm->saved.session, "s2");
	kit_connect(e);
	send_register(e, &r);
	ctl_send(e->there, session_message(SESSION_OP_STATS, &stats));
	kit_settle();
	return vm;
}

static unsigned switches(const struct end *e)
{
	unsigned n = 0;
	json_t *m;
	size_t i;

	json_array_foreach(e->got, i, m)
		n += session_op_of(m) == SESSION_OP_SWITCH;
	return n;
}

static void look(void)
{
	moves_look(&d);
	kit_settle();
}

static unsigned events_of(const char *kind, const char *text)
{
	json_t *all = read_all();
	unsigned n = 0;

	for (size_t i = 0; i < json_array_size(all); i++)
		n += !strcmp(text_at(all, i, "kind"), kind) &&
		     strstr(text_at(all, i, "text"), text);
	json_decref(all);
	return n;
}

static void well(void)
{
	health_clear(&d);
	moves_clear();
	assert_int_equal(health_of_host(), FO_GREEN);
}

static void leave(struct end *e)
{
	if (e->there && !e->closed)
		send_end(e, SESSION_LEFT, 0, "");
	kit_hang_up(e);
}

static int begin(void **state)
{
	int rc = set_up(state);

	strcpy(d.conf.health_action, "act");
	strcpy(d.conf.priorities[0].vm, "vm2");
	d.conf.priorities[0].priority = 90;
	d.conf.priority_count = 1;
	sources();
	well();
	return rc;
}

static void a_red_host_gives_its_vms_away_by_priority(void **state)
{
	struct end e1, e2;
	struct vm *vm1 = protected_vm(&e1), *vm2 = another(&e2, OTHER, "vm2");
	json_t *o;

	(void)state;
	look();
	assert_int_equal(switches(&e1) + switches(&e2), 0);
	page_fails(RAS_OWNER_KERNEL);
	for (int i = 0; i < 3; i++)
		look();
	assert_int_equal(switches(&e1), 0);
	assert_int_equal(switches(&e2), 1); /* once, and the other one waits for its end */
	assert_int_equal(events_of("health-move", "vm2 is moved to hostA: the hardware of hostB is "
						  "red: a page has failed"),
			 1);
	send_end(&e2, SESSION_SWITCHED, 0, "");
	assert_true(vm2->phase == VM_FENCING || !vm_by_id(&d, OTHER));
	look();
	assert_int_equal(switches(&e1), 1);
	/* It is called off: not tried again at once, and it does not count as a move. */
	send_end(&e1, SESSION_SWITCH_FAILED, -EIO, "the backup cannot");
	for (int i = 0; i < 1000 && vm1->now.rep; i++)
		kit_settle();
	assert_null(vm1->now.rep);
	for (int i = 0; i < 8; i++)
		look();
	assert_int_equal(events_of("health-move", "vm1"), 1);
	assert_int_equal(events_of("health-stays", "vm1 stays on this host"), 1);
	o = moves_recent();
	assert_int_equal(json_array_size(o), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(o, 0), "id")), OTHER);
	json_decref(o);
	leave(&e1);
	leave(&e2);
}

static void a_yellow_host_keeps_them_unless_a_part_of_all_is_weak(void **state)
{
	struct end e1, e2;

	(void)state;
	protected_vm(&e1);
	another(&e2, OTHER, "vm2");
	d.conf.priorities[0].priority = 49;
	page_fails(RAS_OWNER_FREE);
	assert_int_equal(health_of_host(), FO_YELLOW);
	for (int i = 0; i < 8; i++)
		look();
	assert_int_equal(switches(&e1) + switches(&e2), 0);
	corrected("DIMM_A1", RAS_OWNER_UNKNOWN, 10);
	look();
	assert_int_equal(switches(&e1), 1);
	assert_int_equal(switches(&e2), 0);
	d.conf.priorities[0].priority = 90;
	leave(&e1);
	leave(&e2);
}

static void a_dry_run_says_it_once_and_does_nothing(void **state)
{
	struct end e1, e2;
	json_t *o, *vms;

	(void)state;
	protected_vm(&e1);
	another(&e2, OTHER, "vm2");
	strcpy(d.conf.health_action, "warn");
	page_fails(RAS_OWNER_KERNEL);
	for (int i = 0; i < 8; i++)
		look();
	assert_int_equal(switches(&e1) + switches(&e2), 0);
	assert_int_equal(events_of("health-move", "vm1 would be moved to hostA"), 1);
	assert_int_equal(events_of("health-move", "vm2 would be moved to hostA"), 1);
	assert_int_equal(events_of("health-stays", ""), 0);
	o = moves_json(&d);
	vms = json_object_get(o, "vms");
	assert_true(json_is_false(json_object_get(o, "acts")));
	assert_int_equal(json_array_size(vms), 2);
	assert_int_equal(json_array_size(json_object_get(o, "recent")), 0);
	json_decref(o);
	/* What was only reported does not hold up what is done. */
	strcpy(d.conf.health_action, "act");
	look();
	assert_int_equal(switches(&e2), 1);
	leave(&e1);
	leave(&e2);
}

static void maintenance_gives_all_away_whatever_the_hardware_says(void **state)
{
	struct end e1, e2;
	struct tv_err e;
	json_t *o;

	(void)state;
	protected_vm(&e1);
	another(&e2, OTHER, "vm2");
	strcpy(d.conf.health_action, "warn");
	assert_int_equal(maintenance_begin(&d, false, &e), 0);
	look();
	look();
	assert_int_equal(switches(&e1), 0);
	assert_int_equal(switches(&e2), 1);
	assert_int_equal(
		events_of("maintenance-move", "vm2 is moved to hostA: hostB is in maintenance"), 1);
	send_end(&e2, SESSION_SWITCHED, 0, "");
	look();
	assert_int_equal(switches(&e1), 1);
	assert_int_equal(d.maintenance.moved, 1);
	o = moves_recent(); /* it was not moved for its hardware */
	assert_int_equal(json_array_size(o), 0);
	json_decref(o);
	assert_int_equal(maintenance_end(&d, &e), 0);
	strcpy(d.conf.health_action, "act");
	leave(&e1);
	leave(&e2);
}

/* The page's VM, whatever its priority; after a restart, too. */
static void the_vm_of_a_weak_page_leaves(void **state)
{
	json_t *moves, *weak;

	(void)state;
	weak_page_note(ID, "page 0x77");
	weak_page_note("no id", "page 0x77");
	assert_true(weak_page_is(ID, "page 0x77"));
	assert_false(weak_page_is(OTHER, "page 0x77"));
	assert_false(weak_page_is(ID, "page 0x78"));
	weak = weak_keep();
	assert_int_equal(json_array_size(weak), 1);
	for (unsigned i = 0; i < 64; i++) { /* the oldest gives its place */
		char page[32];

		snprintf(page, sizeof(page), "page 0x%x", 0x100 + i);
		weak_page_note(OTHER, page);
	}
	assert_false(weak_page_is(ID, "page 0x77"));
	weak_restore(weak);
	assert_true(weak_page_is(ID, "page 0x77"));
	json_decref(weak);
	/* What is kept may be anything. */
	weak = json_loads("[1,{},{\"id\":5,\"page\":\"x\"},{\"id\":\"" ID "\"}]", 0, NULL);
	weak_restore(weak);
	moves_restore(weak);
	weak_restore(NULL);
	moves_restore(NULL);
	json_decref(weak);
	moves = json_pack("[{ss ss ss sI sI sI sb}]", "id", ID, "name", "vm1", "session", "s1",
			  "moved", (json_int_t)(time(NULL) - 5), "begun", (json_int_t)-3, "would",
			  (json_int_t)INT64_MAX, "moving", 0);
	moves_restore(moves);
	json_decref(moves);
	moves = moves_recent();
	assert_int_equal(json_array_size(moves), 1);
	json_decref(moves);
}

/* As long as its own page is weak: once a session. */
static void the_epochs_of_a_concerned_vm_are_shorter(void **state)
{
	struct session_hurry h;
	struct tv_err e;
	struct end end;
	struct vm *vm;
	json_t *m = NULL, *o;
	size_t i;

	(void)state;
	vm = protected_vm(&end);
	vm->saved.epoch_ms = 40;
	page_is_weak(0x5150);
	weak_page_note(ID, "page 0x5150");
	assert_int_equal(health_of_host(), FO_YELLOW);
	for (int n = 0; n < 3; n++)
		look();
	json_array_foreach(end.got, i, o) {
		if (session_op_of(o) != SESSION_OP_HURRY)
			continue;
		assert_null(m);
		m = o;
	}
	assert_non_null(m);
	assert_int_equal(session_body(SESSION_OP_HURRY, m, &h, sizeof(h), &e), 0);
	assert_int_equal(h.epoch_ms, 10);
	assert_int_equal(switches(&end), 1);
	/* An operator has looked, before it has left: as before. */
	well();
	look();
	m = kit_last(&end);
	assert_int_equal(session_op_of(m), SESSION_OP_HURRY);
	assert_int_equal(session_body(SESSION_OP_HURRY, m, &h, sizeof(h), &e), 0);
	assert_int_equal(h.epoch_ms, 0);
	leave(&end);
}

static void a_core_binds_those_that_are_bound_to_it(void **state)
{
	cpu_set_t all, one;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	if (CPU_COUNT(&all) < 2 || !CPU_ISSET(0, &all))
		skip();
	assert_false(weak_core_binds(getpid(), 0));
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_true(weak_core_binds(getpid(), 0));
	assert_false(weak_core_binds(getpid(), 100000));
	assert_false(weak_core_binds(-1, 0));
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_red_host_gives_its_vms_away_by_priority, begin,
						tear_down),
		cmocka_unit_test_setup_teardown(
			a_yellow_host_keeps_them_unless_a_part_of_all_is_weak, begin, tear_down),
		cmocka_unit_test_setup_teardown(
			maintenance_gives_all_away_whatever_the_hardware_says, begin, tear_down),
		cmocka_unit_test_setup_teardown(a_dry_run_says_it_once_and_does_nothing, begin,
						tear_down),
		cmocka_unit_test_setup_teardown(the_vm_of_a_weak_page_leaves, begin, tear_down),
		cmocka_unit_test_setup_teardown(the_epochs_of_a_concerned_vm_are_shorter, begin,
						tear_down),
		cmocka_unit_test(a_core_binds_those_that_are_bound_to_it),
	};

	if (argc > 1 && !strcmp(argv[1], "replicate")) /* as the daemon's children */
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
