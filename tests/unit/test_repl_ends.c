/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two connections to each other on one loop: how they end, and being freed at any time. */
#include "tests/unit/repl_kit.h"

static uint8_t big[8 << 20];

static void test_finish(void **state)
{
	struct pair x = {0};

	(void)state;
	pair_open(&x, NULL, NULL);
	/* Unread bytes at the finishing side must not make its kernel throw the last message
	 * away. */
	assert_int_equal(repl_send_records(x.p.c, big, 3 << 20), 0);
	kit_turns(x.base, 2);
	assert_int_equal(repl_send_records(x.b.c, big, 2 << 20), 0);
	assert_int_equal(kit_refuse(x.b.c, "no room"), 0);
	repl_finish(x.b.c, 60000);
	assert_int_equal(repl_send_records(x.b.c, big, 1), -ENOTCONN);
	assert_int_equal(kit_heartbeat(x.b.c, 1, true), -ENOTCONN);
	KIT_UNTIL(x.base, x.p.closed && x.b.closed);
	assert_string_equal(x.p.text, "no room");
	assert_int_equal(x.p.record_bytes, 2 << 20);
	assert_int_equal(x.p.rc, -EPIPE);
	assert_contains(x.p.why, "host-b (127.0.0.1:");
	assert_contains(x.p.why, "closed the connection");
	assert_int_equal(x.b.rc, 0);
	pair_free(&x);
}

static void test_finish_times_out(void **state)
{
	struct pair x = {0};

	(void)state;
	pair_open(&x, NULL, NULL);
	repl_read_enable(x.b.c, false);
	while (!repl_send_records(x.p.c, big, 1 << 20))
		kit_turns(x.base, 20);
	repl_finish(x.p.c, 20);
	KIT_UNTIL(x.base, x.p.closed);
	assert_int_equal(x.p.rc, -ETIMEDOUT);
	assert_contains(x.p.why, "not all");
	/* The other side finds out once it reads again, and first gets what had arrived. */
	repl_read_enable(x.b.c, true);
	KIT_UNTIL(x.base, x.b.closed);
	assert_true(x.b.rc == -ECONNRESET);
	assert_true(x.b.record_bytes > 0);
	pair_free(&x);
}

static void test_finish_early(void **state)
{
	struct pair x = {0};
	uint16_t port;
	int l;

	(void)state;
	x.tls_p = kit_tls("ca", "a");
	x.base = event_base_new();
	l = kit_listen(&port);
	side_connect(&x.p, x.base, x.tls_p, "127.0.0.1", port, NULL);
	repl_finish(x.p.c, 1000);
	KIT_UNTIL(x.base, x.p.closed);
	assert_int_equal(x.p.rc, 0);
	side_connect(&x.b, x.base, x.tls_p, "127.0.0.1", port, NULL);
	kit_turns(x.base, 3);
	repl_finish(x.b.c, 1000);
	KIT_UNTIL(x.base, x.b.closed);
	assert_int_equal(x.b.rc, 0);
	close(l);
	pair_free(&x);
}

/* What arrived before the peer's end is handed over before closed, even with reading switched
 * off. */
static void test_closed_waits_for_reader(void **state)
{
	struct pair x = {0};

	(void)state;
	pair_open(&x, NULL, NULL);
	x.b.off_in_records = true;
	assert_int_equal(repl_send_records(x.p.c, big, 100 << 10), 0);
	assert_int_equal(kit_refuse(x.p.c, "last words"), 0);
	repl_finish(x.p.c, 60000);
	KIT_UNTIL(x.base, x.b.record_bytes);
	kit_turns(x.base, 50);
	assert_int_equal(x.b.closed, 0);
	repl_read_enable(x.b.c, true);
	KIT_UNTIL(x.base, x.b.closed && x.p.closed);
	assert_int_equal(x.b.record_bytes, 100 << 10);
	assert_string_equal(x.b.text, "last words");
	assert_int_equal(x.b.rc, -EPIPE);
	pair_free(&x);
}

static void test_dropped(void **state)
{
	struct pair x = {0};

	(void)state;
	pair_open(&x, NULL, NULL);
	side_drop(&x.p);
	KIT_UNTIL(x.base, x.b.closed);
	assert_int_equal(x.b.rc, -ECONNRESET);
	assert_contains(x.b.why, "host-a (127.0.0.1:");
	assert_int_equal(x.p.closed, 0);
	pair_free(&x);
}

static void test_dropped_with_bulk(void **state)
{
	struct pair x = {0};

	(void)state;
	pair_open(&x, NULL, NULL);
	assert_int_equal(repl_send_records(x.p.c, big, 3 << 20), 0);
	assert_int_equal(repl_send_records(x.b.c, big, 3 << 20), 0);
	kit_turns(x.base, 3);
	side_drop(&x.p);
	KIT_UNTIL(x.base, x.b.closed);
	assert_int_equal(x.b.rc, -ECONNRESET);
	pair_free(&x);
}

static void test_free_in_callbacks(void **state)
{
	struct pair x = {0};

	(void)state;
	pair_open(&x, NULL, NULL);
	x.b.free_in_records = true;
	assert_int_equal(repl_send_records(x.p.c, big, 1 << 20), 0);
	KIT_UNTIL(x.base, x.p.closed);
	assert_null(x.b.c);
	assert_int_equal(x.b.frames, 1);
	pair_free(&x);

	memset(&x, 0, sizeof(x));
	pair_open(&x, NULL, NULL);
	x.b.free_in_control = true;
	assert_int_equal(kit_heartbeat(x.p.c, 1, true), 0);
	assert_int_equal(kit_heartbeat(x.p.c, 2, true), 0);
	KIT_UNTIL(x.base, x.p.closed);
	assert_int_equal(x.b.frames, 1);
	pair_free(&x);

	memset(&x, 0, sizeof(x));
	x.tls_p = kit_tls("ca", "a");
	x.tls_b = kit_tls("ca", "b");
	x.b.free_in_opened = true;
	pair_start(&x, NULL, NULL);
	KIT_UNTIL(x.base, x.p.closed);
	pair_free(&x);
}

static void test_free_at_any_time(void **state)
{
	(void)state;
	for (int turns = 0; turns < 12; turns++) {
		struct pair x = {0};

		x.tls_p = kit_tls("ca", "a");
		x.tls_b = kit_tls("ca", "b");
		pair_start(&x, NULL, NULL);
		kit_turns(x.base, turns);
		side_drop(&x.p);
		KIT_UNTIL(x.base, x.b.closed);
		assert_true(x.b.rc == -ECONNRESET || x.b.rc == -EPIPE);
		assert_int_equal(x.p.closed, 0);
		pair_free(&x);
	}
	repl_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_finish),
		cmocka_unit_test(test_finish_times_out),
		cmocka_unit_test(test_finish_early),
		cmocka_unit_test(test_closed_waits_for_reader),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_dropped_with_bulk),
		cmocka_unit_test(test_free_in_callbacks),
		cmocka_unit_test(test_free_at_any_time),
	};

	kit_noise(big, sizeof(big));
	return cmocka_run_group_tests_name("repl_ends", tests, kit_make_pki, kit_remove_pki);
}
