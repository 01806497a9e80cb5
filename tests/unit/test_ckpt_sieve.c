/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sieve: whatever the backup's image holds and in whatever order writes, zeroes and the first
 * copy come, the image is the copy in the end; and what it had already is not sent.
 */
#include "checkpoint/checkpoint.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define DISK_BYTES (40u * CKPT_BLOCK_BYTES + 1536) /* the last block is a short one */
#define BLOCKS 41u

static const uint8_t key[CKPT_HASH_KEY_BYTES] = "0123456789abcdef";

struct ends {
	uint8_t *image, *disk;
	uint64_t sent_bytes, zero_records;
};

static int out_write(void *arg, uint64_t offset, const void *p, uint32_t n)
{
	struct ends *x = arg;

	assert_true(n && offset + n <= DISK_BYTES);
	memcpy(x->image + offset, p, n);
	x->sent_bytes += n;
	return 0;
}
static int out_zero(void *arg, uint64_t offset, uint64_t n, bool trim)
{
	struct ends *x = arg;

	(void)trim;
	assert_true(n && offset + n <= DISK_BYTES);
	memset(x->image + offset, 0, n);
	x->zero_records++;
	return 0;
}
static const struct ckpt_sieve_out out = {out_write, out_zero};

static size_t block_bytes(unsigned b)
{
	return b == BLOCKS - 1 ? 1536 : CKPT_BLOCK_BYTES;
}

static struct ckpt_sieve *sieve_of(struct ends *x, unsigned known)
{
	uint8_t *hashes = malloc((size_t)BLOCKS * CKPT_HASH_BYTES);
	struct ckpt_hasher *h;
	struct ckpt_sieve *s;

	assert_int_equal(ckpt_hasher_new(key, &h), 0);
	for (unsigned b = 0; b < BLOCKS; b++)
		assert_int_equal(ckpt_hash_block(h, x->image + (size_t)b * CKPT_BLOCK_BYTES,
						 block_bytes(b), hashes + b * CKPT_HASH_BYTES),
				 0);
	ckpt_hasher_free(h);
	assert_int_equal(ckpt_sieve_new(DISK_BYTES, key, hashes, known, &out, x, &s), 0);
	return s;
}

static void noise(uint8_t *p, size_t n, unsigned *seed)
{
	for (size_t i = 0; i < n; i += 64)
		p[i] = (uint8_t)(rand_r(seed) | 1);
}

static void ends_init(struct ends *x)
{
	*x = (struct ends){.image = calloc(1, DISK_BYTES), .disk = calloc(1, DISK_BYTES)};
}
static void ends_dispose(struct ends *x)
{
	free(x->image);
	free(x->disk);
}

/* QEMU's first copy: zeroes over all, then what is there, in pieces. */
static void copy(struct ckpt_sieve *s, struct ends *x)
{
	assert_int_equal(ckpt_sieve_zero(s, 0, DISK_BYTES, false), 0);
	for (uint64_t at = 0; at < DISK_BYTES; at += CKPT_DISK_PIECE_BYTES) {
		uint32_t n = DISK_BYTES - at < CKPT_DISK_PIECE_BYTES ? (uint32_t)(DISK_BYTES - at)
								     : CKPT_DISK_PIECE_BYTES;

		assert_int_equal(ckpt_sieve_write(s, at, x->disk + at, n), 0);
	}
}

static void test_nothing_changed(void **state)
{
	unsigned seed = 1;
	struct ends x;
	struct ckpt_sieve *s;

	(void)state;
	ends_init(&x);
	noise(x.disk, DISK_BYTES / 2, &seed);
	memcpy(x.image, x.disk, DISK_BYTES);
	s = sieve_of(&x, BLOCKS);
	copy(s, &x);
	assert_int_equal(ckpt_sieve_end(s), 0);
	assert_int_equal(x.sent_bytes, 0);
	assert_int_equal(x.zero_records, 0);
	assert_int_equal(ckpt_sieve_kept_bytes(s), DISK_BYTES);
	assert_memory_equal(x.image, x.disk, DISK_BYTES);
	ckpt_sieve_free(s);
	ends_dispose(&x);
}

/* One byte in one block, and the last, short one; holes that the image does not have. */
static void test_little_changed(void **state)
{
	unsigned seed = 2;
	struct ends x;
	struct ckpt_sieve *s;

	(void)state;
	ends_init(&x);
	noise(x.disk, DISK_BYTES, &seed);
	memcpy(x.image, x.disk, DISK_BYTES);
	x.image[7 * CKPT_BLOCK_BYTES + 99] ^= 1; /* as if somebody had tampered with it */
	x.disk[DISK_BYTES - 1] ^= 1;
	memset(x.disk + 20 * CKPT_BLOCK_BYTES, 0, 2 * CKPT_BLOCK_BYTES);
	s = sieve_of(&x, BLOCKS);
	assert_int_equal(ckpt_sieve_zero(s, 0, DISK_BYTES, false), 0);
	assert_int_equal(ckpt_sieve_write(s, 0, x.disk, 20 * CKPT_BLOCK_BYTES), 0);
	assert_int_equal(ckpt_sieve_write(s, 22 * CKPT_BLOCK_BYTES, x.disk + 22 * CKPT_BLOCK_BYTES,
					  DISK_BYTES - 22 * CKPT_BLOCK_BYTES),
			 0);
	assert_int_equal(x.zero_records, 0);
	assert_int_equal(ckpt_sieve_end(s), 0);
	assert_int_equal(x.sent_bytes, CKPT_BLOCK_BYTES + 1536);
	assert_int_equal(x.zero_records, 1);
	assert_memory_equal(x.image, x.disk, DISK_BYTES);
	/* After the end everything goes through. */
	assert_int_equal(ckpt_sieve_write(s, 0, x.disk, 4096), 0);
	assert_int_equal(x.sent_bytes, CKPT_BLOCK_BYTES + 1536 + 4096);
	ckpt_sieve_free(s);
	ends_dispose(&x);
}

/* The guest writes and zeroes anything anywhere while blocks are copied in any order. */
static void one_history(unsigned seed)
{
	bool copied[BLOCKS] = {0};
	unsigned left = BLOCKS;
	struct ends x;
	struct ckpt_sieve *s;

	ends_init(&x);
	for (unsigned b = 0; b < BLOCKS; b++) {
		uint8_t *p = x.disk + (size_t)b * CKPT_BLOCK_BYTES;

		if (rand_r(&seed) % 3)
			noise(p, block_bytes(b), &seed);
		if (rand_r(&seed) % 3)
			memcpy(x.image + (size_t)b * CKPT_BLOCK_BYTES, p, block_bytes(b));
		else if (rand_r(&seed) % 2)
			noise(x.image + (size_t)b * CKPT_BLOCK_BYTES, block_bytes(b), &seed);
	}
	s = sieve_of(&x, rand_r(&seed) % 4 ? BLOCKS : rand_r(&seed) % (BLOCKS + 1));
	if (rand_r(&seed) % 2)
		assert_int_equal(ckpt_sieve_zero(s, 0, DISK_BYTES, false), 0);
	while (left) {
		unsigned b = rand_r(&seed) % BLOCKS, what = rand_r(&seed) % 4;
		uint64_t at = rand_r(&seed) % (DISK_BYTES / 512) * 512;
		uint32_t n = (rand_r(&seed) % 512 + 1) * 512;

		if (rand_r(&seed) % 2)
			at -= at % CKPT_BLOCK_BYTES;
		n = n > DISK_BYTES - at ? DISK_BYTES - (uint32_t)at : n;
		if (what == 0) {
			noise(x.disk + at, n, &seed);
			assert_int_equal(ckpt_sieve_write(s, at, x.disk + at, n), 0);
		} else if (what == 1) {
			memset(x.disk + at, 0, n);
			assert_int_equal(ckpt_sieve_zero(s, at, n, rand_r(&seed) % 2), 0);
		} else if (!copied[b]) {
			at = (uint64_t)b * CKPT_BLOCK_BYTES;
			assert_int_equal(
				ckpt_sieve_write(s, at, x.disk + at, (uint32_t)block_bytes(b)), 0);
			copied[b] = true;
			left--;
		}
	}
	assert_int_equal(ckpt_sieve_end(s), 0);
	assert_memory_equal(x.image, x.disk, DISK_BYTES);
	ckpt_sieve_free(s);
	ends_dispose(&x);
}

static void test_histories(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 300; seed++)
		one_history(seed);
}

static int no_write(void *arg, uint64_t offset, const void *p, uint32_t n)
{
	(void)arg;
	(void)offset;
	(void)p;
	(void)n;
	return -ENOMEM;
}
static int no_zero(void *arg, uint64_t offset, uint64_t n, bool trim)
{
	(void)arg;
	(void)offset;
	(void)n;
	(void)trim;
	return -EIO;
}

static void test_failures_come_through(void **state)
{
	static const struct ckpt_sieve_out bad = {no_write, no_zero};
	uint8_t *hashes = calloc(BLOCKS, CKPT_HASH_BYTES), *data = malloc(DISK_BYTES);
	struct ckpt_sieve *s;

	(void)state;
	memset(data, 1, DISK_BYTES);
	assert_int_equal(ckpt_sieve_new(DISK_BYTES, key, hashes, BLOCKS, &bad, NULL, &s), 0);
	assert_int_equal(ckpt_sieve_write(s, 0, data, CKPT_BLOCK_BYTES), -ENOMEM);
	assert_int_equal(ckpt_sieve_zero(s, CKPT_BLOCK_BYTES, 512, false), -EIO);
	assert_int_equal(ckpt_sieve_zero(s, 0, DISK_BYTES, false), -EIO); /* block 0 was sent */
	assert_int_equal(ckpt_sieve_end(s), -EIO);
	ckpt_sieve_free(s);
	ckpt_sieve_free(NULL);
	ckpt_hasher_free(NULL);
	free(data);
}

/* What a replica says of itself is what a sieve makes of the same contents, holes included. */
static void test_replica_hashes(void **state)
{
	char dir[] = "/tmp/twinvm-sieve.XXXXXX", path[64];
	struct ckpt_rep_conf c = {.vm_id = "v",
				  .session = "s",
				  .disks = 1,
				  .bytes = {DISK_BYTES},
				  .memory_bytes = 4096,
				  .hash_key = key};
	uint8_t hashes[BLOCKS * CKPT_HASH_BYTES], want[CKPT_HASH_BYTES];
	uint8_t *block = calloc(1, CKPT_BLOCK_BYTES), *record = malloc(CKPT_DISK_RECORD_BYTES);
	uint8_t *scratch = malloc(CKPT_DISK_PIECE_BYTES);
	struct ckpt_hasher *h;
	struct ckpt_rep *r;
	struct tv_err e = {0};
	unsigned seed = 3;

	(void)state;
	assert_non_null(mkdtemp(dir));
	c.dir = dir;
	assert_int_equal(ckpt_rep_open(&c, &r, &e), 0);
	assert_false(ckpt_rep_has_old(r));
	assert_int_equal(ckpt_rep_hash(r, 0, 0, BLOCKS, hashes, &e), 0);
	noise(block, CKPT_BLOCK_BYTES, &seed);
	assert_int_equal(ckpt_rep_stream(r, record,
					 ckpt_disk_record(CKPT_DISK_WRITE, 0, 5 * CKPT_BLOCK_BYTES,
							  block, CKPT_BLOCK_BYTES, scratch, record),
					 &e),
			 0);
	ckpt_rep_free(r);

	assert_int_equal(ckpt_rep_open(&c, &r, &e), 0);
	assert_true(ckpt_rep_has_old(r));
	assert_int_equal(ckpt_rep_hash(r, 0, 0, 4, hashes, &e), 4);
	assert_int_equal(ckpt_rep_hash(r, 0, 4, BLOCKS, hashes + 4 * CKPT_HASH_BYTES, &e),
			 BLOCKS - 4);
	assert_int_equal(ckpt_rep_hash(r, 0, BLOCKS, 1, want, &e), 0);
	assert_int_equal(ckpt_rep_hash(r, 1, 0, 1, want, &e), 0);
	assert_int_equal(ckpt_hasher_new(key, &h), 0);
	assert_int_equal(ckpt_hash_block(h, block, CKPT_BLOCK_BYTES, want), 0);
	assert_memory_equal(hashes + 5 * CKPT_HASH_BYTES, want, CKPT_HASH_BYTES);
	memset(block, 0, CKPT_BLOCK_BYTES);
	assert_int_equal(ckpt_hash_block(h, block, CKPT_BLOCK_BYTES, want), 0);
	assert_memory_equal(hashes, want, CKPT_HASH_BYTES);
	assert_memory_equal(hashes + 39 * CKPT_HASH_BYTES, want, CKPT_HASH_BYTES);
	assert_int_equal(ckpt_hash_block(h, block, 1536, want), 0);
	assert_memory_equal(hashes + 40 * CKPT_HASH_BYTES, want, CKPT_HASH_BYTES);
	ckpt_hasher_free(h);
	ckpt_rep_free(r);

	/* Another size, or nobody who asks: nothing of it counts. */
	c.bytes[0] = DISK_BYTES + 512;
	assert_int_equal(ckpt_rep_open(&c, &r, &e), 0);
	assert_false(ckpt_rep_has_old(r));
	snprintf(path, sizeof(path), "%s", ckpt_rep_path(r, 0));
	ckpt_rep_remove(r);
	ckpt_rep_free(r);
	assert_int_equal(access(path, F_OK), -1);
	rmdir(dir);
	free(block);
	free(scratch);
	free(record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_changed),
		cmocka_unit_test(test_little_changed),
		cmocka_unit_test(test_histories),
		cmocka_unit_test(test_failures_come_through),
		cmocka_unit_test(test_replica_hashes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
