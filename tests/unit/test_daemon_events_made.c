/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which events the daemon makes of what its replicators report, and of what operators ask for: each once, in
 * the order in which it happened, and none for what happened before this daemon. */
#include "events_kit.h"

static uint64_t after;

static int begin(void **state)
{
	after = 0;
	return set_up(state);
}

/* The kinds since the last call, each with a blank behind it. */
static const char *made(void)
{
	static char out[2000];
	const struct events_query q = {.after_id = after};
	json_t *list = events_read(&d, &q, NULL), *o;
	size_t i;

	out[0] = '\0';
	json_array_foreach(list, i, o) {
		strcat(out, json_string_value(json_object_get(o, "kind")));
		strcat(out, " ");
	}
	after = events_newest(&d);
	json_decref(list);
	return out;
}

static json_t *last(void)
{
	const struct events_query q = {.limit = 1, .newest = true};
	json_t *list = events_read(&d, &q, NULL), *o = json_incref(json_array_get(list, 0));

	json_decref(list);
	return o;
}

static void report(struct end *e, const char *state, const char *core, const char *reason)
{
	struct session_stats s = {.progress = 1};

	strcpy(s.state, state);
	strcpy(s.core, core);
	strcpy(s.reason, reason);
	ctl_send(e->there, session_message(SESSION_OP_STATS, &s));
	kit_settle();
}

static void backup_registers(struct end *e)
{
	struct session_register r = offer(2, "s1");

	kit_connect(e);
	send_register(e, &r);
	report(e, "syncing", "SYNCING", "");
}

/* ---- the primary ---- */
static void a_backup_is_lost_once(void **state)
{
	struct end e;

	(void)state;
	protected_vm(&e);
	report(&e, "protected", "PROTECTED", "");
	assert_string_equal(made(), "");
	report(&e, "alone", "ASKING", "the link was lost");
	report(&e, "stopped", "HELD", "the link was lost");
	report(&e, "stopped", "HELD", "the link was lost");
	assert_string_equal(made(), "backup-lost lease-over ");
	report(&e, "alone", "ALONE", "the link was lost");
	assert_string_equal(made(), "lease-back ");
	send_end(&e, SESSION_ALONE, -ETIMEDOUT, "the link was lost");
	assert_string_equal(made(), "alone ");
	kit_hang_up(&e);
}

static void a_lease_comes_and_goes(void **state)
{
	struct end e;

	(void)state;
	protected_vm(&e);
	report(&e, "protected", "PROTECTED", "");
	report(&e, "stopped", "SUSPENDED", "");
	report(&e, "syncing", "REPAIRING", "");
	report(&e, "protected", "PROTECTED", "");
	assert_string_equal(made(), "lease-over lease-back ");
	send_end(&e, SESSION_LEFT, 0, "");
	assert_string_equal(made(), "unprotected ");
	kit_hang_up(&e);
}

/* The first report of a session that another daemon began is where it starts from. */
static void what_was_before_is_not_made_up(void **state)
{
	struct session_register r = {.role = SESSION_PRIMARY, .vm_id = ID, .session = "s1"};
	struct vm *vm = kit_vm(SESSION_PRIMARY);
	struct end e;

	(void)state;
	strcpy(vm->saved.session, "s1");
	kit_connect(&e);
	send_register(&e, &r);
	report(&e, "alone", "ASKING", "lost before");
	assert_string_equal(made(), "");
	report(&e, "alone", "ALONE", "lost before");
	send_end(&e, SESSION_ALONE, -ETIMEDOUT, "lost before");
	assert_string_equal(made(), "alone ");
	kit_hang_up(&e);
}

static void warnings_begin_and_end(void **state)
{
	struct session_stats s = {.state = "protected", .core = "PROTECTED", .progress = 1};
	struct end e;

	(void)state;
	protected_vm(&e);
	for (int i = 0; i < 3; i++) {
		snprintf(s.warning, sizeof(s.warning), "the record is gone since %d s", i);
		ctl_send(e.there, session_message(SESSION_OP_STATS, &s));
	}
	s.warning[0] = '\0';
	ctl_send(e.there, session_message(SESSION_OP_STATS, &s));
	kit_settle();
	assert_string_equal(made(), "warning warning-over ");
	send_end(&e, SESSION_LEFT, 0, "");
	kit_hang_up(&e);
}

static void operators_are_on_record(void **state)
{
	struct end e, ask;

	(void)state;
	protected_vm(&e);
	kit_connect(&ask);
	ctl_send(ask.there, json_pack("{ss ss}", "op", "failover", "vm", "vm1"));
	kit_settle();
	assert_string_equal(made(), "switch-asked ");
	send_end(&e, SESSION_SWITCH_FAILED, -ETIMEDOUT, "the backup did not take over in time");
	assert_string_equal(made(), "switch-failed alone ");
	kit_hang_up(&ask);
	kit_hang_up(&e);
	kit_connect(&ask);
	ctl_send(ask.there, json_pack("{ss ss}", "op", "unprotect", "vm", "vm1"));
	kit_settle();
	assert_string_equal(made(), "unprotect-asked unprotected ");
	kit_hang_up(&ask);
}

static void a_vm_that_ends(void **state)
{
	struct end e;

	(void)state;
	protected_vm(&e);
	send_end(&e, SESSION_VM_GONE, TV_E_GONE, "the VM's QEMU process has ended");
	assert_string_equal(made(), "vm-ended ");
	kit_hang_up(&e);
}

/* ---- the backup ---- */
static void a_failover_has_its_outage(void **state)
{
	struct session_end end = {.outcome = SESSION_PROMOTED,
				  .generation = 3,
				  .outage = {.cause = "silence",
					     .outage_ms = 412.5,
					     .silence_ms = 300,
					     .record_ms = 12.5,
					     .apply_ms = 20,
					     .load_ms = 80}};
	struct end e;
	json_t *o, *data;

	(void)state;
	backup_registers(&e);
	assert_string_equal(made(), "standby-begun ");
	report(&e, "protected", "STANDBY", "");
	report(&e, "protected", "STANDBY", "");
	report(&e, "promoting", "ASKING", "");
	report(&e, "promoting", "ASKING", "");
	report(&e, "promoting", "PROMOTING", "");
	assert_string_equal(made(), "standby-ready primary-lost promoting ");
	vm_by_id(&d, ID)->saved.qemu = kit_qemu();
	ctl_send(e.there, session_message(SESSION_OP_DONE, &end));
	kit_settle();
	ctl_free(e.there);
	e.there = NULL;
	kit_settle();
	assert_string_equal(made(), "failover ");
	o = last();
	data = json_object_get(o, "data");
	assert_string_equal(json_string_value(json_object_get(data, "cause")), "silence");
	assert_true(json_number_value(json_object_get(data, "outage_ms")) == 412.5);
	assert_true(json_number_value(json_object_get(data, "record_ms")) == 12.5);
	assert_non_null(strstr(json_string_value(json_object_get(o, "text")),
			       "hostA sent nothing any more; outage 412 ms"));
	assert_string_equal(json_string_value(json_object_get(o, "role")), "primary");
	json_decref(o);
	kit_hang_up(&e);
}

/* Its replicator is of an older version, or died before it could report. */
static void an_outage_that_is_not_known(void **state)
{
	struct end e;
	json_t *o;

	(void)state;
	backup_registers(&e);
	report(&e, "protected", "STANDBY", "");
	vm_by_id(&d, ID)->saved.qemu = kit_qemu();
	send_end(&e, SESSION_PROMOTED, 0, "");
	o = last();
	assert_string_equal(json_string_value(json_object_get(o, "kind")), "failover");
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "data"), "cause")),
			    "unknown");
	assert_null(json_object_get(json_object_get(o, "data"), "outage_ms"));
	json_decref(o);
	kit_hang_up(&e);
}

static void a_primary_that_comes_back(void **state)
{
	struct end e;

	(void)state;
	backup_registers(&e);
	report(&e, "protected", "STANDBY", "");
	report(&e, "protected", "WAITING", "");
	report(&e, "protected", "STANDBY", "");
	assert_string_equal(made(), "standby-begun standby-ready primary-lost primary-back ");
	send_end(&e, SESSION_DISCARDED, 0, "replaced by a newer synchronisation");
	assert_string_equal(made(), "standby-ended ");
	kit_hang_up(&e);
}

static void a_promotion_that_fails(void **state)
{
	struct end e;
	json_t *o;

	(void)state;
	backup_registers(&e);
	report(&e, "protected", "STANDBY", "");
	report(&e, "promoting", "PROMOTING", "");
	made();
	report(&e, "stopped", "KEPT", "the bridge \x1b[31m is missing");
	assert_string_equal(made(), "promotion-failed ");
	o = last();
	assert_non_null(strstr(json_string_value(json_object_get(o, "text")),
			       "the bridge ?[31m is missing"));
	json_decref(o);
	send_end(&e, SESSION_DISCARDED, 0, "");
	kit_hang_up(&e);
}

/* A stale host that offers its VM every few seconds: once. */
static void a_stale_host_is_refused(void **state)
{
	struct session_register r = offer(1, "s9");
	struct tv_err err;
	struct end e;

	(void)state;
	assert_int_equal(generation_note(&d, ID, 5, "hostB", "", &err), 0);
	for (int i = 0; i < 3; i++) {
		kit_connect(&e);
		send_register(&e, &r);
		kit_expect(&e, SESSION_OP_FENCED);
		kit_hang_up(&e);
		kit_settle();
	}
	assert_string_equal(made(), "refused ");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(a_backup_is_lost_once),	      CASE(a_lease_comes_and_goes),
		CASE(what_was_before_is_not_made_up), CASE(warnings_begin_and_end),
		CASE(operators_are_on_record),	      CASE(a_vm_that_ends),
		CASE(a_failover_has_its_outage),      CASE(an_outage_that_is_not_known),
		CASE(a_primary_that_comes_back),      CASE(a_promotion_that_fails),
		CASE(a_stale_host_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
