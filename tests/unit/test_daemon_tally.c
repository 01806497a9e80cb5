/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is counted for metrics: histograms, sums over sessions, ends and failovers by their reason. */
#include "daemon_session_kit.h"
#include "daemon/tally.h"

static void a_histogram_has_edges(void **state)
{
	struct histogram h = {0};

	(void)state;
	histogram_add(&h, histogram_epoch_us, -5);
	histogram_add(&h, histogram_epoch_us, TV_NS_PER_MS);
	histogram_add(&h, histogram_epoch_us, TV_NS_PER_MS + 1000);
	histogram_add(&h, histogram_epoch_us, 5 * TV_NS_PER_S);
	histogram_add(&h, histogram_epoch_us, 6 * TV_NS_PER_S);
	assert_int_equal(h.n[0], 2);
	assert_int_equal(h.n[1], 1);
	assert_int_equal(h.n[HISTOGRAM_EDGES - 1], 1);
	assert_int_equal(h.n[HISTOGRAM_EDGES], 1);
	assert_int_equal(h.sum_us, 1000 + 1001 + 11000000);
	for (unsigned i = 1; i < HISTOGRAM_EDGES; i++)
		assert_true(histogram_epoch_us[i] > histogram_epoch_us[i - 1] &&
			    histogram_outage_us[i] > histogram_outage_us[i - 1]);
}

static json_int_t shown(const struct vm *vm, const char *object, const char *name)
{
	json_t *o = tally_json(vm), *in = object ? json_object_get(o, object) : o;
	json_int_t v = json_integer_value(json_object_get(in, name));

	assert_true(json_is_integer(json_object_get(in, name)));
	json_decref(o);
	return v;
}

static json_int_t bucket(const struct vm *vm, const char *name, unsigned i)
{
	json_t *o = tally_json(vm);
	json_int_t v = json_integer_value(json_array_get(json_object_get(o, name), i));

	json_decref(o);
	return v;
}

static void send_counts(struct end *e, uint64_t epochs, uint64_t pauses)
{
	struct session_counts c = {.epochs_committed = epochs, .pause.n = {[2] = pauses}};

	ctl_send(e->there, session_message(SESSION_OP_COUNTS, &c));
	kit_settle();
}

static void a_session_goes_on_with_what_was_counted(void **state)
{
	struct session_register again = {.role = SESSION_PRIMARY, .vm_id = ID, .session = "s2"};
	struct end e, second;
	struct vm *vm;

	(void)state;
	vm = protected_vm(&e);
	vm->saved.was_protected = true;
	assert_int_equal(shown(vm, NULL, "epochs_committed"), 0);
	send_counts(&e, 7, 5);
	send_counts(&e, 9, 6); /* since its beginning: not 16 */
	assert_int_equal(shown(vm, NULL, "epochs_committed"), 9);
	assert_int_equal(bucket(vm, "pause", 2), 6);
	send_end(&e, SESSION_ALONE, -ETIMEDOUT, "the link was lost");
	assert_int_equal(shown(vm, NULL, "epochs_committed"), 9);
	assert_int_equal(shown(vm, "sessions_ended", "alone"), 1);
	assert_int_equal(shown(vm, "sessions_ended", "died"), 0);
	strcpy(vm->saved.session, "s2");
	vm->now.awaited = true;
	kit_connect(&second);
	send_register(&second, &again);
	assert_true(vm->now.rep == second.here);
	assert_int_equal(shown(vm, NULL, "epochs_committed"), 9);
	send_counts(&second, 1, 1);
	assert_int_equal(shown(vm, NULL, "epochs_committed"), 10);
	assert_int_equal(bucket(vm, "pause", 2), 7);
	kit_hang_up(&second);
	kit_settle();
	assert_int_equal(shown(vm, "sessions_ended", "died"), 1);
	reap(vm);
	kit_hang_up(&e);
}

static void what_is_malformed_is_not_counted(void **state)
{
	struct end e;
	struct vm *vm;

	(void)state;
	vm = protected_vm(&e);
	send_counts(&e, 7, 5);
	ctl_send(e.there, json_pack("{ss s[i]}", "op", "counts", "pause", 1));
	kit_settle();
	assert_true(vm->now.rep == e.here && vm->now.malformed);
	assert_int_equal(shown(vm, NULL, "epochs_committed"), 7);
	kit_hang_up(&e);
	kit_settle();
	reap(vm);
}

static void a_failover_has_a_reason_and_an_outage(void **state)
{
	struct session_register r = offer(3, "s1");
	struct session_end end = {.outcome = SESSION_PROMOTED,
				  .generation = 4,
				  .outage = {.cause = "silence", .outage_ms = 420}};
	struct hv_vm_id qemu = kit_qemu();
	struct standby_note n = {.pid = qemu.pid, .start_ticks = qemu.start_ticks};
	struct vm *vm;
	struct end e;

	(void)state;
	d.conf.reprotect = false;
	kit_connect(&e);
	send_register(&e, &r);
	vm = vm_by_id(&d, ID);
	assert_int_equal(shown(vm, "failovers", "silence"), 0);
	assert_int_equal(tv_mkdirs(vm->saved.dir), 0);
	assert_int_equal(standby_note(vm->saved.dir, &n), 0);
	ctl_send(e.there, session_message(SESSION_OP_DONE, &end));
	kit_settle();
	ctl_free(e.there);
	e.there = NULL;
	kit_settle();
	assert_ptr_equal(vm_by_id(&d, ID), vm);
	assert_int_equal(vm->role, SESSION_PRIMARY);
	assert_int_equal(shown(vm, "failovers", "silence"), 1);
	assert_int_equal(shown(vm, "failovers", "planned"), 0);
	assert_int_equal(shown(vm, "sessions_ended", "promoted"), 1);
	assert_int_equal(bucket(vm, "outage", 5), 1); /* not over 500 ms */
	kit_hang_up(&e);
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_histogram_has_edges),
		T(a_session_goes_on_with_what_was_counted),
		T(what_is_malformed_is_not_counted),
		T(a_failover_has_a_reason_and_an_outage),
	};

	if (argc > 1 && !strcmp(argv[1], "replicate"))
		return 0;
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("daemon_tally", tests, NULL, NULL);
}
