/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NBD end of a mirror: what a well-behaved client gets, and what a hostile one does not. */
#include "nbd/nbd.h"
#include "nbd/proto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DISK_BYTES (4u << 20)

struct seen { /* what the server handed on */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint8_t disk[DISK_BYTES];
	unsigned writes, zeroes, trims, closed, hold, fail, in_room;
	char why[128];
	uint8_t room[NBD_PIECE_BYTES];
};

static struct seen seen;
static struct nbd *server;
static int fd;

static int on_write(void *arg, unsigned disk, uint64_t offset, const void *data, uint32_t bytes)
{
	struct seen *s = arg;
	int rc;

	pthread_mutex_lock(&s->lock);
	assert_int_equal(disk, 0);
	assert_true(bytes && bytes <= NBD_PIECE_BYTES && offset + bytes <= DISK_BYTES);
	memcpy(s->disk + offset, data, bytes);
	s->writes++;
	s->in_room += data == s->room;
	pthread_cond_broadcast(&s->changed);
	while (s->hold)
		pthread_cond_wait(&s->changed, &s->lock);
	rc = s->fail ? -EIO : 0;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static int on_zero(void *arg, unsigned disk, uint64_t offset, uint64_t bytes, bool trim)
{
	struct seen *s = arg;

	pthread_mutex_lock(&s->lock);
	assert_true(!disk && bytes && offset + bytes <= DISK_BYTES);
	memset(s->disk + offset, 0, bytes);
	s->zeroes += !trim;
	s->trims += trim;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static void on_closed(void *arg, unsigned disk, const char *why)
{
	struct seen *s = arg;

	(void)disk;
	pthread_mutex_lock(&s->lock);
	s->closed++;
	snprintf(s->why, sizeof(s->why), "%s", why);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static void *on_room(void *arg, unsigned disk)
{
	struct seen *s = arg;

	assert_int_equal(disk, 0);
	return s->room;
}

static int set_up_with(const struct nbd_ops *ops)
{
	int pair[2];
	unsigned disk;

	memset(&seen, 0, sizeof(seen));
	pthread_mutex_init(&seen.lock, NULL);
	pthread_cond_init(&seen.changed, NULL);
	memset(seen.disk, 0xee, sizeof(seen.disk));
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || nbd_new(ops, &seen, &server) ||
	    nbd_add(server, DISK_BYTES, pair[0], &disk))
		return -1;
	fd = pair[1];
	return 0;
}

static int set_up(void **state)
{
	static const struct nbd_ops ops = {.write = on_write, .zero = on_zero, .closed = on_closed};

	(void)state;
	return set_up_with(&ops);
}

static int set_up_room(void **state)
{
	static const struct nbd_ops ops = {
		.room = on_room, .write = on_write, .zero = on_zero, .closed = on_closed};

	(void)state;
	return set_up_with(&ops);
}

/* A disk that may only be read; from 3 MiB on it cannot. */
static int on_read(void *arg, unsigned disk, uint64_t offset, void *data, uint32_t bytes)
{
	struct seen *s = arg;

	assert_true(!disk && bytes <= NBD_PIECE_BYTES && offset + bytes <= DISK_BYTES);
	if (offset + bytes > (3u << 20))
		return -EIO;
	memcpy(data, s->disk + offset, bytes);
	return 0;
}

static int set_up_read(void **state)
{
	static const struct nbd_ops ops = {.read = on_read, .closed = on_closed};
	int rc;

	(void)state;
	rc = set_up_with(&ops);
	for (unsigned i = 0; i < DISK_BYTES; i++)
		seen.disk[i] = (uint8_t)(i * 7 + i / 512);
	return rc;
}

static int tear_down(void **state)
{
	(void)state;
	nbd_free(server);
	assert_int_equal(seen.closed, 1); /* always, and once */
	close(fd);
	return 0;
}

/* ---- a client ---- */
static void put(const void *p, size_t n)
{
	assert_int_equal(tv_write_all(fd, p, n), 0);
}

static void get(void *p, size_t n)
{
	assert_int_equal(tv_read_all(fd, p, n), 0);
}

static void expect_end(void)
{
	uint8_t b[64];
	ssize_t r;

	do
		r = read(fd, b, sizeof(b));
	while (r > 0);
}

static void hello(uint32_t flags)
{
	uint8_t b[18];

	get(b, sizeof(b));
	assert_memory_equal(b, "NBDMAGICIHAVEOPT\0\3", 18);
	flags = htobe32(flags);
	put(&flags, 4);
}

static void option_head(uint32_t opt, uint32_t n)
{
	uint64_t magic = htobe64(NBD_OPTS_MAGIC);
	uint32_t v[2] = {htobe32(opt), htobe32(n)};

	put(&magic, 8);
	put(v, 8);
}

static uint32_t option_answer(uint32_t opt, uint8_t *body, uint32_t room)
{
	uint8_t head[20];
	uint32_t v, n;

	get(head, sizeof(head));
	memcpy(&v, head + 8, 4);
	assert_int_equal(be32toh(v), opt);
	memcpy(&n, head + 16, 4);
	n = be32toh(n);
	assert_true(n <= room);
	if (n)
		get(body, n);
	memcpy(&v, head + 12, 4);
	return be32toh(v);
}

static void go(void)
{
	static const uint8_t ask[] = {0, 0, 0, 4, 'd', 'i', 's', 'k', 0, 0};
	uint8_t body[32];
	uint64_t bytes;

	hello(NBD_F_FIXED | NBD_F_NO_ZEROES);
	option_head(NBD_OPT_GO, sizeof(ask));
	put(ask, sizeof(ask));
	assert_int_equal(option_answer(NBD_OPT_GO, body, sizeof(body)), NBD_REP_INFO);
	memcpy(&bytes, body + 2, 8);
	assert_int_equal(be64toh(bytes), DISK_BYTES);
	assert_int_equal(option_answer(NBD_OPT_GO, body, sizeof(body)), NBD_REP_INFO);
	assert_int_equal(option_answer(NBD_OPT_GO, body, sizeof(body)), NBD_REP_ACK);
}

static void request(uint16_t type, uint64_t offset, uint32_t bytes)
{
	uint8_t b[NBD_REQUEST_BYTES] = {0};
	uint32_t magic = htobe32(NBD_REQUEST_MAGIC);

	memcpy(b, &magic, 4);
	b[6] = (uint8_t)(type >> 8);
	b[7] = (uint8_t)type;
	memcpy(b + 8, "handle-8", 8);
	offset = htobe64(offset);
	memcpy(b + 16, &offset, 8);
	bytes = htobe32(bytes);
	memcpy(b + 24, &bytes, 4);
	put(b, sizeof(b));
}

static uint32_t answer(void)
{
	uint8_t b[16];
	uint32_t v;

	get(b, sizeof(b));
	assert_memory_equal(b + 8, "handle-8", 8);
	memcpy(&v, b + 4, 4);
	return be32toh(v);
}

/* ---- tests ---- */
static void test_read_only(void **state)
{
	static uint8_t have[DISK_BYTES], then[DISK_BYTES];
	static const uint32_t good[][2] = {
		{0, 1}, {511, 4096}, {777, 2 * NBD_PIECE_BYTES + 5}, {0, 3u << 20}};

	(void)state, memcpy(then, seen.disk, DISK_BYTES);
	go();
	for (unsigned i = 0; i < sizeof(good) / sizeof(*good); i++) {
		request(NBD_CMD_READ, good[i][0], good[i][1]);
		assert_int_equal(answer(), 0);
		get(have, good[i][1]);
		assert_memory_equal(have, then + good[i][0], good[i][1]);
	}
	request(NBD_CMD_READ, DISK_BYTES - 1, 2);
	assert_int_equal(answer(), NBD_EINVAL);
	request(NBD_CMD_READ, 3u << 20, 1);
	assert_int_equal(answer(), NBD_EIO);
	/* Nothing that would write gets through. */
	request(NBD_CMD_WRITE, 0, 3 * NBD_PIECE_BYTES);
	put(have, 3 * NBD_PIECE_BYTES);
	assert_int_equal(answer(), NBD_EPERM);
	request(NBD_CMD_WRITE_ZEROES, 0, 4096);
	assert_int_equal(answer(), NBD_EPERM);
	assert_memory_equal(seen.disk, then, DISK_BYTES);
	/* A long read that fails after its answer has begun ends the connection. */
	request(NBD_CMD_READ, (3u << 20) - NBD_PIECE_BYTES, 2 * NBD_PIECE_BYTES);
	expect_end();
}

static void test_requests(void **state)
{
	size_t n = NBD_PIECE_BYTES * 2 + 777;
	uint8_t *data = malloc(n);

	(void)state;
	for (size_t i = 0; i < n; i++)
		data[i] = (uint8_t)(i * 31 + i / 251);
	go();
	request(NBD_CMD_WRITE, 1000, (uint32_t)n);
	put(data, n);
	assert_int_equal(answer(), 0);
	assert_int_equal(seen.writes, 3); /* in pieces, all before the answer */
	assert_memory_equal(seen.disk + 1000, data, n);
	request(NBD_CMD_WRITE_ZEROES, 0, 4096);
	assert_int_equal(answer(), 0);
	request(NBD_CMD_TRIM, DISK_BYTES - 4096, 4096);
	assert_int_equal(answer(), 0);
	assert_int_equal(seen.zeroes, 1);
	assert_int_equal(seen.trims, 1);
	request(NBD_CMD_FLUSH, 0, 0);
	assert_int_equal(answer(), 0);
	request(NBD_CMD_READ, 0, 512);
	assert_int_equal(answer(), NBD_EIO);
	request(77, 0, 512);
	assert_int_equal(answer(), NBD_EINVAL);
	request(NBD_CMD_TRIM, DISK_BYTES, 1);
	assert_int_equal(answer(), NBD_EINVAL);
	request(NBD_CMD_WRITE_ZEROES, UINT64_MAX - 100, 4096);
	assert_int_equal(answer(), NBD_EINVAL);
	request(NBD_CMD_TRIM, 0, 0);
	assert_int_equal(answer(), NBD_EINVAL);
	request(NBD_CMD_DISC, 0, 0);
	expect_end();
	free(data);
}

/* Received where the owner wants it. */
static void test_room(void **state)
{
	test_requests(state);
	assert_int_equal(seen.in_room, 3);
}

static void test_old_client(void **state)
{
	uint8_t b[134];

	(void)state;
	hello(NBD_F_FIXED);
	option_head(NBD_OPT_EXPORT_NAME, 4);
	put("disk", 4);
	get(b, sizeof(b));
	request(NBD_CMD_FLUSH, 0, 0);
	assert_int_equal(answer(), 0);
}

static void test_other_options(void **state)
{
	static const uint8_t bad[] = {255, 255, 255, 255, 'd', 0, 0};

	(void)state;
	hello(NBD_F_FIXED);
	option_head(8, 0); /* structured replies */
	assert_int_equal(option_answer(8, NULL, 0), NBD_REP_ERR_UNSUP);
	option_head(NBD_OPT_GO, sizeof(bad));
	put(bad, sizeof(bad));
	assert_int_equal(option_answer(NBD_OPT_GO, NULL, 0), NBD_REP_ERR_INVALID);
	option_head(NBD_OPT_INFO, 3);
	put("abc", 3);
	assert_int_equal(option_answer(NBD_OPT_INFO, NULL, 0), NBD_REP_ERR_INVALID);
	option_head(NBD_OPT_ABORT, 0);
	expect_end();
}

static void test_long_option(void **state)
{
	(void)state;
	hello(NBD_F_FIXED);
	option_head(NBD_OPT_GO, UINT32_MAX);
	expect_end();
}

static void test_bad_flags(void **state)
{
	(void)state;
	hello(0x80);
	expect_end();
}

static void test_endless_options(void **state)
{
	(void)state;
	hello(NBD_F_FIXED);
	for (unsigned i = 0; i < NBD_MAX_OPTIONS; i++) {
		option_head(99, 0);
		assert_int_equal(option_answer(99, NULL, 0), NBD_REP_ERR_UNSUP);
	}
	expect_end();
}

static void test_no_magic(void **state)
{
	uint8_t b[NBD_REQUEST_BYTES] = {1, 2, 3};

	(void)state;
	go();
	put(b, sizeof(b));
	expect_end();
}

static void test_write_outside(void **state)
{
	(void)state;
	go();
	request(NBD_CMD_WRITE, DISK_BYTES - 511, 512);
	expect_end();
	assert_int_equal(seen.writes, 0);
}

static void test_write_too_long(void **state)
{
	(void)state;
	go();
	request(NBD_CMD_WRITE, 0, UINT32_MAX);
	expect_end();
	assert_int_equal(seen.writes, 0);
}

static void test_ends_inside(void **state)
{
	(void)state;
	go();
	request(NBD_CMD_WRITE, 0, 4096);
	put("abc", 3);
	shutdown(fd, SHUT_WR);
	expect_end();
	assert_int_equal(seen.writes, 0);
}

/* Not answered while the owner makes it wait; cut, it is never answered, and nobody hangs. */
static void test_back_pressure_and_cut(void **state)
{
	struct pollfd p = {.events = POLLIN};
	uint8_t data[512] = {1};

	(void)state;
	go();
	p.fd = fd;
	seen.hold = 1;
	request(NBD_CMD_WRITE, 0, sizeof(data));
	put(data, sizeof(data));
	pthread_mutex_lock(&seen.lock);
	while (!seen.writes)
		pthread_cond_wait(&seen.changed, &seen.lock);
	pthread_mutex_unlock(&seen.lock);
	assert_int_equal(poll(&p, 1, 0), 0);
	nbd_cut(server);
	expect_end(); /* at once, although the callback still waits */
	pthread_mutex_lock(&seen.lock);
	seen.hold = 0;
	pthread_cond_broadcast(&seen.changed);
	pthread_mutex_unlock(&seen.lock);
}

static void test_owner_fails(void **state)
{
	uint8_t data[512] = {1};

	(void)state;
	go();
	seen.fail = 1;
	request(NBD_CMD_WRITE, 0, sizeof(data));
	put(data, sizeof(data));
	expect_end();
}

/* Random bytes after any good beginning end the connection or are answered; nothing else
 * happens. */
static void test_noise(void **state)
{
	uint8_t noise[4096];
	uint64_t x = 88172645463325252u;

	(void)state;
	go();
	for (size_t i = 0; i < sizeof(noise); i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		noise[i] = (uint8_t)x;
	}
	(void)!write(fd, noise, sizeof(noise));
	expect_end();
	assert_int_equal(seen.writes, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_requests),
		cmocka_unit_test_setup_teardown(test_room, set_up_room, tear_down),
		cmocka_unit_test_setup_teardown(test_read_only, set_up_read, tear_down),
		T(test_old_client),
		T(test_other_options),
		T(test_long_option),
		T(test_bad_flags),
		T(test_endless_options),
		T(test_no_magic),
		T(test_write_outside),
		T(test_write_too_long),
		T(test_ends_inside),
		T(test_back_pressure_and_cut),
		T(test_owner_fails),
		T(test_noise),
	};

	return cmocka_run_group_tests_name("nbd", tests, NULL, NULL);
}
