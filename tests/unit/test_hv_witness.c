/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Discarded pages of shared RAM. A child plays QEMU: it writes, reads and discards pages of a memory
 * file that it has mapped, and waits in between. After each round the copy must be what the file
 * holds.
 */
#include "hv/dirty/dirty_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES UINT64_C(1300) /* more than one huge page, and no whole number of them */
#define RUNS 64
#define BURST_PAGES 100

enum what { WRITE, ZERO, READ, DISCARD, ALL_AT_RANDOM };
struct order {
	enum what what;
	uint64_t page, pages;
};

static int sock, file;
static pid_t child;
static struct hv_vm *vm;
static uint8_t copy[PAGES * TV_PAGE_BYTES], burst[BURST_PAGES * TV_PAGE_BYTES];
static unsigned seed;

static void obey(uint8_t *ram, int fd, const struct order *o)
{
	static uint8_t n;
	volatile uint8_t *at = ram + o->page * TV_PAGE_BYTES;

	for (uint64_t i = 0; i < o->pages; i++) {
		if (o->what == WRITE)
			at[i * TV_PAGE_BYTES + 7] = ++n ? n : ++n;
		else if (o->what == ZERO)
			memset(ram + (o->page + i) * TV_PAGE_BYTES, 0, TV_PAGE_BYTES);
		else if (o->what == READ)
			(void)at[i * TV_PAGE_BYTES];
	}
	/* as QEMU does: out of the file, and out of the page table */
	if (o->what == DISCARD &&
	    (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		       (off_t)((o->page + 1) * TV_PAGE_BYTES), (off_t)(o->pages * TV_PAGE_BYTES)) ||
	     madvise(ram + o->page * TV_PAGE_BYTES, o->pages * TV_PAGE_BYTES, MADV_DONTNEED)))
		_exit(1);
}

static void obey_many(uint8_t *ram, int fd, uint64_t orders)
{
	for (uint64_t n = 0; n < orders; n++) {
		struct order o = {
			.what = (enum what)(rand_r(&seed) % 4),
			.page = (uint64_t)rand_r(&seed) % (PAGES - 8),
			.pages = 1 + (uint64_t)rand_r(&seed) % 8,
		};

		obey(ram, fd, &o);
	}
}

/* Its RAM begins a page into the file. by_name: its descriptor is not memfd_create's. */
static void play_qemu(int s, int fd, bool by_name)
{
	uint8_t *ram = mmap(NULL, PAGES * TV_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			    TV_PAGE_BYTES);
	struct order o;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (by_name)
		fd = open(path, O_RDWR | O_CLOEXEC);
	if (ram == MAP_FAILED || fd < 0 || write(s, &ram, sizeof(ram)) != sizeof(ram))
		_exit(1);
	while (read(s, &o, sizeof(o)) == sizeof(o)) {
		if (o.what == ALL_AT_RANDOM)
			obey_many(ram, fd, o.pages);
		else
			obey(ram, fd, &o);
		if (write(s, "", 1) != 1)
			break;
	}
	_exit(0);
}

static void tell(enum what what, uint64_t page, uint64_t pages)
{
	struct order o = {what, page, pages};
	char done;

	assert_int_equal(write(sock, &o, sizeof(o)), sizeof(o));
	assert_int_equal(read(sock, &done, 1), 1);
}

static bool start(const char *name, bool by_name, bool discards)
{
	struct tv_err e = {0};
	int socks[2], rc;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks), 0);
	file = memfd_create(name, MFD_CLOEXEC);
	assert_int_equal(ftruncate(file, (PAGES + 3) * TV_PAGE_BYTES), 0);
	vm = calloc(1, sizeof(*vm));
	assert_int_equal(hv_kernel_probe(&vm->features), 0);
	child = fork();
	if (!child)
		play_qemu(socks[1], file, by_name);
	close(socks[1]);
	sock = socks[0];
	vm->id.pid = child;
	vm->pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	vm->n_blocks = 1;
	vm->blocks[0].bytes = PAGES * TV_PAGE_BYTES;
	vm->discards = discards;
	assert_int_equal(read(sock, &vm->blocks[0].host.v, sizeof(void *)), sizeof(void *));
	memset(copy, 0, sizeof(copy));
	tell(WRITE, 0, PAGES);
	rc = vm->features.pagemap_scan ? hv_dirty_setup(vm, false, &e) : -ENOTSUP;
	if (rc)
		print_message("not here: %s%s\n", vm->features.why, e.text);
	return !rc;
}

static void stop(void)
{
	hv_dirty_teardown(vm);
	close(sock);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(file);
	close(vm->pidfd);
	free(vm);
}

/* A round into the copy, in pieces; how many pages came. */
static uint64_t take(void)
{
	static struct hv_run runs[RUNS];
	struct hv_cursor c = {0};
	uint64_t total = 0;

	assert_int_equal(hv_round_begin(vm), 0);
	while (!c.done) {
		int n = hv_harvest(vm, &c, runs, RUNS, BURST_PAGES);
		uint8_t *from = burst;

		assert_true(n >= 0);
		assert_int_equal(hv_copy(vm, runs, (unsigned)n, burst), 0);
		for (int i = 0; i < n; i++) {
			memcpy(copy + runs[i].offset, from, runs[i].pages * TV_PAGE_BYTES);
			from += runs[i].pages * TV_PAGE_BYTES;
			total += runs[i].pages;
		}
	}
	return total;
}

static bool is_same(void)
{
	static uint8_t now[PAGES * TV_PAGE_BYTES];

	assert_int_equal(pread(file, now, sizeof(now), TV_PAGE_BYTES), sizeof(now));
	return !memcmp(now, copy, sizeof(now));
}

static uint64_t pages_held(void)
{
	struct stat s;

	assert_int_equal(fstat(file, &s), 0);
	return (uint64_t)s.st_blocks * 512 / TV_PAGE_BYTES;
}

/* The kernel alone does not see it: the reason for all of this. If this fails, it has learned to. */
static void test_kernel_alone(void **state)
{
	(void)state;
	if (!start("twinvm-test", false, false)) {
		stop();
		skip();
	}
	take();
	assert_true(is_same());
	tell(DISCARD, 10, 5);
	tell(READ, 10, 5);
	take();
	assert_false(is_same());
	stop();
}

static void discard_and_use(const char *name, bool by_name)
{
	if (!start(name, by_name, true)) {
		stop();
		skip();
	}
	take();
	assert_true(is_same());
	assert_int_equal(take(), 0);
	tell(DISCARD, 10, 5); /* and no more */
	tell(DISCARD, 100, 5);
	tell(READ, 100, 5); /* pages of zeroes again */
	tell(DISCARD, 200, 5);
	tell(WRITE, 200, 5);
	tell(WRITE, 300, 5); /* dirty before */
	tell(DISCARD, 300, 5);
	tell(DISCARD, 400, 5);
	tell(ZERO, 400, 5);
	assert_int_equal(take(), 25);
	assert_true(is_same());
	assert_int_equal(take(), 0);
	tell(WRITE, 10, 1); /* what was a hole */
	assert_int_equal(take(), 1);
	assert_true(is_same());
	tell(DISCARD, 10, 1);
	tell(READ, 10, 1);
	assert_int_equal(take(), 1);
	assert_true(is_same());
	stop();
}

static void test_discard_and_use(void **state)
{
	(void)state;
	discard_and_use("twinvm-test", false);
}

/* A promoted standby's: the scan is left out where nothing was discarded. */
static void test_by_name(void **state)
{
	(void)state;
	discard_and_use(HV_RAM_FILE, true);
}

/* The copy of what was discarded does not fill it again. */
static void test_holes_stay(void **state)
{
	uint64_t before;

	(void)state;
	if (!start("twinvm-test", false, true)) {
		stop();
		skip();
	}
	take();
	before = pages_held();
	tell(DISCARD, 500, 700);
	tell(WRITE, 20, 100);
	tell(DISCARD, 20, 100);
	assert_int_equal(pages_held(), before - 800);
	take();
	assert_int_equal(pages_held(), before - 800);
	assert_true(is_same());
	stop();
}

static void test_at_random(void **state)
{
	(void)state;
	if (!start(HV_RAM_FILE, true, true)) {
		stop();
		skip();
	}
	take();
	for (unsigned round = 0; round < 300; round++) {
		for (int n = rand_r(&seed) % 12; n > 0; n--) {
			uint64_t page = (uint64_t)rand_r(&seed) % PAGES;
			uint64_t most = rand_r(&seed) % 8 ? 6 : PAGES;
			uint64_t pages = 1 + (uint64_t)rand_r(&seed) % most;

			tell((enum what)(rand_r(&seed) % 4), page,
			     page + pages > PAGES ? PAGES - page : pages);
		}
		take();
		assert_true(is_same());
	}
	stop();
}

/* Rounds of a running VM, as in the first copy, and then one of a stopped one. */
static void test_while_it_runs(void **state)
{
	struct order o = {ALL_AT_RANDOM, 0, 3000};
	char done;

	(void)state;
	if (!start(HV_RAM_FILE, true, true)) {
		stop();
		skip();
	}
	for (unsigned i = 0; i < 30; i++) {
		assert_int_equal(write(sock, &o, sizeof(o)), sizeof(o));
		do {
			take();
		} while (recv(sock, &done, 1, MSG_DONTWAIT) != 1);
		take();
		assert_true(is_same());
	}
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernel_alone), cmocka_unit_test(test_discard_and_use),
		cmocka_unit_test(test_by_name),	     cmocka_unit_test(test_holes_stay),
		cmocka_unit_test(test_at_random),    cmocka_unit_test(test_while_it_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
