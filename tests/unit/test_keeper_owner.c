/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose a page is: found in the page tables of a process that runs, also when the kernel has taken it. */
#include "keeper/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PRESENT (UINT64_C(1) << 63)
#define SWAPPED (UINT64_C(1) << 62)

static void entries_are_understood(void **state)
{
	const struct ras_pfn page = {0x12345}, low = {2};

	(void)state;
	assert_true(kp_entry_is(PRESENT | 0x12345, page));
	assert_true(kp_entry_is(PRESENT | UINT64_C(1) << 55 | UINT64_C(1) << 61 | 0x12345, page));
	assert_false(kp_entry_is(PRESENT | 0x12346, page));
	assert_false(kp_entry_is(PRESENT, page)); /* numbers are hidden: no rights */
	assert_false(kp_entry_is(0x12345, page));
	/* Taken away by the kernel: of a kind beyond all swap devices. */
	assert_true(kp_entry_is(SWAPPED | UINT64_C(0x12345) << 5 | 27, page));
	assert_false(kp_entry_is(SWAPPED | UINT64_C(0x12345) << 5 | 1, page));
	assert_false(kp_entry_is(SWAPPED | UINT64_C(0x12346) << 5 | 27, page));
	/* A mark of the kernel's. */
	assert_false(kp_entry_is(SWAPPED | UINT64_C(2) << 5 | 31, low));
}

/* A page of this process; 0: not shown to us. */
static uint64_t pfn_of(const void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;
	ssize_t r = fd < 0 ? 0 : pread(fd, &entry, 8, (off_t)((uintptr_t)p / TV_PAGE_BYTES * 8));

	if (fd >= 0)
		close(fd);
	return r == 8 && (entry & PRESENT) ? entry & ((UINT64_C(1) << 55) - 1) : 0;
}

static struct kp_request q;
static struct kp_reply r;

/* Another process, then that one. */
static void look(uint64_t pfn, pid_t pid, uint64_t start)
{
	q = (struct kp_request){.verb = KP_OWNER,
				.page = pfn,
				.n = 2,
				.others_ms = 300,
				.who = {{.pid = getppid()}, {.pid = pid, .start_ticks = start}}};
	r = (struct kp_reply){0};
	assert_true(kp_is_request(&q, sizeof(q)));
	kp_owner(&q, &r);
}

static void the_process_that_has_it_is_found(void **state)
{
	uint64_t start = tv_pid_start_ticks(getpid()), pfn;
	char *p = mmap(NULL, 64 * TV_PAGE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	memset(p, 7, 64 * TV_PAGE_BYTES);
	mlock(p, 64 * TV_PAGE_BYTES); /* it stays where it is, as far as possible */
	pfn = pfn_of(p + 33 * TV_PAGE_BYTES);
	if (!pfn)
		skip(); /* no rights to see numbers of pages */
	look(pfn, getpid(), start);
	assert_int_equal(r.rc, 0);
	assert_int_equal(r.who, 1);
	assert_int_equal(r.pid, getpid());
	assert_int_equal(strncmp(r.command, "test_keeper_own", 15), 0);
	/* The process with that pid is another one: then it is just a process, if there is time to find it. */
	look(pfn, getpid(), start + 1);
	assert_int_equal(r.who, -1);
	/* What is only read can be read again. */
	assert_int_equal(mprotect(p, 64 * TV_PAGE_BYTES, PROT_READ), 0);
	look(pfn, getpid(), start);
	assert_int_equal(r.who, -1);
	munmap(p, 64 * TV_PAGE_BYTES);
}

/* A candidate by its mappings of one file only. */
static void mappings_of_a_name_count(void **state)
{
	int fd = memfd_create("twinvm-test", MFD_CLOEXEC);
	uint64_t pfn;
	char *p;

	(void)state;
	assert_int_equal(ftruncate(fd, TV_PAGE_BYTES), 0);
	p = mmap(NULL, TV_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	p[0] = 7;
	pfn = pfn_of(p);
	if (!pfn)
		skip(); /* no rights to see numbers of pages */
	q = (struct kp_request){.verb = KP_OWNER,
				.page = pfn,
				.n = 2,
				.who = {{.pid = getpid(), .mapping = "/memfd:other"},
					{.pid = getpid(), .mapping = "/memfd:twinvm-test"}}};
	kp_owner(&q, &r);
	assert_int_equal(r.who, 1);
	munmap(p, TV_PAGE_BYTES);
	close(fd);
}

static void a_page_that_was_taken_is_found(void **state)
{
	char *p = mmap(NULL, TV_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	uint64_t pfn;

	(void)state;
	p[0] = 7;
	pfn = pfn_of(p);
	if (!pfn || madvise(p, TV_PAGE_BYTES, MADV_HWPOISON))
		skip(); /* this kernel cannot take pages away, or has not the right */
	assert_int_equal(pfn_of(p), 0);
	look(pfn, getpid(), tv_pid_start_ticks(getpid()));
	assert_int_equal(r.who, 1);
	munmap(p, TV_PAGE_BYTES);
}

static void nobody_has_it(void **state)
{
	(void)state;
	look(UINT64_C(0x7ffffffffff), getpid(), 0);
	assert_int_equal(r.who, -1);
	assert_int_equal(r.pid, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_are_understood),
		cmocka_unit_test(the_process_that_has_it_is_found),
		cmocka_unit_test(mappings_of_a_name_count),
		cmocka_unit_test(a_page_that_was_taken_is_found),
		cmocka_unit_test(nobody_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
