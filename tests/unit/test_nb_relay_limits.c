/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The relay with socketpairs in place of a VM: limits, full sockets, failures. */
#include "tests/unit/nb_kit.h"

static void test_limit(void **state)
{
	struct nb_stats st;
	uint64_t kept;
	struct fake f;
	uint32_t i;

	(void)state;
	fake_start(&f, 64 << 10);
	nb_hold(f.nb);
	assert_int_equal(nb_barrier(f.nb, 1), 0);
	for (i = 0; i < 200; i++) {
		guest_sends(&f, 0, i, 1000);
		turns(&f, 1);
	}
	assert_int_equal(nb_barrier(f.nb, 2), 0);
	nb_stats(f.nb, &st);
	kept = st.held_frames;
	assert_true(st.held_bytes <= 64 << 10);
	assert_true(kept > 50 && kept < 66);
	assert_int_equal(st.dropped_frames, 200 - kept);
	nb_release(f.nb, NB_KIT_GENERATION, 2);
	turns(&f, 2);
	/* The first ones are whole, and there is room again. */
	assert_int_equal(world_frames(&f, 0, NULL, NULL), kept);
	guest_sends(&f, 1, 500, 1000);
	assert_int_equal(nb_barrier(f.nb, 3), 0);
	nb_release(f.nb, NB_KIT_GENERATION, 3);
	EXPECT_OUT(&f, 1, 500);
	/* One that could never fit. */
	guest_sends(&f, 0, 501, 70000);
	guest_sends(&f, 0, 502, 10);
	assert_int_equal(nb_barrier(f.nb, 4), 0);
	nb_release(f.nb, NB_KIT_GENERATION, 4);
	EXPECT_OUT(&f, 0, 502);
	fake_end(&f);
}

static void test_barrier_refuses(void **state)
{
	struct fake f;
	uint64_t epoch;

	(void)state;
	fake_start(&f, 0);
	nb_hold(f.nb);
	assert_int_equal(nb_barrier(f.nb, 1), 0);
	assert_int_equal(nb_barrier(f.nb, 1), -EINVAL);
	for (epoch = 2; epoch <= 17; epoch++) {
		guest_sends(&f, 0, (uint32_t)epoch, 60);
		assert_int_equal(nb_barrier(f.nb, epoch), 0);
	}
	guest_sends(&f, 0, 18, 60);
	assert_int_equal(nb_barrier(f.nb, 18), -ENOSPC);
	EXPECT_OUT(&f, 0);
	nb_release(f.nb, NB_KIT_GENERATION, 2);
	EXPECT_OUT(&f, 0, 2);
	assert_int_equal(nb_barrier(f.nb, 18), 0);
	nb_release(f.nb, NB_KIT_GENERATION, 18);
	EXPECT_OUT(&f, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18);
	fake_end(&f);
}

static void test_capture_closed(void **state)
{
	struct fake f;

	(void)state;
	fake_start(&f, 0);
	nb_hold(f.nb);
	assert_int_equal(nb_barrier(f.nb, 1), 0);
	guest_sends(&f, 1, 1, 60);
	assert_int_equal(nb_barrier(f.nb, 2), 0);
	guest_sends(&f, 1, 2, 60);
	tv_close_fd(&f.guest[1]);
	/* The loop has not noticed yet, and the barrier must not count on it. */
	assert_int_equal(nb_barrier(f.nb, 3), -EPIPE);
	assert_int_equal(f.failed, 0);
	turns(&f, 4);
	assert_int_equal(f.failed, 1);
	assert_int_equal(f.failed_rc, -EPIPE);
	assert_string_equal(f.failed_port, "nic1");
	assert_int_equal(nb_barrier(f.nb, 3), -EPIPE);
	/* What was committed still leaves; what was not does not. */
	nb_release(f.nb, NB_KIT_GENERATION, 2);
	EXPECT_OUT(&f, 1, 1);
	assert_int_equal(f.failed, 1);
	nb_drop(f.nb);
	nb_pass(f.nb);
	EXPECT_OUT(&f, 1);
	/* The other port lives. */
	guest_sends(&f, 0, 3, 60);
	EXPECT_OUT(&f, 0, 3);
	assert_true(nb_idle(f.nb));
	fake_end(&f);
}

static void garbage(int port, const uint8_t *bad, size_t n)
{
	static const uint8_t zero[64 << 10];
	struct fake f;

	fake_start(&f, 0);
	guest_sends(&f, port, 1, 60);
	assert_int_equal(write(f.guest[port], bad, n), (ssize_t)n);
	EXPECT_OUT(&f, port, 1);
	assert_int_equal(f.failed, 1);
	assert_int_equal(f.failed_rc, TV_E_PROTOCOL);
	nb_hold(f.nb);
	assert_int_equal(nb_barrier(f.nb, 1), TV_E_PROTOCOL);
	/* It is read on: QEMU's main loop would block on a full socket. Nothing of it comes out. */
	for (int i = 0; i < 32; i++) {
		assert_int_equal(write(f.guest[port], zero, sizeof(zero)), sizeof(zero));
		turns(&f, 2);
	}
	EXPECT_OUT(&f, port);
	assert_int_equal(f.failed, 1);
	fake_end(&f);
}

static void test_garbage(void **state)
{
	static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1};
	static const uint8_t over[] = {0, 2, 0, 1, 0, 0, 0, 0, 1};
	static const uint8_t none[] = {0, 0, 0, 0, 0, 0, 0, 0, 1};
	static const uint8_t hdr[] = {0, 0, 0, 60, 0, 0, 0, 61, 1};

	(void)state;
	garbage(0, huge, sizeof(huge));
	garbage(1, huge, sizeof(huge));
	garbage(0, over, sizeof(over));
	garbage(0, none, sizeof(none));
	garbage(1, none, sizeof(none));
	garbage(1, hdr, sizeof(hdr));
}

static void test_inject_blocked(void **state)
{
	struct nb_stats st;
	struct fake f;
	uint32_t i;
	unsigned got = 0;

	(void)state;
	fake_start(&f, 1 << 20);
	for (i = 0; i < 2000; i++) {
		guest_sends(&f, 0, i, 1500);
		turns(&f, 1);
	}
	nb_stats(f.nb, &st);
	assert_true(st.held_frames > 100);
	assert_true(st.held_bytes <= 1 << 20);
	assert_true(st.dropped_frames > 0);
	assert_false(nb_idle(f.nb));
	/* The other port is not in its way once there is room. */
	while (!nb_idle(f.nb)) {
		got += world_frames(&f, 0, NULL, NULL);
		turns(&f, 1);
	}
	got += world_frames(&f, 0, NULL, NULL);
	assert_int_equal(f.got_bytes[0], 0);
	nb_stats(f.nb, &st);
	assert_int_equal(got, st.passed_frames);
	assert_int_equal(got + st.dropped_frames, 2000);
	assert_int_equal(st.held_frames, 0);
	fake_end(&f);
}

/* Released frames that wait for room stay released: nb_drop leaves them, a new hold too. */
static void test_blocked_then_drop(void **state)
{
	struct nb_stats st;
	struct fake f;
	uint32_t i;
	unsigned got = 0;

	(void)state;
	fake_start(&f, 0);
	nb_hold(f.nb);
	assert_int_equal(nb_barrier(f.nb, 1), 0);
	for (i = 0; i < 1000; i++) {
		guest_sends(&f, 1, i, 1500);
		turns(&f, 1);
	}
	assert_int_equal(nb_barrier(f.nb, 2), 0);
	guest_sends(&f, 1, 5000, 60);
	turns(&f, 1);
	nb_release(f.nb, NB_KIT_GENERATION, 2);
	nb_drop(f.nb);
	while (!nb_idle(f.nb)) {
		got += world_frames(&f, 1, NULL, NULL);
		turns(&f, 1);
	}
	got += world_frames(&f, 1, NULL, NULL);
	assert_int_equal(got, 1000);
	assert_int_equal(f.got_bytes[1], 0);
	nb_stats(f.nb, &st);
	assert_int_equal(st.released_frames, 1000);
	assert_int_equal(st.dropped_frames, 1);
	fake_end(&f);
}

static void test_inject_closed(void **state)
{
	struct fake f;
	uint32_t i;

	(void)state;
	fake_start(&f, 0);
	tv_close_fd(&f.world[0]);
	for (i = 0; i < 2000; i++) {
		guest_sends(&f, 0, i, 1500);
		turns(&f, 1);
	}
	assert_int_equal(f.failed, 1);
	assert_int_equal(f.failed_rc, -EPIPE);
	assert_string_equal(f.failed_port, "nic0");
	nb_hold(f.nb);
	assert_int_equal(nb_barrier(f.nb, 1), -EPIPE);
	fake_end(&f);
}

static void test_new_fails(void **state)
{
	struct nb_port ports[40];
	struct tv_err e = {0};
	struct nb *nb;
	int fd[2];

	(void)state;
	memset(ports, 0, sizeof(ports));
	for (int i = 0; i < 40; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
		ports[i].capture_fd = fd[0];
		ports[i].inject_fd = fd[1];
	}
	assert_int_equal(nb_relay_new(NULL, ports, 40, NULL, &nb, &e), -E2BIG);
	assert_null(nb);
	assert_true(e.text[0]);
	/* All were taken over, so all are closed. */
	for (int i = 0; i < 40; i++) {
		assert_int_equal(fcntl(ports[i].capture_fd, F_GETFD), -1);
		assert_int_equal(fcntl(ports[i].inject_fd, F_GETFD), -1);
	}
	nb_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit),	       cmocka_unit_test(test_barrier_refuses),
		cmocka_unit_test(test_capture_closed), cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_inject_blocked), cmocka_unit_test(test_blocked_then_drop),
		cmocka_unit_test(test_inject_closed),  cmocka_unit_test(test_new_fails),
	};

	return cmocka_run_group_tests_name("nb_relay_limits", tests, NULL, NULL);
}
