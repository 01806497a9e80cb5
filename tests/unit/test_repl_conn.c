/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two connections to each other on one loop: beginning, messages, order, limits. */
#include "tests/unit/repl_kit.h"

static uint8_t big[8 << 20];

static void test_exchange(void **state)
{
	struct pair x = {0};

	(void)state;
	pair_open(&x, NULL, NULL);
	assert_int_equal(kit_heartbeat(x.p.c, 41, true), 0);
	assert_int_equal(kit_heartbeat(x.b.c, 42, false), 0);
	assert_int_equal(repl_send_records(x.p.c, big, 1000), 0);
	KIT_UNTIL(x.base, x.b.frames == 2 && x.p.frames == 1);
	assert_int_equal(x.b.last_seq, 41);
	assert_int_equal(x.p.last_seq, 42);
	assert_string_equal(x.b.order, "hr");
	assert_int_equal(x.b.record_bytes, 1000);
	assert_int_equal(x.b.record_sum, kit_sum(0, big, 1000));
	assert_int_equal(repl_queued_bytes(x.p.c), 0);
	assert_true(repl_sent_bytes(x.p.c) > 1032);
	assert_true(repl_last_rx_ns(x.b.c) > 0 && repl_last_rx_ns(x.b.c) <= tv_now_ns());
	pair_free(&x);
}

/* Pieces of every size arrive as the same stream of bytes, and control messages stay between
 * them. */
static void test_stream_and_order(void **state)
{
	static const size_t sizes[] = {1, 15, 16, 17, 4096, 32751, 32752, 32753, 65536, 1 << 20};
	struct pair x = {0};
	uint64_t sum = 0, bytes = 0;
	unsigned i, controls = 0;
	char *at;

	(void)state;
	pair_open(&x, NULL, NULL);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(repl_send_records(x.p.c, big + i, sizes[i]), 0);
		assert_int_equal(kit_refuse(x.p.c, "in order"), 0);
		sum = kit_sum(sum, big + i, sizes[i]);
		bytes += sizes[i];
		controls++;
	}
	KIT_UNTIL(x.base, x.b.record_bytes == bytes && x.b.order[x.b.frames - 1] == 'c');
	assert_int_equal(x.b.record_sum, sum);
	for (at = x.b.order, i = 0; (at = strchr(at, 'c')); at++, i++)
		assert_true(at[-1] == 'r');
	assert_int_equal(i, controls);
	pair_free(&x);
}

static void test_urgent_overtakes_bulk(void **state)
{
	struct pair x = {0};
	char *first_h;

	(void)state;
	pair_open(&x, NULL, NULL);
	repl_read_enable(x.b.c, false);
	while (!repl_send_records(x.p.c, big, 1 << 20))
		;
	kit_turns(x.base, 50);
	/* The pipe is full now: all that follows can only be ordered in our queue. */
	while (!repl_send_records(x.p.c, big, 1 << 20))
		;
	assert_int_equal(kit_refuse(x.p.c, "behind all bulk"), 0);
	assert_int_equal(kit_heartbeat(x.p.c, 7, true), 0);
	assert_int_equal(kit_heartbeat(x.p.c, 8, true), 0);
	repl_read_enable(x.b.c, true);
	KIT_UNTIL(x.base, x.b.text[0]);
	first_h = strchr(x.b.order, 'h');
	assert_non_null(first_h);
	assert_true(first_h[1] == 'h');
	assert_int_equal(x.b.last_seq, 8);
	/* Some 3 MiB of bulk (96 frames) were still in our queue and came after the heartbeats. */
	assert_true(strlen(first_h) > 90);
	assert_int_equal(x.b.order[x.b.frames - 1], 'c');
	pair_free(&x);
}

static void test_back_pressure(void **state)
{
	struct repl_opts op = {.queue_bytes = 256 << 10};
	uint64_t accepted = 0;
	struct pair x = {0};
	int i;

	(void)state;
	pair_open(&x, &op, NULL);
	assert_int_equal(repl_send_records(x.p.c, big, (256 << 10) + 1), -EMSGSIZE);
	repl_read_enable(x.b.c, false);
	for (i = 0; i < 3; i++) {
		while (!repl_send_records(x.p.c, big, 64 << 10))
			accepted += 64 << 10;
		kit_turns(x.base, 50);
	}
	/* Full, and it stays so: nothing is read. */
	assert_int_equal(repl_send_records(x.p.c, big, 64 << 10), -EAGAIN);
	assert_true(repl_queued_bytes(x.p.c) <= (256 << 10) + (80 << 10));
	x.p.drained = 0;
	repl_read_enable(x.b.c, true);
	KIT_UNTIL(x.base, x.p.drained);
	assert_true(repl_queued_bytes(x.p.c) <= (128 << 10) + (64 << 10));
	assert_int_equal(repl_send_records(x.p.c, big, 64 << 10), 0);
	accepted += 64 << 10;
	KIT_UNTIL(x.base, x.b.record_bytes == accepted);
	/* Never stuck: a piece larger than half the queue gets in after enough drained. */
	i = 0;
	while (i < 5) {
		x.p.drained = 0;
		if (!repl_send_records(x.p.c, big, 200 << 10))
			i++;
		else
			KIT_UNTIL(x.base, x.p.drained);
	}
	accepted += 5 * (200 << 10);
	KIT_UNTIL(x.base, x.b.record_bytes == accepted);
	pair_free(&x);
}

/* What the primary's deadline is about: heartbeats alone are no progress. */
static void test_acked_bytes(void **state)
{
	struct pair x = {0};
	uint64_t acked;

	(void)state;
	pair_open(&x, NULL, NULL);
	assert_int_equal(repl_acked_bytes(x.p.c), 0);
	assert_int_equal(repl_send_records(x.p.c, big, 100000), 0);
	while (repl_acked_bytes(x.p.c) < 100000) /* an acknowledgement is no event */
		kit_turns(x.base, 1);
	acked = repl_acked_bytes(x.p.c);
	for (uint64_t seq = 1; seq < 20; seq++)
		assert_int_equal(kit_heartbeat(x.p.c, seq, true), 0);
	KIT_UNTIL(x.base, x.b.last_seq == 19);
	assert_int_equal(repl_acked_bytes(x.p.c), acked);
	/* the peer does not read */
	repl_read_enable(x.b.c, false);
	for (int i = 0; i < 8; i++) {
		while (!repl_send_records(x.p.c, big, 64 << 10))
			;
		kit_turns(x.base, 50);
	}
	assert_true(repl_acked_bytes(x.p.c) > acked);
	acked = repl_acked_bytes(x.p.c);
	assert_true(acked < repl_sent_bytes(x.p.c) + repl_queued_bytes(x.p.c));
	repl_read_enable(x.b.c, true);
	KIT_UNTIL(x.base, !repl_queued_bytes(x.p.c));
	while (repl_acked_bytes(x.p.c) < repl_sent_bytes(x.p.c))
		kit_turns(x.base, 1);
	pair_free(&x);
}

/* A receiver that stops in the middle of what has arrived gets no more, and loses nothing. */
static void test_read_off_inside_callback(void **state)
{
	struct pair x = {0};
	uint64_t got;

	(void)state;
	pair_open(&x, NULL, NULL);
	x.b.off_in_records = true;
	assert_int_equal(repl_send_records(x.p.c, big, 3 << 20), 0);
	KIT_UNTIL(x.base, x.b.record_bytes);
	got = x.b.record_bytes;
	kit_turns(x.base, 50);
	assert_int_equal(x.b.record_bytes, got);
	x.b.off_in_records = true;
	repl_read_enable(x.b.c, true);
	KIT_UNTIL(x.base, x.b.record_bytes > got);
	repl_read_enable(x.b.c, true);
	KIT_UNTIL(x.base, x.b.record_bytes == 3 << 20);
	assert_int_equal(x.b.record_sum, kit_sum(0, big, 3 << 20));
	pair_free(&x);
}

/* A peer that never reads costs bounded memory, control messages included. */
static void test_control_is_bounded(void **state)
{
	struct pair x = {0};
	char *text = calloc(1, 200001);
	int rc, n = 0;

	(void)state;
	memset(text, 'x', 200000);
	pair_open(&x, NULL, NULL);
	repl_read_enable(x.b.c, false);
	while (!(rc = kit_refuse(x.p.c, text)) && ++n < 200)
		kit_turns(x.base, 1);
	assert_int_equal(rc, -ENOBUFS);
	free(text);
	text = calloc(1, REPL_MAX_CONTROL_BYTES + 1);
	memset(text, 'x', REPL_MAX_CONTROL_BYTES);
	assert_int_equal(kit_refuse(x.p.c, text), -EMSGSIZE);
	free(text);
	pair_free(&x);
}

/* A name that was cut inside a letter, or is none at all, does not end the session. */
static void test_strings_are_mended(void **state)
{
	struct pair x = {0};
	char text[] = "no \x1b[2J, no \xff, not cut \xc3";

	(void)state;
	pair_open(&x, NULL, NULL);
	assert_int_equal(kit_refuse(x.p.c, text), 0);
	KIT_UNTIL(x.base, x.b.frames || x.b.closed);
	assert_string_equal(x.b.text, "no ?[2J, no ?, not cut ");
	assert_string_equal(text, "no \x1b[2J, no \xff, not cut \xc3"); /* the caller's stays */
	assert_int_equal(kit_refuse(x.p.c, "\xc3\xa4"), 0);
	KIT_UNTIL(x.base, x.b.frames == 2 || x.b.closed);
	assert_string_equal(x.b.text, "\xc3\xa4");
	pair_free(&x);
}

static void test_no_kind(void **state)
{
	Twinvm__Control m = TWINVM__CONTROL__INIT;
	struct pair x = {0};

	(void)state;
	pair_open(&x, NULL, NULL);
	assert_int_equal(repl_send(x.p.c, &m, true), -EINVAL);
	assert_int_equal(repl_send_records(x.p.c, big, 0), 0);
	pair_free(&x);
}

static void test_not_yet_open(void **state)
{
	struct pair x = {0};

	(void)state;
	x.tls_p = kit_tls("ca", "a");
	x.tls_b = kit_tls("ca", "b");
	pair_start(&x, NULL, NULL);
	assert_int_equal(kit_heartbeat(x.p.c, 1, true), -ENOTCONN);
	assert_int_equal(repl_send_records(x.p.c, big, 1), -ENOTCONN);
	assert_contains(repl_peer(x.p.c), "127.0.0.1:");
	assert_int_equal(repl_queued_bytes(x.p.c), 0);
	/* Reading may be switched off before there is anything to read. */
	repl_read_enable(x.b.c, false);
	KIT_UNTIL(x.base, x.p.opened && x.b.opened);
	assert_int_equal(kit_heartbeat(x.p.c, 1, true), 0);
	kit_turns(x.base, 30);
	assert_int_equal(x.b.frames, 0);
	repl_read_enable(x.b.c, true);
	KIT_UNTIL(x.base, x.b.frames == 1);
	pair_free(&x);
}

static void test_refused(void **state)
{
	struct event_base *base = event_base_new();
	struct repl_tls *tls = kit_tls("ca", "a");
	struct side s = {0};
	uint16_t port;

	(void)state;
	close(kit_listen(&port));
	side_connect(&s, base, tls, "127.0.0.1", port, NULL);
	assert_int_equal(s.closed, 0);
	KIT_UNTIL(base, s.closed);
	assert_int_equal(s.rc, -ECONNREFUSED);
	assert_contains(s.why, "127.0.0.1:");
	assert_contains(s.why, "is twinvmd running there?");
	repl_tls_free(tls);
	event_base_free(base);
}

/* A name from /etc/hosts; localhost may also be ::1, which refuses: the next address is tried. */
static void test_name(void **state)
{
	struct pair x = {0};
	uint16_t port;
	int l = kit_listen(&port), fd = -1;

	(void)state;
	x.base = event_base_new();
	x.tls_p = kit_tls("ca", "a");
	x.tls_b = kit_tls("ca", "b");
	side_connect(&x.p, x.base, x.tls_p, "localhost", port, NULL);
	evutil_make_socket_nonblocking(l);
	KIT_UNTIL(x.base, x.p.closed || (fd = accept(l, NULL, NULL)) >= 0);
	assert_string_equal(x.p.why, "");
	side_accept(&x.b, x.base, x.tls_b, fd, NULL);
	KIT_UNTIL(x.base, x.p.opened && x.b.opened);
	assert_int_equal(kit_refuse(x.b.c, "hello"), 0);
	KIT_UNTIL(x.base, x.p.frames);
	close(l);
	pair_free(&x);
}

static void test_names_that_are_none(void **state)
{
	struct event_base *base = event_base_new();
	struct repl_tls *tls = kit_tls("ca", "a");
	struct repl_opts opts = {.handshake_timeout_ms = 50};
	struct repl_conn *c = (void *)1;
	struct tv_err e = {0};
	struct side s = {0};

	(void)state;
	assert_int_equal(repl_connect(base, tls, "", 1, NULL, &side_ops, &s, &c, &e), -EINVAL);
	assert_null(c);
	/* Whether the name server answers "no" or nothing at all, closed comes and names the
	 * host. */
	side_connect(&s, base, tls, "no-such-host.invalid", 1, &opts);
	KIT_UNTIL(base, s.closed);
	assert_true(s.rc == -ETIMEDOUT || s.rc == -EHOSTUNREACH);
	assert_contains(s.why, "no-such-host.invalid");
	/* Freed during the look-up. */
	memset(&s, 0, sizeof(s));
	side_connect(&s, base, tls, "no-such-host.invalid", 1, NULL);
	side_drop(&s);
	side_connect(&s, base, tls, "no-such-host.invalid", 1, NULL);
	kit_turns(base, 2);
	side_drop(&s);
	kit_turns(base, 5);
	assert_int_equal(s.closed, 0);
	repl_tls_free(tls);
	event_base_free(base);
}

static void test_silent_peer(void **state)
{
	struct event_base *base = event_base_new();
	struct repl_tls *tls = kit_tls("ca", "a");
	struct repl_opts opts = {.handshake_timeout_ms = 30};
	struct side s = {0}, t = {0};
	uint16_t port;
	int l = kit_listen(&port), fd[2];

	(void)state;
	/* The kernel answers for the listener, nobody accepts. */
	side_connect(&s, base, tls, "127.0.0.1", port, &opts);
	kit_tcp_pair(fd);
	side_accept(&t, base, tls, fd[1], &opts);
	KIT_UNTIL(base, s.closed && t.closed);
	assert_int_equal(s.rc, -ETIMEDOUT);
	assert_int_equal(t.rc, -ETIMEDOUT);
	assert_contains(s.why, "handshake");
	assert_contains(t.why, "127.0.0.1:");
	close(l);
	close(fd[0]);
	repl_tls_free(tls);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_stream_and_order),
		cmocka_unit_test(test_urgent_overtakes_bulk),
		cmocka_unit_test(test_back_pressure),
		cmocka_unit_test(test_acked_bytes),
		cmocka_unit_test(test_read_off_inside_callback),
		cmocka_unit_test(test_control_is_bounded),
		cmocka_unit_test(test_strings_are_mended),
		cmocka_unit_test(test_no_kind),
		cmocka_unit_test(test_not_yet_open),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_name),
		cmocka_unit_test(test_names_that_are_none),
		cmocka_unit_test(test_silent_peer),
	};

	kit_noise(big, sizeof(big));
	return cmocka_run_group_tests_name("repl_conn", tests, kit_make_pki, kit_remove_pki);
}
