/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The capture thread and an operator's suspend and resume, at any moment. Run it with SAN=thread, too. */
#include "tests/unit/cap_kit.h"

static void suspend(bool on)
{
	unsigned n = seen[CAP_EV_SUSPENDED];

	cap_want_suspended(cap, on);
	await_event(CAP_EV_SUSPENDED, n + 1);
	assert_int_equal(READ_VM(running), !on);
	assert_int_equal(page.in_pause, 0);
}

/* Among epochs (hv_suspend fails inside one): each holds until the next, and no epoch or wish undoes it. */
static void test_suspends_among_epochs(void **state)
{
	uint64_t epoch = 1;

	(void)state;
	for (unsigned round = 1; round <= 200; round++) {
		unsigned captured = seen[CAP_EV_CAPTURED], overtaken = seen[CAP_EV_OVERTAKEN],
			 stands = seen[CAP_EV_NOT_RUNNING];

		cap_post(cap, CAP_EPOCH, epoch);
		suspend(true);
		flap(round % 3);
		catch_up();
		assert_false(READ_VM(running));
		assert_int_equal(seen[CAP_EV_CAPTURED] - captured + seen[CAP_EV_OVERTAKEN] -
					 overtaken + seen[CAP_EV_NOT_RUNNING] - stands,
				 1);
		epoch += seen[CAP_EV_CAPTURED] - captured;
		suspend(false);
	}
	assert_int_equal(READ_VM(suspends), 200);
}

/* An epoch of it as it stands: nothing runs before or after. */
static void test_epoch_of_a_suspended_vm(void **state)
{
	(void)state;
	suspend(true);
	cap_post(cap, CAP_STILL_EPOCH, 1);
	await_event(CAP_EV_CAPTURED, 1);
	catch_up();
	assert_false(READ_VM(running));
	assert_int_equal(READ_VM(stills), 1);
	assert_int_equal(READ_VM(barriers), 1);
	assert_int_equal(page.in_pause, 0);
	suspend(false);
	/* It runs: there is none. */
	cap_post(cap, CAP_STILL_EPOCH, 2);
	await_event(CAP_EV_OVERTAKEN, 1);
	assert_true(READ_VM(running));
	capture(2);
	while (markers < 2)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_int_equal(still_markers, 1);
}

/* Rule 3: while its lease is over it does not run, whoever wants it to; and nor when the lease is back,
 * if it is suspended. */
static void test_suspended_and_without_a_lease(void **state)
{
	(void)state;
	cap_want_stopped(cap, true);
	await_event(CAP_EV_STOPPED, 1);
	assert_int_equal(page.in_pause, 1);
	suspend(true);
	cap_want_stopped(cap, false);
	catch_up();
	assert_false(READ_VM(running));
	cap_want_stopped(cap, true);
	catch_up();
	cap_want_suspended(cap, false);
	await_event(CAP_EV_SUSPENDED, 2);
	assert_false(READ_VM(running));
	assert_int_equal(page.in_pause, 1);
	cap_want_stopped(cap, false);
	await_running();
	catch_up();
	assert_int_equal(page.in_pause, 0);
}

/* Also where an epoch waits for a connection that takes nothing. */
static void test_suspend_while_waiting_for_a_slot(void **state)
{
	(void)state;
	link_stalled = true;
	for (uint64_t epoch = 1; epoch <= 4; epoch++)
		capture(epoch);
	cap_post(cap, CAP_EPOCH, 5);
	event_base_loop(base, EVLOOP_NONBLOCK);
	suspend(true);
	await_event(CAP_EV_OVERTAKEN, 1);
	assert_int_equal(READ_VM(barriers), 4);
}

/* A first copy that waits for a connection that takes nothing. */
static void test_suspend_in_a_first_copy(void **state)
{
	(void)state;
	link_stalled = true;
	pthread_mutex_lock(&vm.lock);
	vm.rounds_without_end = true;
	pthread_mutex_unlock(&vm.lock);
	cap_post(cap, CAP_SYNC, 0);
	suspend(true);
	suspend(false);
	assert_int_equal(seen[CAP_EV_SYNCED], 0);
	begun_rc = -ECANCELED; /* tear_down ends the copy */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_suspends_among_epochs),
		TEST(test_epoch_of_a_suspended_vm),
		TEST(test_suspended_and_without_a_lease),
		TEST(test_suspend_while_waiting_for_a_slot),
		TEST(test_suspend_in_a_first_copy),
	};

	return cmocka_run_group_tests_name("source_suspend", tests, NULL, NULL);
}
