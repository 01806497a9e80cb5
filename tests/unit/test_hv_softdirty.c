/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bitmap of soft-dirty tracking: what hv_soft_harvest hands out, in what pieces, exactly once. */
#include "hv/dirty/dirty_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 1000
#define ROOM 64

static struct hv_vm *vm;
static uint64_t maps[2][PAGES / 64 + 1];
static bool want[2][PAGES];
static struct hv_run runs[ROOM];

static int setup(void **state)
{
	(void)state;
	vm = calloc(1, sizeof(*vm));
	vm->dirty = calloc(1, sizeof(*vm->dirty));
	vm->dirty->soft = true;
	vm->pidfd = -1; /* no process: splitting huge pages fails, which is no error */
	vm->dirty->iovs = calloc(HV_IOVS, sizeof(*vm->dirty->iovs));
	vm->n_blocks = 2;
	for (unsigned i = 0; i < HV_MAX_BLOCKS; i++)
		vm->dirty->file_fds[i] = -1;
	memset(maps, 0, sizeof(maps));
	memset(want, 0, sizeof(want));
	for (unsigned i = 0; i < 2; i++) {
		vm->dirty->pending[i] = maps[i];
		vm->blocks[i].bytes = PAGES * TV_PAGE_BYTES;
		vm->blocks[i].host.v = UINT64_C(0x7f0000000000) + i * (UINT64_C(1) << 30);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(vm->dirty->iovs);
	free(vm->dirty);
	free(vm);
	return 0;
}

static void dirty(unsigned block, unsigned page)
{
	maps[block][page / 64] |= UINT64_C(1) << page % 64;
	want[block][page] = true;
}

/* Harvests everything in pieces of the sizes given; each wanted page must come once, in order. */
static void take_all(unsigned max_runs, uint64_t max_pages)
{
	struct hv_cursor c = {0};
	uint64_t last = 0;

	while (!c.done) {
		int n = hv_harvest(vm, &c, runs, max_runs, max_pages);
		uint64_t pages = 0;

		assert_true(n >= 0 && (unsigned)n <= max_runs);
		for (int i = 0; i < n; i++) {
			uint64_t at = runs[i].offset / TV_PAGE_BYTES;
			uint64_t order = runs[i].block * (uint64_t)PAGES + at + 1;

			assert_true(order > last);
			last = order + runs[i].pages - 1;
			for (unsigned p = 0; p < runs[i].pages; p++) {
				assert_true(want[runs[i].block][at + p]);
				want[runs[i].block][at + p] = false;
			}
			pages += runs[i].pages;
		}
		assert_true(pages <= max_pages);
	}
	for (unsigned i = 0; i < PAGES; i++)
		assert_false(want[0][i] || want[1][i]);
}

static void test_nothing(void **state)
{
	struct hv_cursor c = {0};

	(void)state;
	assert_int_equal(hv_harvest(vm, &c, runs, ROOM, PAGES), 0);
	assert_true(c.done);
}

static void test_ends_of_words_and_blocks(void **state)
{
	static const unsigned pages[] = {0, 1, 62, 63, 64, 127, 128, 500, 998, 999};

	(void)state;
	for (unsigned i = 0; i < sizeof(pages) / sizeof(*pages); i++) {
		dirty(0, pages[i]);
		dirty(1, pages[i]);
	}
	take_all(ROOM, PAGES);
}

static void test_small_pieces(void **state)
{
	(void)state;
	for (unsigned room = 1; room <= 3; room++) {
		for (uint64_t pages = 1; pages <= 70; pages += 23) {
			for (unsigned i = 0; i < PAGES; i++)
				dirty(i & 1, i * 7 % PAGES);
			take_all(room, pages);
		}
	}
}

/* 2 MiB and more at a stretch: the pages that would be split do not disturb what is handed out. */
static void test_everything(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PAGES; i++) {
		dirty(0, i);
		dirty(1, i);
	}
	take_all(ROOM, 2 * PAGES);
}

static void test_only_while_paused(void **state)
{
	(void)state;
	assert_true(hv_round_needs_pause(vm));
	assert_int_equal(hv_round_begin(vm), -EBUSY);
	vm->dirty->soft = false;
	assert_false(hv_round_needs_pause(vm));
	assert_int_equal(hv_round_begin(vm), 0);
}

static void test_entries(void **state)
{
	uint64_t dirty_bit = UINT64_C(1) << 55, present = UINT64_C(1) << 63,
		 swapped = UINT64_C(1) << 62;

	(void)state;
	assert_true(hv_soft_is_dirty(dirty_bit | present));
	assert_true(hv_soft_is_dirty(dirty_bit | swapped));
	assert_false(hv_soft_is_dirty(present));
	assert_false(hv_soft_is_dirty(dirty_bit)); /* never touched: reads as zero */
}

/* A memory file that somebody else filled: what it holds is the first round's, mapped or not. */
static void test_shared_file_first(void **state)
{
	static const unsigned held[] = {0, 7, 63, 64, 65, 500, 999};
	TV_CLOSE int fd = memfd_create("test", MFD_CLOEXEC);
	struct hv_maps m;
	uint8_t *ram;

	(void)state;
	/* The block begins a page into the file, and the file continues behind it. */
	assert_int_equal(ftruncate(fd, (PAGES + 10) * TV_PAGE_BYTES), 0);
	for (unsigned i = 0; i < sizeof(held) / sizeof(*held); i++) {
		assert_int_equal(pwrite(fd, "x", 1, (held[i] + 1) * TV_PAGE_BYTES), 1);
		want[0][held[i]] = true;
	}
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	assert_int_equal(pwrite(fd, "x", 1, (PAGES + 5) * TV_PAGE_BYTES), 1);
	ram = mmap(NULL, PAGES * TV_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   TV_PAGE_BYTES);
	assert_ptr_not_equal(ram, MAP_FAILED);
	ram[300 * TV_PAGE_BYTES] = 1;
	want[0][300] = true;

	vm->n_blocks = 1;
	vm->blocks[0].host.v = (uintptr_t)ram;
	vm->dirty->file_at[0] = TV_PAGE_BYTES;
	assert_int_equal(hv_maps_read(getpid(), &m), 0);
	vm->dirty->file_fds[0] =
		hv_ramfile_open(getpid(), hv_maps_at(&m, (uintptr_t)ram), O_RDONLY);
	if (vm->dirty->file_fds[0] < 0) { /* map_files is for root */
		hv_maps_dispose(&m);
		munmap(ram, PAGES * TV_PAGE_BYTES);
		skip();
	}
	/* a named file's mount has options, a memfd's has none */
	assert_true(hv_shared_is_unnamed(vm->dirty->file_fds[0]));
	vm->dirty->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	assert_false(hv_shared_is_unnamed(vm->dirty->pagemap_fd));
	vm->dirty->clear_fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	vm->dirty->entries = malloc(65536 * sizeof(*vm->dirty->entries));
	vm->paused = vm->dirty->soft_all = true;
	assert_int_equal(hv_round_begin(vm), 0);
	take_all(ROOM, PAGES);
	assert_false(vm->dirty->soft_all); /* the file's holdings are the first round's only */

	hv_maps_dispose(&m);
	munmap(ram, PAGES * TV_PAGE_BYTES);
	free(vm->dirty->entries);
	close(vm->dirty->pagemap_fd);
	close(vm->dirty->clear_fd);
	close(vm->dirty->file_fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends_of_words_and_blocks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_small_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_everything, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_while_paused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_entries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shared_file_first, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
