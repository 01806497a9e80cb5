/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is kept of one epoch while later ones are applied: memory, and disks, against what they were. */
#include "checkpoint/keep.h"
#include "tests/unit/replica_kit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define PAGES 600u
#define MEMORY (PAGES * TV_PAGE_BYTES)

struct memory { /* a standby's */
	int fd;
	uint8_t *map;
	uint8_t then[MEMORY]; /* as it was when the copy began */
	struct ckpt_keep_mem *keep;
};
static struct memory m;

static void random_page(uint8_t *p)
{
	for (unsigned i = 0; i < TV_PAGE_BYTES; i += 512)
		p[i] = (uint8_t)(rnd() >> 30);
}

static void memory_begin(void)
{
	m.fd = memfd_create("test", 0);
	assert_int_equal(ftruncate(m.fd, MEMORY), 0);
	m.map = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
	assert_true(m.map != MAP_FAILED);
	/* A third are holes, some are written zeroes, the rest has data. */
	for (unsigned p = 0; p < PAGES; p++) {
		if (p / 7 % 3 == 0)
			continue;
		m.map[p * TV_PAGE_BYTES] = 0;
		if (p % 5)
			random_page(m.map + p * TV_PAGE_BYTES);
	}
	for (unsigned p = 0; p < PAGES; p++)
		if (p / 7 % 3 == 0)
			memset(m.then + p * TV_PAGE_BYTES, 0, TV_PAGE_BYTES);
		else
			memcpy(m.then + p * TV_PAGE_BYTES, m.map + p * TV_PAGE_BYTES,
			       TV_PAGE_BYTES);
	assert_int_equal(ckpt_keep_mem_new(m.map, m.fd, MEMORY, &m.keep), 0);
}

static void memory_end(void)
{
	ckpt_keep_mem_free(m.keep);
	munmap(m.map, MEMORY);
	close(m.fd);
}

static void write_pages(unsigned n)
{
	while (n--) {
		unsigned p = (unsigned)(rnd() % PAGES);

		ckpt_keep_mem_before(m.keep, (uint64_t)p * TV_PAGE_BYTES);
		if (rnd() % 4)
			random_page(m.map + p * TV_PAGE_BYTES);
		else
			memset(m.map + p * TV_PAGE_BYTES, 0, TV_PAGE_BYTES);
	}
}

static void copy_is_as_it_was(void)
{
	static uint8_t have[MEMORY];

	assert_int_equal(pread(ckpt_keep_mem_fd(m.keep), have, MEMORY, 0), MEMORY);
	assert_memory_equal(have, m.then, MEMORY);
}

static void test_memory_while_it_changes(void **state)
{
	(void)state;
	for (unsigned run = 0; run < 60; run++) {
		struct ckpt_keep_counts n;
		int rc = 1;

		memory_begin();
		/* From nothing at once to much between two steps. */
		while (rc > 0) {
			write_pages((unsigned)(rnd() % (run + 1)) * 4);
			rc = ckpt_keep_mem_step(m.keep, 1 + rnd() % 100000);
		}
		assert_int_equal(rc, 0);
		write_pages(300); /* whole: nothing reaches it any more */
		copy_is_as_it_was();
		ckpt_keep_mem_counts(m.keep, &n);
		assert_int_equal(n.seen, n.total);
		assert_true(n.copied > 0 && (run < 2 || n.saved > 0));
		assert_true(n.copied + n.saved <= MEMORY);
		memory_end();
	}
}

/* Holes stay holes, on both sides: a sparse guest's copy costs what it has. */
static void test_holes_stay(void **state)
{
	struct stat before, after, copy;

	(void)state;
	memory_begin();
	assert_int_equal(fstat(m.fd, &before), 0);
	while (ckpt_keep_mem_step(m.keep, UINT64_MAX) > 0)
		;
	copy_is_as_it_was();
	assert_int_equal(fstat(m.fd, &after), 0);
	assert_int_equal(fstat(ckpt_keep_mem_fd(m.keep), &copy), 0);
	assert_int_equal(before.st_blocks, after.st_blocks);
	assert_true(copy.st_blocks && copy.st_blocks < before.st_blocks);
	ckpt_keep_mem_cut(m.keep);
	assert_int_equal(fstat(ckpt_keep_mem_fd(m.keep), &copy), 0);
	assert_int_equal(copy.st_size, 0);
	memory_end();
}

/* A copy that cannot be written fails by itself, at once or before a write. */
static void test_memory_fails(void **state)
{
	(void)state;
	memory_begin();
	close(ckpt_keep_mem_fd(m.keep)); /* the number is free: nothing can be written there */
	write_pages(50);
	assert_int_equal(ckpt_keep_mem_failed(m.keep), -EBADF);
	assert_int_equal(ckpt_keep_mem_step(m.keep, 4096), -EBADF);
	assert_int_equal(dup2(m.fd, ckpt_keep_mem_fd(m.keep)), ckpt_keep_mem_fd(m.keep));
	memory_end();
}

/* ---- disks ---- */

struct kept {
	struct ckpt_keep_room room;
	struct ckpt_keep_disk *disk[DISKS];
	uint8_t then[DISKS][BYTES];
};
static struct kept kept;

static void on_before(void *arg, unsigned disk, uint64_t offset, uint64_t bytes)
{
	struct kept *k = arg;

	ckpt_keep_disk_before(k->disk[disk], offset, bytes);
}

static void keep_begin(struct ckpt_rep *r, uint64_t limit)
{
	struct tv_err e = {0};

	kept.room = (struct ckpt_keep_room){.limit_bytes = limit};
	memcpy(kept.then, model, sizeof(model));
	for (unsigned i = 0; i < DISKS; i++)
		assert_int_equal(ckpt_keep_disk_new(ckpt_rep_path(r, i), dir, ckpt_rep_bytes(r, i),
						    &kept.room, &kept.disk[i], &e),
				 0);
	ckpt_rep_watch(r, on_before, &kept);
}

static void keep_end(struct ckpt_rep *r)
{
	ckpt_rep_watch(r, NULL, NULL);
	for (unsigned i = 0; i < DISKS; i++)
		ckpt_keep_disk_free(kept.disk[i]);
}

static void disks_are_as_they_were(void)
{
	static uint8_t have[BYTES];

	for (unsigned i = 0; i < DISKS; i++) {
		uint64_t at = rnd() % BYTES;

		assert_int_equal(ckpt_keep_disk_read(kept.disk[i], 0, have, BYTES), 0);
		assert_memory_equal(have, kept.then[i], BYTES);
		assert_int_equal(ckpt_keep_disk_read(kept.disk[i], at, have, BYTES - at), 0);
		assert_memory_equal(have, kept.then[i] + at, BYTES - at);
	}
}

static void run_epoch(struct ckpt_rep *r, uint64_t n, unsigned writes)
{
	struct tv_err e = {0};

	some_writes(writes);
	feed_epoch(r, n);
	assert_int_equal(ckpt_rep_verify(r, n, out.records, sum(), &e), 0);
	assert_int_equal(ckpt_rep_apply(r, n, &e), 0);
}

static void test_disks_while_epochs_are_applied(void **state)
{
	struct ckpt_rep *r = open_rep(16u << 20, 16u << 20);
	uint64_t n = 0;

	(void)state;
	some_writes(30);
	first_copy(r);
	run_epoch(r, ++n, 20);
	for (unsigned run = 0; run < 8; run++) {
		keep_begin(r, 8u << 20);
		disks_are_as_they_were();
		for (unsigned i = 0; i < 4; i++) {
			run_epoch(r, ++n, run * 6);
			disks_are_as_they_were();
			images_are_model(r); /* what is kept changes nothing for the replica */
		}
		keep_end(r);
	}
	ckpt_rep_free(r);
}

/* ---- a reader beside the writer ---- */

static atomic_bool over;
static atomic_uint reads;

static void *reader(void *arg)
{
	static uint8_t have[BYTES];

	(void)arg;
	while (!atomic_load(&over)) {
		if (ckpt_keep_disk_read(kept.disk[0], 0, have, BYTES) ||
		    memcmp(have, kept.then[0], BYTES))
			return "a disk was read as it never was";
		atomic_fetch_add(&reads, 1);
	}
	return NULL;
}

static void test_reader_beside_writer(void **state)
{
	struct ckpt_rep *r = open_rep(16u << 20, 16u << 20);
	uint64_t n = 0;

	(void)state;
	some_writes(30);
	first_copy(r);
	for (unsigned run = 0; run < 20; run++) {
		pthread_t t;
		void *why;

		keep_begin(r, 8u << 20);
		atomic_store(&over, false);
		assert_int_equal(pthread_create(&t, NULL, reader, NULL), 0);
		for (unsigned i = 0; i < 3; i++)
			run_epoch(r, ++n, 40);
		atomic_store(&over, true);
		pthread_join(t, &why);
		assert_null(why);
		keep_end(r);
	}
	assert_true(atomic_load(&reads) > 0);
	ckpt_rep_free(r);
}

/* Over the limit the copy is over, and the replica is not. */
static void test_limit(void **state)
{
	struct ckpt_rep *r = open_rep(16u << 20, 16u << 20);
	uint8_t byte;

	(void)state;
	some_writes(60);
	first_copy(r);
	keep_begin(r, 3 * CKPT_BLOCK_BYTES);
	for (uint64_t n = 1; n <= 4; n++)
		run_epoch(r, n, 60);
	images_are_model(r);
	assert_true(ckpt_keep_disk_failed(kept.disk[0]) == -ENOSPC ||
		    ckpt_keep_disk_failed(kept.disk[1]) == -ENOSPC);
	assert_true(kept.room.used_bytes <= 3 * CKPT_BLOCK_BYTES);
	for (unsigned i = 0; i < DISKS; i++)
		if (ckpt_keep_disk_failed(kept.disk[i]))
			assert_int_equal(ckpt_keep_disk_read(kept.disk[i], 0, &byte, 1), -EIO);
	keep_end(r);
	ckpt_rep_free(r);
}

static void test_cut_and_bounds(void **state)
{
	struct ckpt_rep *r = open_rep(16u << 20, 16u << 20);
	uint8_t byte;

	(void)state;
	some_writes(30);
	first_copy(r);
	keep_begin(r, 1u << 20);
	assert_int_equal(ckpt_keep_disk_read(kept.disk[0], BYTES - 1, &byte, 1), 0);
	assert_int_equal(ckpt_keep_disk_read(kept.disk[0], BYTES, &byte, 1), -EIO);
	assert_int_equal(ckpt_keep_disk_read(kept.disk[0], UINT64_MAX, &byte, 1), -EIO);
	ckpt_keep_disk_before(kept.disk[0], BYTES, 1);
	ckpt_keep_disk_before(kept.disk[0], 1, UINT64_MAX);
	assert_int_equal(ckpt_keep_disk_failed(kept.disk[0]), 0);
	ckpt_keep_disk_cut(kept.disk[0]);
	assert_int_equal(ckpt_keep_disk_failed(kept.disk[0]), -ECANCELED);
	ckpt_keep_disk_before(kept.disk[0], 0, BYTES);
	assert_int_equal(kept.room.used_bytes, 0);
	keep_end(r);
	ckpt_rep_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_while_it_changes),
		cmocka_unit_test(test_holes_stay),
		cmocka_unit_test(test_memory_fails),
		cmocka_unit_test(test_disks_while_epochs_are_applied),
		cmocka_unit_test(test_reader_beside_writer),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_cut_and_bounds),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
