/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of run states and events: every one of QEMU's is in it, and none says too much. */
#include "hv/hv_runstate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* RunState of QEMU 7.2 to 11 (qapi/run-state.json). */
static void each_state_is_known(void **state)
{
	static const struct {
		const char *name;
		enum hv_protection protection;
		bool backup_may_run;
	} all[] = {
		{"debug", HV_WAITS, true},	    {"inmigrate", HV_NEVER, false},
		{"internal-error", HV_WAITS, true}, {"io-error", HV_WAITS, true},
		{"paused", HV_WAITS, true},	    {"postmigrate", HV_ENDS, false},
		{"prelaunch", HV_WAITS, true},	    {"finish-migrate", HV_ENDS, false},
		{"restore-vm", HV_RUNS_ON, true},   {"running", HV_GOES_ON, true},
		{"save-vm", HV_WAITS, true},	    {"shutdown", HV_WAITS, false},
		{"suspended", HV_WAITS, true},	    {"watchdog", HV_WAITS, true},
		{"guest-panicked", HV_WAITS, true}, {"colo", HV_NEVER, false},
		{"preconfig", HV_NEVER, false},
	};
	unsigned n;

	(void)state;
	hv_run_states(&n);
	assert_int_equal(n, sizeof(all) / sizeof(*all));
	for (unsigned i = 0; i < n; i++) {
		const struct hv_run_state *s = hv_run_state_of(all[i].name);

		assert_string_equal(s->name, all[i].name);
		assert_int_equal(s->protection, all[i].protection);
		assert_int_equal(s->backup_may_run, all[i].backup_may_run);
		/* Whatever stands still says why, and what to do. */
		assert_int_equal(!s->why[0], s->protection == HV_GOES_ON);
		assert_int_equal(!s->remedy[0], s->protection == HV_GOES_ON);
	}
}

static void an_unknown_state_waits(void **state)
{
	static const char *const names[] = {"", "runnin", "running2", "of a later QEMU", NULL};

	(void)state;
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		assert_int_equal(hv_run_state_of(names[i])->protection, HV_WAITS);
		assert_true(hv_run_state_of(names[i])->why[0]);
	}
}

static void events_ask_for_the_state(void **state)
{
	static const char *const look[] = {
		"STOP",		  "RESUME",   "SUSPEND",	   "WAKEUP",
		"RESET",	  "SHUTDOWN", "MIGRATION",	   "BLOCK_IO_ERROR",
		"GUEST_PANICKED", "WATCHDOG", "TWINVM_EVENTS_LOST"};
	static const char *const pass[] = {"POWERDOWN",	      "DEVICE_DELETED",
					   "BLOCK_JOB_READY", "BLOCK_JOB_",
					   "RTC_CHANGE",      "STO",
					   "STOPP",	      ""};
	unsigned n;
	const struct hv_event_rule *e = hv_event_rules(&n);

	(void)state;
	for (unsigned i = 0; i < sizeof(look) / sizeof(*look); i++)
		assert_true(hv_event_rule_of(look[i])->look);
	for (unsigned i = 0; i < sizeof(pass) / sizeof(*pass); i++) {
		assert_false(hv_event_rule_of(pass[i])->look);
		assert_int_equal(hv_event_rule_of(pass[i])->ev, HV_EV_OTHER);
	}
	/* Each row is reached by its own name. */
	for (unsigned i = 0; i < n; i++)
		assert_ptr_equal(hv_event_rule_of(e[i].name), &e[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_state_is_known),
		cmocka_unit_test(an_unknown_state_waits),
		cmocka_unit_test(events_ask_for_the_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
