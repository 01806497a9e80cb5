/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where received bytes wait: memory, then an unlinked file, then nowhere; and replicas that
 * fail. */
#include "tests/unit/room_kit.h"
#include "tests/unit/ckpt_model.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "checkpoint/spool.h"

static char dir[] = "/tmp/tv-test-spool-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir); /* fails when a spool file was left */
}

/* The deleted spool files this process holds: how many, and how many bytes in all. */
static int spool_files(off_t *bytes)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *de;
	int n = 0;

	assert_non_null(d);
	*bytes = 0;
	while ((de = readdir(d))) {
		char link[512] = "";
		struct stat st;

		if (readlinkat(dirfd(d), de->d_name, link, sizeof(link) - 1) < 0 ||
		    strncmp(link, dir, strlen(dir)) != 0)
			continue;
		assert_int_equal(fstat(atoi(de->d_name), &st), 0);
		assert_int_equal(st.st_nlink, 0);
		*bytes += st.st_size;
		n++;
	}
	closedir(d);
	return n;
}

/* Random reads of any length and order against the bytes themselves. */
static void test_reads_back(void **state)
{
	static const size_t memories[] = {0, 1, 100000, 400000, 3u << 20};
	size_t bytes = 2u << 20;
	uint8_t *data = malloc(bytes);
	uint64_t seed = 99;

	(void)state;
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(model_rand(&seed) >> 24);
	for (unsigned m = 0; m < 5; m++) {
		struct ckpt_spool *s;
		const uint8_t *p;
		size_t pos = 0;

		assert_int_equal(ckpt_spool_new(memories[m], room_kit(dir, bytes), &s), 0);
		while (pos < bytes) {
			size_t n = 1 + (size_t)(model_rand(&seed) % 30000);

			n = n < bytes - pos ? n : bytes - pos;
			assert_int_equal(ckpt_spool_add(s, data + pos, n), 0);
			pos += n;
		}
		assert_int_equal(ckpt_spool_bytes(s), bytes);
		for (unsigned i = 0; i < 2000; i++) {
			size_t n = (size_t)(model_rand(&seed) % (CKPT_MAX_RECORD_BYTES + 1));

			n = i % 2 ? n : n % 5000;
			pos = (size_t)(model_rand(&seed) % (bytes - n + 1));
			assert_int_equal(ckpt_spool_at(s, pos, n, &p), 0);
			assert_memory_equal(p, data + pos, n);
		}
		assert_int_equal(ckpt_spool_at(s, bytes - 5, 6, &p), -EINVAL);
		assert_int_equal(ckpt_spool_at(s, bytes + 1, 0, &p), -EINVAL);
		assert_int_equal(ckpt_spool_at(s, UINT64_MAX, 2, &p), -EINVAL);
		assert_int_equal(ckpt_spool_at(s, 0, CKPT_MAX_RECORD_BYTES + 1, &p), -EINVAL);
		ckpt_spool_free(s);
	}
	free(data);
}

static void test_file_is_unlinked_and_given_back(void **state)
{
	struct ckpt_spool *s;
	uint8_t data[5000] = {1};
	off_t bytes;

	(void)state;
	assert_int_equal(ckpt_spool_new(1000, room_kit(dir, 20000), &s), 0);
	assert_int_equal(ckpt_spool_add(s, data, 1000), 0);
	assert_int_equal(spool_files(&bytes), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ckpt_spool_add(s, data, 5000), 0);
		assert_int_equal(spool_files(&bytes), 1);
		assert_int_equal(bytes, ckpt_spool_bytes(s) - 1000);
		ckpt_spool_clear(s);
		assert_int_equal(spool_files(&bytes), 1);
		assert_int_equal(bytes, 0);
		assert_int_equal(ckpt_spool_bytes(s), 0);
		assert_int_equal(ckpt_spool_add(s, data, 1000), 0);
	}
	ckpt_spool_free(s);
	assert_int_equal(spool_files(&bytes), 0);
}

struct bench {
	struct model guest, replica;
	struct ckpt_enc *enc;
	struct ckpt_dec *dec;
	struct epoch ep;
	uint8_t state[100];
};

/* One epoch of 40 raw pages, about 160 KiB, half of it in the block that is not mapped. */
static void bench_init(struct bench *b, size_t memory_bytes, const char *spool_dir,
		       uint64_t spool_bytes)
{
	struct ckpt_mem mem;
	uint64_t seed = 4;

	memset(b, 0, sizeof(*b));
	model_init(&b->guest);
	model_init(&b->replica);
	mem = model_mem(&b->replica);
	assert_int_equal(ckpt_enc_new(0, &b->enc), 0);
	assert_int_equal(ckpt_dec_new(&mem, memory_bytes,
				      spool_dir ? room_kit(spool_dir, spool_bytes) : NULL, &b->dec),
			 0);
	epoch_init(&b->ep);
	for (uint32_t i = 0; i < 40; i++) {
		uint8_t *p = b->guest.block[i / 20] + (size_t)(i % 20) * TV_PAGE_BYTES;

		for (unsigned k = 0; k < TV_PAGE_BYTES; k++)
			p[k] = (uint8_t)(model_rand(&seed) >> 24);
		epoch_page(&b->ep, b->enc, &b->guest, i / 20, i % 20);
	}
	assert_int_equal(ckpt_enc_state(b->enc, b->state, sizeof(b->state), &b->ep.wire), 0);
	b->ep.records = 41;
	epoch_sum(&b->ep);
}

static void bench_dispose(struct bench *b)
{
	ckpt_enc_free(b->enc);
	ckpt_dec_free(b->dec);
	tv_buf_dispose(&b->ep.wire);
	model_dispose(&b->guest);
	model_dispose(&b->replica);
}

static int add_all(struct bench *b)
{
	size_t pos, n;
	int rc = 0;

	ckpt_dec_begin(b->dec);
	for (pos = 0; pos < b->ep.wire.bytes && !rc; pos += n) {
		n = b->ep.wire.bytes - pos < 7777 ? b->ep.wire.bytes - pos : 7777;
		rc = ckpt_dec_add(b->dec, b->ep.wire.data + pos, n);
	}
	return rc;
}

/* An epoch that found no room: refused for good, disk given back, nothing touched. */
static void no_room(struct bench *b, int want)
{
	struct tv_err e = {0};
	struct model zero;
	off_t bytes;

	model_init(&zero);
	assert_int_equal(add_all(b), want);
	assert_int_equal(ckpt_dec_add(b->dec, "x", 1), want);
	assert_int_equal(ckpt_dec_verify(b->dec, b->ep.records, b->ep.checksum, &e), want);
	assert_non_null(strstr(e.text, "could not be kept"));
	assert_int_equal(ckpt_dec_apply(b->dec), -EINVAL);
	spool_files(&bytes);
	assert_int_equal(bytes, 0);
	assert_true(model_equal(&b->replica, &zero));
	model_dispose(&zero);
}

static void has_room(struct bench *b)
{
	struct tv_err e = {0};

	assert_int_equal(add_all(b), 0);
	if (ckpt_dec_verify(b->dec, b->ep.records, b->ep.checksum, &e))
		fail_msg("%s", e.text);
	assert_int_equal(ckpt_dec_apply(b->dec), 0);
	assert_true(model_equal(&b->replica, &b->guest));
}

static void test_limits(void **state)
{
	struct bench b;
	size_t all;

	(void)state;
	bench_init(&b, 1000, dir, 1000);
	all = b.ep.wire.bytes;
	no_room(&b, -ENOSPC);
	bench_dispose(&b);
	bench_init(&b, 1000, dir, all - 1001);
	no_room(&b, -ENOSPC);
	bench_dispose(&b);
	bench_init(&b, 1000, dir, all - 1000);
	has_room(&b);
	bench_dispose(&b);
	bench_init(&b, all - 1, NULL, 1u << 20);
	no_room(&b, -ENOSPC);
	bench_dispose(&b);
	bench_init(&b, all, NULL, 0);
	has_room(&b);
	bench_dispose(&b);
	bench_init(&b, 1000, "/nonexistent/twinvm", 1u << 20);
	no_room(&b, -ENOENT);
	bench_dispose(&b);
}

/* The kernel says no in the middle of a write: a file size limit stands for a full disk. */
static void test_disk_full(void **state)
{
	struct rlimit was, small;
	struct bench b;

	(void)state;
	bench_init(&b, 1000, dir, 1u << 20);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	small = was;
	small.rlim_cur = 50001;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	no_room(&b, -ENOSPC);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	signal(SIGXFSZ, SIG_DFL);
	has_room(&b);
	bench_dispose(&b);
}

static void test_fault_point(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, 1000, dir, 1u << 20);
	setenv("TWINVM_FAULT", "ckpt_spool_write:5", 1);
	no_room(&b, -ENOSPC);
	unsetenv("TWINVM_FAULT");
	has_room(&b);
	bench_dispose(&b);
}

/* An apply that fails half way: nobody may resume from this replica. */
static void dead(struct bench *b)
{
	struct tv_err e = {0};
	size_t bytes;

	assert_null(ckpt_dec_state(b->dec, &bytes));
	assert_int_equal(bytes, 0);
	ckpt_dec_begin(b->dec);
	assert_int_equal(ckpt_dec_add(b->dec, "x", 1), -EIO);
	assert_int_equal(ckpt_dec_verify(b->dec, 0, 0, &e), -EIO);
	assert_non_null(strstr(e.text, "replica is lost"));
	assert_int_equal(ckpt_dec_apply(b->dec), -EIO);
	assert_int_equal(ckpt_dec_stream(b->dec, "x", 1, &e), -EIO);
}

static void test_replica_write_fails(void **state)
{
	struct tv_err e = {0};
	struct bench b;
	size_t bytes;

	(void)state;
	bench_init(&b, 1u << 20, dir, 0);
	has_room(&b);
	assert_non_null(ckpt_dec_state(b.dec, &bytes));
	assert_int_equal(add_all(&b), 0);
	assert_int_equal(ckpt_dec_verify(b.dec, b.ep.records, b.ep.checksum, &e), 0);
	b.replica.fail_write_at = 3;
	assert_int_equal(ckpt_dec_apply(b.dec), -EIO);
	dead(&b);
	bench_dispose(&b);
}

static void test_spool_lost_before_apply(void **state)
{
	struct tv_err e = {0};
	struct bench b;
	char path[64];
	uint8_t *big = malloc(1u << 20);
	uint64_t seed = 12;

	(void)state;
	bench_init(&b, 1000, dir, 2u << 20);
	/* More than the window through which the file is read: the second pass has to read
	 * again. */
	for (unsigned i = 0; i < 1u << 20; i++)
		big[i] = (uint8_t)(model_rand(&seed) >> 24);
	b.ep.wire.bytes = epoch_record(&b.ep, 40);
	assert_int_equal(ckpt_enc_state(b.enc, big, 1u << 20, &b.ep.wire), 0);
	free(big);
	b.ep.records = 44;
	epoch_sum(&b.ep);
	assert_int_equal(add_all(&b), 0);
	assert_int_equal(ckpt_dec_verify(b.dec, b.ep.records, b.ep.checksum, &e), 0);
	for (int fd = 3; fd < 100; fd++) {
		char link[512] = "";

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (readlink(path, link, sizeof(link) - 1) > 0 && !strncmp(link, dir, strlen(dir)))
			assert_int_equal(ftruncate(fd, 3000), 0);
	}
	assert_int_equal(ckpt_dec_apply(b.dec), -EIO);
	dead(&b);
	bench_dispose(&b);
}

/* Reading a base fails: that epoch cannot be checked, but nothing was touched and it can be
 * retried. */
static void test_replica_read_fails(void **state)
{
	struct tv_err e = {0};
	struct bench b;
	struct epoch next;

	(void)state;
	bench_init(&b, 1u << 20, dir, 0);
	ckpt_enc_free(b.enc);
	assert_int_equal(ckpt_enc_new(1u << 20, &b.enc), 0);
	epoch_init(&next);
	epoch_page(&next, b.enc, &b.guest, MODEL_UNMAPPED, 2);
	next.wire.bytes = 0;
	has_room(&b);
	b.guest.block[MODEL_UNMAPPED][2 * TV_PAGE_BYTES] ^= 1;
	epoch_page(&next, b.enc, &b.guest, MODEL_UNMAPPED, 2);
	assert_int_equal(next.wire.data[0], CKPT_XOR_LZ4);
	assert_int_equal(ckpt_enc_state(b.enc, b.state, sizeof(b.state), &next.wire), 0);
	next.records = 2;
	epoch_sum(&next);
	b.replica.fail_read = EFAULT;
	assert_int_equal(epoch_verify(b.dec, &next, 1000, NULL, &e), -EFAULT);
	assert_non_null(strstr(e.text, "block 1"));
	b.replica.fail_read = 0;
	epoch_deliver(b.dec, &next);
	assert_true(model_equal(&b.replica, &b.guest));
	tv_buf_dispose(&next.wire);
	bench_dispose(&b);
}

/* ---- a replica larger than this test wants to hold ---- */

#define HUGE_PAGES 24576u /* 96 MiB of records */

static uint64_t huge_bytes(void *arg, uint32_t block)
{
	(void)arg;
	(void)block;
	return (uint64_t)HUGE_PAGES * TV_PAGE_BYTES;
}

static uint8_t *huge_map(void *arg, uint32_t block)
{
	(void)arg;
	(void)block;
	return NULL;
}

static int huge_write(void *arg, uint32_t block, uint64_t offset, const void *p, size_t n)
{
	uint64_t *next = arg;

	(void)block;
	assert_int_equal(offset, *next);
	assert_int_equal(n, TV_PAGE_BYTES);
	assert_int_equal(tv_get_le64(p), offset ^ 0x1234567890abcdefu);
	*next += TV_PAGE_BYTES;
	return 0;
}

static size_t rss_bytes(void)
{
	char *text;
	size_t n, pages = 0;

	assert_int_equal(tv_read_file("/proc/self/statm", 4096, &text, &n), 0);
	assert_int_equal(sscanf(text, "%*s %zu", &pages), 1);
	free(text);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void test_memory_is_bounded(void **state)
{
	uint64_t next = 0, seed = 1;
	struct ckpt_mem mem = {&next, 1, huge_bytes, huge_map, NULL, huge_write, NULL};
	struct ckpt_sum *sum = ckpt_sum_new();
	struct ckpt_dec *dec;
	struct ckpt_enc *enc;
	struct tv_err e = {0};
	uint8_t page[TV_PAGE_BYTES];
	struct tv_buf out;
	size_t before;

	(void)state;
	for (unsigned i = 0; i < TV_PAGE_BYTES; i++)
		page[i] = (uint8_t)(model_rand(&seed) >> 24);
	tv_buf_init(&out, 1u << 20);
	assert_int_equal(ckpt_enc_new(0, &enc), 0);
	assert_int_equal(ckpt_dec_new(&mem, 1u << 20, room_kit(dir, 1u << 30), &dec), 0);
	before = rss_bytes();
	for (uint64_t off = 0; off <= (uint64_t)HUGE_PAGES * TV_PAGE_BYTES; off += TV_PAGE_BYTES) {
		tv_put_le64(page, off ^ 0x1234567890abcdefu);
		out.bytes = 0;
		if (off < (uint64_t)HUGE_PAGES * TV_PAGE_BYTES)
			assert_int_equal(ckpt_enc_page(enc, 0, off, page, &out), 0);
		else
			assert_int_equal(ckpt_enc_state(enc, page, sizeof(page), &out), 0);
		ckpt_sum_add(sum, out.data, out.bytes);
		assert_int_equal(ckpt_dec_add(dec, out.data, out.bytes), 0);
	}
	if (ckpt_dec_verify(dec, HUGE_PAGES + 1, ckpt_sum_value(sum), &e))
		fail_msg("%s", e.text);
	assert_int_equal(ckpt_dec_apply(dec), 0);
	assert_int_equal(next, (uint64_t)HUGE_PAGES * TV_PAGE_BYTES);
	assert_true(rss_bytes() < before + (8u << 20));
	ckpt_dec_free(dec);
	ckpt_enc_free(enc);
	ckpt_sum_free(sum);
	tv_buf_dispose(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_back),
		cmocka_unit_test(test_file_is_unlinked_and_given_back),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_disk_full),
		cmocka_unit_test(test_fault_point),
		cmocka_unit_test(test_replica_write_fails),
		cmocka_unit_test(test_spool_lost_before_apply),
		cmocka_unit_test(test_replica_read_fails),
		cmocka_unit_test(test_memory_is_bounded),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
