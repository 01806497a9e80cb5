/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose a page is: found in the page tables of a process that runs, also when the kernel has taken it. */
#include "hardware/owner.h"

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
	assert_true(hw_entry_is(PRESENT | 0x12345, page));
	assert_true(hw_entry_is(PRESENT | UINT64_C(1) << 55 | UINT64_C(1) << 61 | 0x12345, page));
	assert_false(hw_entry_is(PRESENT | 0x12346, page));
	assert_false(hw_entry_is(PRESENT, page)); /* numbers are hidden: no rights */
	assert_false(hw_entry_is(0x12345, page));
	/* Taken away by the kernel: of a kind beyond all swap devices. */
	assert_true(hw_entry_is(SWAPPED | UINT64_C(0x12345) << 5 | 27, page));
	assert_false(hw_entry_is(SWAPPED | UINT64_C(0x12345) << 5 | 1, page));
	assert_false(hw_entry_is(SWAPPED | UINT64_C(0x12346) << 5 | 27, page));
	/* A mark of the kernel's. */
	assert_false(hw_entry_is(SWAPPED | UINT64_C(2) << 5 | 31, low));
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

static json_t *job(uint64_t pfn, pid_t pid, uint64_t start)
{
	char page[24];

	snprintf(page, sizeof(page), "0x%llx", (unsigned long long)pfn);
	return json_pack("{ss si s[{si si si ss}{si sI si ss}]}", "page", page, "others_ms", 300,
			 "candidates", "pid", (int)getppid(), "start", 0, "owner",
			 RAS_OWNER_STANDBY, "id", "other", "pid", (int)pid, "start",
			 (json_int_t)start, "owner", RAS_OWNER_VM, "id", "mine");
}

static int look(json_t *j, json_t **out)
{
	int rc = hw_owner_look(j, out);

	json_decref(j);
	return rc;
}

static int owner(const json_t *o)
{
	return (int)json_integer_value(json_object_get(o, "owner_id"));
}

static void the_process_that_has_it_is_found(void **state)
{
	uint64_t start = tv_pid_start_ticks(getpid()), pfn;
	char *p = mmap(NULL, 64 * TV_PAGE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	json_t *o;

	(void)state;
	memset(p, 7, 64 * TV_PAGE_BYTES);
	mlock(p, 64 * TV_PAGE_BYTES); /* it stays where it is, as far as possible */
	pfn = pfn_of(p + 33 * TV_PAGE_BYTES);
	if (!pfn)
		skip(); /* no rights to see numbers of pages */
	assert_int_equal(look(job(pfn, getpid(), start), &o), 0);
	assert_int_equal(owner(o), RAS_OWNER_VM);
	assert_string_equal(json_string_value(json_object_get(o, "id")), "mine");
	json_decref(o);
	/* The process with that pid is another one: then it is just a process, if there is time to find it. */
	assert_int_equal(look(job(pfn, getpid(), start + 1), &o), 0);
	assert_int_not_equal(owner(o), RAS_OWNER_VM);
	json_decref(o);
	/* What is only read can be read again. */
	assert_int_equal(mprotect(p, 64 * TV_PAGE_BYTES, PROT_READ), 0);
	assert_int_equal(look(job(pfn, getpid(), start), &o), 0);
	assert_int_not_equal(owner(o), RAS_OWNER_VM);
	json_decref(o);
	munmap(p, 64 * TV_PAGE_BYTES);
}

/* A candidate by its mappings of one file only. */
static void mappings_of_a_name(void **state)
{
	int fd = memfd_create("twinvm-test", MFD_CLOEXEC);
	char *p, page[24];
	uint64_t pfn;
	json_t *o;

	(void)state;
	assert_int_equal(ftruncate(fd, TV_PAGE_BYTES), 0);
	p = mmap(NULL, TV_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	p[0] = 7;
	pfn = pfn_of(p);
	if (!pfn)
		skip();
	snprintf(page, sizeof(page), "0x%llx", (unsigned long long)pfn);
	assert_int_equal(
		look(json_pack("{ss si s[{si si ss ss}{si si ss ss}]}", "page", page, "others_ms",
			       0, "candidates", "pid", (int)getpid(), "owner", RAS_OWNER_VM, "id",
			       "1", "mapping", "/memfd:other", "pid", (int)getpid(), "owner",
			       RAS_OWNER_STANDBY, "id", "2", "mapping", "/memfd:twinvm-test"),
		     &o),
		0);
	assert_int_equal(owner(o), RAS_OWNER_STANDBY);
	json_decref(o);
	munmap(p, TV_PAGE_BYTES);
	close(fd);
}

static void a_page_that_was_taken_is_found(void **state)
{
	uint64_t start = tv_pid_start_ticks(getpid()), pfn;
	char *p = mmap(NULL, TV_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	json_t *o;

	(void)state;
	p[0] = 7;
	pfn = pfn_of(p);
	if (!pfn || madvise(p, TV_PAGE_BYTES, MADV_HWPOISON))
		skip(); /* this kernel cannot take pages away, or has not the right */
	assert_int_equal(pfn_of(p), 0);
	assert_int_equal(look(job(pfn, getpid(), start), &o), 0);
	assert_int_equal(owner(o), RAS_OWNER_VM);
	json_decref(o);
	munmap(p, TV_PAGE_BYTES);
}

static void nobody_has_it(void **state)
{
	json_t *o;

	(void)state;
	assert_int_equal(look(job(UINT64_C(0x7fffffffffff), getpid(), 0), &o), 0);
	assert_int_equal(owner(o), RAS_OWNER_UNKNOWN);
	json_decref(o);
}

static void malformed_jobs_are_refused(void **state)
{
	json_t *o;

	(void)state;
	assert_int_equal(look(json_pack("{ss s[]}", "page", "12", "candidates"), &o), -EINVAL);
	assert_int_equal(look(json_pack("{ss s[]}", "page", "0x12z", "candidates"), &o), -EINVAL);
	assert_int_equal(look(json_pack("{ss}", "page", "0x12"), &o), -EINVAL);
	assert_int_equal(look(json_null(), &o), -EINVAL);
	assert_int_equal(look(json_pack("{ss s[{ss si}]}", "page", "0x7fffffffffff", "candidates",
					"pid", "x", "owner", 99),
			      &o),
			 0);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_are_understood),
		cmocka_unit_test(the_process_that_has_it_is_found),
		cmocka_unit_test(mappings_of_a_name),
		cmocka_unit_test(a_page_that_was_taken_is_found),
		cmocka_unit_test(nobody_has_it),
		cmocka_unit_test(malformed_jobs_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
