/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The relay with socketpairs in place of a VM: modes, barriers, releases. */
#include "tests/unit/nb_kit.h"

static void test_pass(void **state)
{
	struct nb_stats st;
	struct fake f;

	(void)state;
	fake_start(&f, 0);
	guest_sends(&f, 0, 1, 60);
	guest_sends(&f, 1, 2, 1500);
	guest_sends(&f, 0, 3, 128 << 10);
	assert_false(nb_idle(f.nb));
	EXPECT_OUT(&f, 0, 1, 3);
	EXPECT_OUT(&f, 1, 2);
	assert_true(nb_idle(f.nb));
	nb_stats(f.nb, &st);
	assert_int_equal(st.passed_frames, 3);
	assert_int_equal(st.released_frames + st.dropped_frames + st.held_frames, 0);
	assert_int_equal(st.held_bytes, 0);
	assert_true(st.oldest_held_ns == 0);
	/* Not held: barriers mean nothing, but a dead port would make them fail. */
	assert_int_equal(nb_barrier(f.nb, 5), 0);
	nb_release(f.nb, NB_KIT_GENERATION, 5);
	nb_drop(f.nb);
	guest_sends(&f, 0, 4, 60);
	nb_drop(f.nb);
	EXPECT_OUT(&f, 0, 4);
	assert_int_equal(f.first_held, 0);
	fake_end(&f);
}

static void test_split_at_every_byte(void **state)
{
	uint8_t b[400];
	struct fake f;
	size_t cut, n;
	int port;

	(void)state;
	for (port = 0; port < PORTS; port++) {
		fake_start(&f, 0);
		n = make_frame(b, port, 1, 40);
		n += make_frame(b + n, port, 2, 4);
		n += make_frame(b + n, port, 3, 50);
		for (cut = 1; cut < n; cut++) {
			assert_int_equal(write(f.guest[port], b, cut), (ssize_t)cut);
			turns(&f, 2);
			assert_int_equal(write(f.guest[port], b + cut, n - cut),
					 (ssize_t)(n - cut));
			EXPECT_OUT(&f, port, 1, 2, 3);
		}
		for (cut = 0; cut < n; cut++) {
			assert_int_equal(write(f.guest[port], b + cut, 1), 1);
			turns(&f, 1);
		}
		EXPECT_OUT(&f, port, 1, 2, 3);
		fake_end(&f);
	}
}

static void test_epochs(void **state)
{
	struct nb_stats st;
	struct fake f;
	int64_t before;

	(void)state;
	fake_start(&f, 0);
	guest_sends(&f, 0, 1, 60);
	turns(&f, 2);
	nb_hold(f.nb);
	assert_int_equal(nb_mode(f.nb), NB_PASS);
	guest_sends(&f, 0, 2, 60);
	EXPECT_OUT(&f, 0, 1, 2);
	/* Still unread at the barrier, and sent before it. */
	guest_sends(&f, 0, 3, 60);
	guest_sends(&f, 1, 4, 60);
	assert_int_equal(nb_barrier(f.nb, 1), 0);
	assert_int_equal(nb_mode(f.nb), NB_HOLD);
	before = tv_now_ns();
	guest_sends(&f, 0, 5, 60);
	guest_sends(&f, 1, 6, 100);
	EXPECT_OUT(&f, 0, 3);
	EXPECT_OUT(&f, 1, 4);
	nb_stats(f.nb, &st);
	assert_int_equal(st.held_frames, 2);
	assert_int_equal(st.held_bytes, 60 + 4 + 100 + 8);
	assert_int_equal(st.passed_frames, 4);
	assert_true(st.oldest_held_ns >= before && st.oldest_held_ns <= tv_now_ns());
	assert_int_equal(nb_barrier(f.nb, 2), 0);
	guest_sends(&f, 0, 7, 60);
	assert_int_equal(nb_barrier(f.nb, 3), 0);
	guest_sends(&f, 0, 8, 60);
	EXPECT_OUT(&f, 0);
	assert_true(nb_idle(f.nb));
	nb_release(f.nb, NB_KIT_GENERATION, 1);
	EXPECT_OUT(&f, 0);
	nb_release(f.nb, NB_KIT_GENERATION, 2);
	EXPECT_OUT(&f, 0, 5);
	EXPECT_OUT(&f, 1, 6);
	nb_release(f.nb, NB_KIT_GENERATION, 3);
	EXPECT_OUT(&f, 0, 7);
	/* Epoch 4 has no barrier yet: its release lets nothing out, now or later. */
	nb_release(f.nb, NB_KIT_GENERATION, 4);
	nb_release(f.nb, NB_KIT_GENERATION, UINT64_MAX);
	EXPECT_OUT(&f, 0);
	assert_int_equal(nb_barrier(f.nb, 4), 0);
	EXPECT_OUT(&f, 0);
	nb_release(f.nb, NB_KIT_GENERATION, 4);
	EXPECT_OUT(&f, 0, 8);
	nb_stats(f.nb, &st);
	assert_int_equal(st.released_frames, 4);
	assert_int_equal(st.held_frames, 0);
	fake_end(&f);
}

/* A release takes older epochs along; an old one changes nothing. */
static void test_release_several(void **state)
{
	struct fake f;
	uint32_t i;

	(void)state;
	fake_start(&f, 0);
	nb_hold(f.nb);
	assert_int_equal(nb_barrier(f.nb, 10), 0);
	for (i = 1; i <= 4; i++) {
		guest_sends(&f, 0, i, 60);
		assert_int_equal(nb_barrier(f.nb, 10 + i), 0);
	}
	nb_release(f.nb, NB_KIT_GENERATION, 13);
	EXPECT_OUT(&f, 0, 1, 2, 3);
	nb_release(f.nb, NB_KIT_GENERATION, 11);
	EXPECT_OUT(&f, 0);
	nb_release(f.nb, NB_KIT_GENERATION, 14);
	EXPECT_OUT(&f, 0, 4);
	fake_end(&f);
}

static void test_pass_and_hold_again(void **state)
{
	struct fake f;

	(void)state;
	fake_start(&f, 0);
	nb_hold(f.nb);
	assert_int_equal(nb_barrier(f.nb, 7), 0);
	guest_sends(&f, 0, 1, 60);
	assert_int_equal(nb_barrier(f.nb, 8), 0);
	guest_sends(&f, 0, 2, 60);
	EXPECT_OUT(&f, 0);
	guest_sends(&f, 0, 3, 60);
	nb_pass(f.nb);
	assert_int_equal(nb_mode(f.nb), NB_PASS);
	guest_sends(&f, 0, 4, 60);
	EXPECT_OUT(&f, 0, 1, 2, 3, 4);
	/* A new generation counts epochs from the beginning. */
	nb_hold(f.nb);
	nb_hold(f.nb);
	guest_sends(&f, 0, 5, 60);
	assert_int_equal(nb_barrier(f.nb, 0), -EINVAL);
	assert_int_equal(nb_barrier(f.nb, 1), 0);
	guest_sends(&f, 0, 6, 60);
	EXPECT_OUT(&f, 0, 5);
	nb_hold(f.nb);
	EXPECT_OUT(&f, 0);
	assert_int_equal(nb_barrier(f.nb, 2), 0);
	nb_release(f.nb, NB_KIT_GENERATION, 2);
	EXPECT_OUT(&f, 0, 6);
	/* Armed and then taken back. */
	nb_pass(f.nb);
	nb_hold(f.nb);
	nb_pass(f.nb);
	assert_int_equal(nb_barrier(f.nb, 3), 0);
	guest_sends(&f, 0, 7, 60);
	EXPECT_OUT(&f, 0, 7);
	fake_end(&f);
}

static void test_drop(void **state)
{
	struct nb_stats st;
	struct fake f;

	(void)state;
	fake_start(&f, 0);
	nb_hold(f.nb);
	assert_int_equal(nb_barrier(f.nb, 1), 0);
	guest_sends(&f, 0, 1, 60);
	assert_int_equal(nb_barrier(f.nb, 2), 0);
	guest_sends(&f, 0, 2, 60);
	turns(&f, 2);
	assert_int_equal(nb_barrier(f.nb, 3), 0);
	guest_sends(&f, 1, 3, 60);
	/* Released but unread, held and read, held and unread. */
	nb_release(f.nb, NB_KIT_GENERATION, 2);
	nb_drop(f.nb);
	EXPECT_OUT(&f, 0, 1);
	EXPECT_OUT(&f, 1);
	nb_stats(f.nb, &st);
	assert_int_equal(st.dropped_frames, 2);
	assert_int_equal(st.held_frames, 0);
	guest_sends(&f, 0, 4, 60);
	assert_int_equal(nb_barrier(f.nb, 4), 0);
	nb_release(f.nb, NB_KIT_GENERATION, 4);
	EXPECT_OUT(&f, 0, 4);
	fake_end(&f);
}

static void test_first_held(void **state)
{
	struct fake f;

	(void)state;
	fake_start(&f, 0);
	nb_hold(f.nb);
	guest_sends(&f, 0, 1, 60);
	turns(&f, 2);
	assert_int_equal(nb_barrier(f.nb, 1), 0);
	turns(&f, 2);
	assert_int_equal(f.first_held, 0);
	guest_sends(&f, 0, 2, 60);
	guest_sends(&f, 1, 3, 60);
	turns(&f, 2);
	guest_sends(&f, 0, 4, 60);
	turns(&f, 2);
	assert_int_equal(f.first_held, 1);
	/* Read after the barrier, sent before it: its epoch is taken care of. */
	guest_sends(&f, 0, 5, 60);
	assert_int_equal(nb_barrier(f.nb, 2), 0);
	turns(&f, 2);
	assert_int_equal(f.first_held, 1);
	guest_sends(&f, 1, 6, 60);
	turns(&f, 2);
	assert_int_equal(f.first_held, 2);
	/* A release or a drop does not begin an interval. */
	nb_release(f.nb, NB_KIT_GENERATION, 2);
	guest_sends(&f, 0, 7, 60);
	nb_drop(f.nb);
	guest_sends(&f, 0, 8, 60);
	turns(&f, 2);
	assert_int_equal(f.first_held, 2);
	fake_end(&f);
}

static void test_calls_from_callbacks(void **state)
{
	struct fake f;

	(void)state;
	fake_start(&f, 0);
	nb_hold(f.nb);
	assert_int_equal(nb_barrier(f.nb, 1), 0);
	guest_sends(&f, 0, 1, 60);
	assert_int_equal(nb_barrier(f.nb, 2), 0);
	guest_sends(&f, 0, 2, 60);
	f.release_in_first_held = true;
	f.release_epoch = 2;
	EXPECT_OUT(&f, 0, 1);
	assert_int_equal(nb_barrier(f.nb, 3), 0);
	guest_sends(&f, 0, 3, 60);
	guest_sends(&f, 0, 4, 60);
	guest_sends(&f, 1, 5, 60);
	f.free_in_first_held = true;
	turns(&f, 4);
	assert_null(f.nb);
	fake_end(&f);

	fake_start(&f, 0);
	f.free_in_failed = true;
	tv_close_fd(&f.guest[0]);
	tv_close_fd(&f.guest[1]);
	turns(&f, 4);
	assert_null(f.nb);
	assert_int_equal(f.failed, 1);
	fake_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pass),
		cmocka_unit_test(test_split_at_every_byte),
		cmocka_unit_test(test_epochs),
		cmocka_unit_test(test_release_several),
		cmocka_unit_test(test_pass_and_hold_again),
		cmocka_unit_test(test_drop),
		cmocka_unit_test(test_first_held),
		cmocka_unit_test(test_calls_from_callbacks),
	};

	return cmocka_run_group_tests_name("nb_relay", tests, NULL, NULL);
}
