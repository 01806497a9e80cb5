/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who ended the VM, out of QEMU's own words, and whether it is to run elsewhere then. */
#include "hv/attach/attach_int.h"
#include "replicator/source/vm_end.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static enum hv_event event(const char *name, const char *reason, bool guest)
{
	json_t *ev = json_pack("{ss s{sb}}", "event", name, "data", "guest", guest);
	enum hv_event what;

	if (reason)
		json_object_set_new(json_object_get(ev, "data"), "reason", json_string(reason));
	what = hv_event_of(name, ev);
	json_decref(ev);
	return what;
}

static enum vm_end shut(enum vm_end before, const char *reason, bool guest)
{
	return vm_end_after(before, event("SHUTDOWN", reason, guest));
}

/* All of ShutdownCause, QEMU 7.2 to 11. */
static void each_cause_is_known(void **state)
{
	static const struct {
		const char *cause;
		bool guest;
		enum vm_end end;
	} all[] = {
		{"none", false, VM_END_HOST},
		{"host-error", false, VM_END_HOST},
		{"host-qmp-quit", false, VM_END_ORDER},
		{"host-qmp-system-reset", false, VM_END_ORDER},
		{"host-signal", false, VM_END_HOST},
		{"host-ui", false, VM_END_ORDER},
		{"guest-shutdown", true, VM_END_GUEST},
		{"guest-reset", true, VM_END_GUEST},
		{"guest-panic", true, VM_END_HOST},
		{"subsystem-reset", true, VM_END_HOST},
		{"snapshot-load", true, VM_END_HOST},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		assert_int_equal(shut(VM_END_NONE, all[i].cause, all[i].guest), all[i].end);
}

/* The data are deleted only for a reason that is understood. */
static void what_is_unknown_is_not_for_good(void **state)
{
	(void)state;
	assert_int_equal(shut(VM_END_NONE, "guest-of-a-later-qemu", true), VM_END_HOST);
	assert_int_equal(shut(VM_END_NONE, NULL, true), VM_END_HOST);
	assert_false(vm_end_is_for_good(VM_END_HOST));
	assert_false(vm_end_is_for_good(VM_END_NONE));
}

static void a_signal_to_a_vm_that_is_off_changes_nothing(void **state)
{
	(void)state;
	assert_int_equal(shut(VM_END_GUEST, "host-signal", false), VM_END_GUEST);
	assert_int_equal(shut(VM_END_ORDER, "host-signal", false), VM_END_ORDER);
	assert_int_equal(shut(VM_END_HOST, "guest-shutdown", true), VM_END_GUEST);
}

static void a_vm_that_runs_again_is_not_off(void **state)
{
	static const char *const again[] = {"RESET", "RESUME", HV_QMP_EVENTS_LOST};

	(void)state;
	for (size_t i = 0; i < sizeof(again) / sizeof(*again); i++)
		for (int end = VM_END_NONE; end <= VM_END_ORDER; end++)
			assert_int_equal(vm_end_after((enum vm_end)end, event(again[i], NULL, 0)),
					 VM_END_NONE);
	for (int end = VM_END_NONE; end <= VM_END_ORDER; end++) {
		assert_int_equal(vm_end_after((enum vm_end)end, event("STOP", NULL, 0)), end);
		assert_int_equal(vm_end_after((enum vm_end)end, event("GUEST_PANICKED", NULL, 0)),
				 end);
		assert_int_equal(vm_end_after((enum vm_end)end, event("RTC_CHANGE", NULL, 0)), end);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_cause_is_known),
		cmocka_unit_test(what_is_unknown_is_not_for_good),
		cmocka_unit_test(a_signal_to_a_vm_that_is_off_changes_nothing),
		cmocka_unit_test(a_vm_that_runs_again_is_not_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
