/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Heartbeats beside the stream: their thread continues while the loop does not turn. */
#include "tests/unit/repl_kit.h"

#include <sched.h>
#include <signal.h>

#define EVERY_NS (2 * TV_NS_PER_MS)

struct ends {
	struct pair x;
	struct repl_beat *p, *b;
	struct repl_beat_msg last[2];
	unsigned seen[2];
	uint16_t port;
};

static void on_p(const struct repl_beat_msg *m, void *arg)
{
	struct ends *e = arg;

	assert_int_equal(m->kind, REPL_BEAT_ECHO);
	e->last[0] = *m;
	e->seen[0]++;
}

static void on_b(const struct repl_beat_msg *m, void *arg)
{
	struct ends *e = arg;

	assert_int_equal(m->kind, REPL_BEAT);
	e->last[1] = *m;
	e->seen[1]++;
}

static void open_with(struct ends *e, uint64_t generation)
{
	struct repl_beat_conf p = {.initiator = true,
				   .every_ns = EVERY_NS,
				   .generation = generation,
				   .cb = on_p,
				   .arg = e};
	struct repl_beat_conf b = {.generation = 5, .cb = on_b, .arg = e};
	uint16_t port;

	memset(e, 0, sizeof(*e));
	pair_open(&e->x, NULL, NULL);
	assert_int_equal(repl_beat_new(e->x.base, e->x.b.c, &b, &e->port, &e->b), 0);
	p.port = e->port;
	assert_int_equal(repl_beat_new(e->x.base, e->x.p.c, &p, &port, &e->p), 0);
}

static void close_ends(struct ends *e)
{
	repl_beat_free(e->p);
	repl_beat_free(e->b);
	pair_free(&e->x);
}

/* The loop does not turn: only what the threads do counts. */
static void wait_rx(struct repl_beat *b, int64_t after_ns)
{
	int64_t end = tv_now_ns() + 60 * TV_NS_PER_S;

	while (repl_beat_rx_ns(b) <= after_ns) {
		assert_true(tv_now_ns() < end);
		sched_yield();
	}
}

static void test_a_loop_that_hangs(void **state)
{
	struct ends e;
	int64_t now;

	(void)state;
	open_with(&e, 5);
	repl_beat_moved(e.b, 77);
	repl_beat_allow(e.b, INT64_MAX);
	repl_beat_allow(e.p, INT64_MAX);
	for (int i = 0; i < 20; i++) { /* the echo of each came back, and nobody looked */
		wait_rx(e.p, now = tv_now_ns());
		wait_rx(e.b, now);
	}
	assert_int_equal(e.seen[0] + e.seen[1], 0);
	/* the loop is back: the newest of each, once */
	repl_beat_look(e.p);
	repl_beat_look(e.b);
	assert_int_equal(e.seen[0], 1);
	assert_int_equal(e.seen[1], 1);
	assert_true(e.last[0].seq >= 20 && e.last[0].sent_ns >= now - 10 * EVERY_NS);
	assert_int_equal(e.last[0].moved, 77);
	assert_int_equal(e.last[0].generation, 5);
	KIT_UNTIL(e.x.base, e.seen[0] > 3 && e.seen[1] > 3);
	close_ends(&e);
}

static void test_what_is_allowed(void **state)
{
	struct ends e;
	int64_t now;
	uint64_t seq;

	(void)state;
	open_with(&e, 5);
	/* heartbeats that are not echoed */
	repl_beat_allow(e.p, INT64_MAX);
	wait_rx(e.b, 0);
	wait_rx(e.b, tv_now_ns());
	assert_int_equal(repl_beat_rx_ns(e.p), 0);
	/* echoed until a time that passes */
	repl_beat_allow(e.b, tv_now_ns() + 20 * EVERY_NS);
	wait_rx(e.p, 0);
	wait_rx(e.b, tv_now_ns() + 30 * EVERY_NS);
	repl_beat_look(e.p);
	seq = e.last[0].seq;
	wait_rx(e.b, tv_now_ns() + 5 * EVERY_NS);
	repl_beat_look(e.p);
	assert_int_equal(e.last[0].seq, seq);
	/* not sent any more: one that was being sent may still come */
	repl_beat_allow(e.p, 0);
	now = tv_now_ns();
	while (tv_now_ns() < now + 50 * EVERY_NS)
		sched_yield();
	assert_true(repl_beat_rx_ns(e.b) < now + 25 * EVERY_NS);
	close_ends(&e);
}

/* A primary of another generation is not kept alive; the loop learns of it. */
static void test_another_generation(void **state)
{
	struct ends e;

	(void)state;
	open_with(&e, 4);
	repl_beat_allow(e.b, INT64_MAX);
	repl_beat_allow(e.p, INT64_MAX);
	KIT_UNTIL(e.x.base, e.seen[1] > 3);
	assert_int_equal(e.last[1].generation, 4);
	assert_int_equal(repl_beat_rx_ns(e.b), 0);
	assert_int_equal(repl_beat_rx_ns(e.p), 0);
	assert_int_equal(e.seen[0], 0);
	close_ends(&e);
}

/* What anybody may send to the port: nothing of it counts, and it stops nothing. */
static void test_strangers(void **state)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	uint8_t noise[56] = {'t', 'v', 'H', 'B', 1, 0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ends e;

	(void)state;
	open_with(&e, 5);
	to.sin_port = htons(e.port);
	repl_beat_allow(e.b, INT64_MAX);
	for (int i = 0; i < 1000; i++) {
		noise[8] = (uint8_t)i;
		(void)!sendto(fd, noise, i % 2 ? sizeof(noise) : 7, MSG_DONTWAIT,
			      (struct sockaddr *)&to, sizeof(to));
	}
	kit_turns(e.x.base, 50);
	assert_int_equal(repl_beat_rx_ns(e.b), 0);
	assert_int_equal(e.seen[1], 0);
	repl_beat_allow(e.p, INT64_MAX);
	KIT_UNTIL(e.x.base, e.seen[0] > 3);
	close(fd);
	close_ends(&e);
}

static void test_nobody(void **state)
{
	(void)state;
	repl_beat_allow(NULL, 1);
	repl_beat_moved(NULL, 1);
	repl_beat_look(NULL);
	repl_beat_free(NULL);
	assert_int_equal(repl_beat_rx_ns(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_loop_that_hangs),
		cmocka_unit_test(test_what_is_allowed),
		cmocka_unit_test(test_another_generation),
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_nobody),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, kit_make_pki, kit_remove_pki);
}
