/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What replicas and spools may take of their file system: one budget, and a reserve. */
#include "checkpoint/image.h"
#include "checkpoint/journal.h"
#include "checkpoint/spool.h"
#include "tests/unit/replica_kit.h"

#include <sys/statvfs.h>

#define ALL UINT64_MAX /* a reserve that no file system has */

static uint8_t bytes[300000];

/* Two spools of one VM: what one takes the other has not, until it gives it back. */
static void test_one_budget(void **state)
{
	struct ckpt_spool *a, *b;
	struct ckpt_room *r;

	(void)state;
	assert_int_equal(ckpt_room_new(dir, 500000, 0, &r), 0);
	assert_int_equal(ckpt_spool_new(1000, r, &a), 0);
	assert_int_equal(ckpt_spool_new(0, r, &b), 0);
	assert_int_equal(ckpt_spool_add(a, bytes, 301000 - 1000), 0);
	assert_int_equal(ckpt_spool_add(b, bytes, 200000), 0);
	assert_string_equal(ckpt_room_why(r, -ENOSPC), tv_strerror(-ENOSPC)); /* none was refused */
	assert_int_equal(ckpt_spool_add(b, bytes, 2000), -ENOSPC);
	assert_non_null(strstr(ckpt_room_why(r, -ENOSPC), "spool_mib"));
	assert_string_equal(ckpt_room_why(r, -EIO), tv_strerror(-EIO));
	/* It lost its epoch, so its room is free. */
	assert_int_equal(ckpt_spool_bytes(b), 0);
	assert_int_equal(ckpt_spool_add(a, bytes, 200000), 0);
	ckpt_spool_clear(b);
	assert_int_equal(ckpt_spool_add(b, bytes, 2000), -ENOSPC);
	ckpt_spool_free(a);
	ckpt_spool_clear(b);
	for (int i = 0; i < 2; i++)
		assert_int_equal(ckpt_spool_add(b, bytes, 250000), 0);
	ckpt_spool_free(b);
	assert_int_equal(ckpt_spool_new(0, NULL, &a), 0); /* no room at all */
	assert_int_equal(ckpt_spool_add(a, bytes, 1), -ENOSPC);
	ckpt_spool_free(a);
	ckpt_room_free(r);
	ckpt_room_free(NULL);
}

static const char *any_header(void *arg, const struct ckpt_disk_rec *rec)
{
	(void)arg;
	(void)rec;
	return NULL;
}

static int count(void *arg, const struct ckpt_disk_rec *rec, const uint8_t *payload,
		 struct tv_err *e)
{
	(void)e;
	assert_int_equal(rec->offset, *(unsigned *)arg);
	assert_int_equal(payload[0], rec->offset);
	++*(unsigned *)arg;
	return 0;
}

static int ignore(void *arg, const struct ckpt_disk_rec *rec, const uint8_t *payload,
		  struct tv_err *e)
{
	(void)rec;
	(void)payload;
	(void)e;
	++*(unsigned *)arg;
	return 0;
}

/* Three records that fill a slab each. */
static void fill_three(struct ckpt_journal *j)
{
	static uint8_t made[CKPT_DISK_RECORD_BYTES], scratch[CKPT_DISK_PIECE_BYTES];
	unsigned arrived = 0, seed = 1;
	struct ckpt_journal_ops ops = {any_header, count, &arrived};
	struct tv_err e;

	for (unsigned i = 0; i < 3; i++) {
		for (unsigned k = 0; k < 200000; k++)
			bytes[k] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
		bytes[0] = (uint8_t)i;
		assert_int_equal(ckpt_journal_add(j, made,
						  ckpt_disk_record(CKPT_DISK_WRITE, 0, i, bytes,
								   200000, scratch, made),
						  &ops, &e),
				 0);
	}
	assert_int_equal(arrived, 3);
}

/* How many of its three records were in the file. */
static unsigned in_file(struct ckpt_journal *j)
{
	unsigned left = 0, checked = 0;
	struct ckpt_journal_ops leave = {any_header, count, &left},
				recheck = {any_header, ignore, &checked};
	struct tv_err e;

	assert_int_equal(ckpt_journal_each(j, &leave, &recheck, &e), 0);
	assert_int_equal(left, 3);
	return checked;
}

/* Journals share their memory as well: what one epoch took sends the next one to its file. */
static void test_one_memory(void **state)
{
	struct ckpt_journal *a, *b;
	struct ckpt_slabs slabs;

	(void)state;
	ckpt_slabs_init(&slabs, 2 * CKPT_DISK_RECORD_BYTES);
	assert_int_equal(ckpt_journal_new(&slabs, room_kit(dir, 1 << 20), &a), 0);
	assert_int_equal(ckpt_journal_new(&slabs, room_kit(dir, 1 << 20), &b), 0);
	fill_three(a);
	fill_three(b);
	assert_int_equal(in_file(a), 0);
	assert_int_equal(in_file(b), 2);
	ckpt_journal_clear(a);
	ckpt_journal_clear(b);
	fill_three(b);
	assert_int_equal(in_file(b), 0);
	ckpt_journal_free(a);
	ckpt_journal_free(b);
	ckpt_slabs_dispose(&slabs);
}

static void test_reserve(void **state)
{
	struct ckpt_rep_conf conf = {.dir = dir,
				     .vm_id = "vm",
				     .session = "5e55",
				     .disks = 1,
				     .bytes = {BYTES},
				     .memory_bytes = 1 << 20};
	struct ckpt_image im = {.fd = -1};
	struct ckpt_rep_state before;
	struct ckpt_rep *rep = NULL;
	struct tv_err e = {0};
	struct ckpt_room *r;
	struct stat st;

	(void)state;
	assert_int_equal(ckpt_image_open(&im, &conf, 0, &e), 0);
	assert_int_equal(ckpt_image_write(&im, 0, bytes, 128 << 10, &e), 0);
	assert_int_equal(ckpt_room_new(dir, 1 << 20, ALL, &r), 0);
	im.room = conf.room = r;
	/* In place it is written, beyond that and across the end it is not. */
	assert_int_equal(ckpt_image_write(&im, 4096, bytes, 124 << 10, &e), 0);
	assert_int_equal(ckpt_image_write(&im, 512 << 10, bytes, 4096, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "reserve_mib"));
	assert_non_null(strstr(e.text, dir));
	assert_int_equal(ckpt_image_write(&im, 124 << 10, bytes, 8192, &e), -ENOSPC);
	assert_int_equal(fstat(im.fd, &st), 0);
	assert_true(st.st_blocks * 512 <= 132 << 10);
	close(im.fd);
	/* A first copy is refused before it begins, and nothing is touched. */
	ckpt_rep_state(dir, "vm", &before);
	assert_int_equal(before.phase, CKPT_REP_NONE);
	assert_int_equal(ckpt_rep_open(&conf, &rep, &e), -ENOSPC);
	assert_null(rep);
	assert_non_null(strstr(e.text, "reserve_mib"));
	ckpt_rep_state(dir, "vm", &before);
	assert_int_equal(before.phase, CKPT_REP_NONE);
	ckpt_room_free(r);
	/* What is asked for again and again is counted: room for one step, then the end. */
	{
		struct statvfs fs;

		assert_int_equal(statvfs(dir, &fs), 0);
		assert_int_equal(
			ckpt_room_new(dir, 1 << 20, (uint64_t)fs.f_bavail * fs.f_frsize / 2, &r),
			0);
		assert_int_equal(ckpt_room_grow(r, 4096), 0);
		assert_int_equal(ckpt_room_grow(r, (uint64_t)fs.f_bavail * fs.f_frsize), -ENOSPC);
		assert_int_equal(ckpt_room_grow(r, 4096), 0);
		ckpt_room_free(r);
	}
	assert_int_equal(ckpt_room_new("/nowhere", 1, 1, &r), 0);
	assert_int_equal(ckpt_room_grow(r, 1), -ENOENT);
	ckpt_room_free(r);
	assert_int_equal(ckpt_room_grow(NULL, 1), 0);
}

/* A host that lost its power in the wrong moment. */
static void test_leftovers(void **state)
{
	char left[100], other[100];
	struct ckpt_room *r;

	(void)state;
	snprintf(left, sizeof(left), "%s/twinvm-spool-aBcDeF", dir);
	snprintf(other, sizeof(other), "%s/0123-0.raw", dir);
	assert_int_equal(tv_write_file(left, "x", 1), 0);
	assert_int_equal(tv_write_file(other, "x", 1), 0);
	assert_int_equal(ckpt_room_new(dir, 1, 0, &r), 0);
	assert_int_not_equal(access(left, F_OK), 0);
	assert_int_equal(access(other, F_OK), 0);
	ckpt_room_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_budget),
		cmocka_unit_test(test_one_memory),
		cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_leftovers),
	};

	return cmocka_run_group_tests_name("ckpt_room", tests, make_dir, remove_dir);
}
