/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The capture thread: pages that are copied before the pause (cap_kit.h). */
#define STAGING_BYTES (16 << 20)
#include "tests/unit/cap_kit.h"

#define MANY 1000u /* in an epoch: then the next ones are copied ahead */
#define FEW 10u	   /* of these are written again */

static void timed(uint64_t epoch)
{
	unsigned n = seen[CAP_EV_CAPTURED];

	cap_post(cap, CAP_TIMED_EPOCH, epoch);
	await_event(CAP_EV_CAPTURED, n + 1);
	assert_int_equal(last_epoch, epoch);
	while (markers < epoch)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_int_equal(sent_pages, last_pages);
}

static void set_dirty(unsigned running, unsigned paused)
{
	pthread_mutex_lock(&vm.lock);
	vm.dirty_pages = running;
	vm.dirtied_again = paused;
	pthread_mutex_unlock(&vm.lock);
}

/* From the fourth epoch on. */
static void begin(void)
{
	set_dirty(MANY, MANY);
	for (uint64_t epoch = 1; epoch <= 3; epoch++)
		timed(epoch);
	assert_int_equal(READ_VM(harvests_running), 0);
	assert_int_equal(last_pages, MANY);
	assert_int_equal(last_ahead, 0);
	set_dirty(MANY, FEW);
}

static void test_copied_ahead(void **state)
{
	(void)state;
	begin();
	for (uint64_t epoch = 4; epoch < 10; epoch++) {
		timed(epoch);
		assert_int_equal(last_ahead, MANY);
		assert_int_equal(last_pages, MANY);
	}
	assert_int_equal(READ_VM(harvests_running), 6);
}

/* A frame waits: the pause comes at once. */
static void test_not_where_somebody_waits(void **state)
{
	(void)state;
	begin();
	capture(4);
	assert_int_equal(last_ahead, 0);
	assert_int_equal(last_pages, FEW);
	assert_int_equal(READ_VM(harvests_running), 0);
}

static void test_not_again_when_all_is_written_again(void **state)
{
	(void)state;
	begin();
	set_dirty(MANY, MANY);
	timed(4);
	assert_int_equal(last_ahead, MANY);
	assert_int_equal(last_pages, MANY);
	for (uint64_t epoch = 5; epoch < 10; epoch++)
		timed(epoch);
	assert_int_equal(READ_VM(harvests_running), 1);
}

/* The VM is found paused by an operator: what the tracking has forgotten is in the next epoch. */
static void test_nothing_is_lost_with_an_epoch_that_does_not_begin(void **state)
{
	(void)state;
	begin();
	hold(CALL_PAUSE);
	cap_post(cap, CAP_TIMED_EPOCH, 4);
	await_waiting(CALL_PAUSE);
	pthread_mutex_lock(&vm.lock);
	vm.running = false;
	pthread_mutex_unlock(&vm.lock);
	hold(CALL_NONE);
	await_event(CAP_EV_NOT_RUNNING, 1);
	assert_int_equal(READ_VM(harvests_running), 1);
	pthread_mutex_lock(&vm.lock);
	vm.running = true;
	pthread_mutex_unlock(&vm.lock);
	capture(4);
	while (markers < 4)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_int_equal(READ_VM(harvests_running), 1);
	assert_int_equal(last_pages, MANY);
	assert_int_equal(sent_pages, MANY);
	timed(5);
	assert_int_equal(sent_pages, MANY);
}

/* The same when an order was overtaken by a wish before it had a slot. */
static void test_nothing_is_lost_with_an_epoch_that_is_overtaken(void **state)
{
	(void)state;
	begin();
	hold(CALL_PAUSE);
	cap_post(cap, CAP_TIMED_EPOCH, 4);
	await_waiting(CALL_PAUSE);
	pthread_mutex_lock(&vm.lock);
	vm.running = false;
	pthread_mutex_unlock(&vm.lock);
	cap_post(cap, CAP_TIMED_EPOCH, 4);
	cap_want_stopped(cap, true);
	hold(CALL_NONE);
	await_event(CAP_EV_STOPPED, 1);
	await_event(CAP_EV_OVERTAKEN, 1);
	pthread_mutex_lock(&vm.lock);
	vm.running = true;
	pthread_mutex_unlock(&vm.lock);
	cap_want_stopped(cap, false);
	await_running();
	capture(4);
	while (markers < 4)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_int_equal(sent_pages, MANY);
}

static void test_unreadable_page_ahead(void **state)
{
	(void)state;
	begin();
	pthread_mutex_lock(&vm.lock);
	vm.copy_rc = TV_E_POISON;
	pthread_mutex_unlock(&vm.lock);
	cap_post(cap, CAP_TIMED_EPOCH, 4);
	await_event(CAP_EV_OVERTAKEN, 1);
	assert_int_equal(poisons, 1);
	assert_int_equal(READ_VM(pauses), 3);
	assert_true(READ_VM(running));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_copied_ahead),
		TEST(test_not_where_somebody_waits),
		TEST(test_not_again_when_all_is_written_again),
		TEST(test_nothing_is_lost_with_an_epoch_that_does_not_begin),
		TEST(test_nothing_is_lost_with_an_epoch_that_is_overtaken),
		TEST(test_unreadable_page_ahead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
