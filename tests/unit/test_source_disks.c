/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The primary's disk writes: which epoch they belong to, when they are answered, when they have to
 * wait. */
#include "checkpoint/checkpoint.h"
#include "replicator/source/disks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct event_base *base;
static struct disks *d;
static int fd;
static unsigned failures;
static uint8_t noise[4096];

static void on_ready(void *arg)
{
	(void)arg;
}

static void on_failed(const char *why, void *arg)
{
	(void)arg;
	assert_true(*why);
	failures++;
}

static int set_up(void **state)
{
	struct disks_conf conf = {.queue_bytes = 64 << 10,
				  .hold_bytes = 8000,
				  .ready = on_ready,
				  .failed = on_failed};
	static const uint8_t hello[] = {0,   0,	  0, 3, 'I', 'H', 'A', 'V', 'E', 'O',
					'P', 'T', 0, 0, 0,   1,	  0,   0,   0,	 0};
	uint64_t x = 88172645463325252u;
	uint8_t b[28];

	(void)state;
	failures = 0;
	for (size_t i = 0; i < sizeof(noise); i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		noise[i] = (uint8_t)x;
	}
	base = event_base_new();
	assert_int_equal(disks_new(base, &conf, &d), 0);
	assert_int_equal(disks_add(d, 1 << 20, &fd), 0);
	assert_int_equal(tv_read_all(fd, b, 18), 0);
	assert_int_equal(tv_write_all(fd, hello, sizeof(hello)), 0);
	assert_int_equal(tv_read_all(fd, b, 10), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	disks_free(d);
	event_base_free(base);
	close(fd);
	return 0;
}

static void send_write(void)
{
	uint8_t b[28] = {0x25, 0x60, 0x95, 0x13, 0, 0, 0, 1, [26] = 16};

	assert_int_equal(tv_write_all(fd, b, sizeof(b)), 0);
	assert_int_equal(tv_write_all(fd, noise, sizeof(noise)), 0);
}

static void answered(void)
{
	uint8_t b[16];

	assert_int_equal(tv_read_all(fd, b, sizeof(b)), 0);
}

static bool is_answered(void)
{
	struct pollfd p = {fd, POLLIN, 0};

	return poll(&p, 1, 0) == 1;
}

/* Two fill hold_bytes; the third is not answered. */
static void write_until_one_waits(void)
{
	for (int i = 0; i < 2; i++) {
		send_write();
		answered();
	}
	send_write();
	while (!disks_waiting(d))
		poll(NULL, 0, 1);
}

static void send_all(uint64_t epoch)
{
	const uint8_t *p;
	uint64_t e;
	size_t n;

	while (disks_peek(d, &e, &p, &n)) {
		assert_int_equal(e, epoch);
		assert_int_equal(n % (32 + sizeof(noise)), 0);
		disks_sent(d);
	}
}

static void *discard_later(void *arg)
{
	(void)arg;
	disks_discard(d);
	return NULL;
}

static void test_begun(void **state)
{
	pthread_t other;
	int fd2;

	(void)state;
	assert_int_equal(disks_await_begun(d, 10), -ETIMEDOUT);
	send_write();
	assert_int_equal(disks_await_begun(d, 60000), 0);
	answered();
	/* One more disk: it is waited for as well, but not after the end of the session. */
	assert_int_equal(disks_add(d, 1 << 20, &fd2), 0);
	assert_int_equal(disks_await_begun(d, 10), -ETIMEDOUT);
	assert_int_equal(pthread_create(&other, NULL, discard_later, NULL), 0);
	assert_int_equal(disks_await_begun(d, 60000), -ECANCELED);
	pthread_join(other, NULL);
	close(fd2);
}

static void test_epochs(void **state)
{
	struct disks_sum sum;
	struct disks_stats st;
	const uint8_t *p;
	uint64_t e;
	size_t n;

	(void)state;
	send_write();
	answered();
	assert_false(disks_complete(d, 0, &sum)); /* still open */
	disks_barrier(d, 0);
	assert_false(disks_complete(d, 0, &sum)); /* not sent */
	send_write();
	answered();
	assert_true(disks_peek(d, &e, &p, &n));
	assert_int_equal(e, 0); /* the older epoch first, by itself */
	assert_int_equal(n, 32 + sizeof(noise));
	disks_sent(d);
	assert_true(disks_complete(d, 0, &sum));
	assert_int_equal(sum.records, 1);
	send_all(1);
	disks_barrier(d, 1);
	assert_true(disks_complete(d, 1, &sum));
	assert_int_equal(sum.records, 1);
	disks_barrier(d, 2);
	assert_true(disks_complete(d, 2, &sum)); /* an epoch without writes */
	assert_int_equal(sum.records, 0);
	disks_stats(d, &st);
	assert_int_equal(st.raw_bytes, 2 * sizeof(noise));
}

/* More than hold_bytes uncommitted: the next write waits for a commit. */
static void test_waits_for_commit(void **state)
{
	(void)state;
	disks_barrier(d, 0);
	write_until_one_waits();
	assert_false(is_answered());
	disks_barrier(d, 1);
	assert_false(is_answered());
	disks_committed(d, 1);
	answered();
	assert_false(disks_waiting(d));
}

static uint64_t behind(void)
{
	struct disks_stats st;

	disks_stats(d, &st);
	assert_int_equal(st.behind_bytes[1], 0);
	return st.copied ? st.behind_bytes[0] : UINT64_MAX;
}

static void test_behind(void **state)
{
	(void)state;
	send_write();
	answered();
	assert_true(behind() == UINT64_MAX); /* of a first copy nothing is behind */
	send_all(0);
	disks_barrier(d, 0);
	assert_int_equal(behind(), 0);
	send_write();
	answered();
	assert_int_equal(behind(), sizeof(noise));
	disks_barrier(d, 1);
	send_all(1); /* sent is not committed */
	send_write();
	answered();
	assert_int_equal(behind(), 2 * sizeof(noise));
	disks_committed(d, 1);
	assert_int_equal(behind(), sizeof(noise));
	for (uint64_t epoch = 2; epoch < 30; epoch++) {
		disks_barrier(d, epoch);
		send_all(epoch);
		disks_committed(d, epoch);
	}
	assert_int_equal(behind(), 0);
}

/* A pause that is under way lets it through: QEMU could not drain. */
static void test_pause_lets_through(void **state)
{
	(void)state;
	disks_barrier(d, 0);
	write_until_one_waits();
	disks_pausing(d, true);
	answered();
	send_write();
	answered();
	disks_pausing(d, false);
	send_write();
	while (!disks_waiting(d))
		poll(NULL, 0, 1);
	assert_false(is_answered());
	disks_discard(d);
	answered();
}

/* QEMU owes an answer: it may be one of these writes that it waits for. There is an end to that. */
static void test_owed_lets_through(void **state)
{
	unsigned answers = 0;

	(void)state;
	disks_barrier(d, 0);
	write_until_one_waits();
	assert_false(is_answered());
	disks_owed(d, true);
	answered();
	send_write();
	answered();
	disks_owed(d, false);
	send_write();
	while (!disks_waiting(d))
		poll(NULL, 0, 1);
	assert_false(is_answered());
	disks_owed(d, true);
	for (answered(); answers < 100; answers++) {
		send_write();
		while (!is_answered() && !disks_waiting(d))
			poll(NULL, 0, 1);
		if (!is_answered())
			break;
		answered();
	}
	assert_in_range(answers, 1, 20);
	disks_discard(d);
	answered();
}

/* A full queue waits for the loop; the end of the session for nothing. */
static void test_full_queue(void **state)
{
	struct disks_sum sum;
	unsigned taken = 0;

	(void)state;
	for (int i = 0; i < 20; i++)
		send_write();
	while (taken < 15) {
		answered();
		taken++;
	}
	poll(NULL, 0, 1);
	assert_false(is_answered());
	send_all(0);
	for (; taken < 20; taken++)
		answered();
	for (int i = 0; i < 20; i++)
		send_write();
	disks_discard(d);
	for (int i = 0; i < 20; i++)
		answered();
	disks_barrier(d, 0);
	assert_false(disks_complete(d, 0, &sum)); /* never again */
}

static void test_mirror_ends(void **state)
{
	struct disks_sum sum;

	(void)state;
	shutdown(fd, 2);
	while (!failures)
		event_base_loop(base, EVLOOP_ONCE);
	disks_barrier(d, 0);
	assert_false(disks_complete(d, 0, &sum));
	assert_int_equal(failures, 1);
}

/* What a backup says is taken in order, when it was promised, and once. */
static void test_hashes(void **state)
{
	const uint64_t bytes[] = {UINT64_MAX, 4 * CKPT_BLOCK_BYTES + 1};
	uint8_t hashes[3 * CKPT_HASH_BYTES] = {0};
	struct disks_stats st;

	(void)state;
	assert_int_equal(disks_await_hashes(d), 0); /* nothing promised: nobody waits */
	assert_int_equal(disks_learn(d, 1, 0, hashes, CKPT_HASH_BYTES), TV_E_PROTOCOL);
	assert_false(disks_hashes_awaited(d));
	disks_expect_hashes(d, bytes, 2);
	assert_true(disks_hashes_awaited(d));
	assert_int_equal(disks_learn(d, 1, 0, hashes, sizeof(hashes)), 0);
	assert_int_equal(disks_learn(d, 1, 2, hashes, sizeof(hashes)), TV_E_PROTOCOL);
	assert_int_equal(disks_learn(d, 1, 3, hashes, 17), TV_E_PROTOCOL);
	assert_int_equal(disks_learn(d, 1000, 0, hashes, CKPT_HASH_BYTES), TV_E_PROTOCOL);
	/* no more than the disk has blocks, and none of a disk that is not there */
	assert_int_equal(disks_learn(d, 1, 3, hashes, sizeof(hashes)), TV_E_PROTOCOL);
	assert_int_equal(disks_learn(d, 2, 0, hashes, CKPT_HASH_BYTES), TV_E_PROTOCOL);
	assert_int_equal(disks_learn(d, 1, 3, hashes, CKPT_HASH_BYTES), 0);
	assert_int_equal(disks_learn(d, 1, 4, hashes, CKPT_HASH_BYTES), 0);
	assert_int_equal(disks_learn(d, 1, 5, hashes, CKPT_HASH_BYTES), TV_E_PROTOCOL);
	assert_int_equal(disks_learn(d, 0, 0, hashes, 0), 0); /* the last message may have none */
	disks_learned(d);
	assert_int_equal(disks_await_hashes(d), 0);
	assert_int_equal(disks_learn(d, 1, 4, hashes, CKPT_HASH_BYTES), TV_E_PROTOCOL);
	disks_copied(d);
	disks_stats(d, &st);
	assert_int_equal(st.kept_bytes, 0);
	disks_expect_hashes(d, bytes, 2);
	disks_discard(d);
	assert_int_equal(disks_await_hashes(d), -ECANCELED);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {T(test_begun),
					   T(test_epochs),
					   T(test_behind),
					   T(test_waits_for_commit),
					   T(test_pause_lets_through),
					   T(test_owed_lets_through),
					   T(test_full_queue),
					   T(test_mirror_ends),
					   T(test_hashes)};

	return cmocka_run_group_tests_name("daemon_disks", tests, NULL, NULL);
}
