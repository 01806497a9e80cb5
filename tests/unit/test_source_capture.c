/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The capture thread's orders and wishes (cap_kit.h). Run it with SAN=thread, too. */
#include "tests/unit/cap_kit.h"

/* No epoch's end after a memory error, the VM runs on, and it can be stopped. */
static void is_spoiled(const char *why)
{
	cap_post(cap, CAP_EPOCH, 2);
	await_event(CAP_EV_OVERTAKEN, 1);
	assert_int_equal(poisons, 1);
	assert_non_null(strstr(poison_text, why));
	assert_int_equal(seen[CAP_EV_CAPTURED], 1);
	assert_int_equal(seen[CAP_EV_FAILED], 0);
	assert_true(READ_VM(running));
	cap_post(cap, CAP_EPOCH, 2); /* ordered before the loop knew */
	await_event(CAP_EV_OVERTAKEN, 2);
	assert_int_equal(READ_VM(pauses), 2);
	assert_int_equal(poisons, 1);
	cap_want_stopped(cap, true);
	await_event(CAP_EV_STOPPED, 1);
	assert_false(READ_VM(running));
	while (!markers)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_int_equal(markers, 1);
}

/* QEMU's word for it comes before its answer to the epoch's last command. */
static void test_memory_error_in_an_epoch(void **state)
{
	(void)state;
	capture(1);
	pthread_mutex_lock(&vm.lock);
	vm.poison = true;
	pthread_mutex_unlock(&vm.lock);
	is_spoiled("QEMU reports");
}

static void test_unreadable_page_in_an_epoch(void **state)
{
	(void)state;
	capture(1);
	pthread_mutex_lock(&vm.lock);
	vm.copy_rc = TV_E_POISON;
	pthread_mutex_unlock(&vm.lock);
	is_spoiled("0x1000 of pc.ram");
}

/* A mirror that ends spoils the epoch; when its disk was unplugged, that is the reason, not the mirror. */
static void mirror_ends(bool unplugged)
{
	capture(1);
	pthread_mutex_lock(&vm.lock);
	vm.disk_failed = true;
	vm.disk_gone = unplugged;
	pthread_mutex_unlock(&vm.lock);
	fail_rc = unplugged ? TV_E_CHANGED : -EIO;
	cap_post(cap, CAP_EPOCH, 2);
	await_event(CAP_EV_FAILED, 1);
	catch_up();
	assert_int_equal(seen[CAP_EV_CAPTURED], 1);
	assert_true(READ_VM(running));
	fail_rc = 0;
}

static void test_mirror_ends(void **state)
{
	(void)state;
	mirror_ends(false);
}

static void test_mirror_ends_as_its_disk_goes(void **state)
{
	(void)state;
	mirror_ends(true);
}

/* Between epochs nobody captures: the monitor's event is enough. */
static void test_disk_goes_between_epochs(void **state)
{
	(void)state;
	capture(1);
	pthread_mutex_lock(&vm.lock);
	vm.disk_failed = vm.disk_gone = true;
	pthread_mutex_unlock(&vm.lock);
	fail_rc = TV_E_CHANGED;
	assert_int_equal(eventfd_write(vm.fd, 1), 0);
	await_event(CAP_EV_FAILED, 1);
	fail_rc = 0;
}

/* The lease ends and comes back a thousand times while QEMU does not answer; the last wish wins. */
static void test_last_wish_stops(void **state)
{
	(void)state;
	hold(CALL_PAUSE);
	cap_post(cap, CAP_EPOCH, 1);
	await_waiting(CALL_PAUSE);
	flap(1000);
	cap_want_stopped(cap, true);
	hold(CALL_NONE);
	await_event(CAP_EV_STOPPED, 1);
	/* The epoch is whole; QEMU resumed the VM after it, and nobody else did. */
	assert_int_equal(seen[CAP_EV_CAPTURED], 1);
	assert_false(READ_VM(running));
	assert_int_equal(READ_VM(resumes), 0);
	assert_int_equal(READ_VM(ran_on), 1);
	assert_int_equal(page.in_pause, 1);
	cap_want_stopped(cap, false);
	await_running();
	capture(2);
	assert_int_equal(seen[CAP_EV_STOPPED], 1);
	assert_int_equal(page.in_pause, 0);
}

static void test_last_wish_runs(void **state)
{
	(void)state;
	hold(CALL_PAUSE);
	cap_post(cap, CAP_EPOCH, 1);
	await_waiting(CALL_PAUSE);
	flap(1000);
	hold(CALL_NONE);
	await_event(CAP_EV_CAPTURED, 1);
	capture(2);
	assert_true(READ_VM(running));
	assert_int_equal(READ_VM(pauses), 2);
	assert_int_equal(seen[CAP_EV_STOPPED], 0);
}

/* Wishes come at any moment. However many of them the thread finds, the newest holds afterwards, and
 * each epoch is captured as a whole or not at all. */
static void test_wishes_among_epochs(void **state)
{
	uint64_t epoch = 1;

	(void)state;
	for (unsigned round = 1; round <= 200; round++) {
		unsigned captured = seen[CAP_EV_CAPTURED], overtaken = seen[CAP_EV_OVERTAKEN];

		cap_post(cap, CAP_EPOCH, epoch);
		flap(round % 5);
		cap_want_stopped(cap, true);
		catch_up();
		assert_int_equal(
			seen[CAP_EV_CAPTURED] - captured + seen[CAP_EV_OVERTAKEN] - overtaken, 1);
		epoch += seen[CAP_EV_CAPTURED] - captured;
		assert_false(READ_VM(running));
		assert_int_equal(page.in_pause, 1);
		assert_int_equal(READ_VM(barriers), epoch - 1);
		assert_int_equal(READ_VM(states), epoch - 1);
		flap(round % 3);
		cap_want_stopped(cap, false);
		catch_up();
		assert_true(READ_VM(running));
		assert_int_equal(page.in_pause, 0);
	}
}

/* A stop overtakes an epoch that was ordered before: there is no such epoch then. */
static void test_stop_overtakes_epoch(void **state)
{
	(void)state;
	hold(CALL_HOLD_NET);
	cap_post(cap, CAP_HOLD_NET, CAP_NET_FILTERS);
	await_waiting(CALL_HOLD_NET);
	cap_post(cap, CAP_EPOCH, 1);
	cap_want_stopped(cap, true);
	hold(CALL_NONE);
	await_event(CAP_EV_OVERTAKEN, 1);
	assert_int_equal(order_of[0], CAP_EV_STOPPED);
	assert_int_equal(order_of[1], CAP_EV_OVERTAKEN);
	assert_false(READ_VM(running));
	assert_int_equal(READ_VM(barriers), 0);
	assert_int_equal(READ_VM(resumes), 0);
	cap_want_stopped(cap, false);
	capture(1); /* after the wish: the VM runs by then */
	assert_true(READ_VM(running));
}

/* The last epoch of a switch that was called off must not stop the VM after it was resumed. */
static void test_resume_overtakes_last_epoch(void **state)
{
	(void)state;
	hold(CALL_HOLD_NET);
	cap_post(cap, CAP_HOLD_NET, CAP_NET_FILTERS);
	await_waiting(CALL_HOLD_NET);
	cap_post(cap, CAP_LAST_EPOCH, 1);
	flap(1);
	hold(CALL_NONE);
	await_event(CAP_EV_OVERTAKEN, 1);
	assert_true(READ_VM(running));
	assert_int_equal(READ_VM(barriers), 0);
}

static void test_last_epoch_stays_stopped(void **state)
{
	(void)state;
	cap_post(cap, CAP_LAST_EPOCH, 1);
	await_event(CAP_EV_CAPTURED, 1);
	catch_up(); /* whatever comes next */
	assert_false(READ_VM(running));
	cap_want_stopped(cap, true); /* it is: the answer comes all the same */
	await_event(CAP_EV_STOPPED, 1);
	assert_int_equal(READ_VM(pauses), 1);
	assert_int_equal(READ_VM(ran_on), 0);
	cap_want_stopped(cap, false);
	await_running();
	assert_int_equal(page.pauses % 2, 0);
}

/* Another program has let the VM run while it was captured: nothing of that epoch is handed on. */
static void test_torn_epoch_does_not_count(void **state)
{
	(void)state;
	begun_rc = vm.epoch_rc = -ESTALE;
	cap_post(cap, CAP_EPOCH, 1);
	await_event(CAP_EV_FAILED, 1);
	catch_up();
	assert_int_equal(seen[CAP_EV_CAPTURED], 0);
	assert_int_equal(markers, 0);
	assert_true(READ_VM(running));
	assert_int_equal(page.in_pause, 0);
}

/*
 * The connection takes nothing: an epoch waits for a slot, and must not keep the VM from being
 * stopped. An epoch here is three pieces: the third fills the encoder's eight, the fourth takes the
 * other slot.
 */
static void test_stop_while_waiting_for_a_slot(void **state)
{
	(void)state;
	link_stalled = true;
	for (uint64_t epoch = 1; epoch <= 4; epoch++)
		capture(epoch);
	cap_post(cap, CAP_EPOCH, 5);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(seen[CAP_EV_CAPTURED], 4);
	cap_want_stopped(cap, true);
	await_event(CAP_EV_STOPPED, 1);
	await_event(CAP_EV_OVERTAKEN, 1);
	assert_int_equal(last_epoch, 5);
	assert_false(READ_VM(running));
	assert_int_equal(READ_VM(barriers), 4);
}

/* An operator's pause is the operator's: no epoch, and no wish resumes it. */
static void test_paused_by_operator(void **state)
{
	(void)state;
	pthread_mutex_lock(&vm.lock);
	vm.running = false;
	pthread_mutex_unlock(&vm.lock);
	cap_post(cap, CAP_EPOCH, 1);
	await_event(CAP_EV_NOT_RUNNING, 1);
	cap_want_stopped(cap, true);
	await_event(CAP_EV_STOPPED, 1);
	cap_want_stopped(cap, false);
	cap_post(cap, CAP_EPOCH, 1);
	await_event(CAP_EV_NOT_RUNNING, 2);
	assert_int_equal(READ_VM(resumes), 0);
}

/* The loop takes no answers any more, and the thread waits for room: cap_free returns. */
static void test_end_with_full_mailbox(void **state)
{
	uint64_t one = 1;

	(void)state;
	pthread_mutex_lock(&vm.lock);
	vm.events = 100;
	pthread_mutex_unlock(&vm.lock);
	assert_int_equal(write(vm.fd, &one, sizeof(one)), sizeof(one));
	await_event(CAP_EV_VM, 1);
}

/* The session ended while the VM was being attached: it is let go. */
static void test_end_detaches(void **state)
{
	assert_true(READ_VM(attached));
	tear_down(state);
	assert_false(READ_VM(attached));
	set_up(state);
}

/* The end of the monitor's connection is not the VM's. */
static void test_monitor_ends(void **state)
{
	uint64_t one = 1;

	(void)state;
	begun_rc = TV_E_MONITOR;
	pthread_mutex_lock(&vm.lock);
	vm.events_rc = TV_E_MONITOR;
	pthread_mutex_unlock(&vm.lock);
	assert_int_equal(write(vm.fd, &one, sizeof(one)), sizeof(one));
	await_event(CAP_EV_FAILED, 1);
	assert_int_equal(seen[CAP_EV_VM_GONE], 0);
	/* It is not read again, which would fail for ever: orders are still carried out. */
	cap_post(cap, CAP_DETACH, 0);
	await_event(CAP_EV_DETACHED, 1);
	assert_int_equal(seen[CAP_EV_FAILED], 1);
}

/* A VM that QEMU left stopped when it refused a command because of us is resumed; no other is. */
static void test_look(void **state)
{
	(void)state;
	pthread_mutex_lock(&vm.lock);
	vm.state = "paused";
	pthread_mutex_unlock(&vm.lock);
	cap_post(cap, CAP_LOOK, 0);
	await_event(CAP_EV_STATE, 1);
	assert_int_equal(READ_VM(run_on), 0);
	pthread_mutex_lock(&vm.lock);
	vm.state = "restore-vm";
	pthread_mutex_unlock(&vm.lock);
	cap_post(cap, CAP_LOOK, 0);
	await_event(CAP_EV_STATE, 2);
	assert_int_equal(READ_VM(run_on), 1);
}

static void mirror_begins(void)
{
	vm.disks = 1;
	cap_post(cap, CAP_SYNC, 0);
	await_event(CAP_EV_SYNCED, 1);
	assert_int_equal(READ_VM(mirrors), 1);
	assert_true(READ_VM(running));
	assert_int_equal(page.in_pause, 0);
}

/* Beside I/O threads a disk's mirror begins in a pause, which lasts until its first request has come. */
static void test_mirror_begins_paused(void **state)
{
	(void)state;
	vm.iothreads = true;
	mirror_begins();
	assert_true(READ_VM(pauses) >= 1);
}

/* Without, no other monitor's `stop` may fall into the source's own pause. */
static void test_mirror_begins_running(void **state)
{
	(void)state;
	mirror_begins();
	assert_int_equal(READ_VM(pauses), 0);
}

/* One that does not begin is ended before the VM runs again. */
static void test_mirror_does_not_begin(void **state)
{
	(void)state;
	vm.disks = 1;
	vm.iothreads = true;
	begun_rc = -ETIMEDOUT;
	cap_post(cap, CAP_SYNC, 0);
	await_event(CAP_EV_FAILED, 1);
	assert_int_equal(READ_VM(mirrors), 0);
	assert_true(READ_VM(running));
}
/* What is written to a QEMU that stands in a pause waits there: the loop can put it off until then. */
static void test_output_waits_for_the_end_of_a_pause(void **state)
{
	(void)state;
	assert_false(cap_holds_up(cap));
	hold(CALL_PAUSE);
	cap_post(cap, CAP_EPOCH, 1);
	await_waiting(CALL_PAUSE);
	assert_true(cap_holds_up(cap));
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(seen[CAP_EV_UNPAUSED], 0);
	hold(CALL_NONE);
	await_event(CAP_EV_UNPAUSED, 1);
	assert_false(cap_holds_up(cap));
	assert_true(READ_VM(running));
	await_event(CAP_EV_CAPTURED, 1);
	capture(2); /* nobody has asked in this one */
	assert_int_equal(seen[CAP_EV_UNPAUSED], 1);
	/* Any number of times, at any moment of a pause: each refusal has its event. */
	for (unsigned i = 3; i < 200; i++) {
		unsigned before = seen[CAP_EV_UNPAUSED];
		bool held = false;

		cap_post(cap, CAP_EPOCH, i);
		while (seen[CAP_EV_CAPTURED] < i && !held)
			held = cap_holds_up(cap) || event_base_loop(base, EVLOOP_NONBLOCK) < 0;
		if (held)
			await_event(CAP_EV_UNPAUSED, before + 1);
		await_event(CAP_EV_CAPTURED, i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_memory_error_in_an_epoch),
		TEST(test_unreadable_page_in_an_epoch),
		TEST(test_mirror_ends),
		TEST(test_mirror_ends_as_its_disk_goes),
		TEST(test_disk_goes_between_epochs),
		TEST(test_last_wish_stops),
		TEST(test_last_wish_runs),
		TEST(test_wishes_among_epochs),
		TEST(test_stop_overtakes_epoch),
		TEST(test_resume_overtakes_last_epoch),
		TEST(test_last_epoch_stays_stopped),
		TEST(test_torn_epoch_does_not_count),
		TEST(test_stop_while_waiting_for_a_slot),
		TEST(test_paused_by_operator),
		TEST(test_end_with_full_mailbox),
		TEST(test_end_detaches),
		TEST(test_mirror_begins_paused),
		TEST(test_mirror_begins_running),
		TEST(test_mirror_does_not_begin),
		TEST(test_output_waits_for_the_end_of_a_pause),
		TEST(test_monitor_ends),
		TEST(test_look),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
