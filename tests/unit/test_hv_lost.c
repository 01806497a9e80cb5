/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of a standby's memory that this host has lost. A cut memory file stands in for the hardware (SIGBUS behind
 * its end); where the kernel knows memory failure and this process may cause one, so does a real page.
 */
#include "hv/standby/standby_int.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 16
#define BAD 11
#define BYTES (PAGES * TV_PAGE_BYTES)

static struct hv_standby sb;
static uint8_t page[TV_PAGE_BYTES];
static int done;

/* The signal's handler is set in each test: the test library has one of its own. */
static int setup(void **state)
{
	(void)state;
	sb = (struct hv_standby){.n_blocks = 2, .what = {.ram_bytes = BYTES}};
	sb.vm = (struct hv_host_qemu){.pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0)};
	assert_int_equal(hv_proc_open(getpid(), &sb.vm.fds), 0);
	strcpy(sb.blocks[0].name, "pc.ram");
	sb.blocks[0].bytes = sb.blocks[1].bytes = BYTES;
	strcpy(sb.blocks[1].name, "vga.vram");
	sb.vm.ram_fd = memfd_create("ram", MFD_CLOEXEC);
	assert_int_equal(ftruncate(sb.vm.ram_fd, BYTES), 0);
	sb.map = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, sb.vm.ram_fd, 0);
	assert_ptr_not_equal(sb.map, MAP_FAILED);
	memset(sb.map, 0x5a, BYTES);
	done = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	hv_standby_unwatch_map();
	munmap(sb.map, BYTES);
	close(sb.vm.ram_fd);
	close(sb.vm.pidfd);
	hv_proc_close(&sb.vm.fds);
	return 0;
}

/* What the applying thread does with page 1 and the bad one of a block. */
static int work(void *arg)
{
	uint32_t block = *(uint32_t *)arg;
	int rc = hv_standby_write(&sb, block, TV_PAGE_BYTES, page, sizeof(page));

	done++;
	if (!rc)
		rc = hv_standby_write(&sb, block, BAD * TV_PAGE_BYTES + 8, page, 100);
	done++;
	return rc;
}

static uint32_t main_block = 0, other_block = 1;

static void is_lost(const char *where)
{
	struct tv_err e = {0};

	assert_true(hv_standby_lost(&e));
	assert_non_null(strstr(e.text, "a memory error of this host"));
	assert_non_null(strstr(e.text, where));
}

static void work_that_meets_a_lost_page_ends(void **state)
{
	(void)state;
	hv_standby_watch_map(&sb);
	assert_int_equal(hv_standby_guard(work, &main_block), 0);
	assert_false(hv_standby_lost(NULL));
	assert_int_equal(ftruncate(sb.vm.ram_fd, BAD * TV_PAGE_BYTES), 0);
	assert_int_equal(hv_standby_guard(work, &main_block), TV_E_POISON);
	assert_int_equal(done, 3);
	is_lost("0xb000 of the standby's RAM block pc.ram");
	/* The thread continues, and finds the next one, too; the first is named. */
	assert_int_equal(hv_standby_guard(work, &main_block), TV_E_POISON);
	is_lost("0xb000");
	assert_int_equal(sb.map[TV_PAGE_BYTES - 1], 0x5a);
}

/* A real page, where this machine can lose one. */
static void a_page_with_a_memory_error(void **state)
{
	(void)state;
	hv_standby_watch_map(&sb);
	if (madvise(sb.map + BAD * TV_PAGE_BYTES, TV_PAGE_BYTES, MADV_HWPOISON)) {
		print_message("no memory failure in this kernel, or no right to one\n");
		skip();
	}
	(void)!hv_standby_guard(work, &main_block);
	is_lost("0xb000 of the standby's RAM block pc.ram");
	/* Also another mapping, as of the standby's QEMU, and the file itself. */
	assert_true(pread(sb.vm.ram_fd, page, 8, BAD * TV_PAGE_BYTES) < 0);
}

static void early(uint8_t *at)
{
	siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_MCEERR_AO};

	info.si_addr = at;
	assert_int_equal(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGBUS, &info), 0);
}

static int told_early(void *arg)
{
	early(arg);
	return 7;
}

/* As the kernel sends it when it takes a page that nobody touches. */
static void a_page_that_nobody_touches(void **state)
{
	(void)state;
	hv_standby_watch_map(&sb);
	early(page); /* of this process, and not touched either */
	assert_false(hv_standby_lost(NULL));
	assert_int_equal(hv_standby_guard(told_early, sb.map + 5 * TV_PAGE_BYTES + 17), 7);
	is_lost("0x5000 of the standby's RAM block pc.ram");
}

static int touch_other(void *arg)
{
	return *(volatile uint8_t *)arg;
}

static void other_memory_ends_the_process(void **state)
{
	uint8_t *p = mmap(NULL, TV_PAGE_BYTES, PROT_READ, MAP_SHARED, sb.vm.ram_fd, 0);
	int status;
	pid_t pid;

	(void)state;
	hv_standby_watch_map(&sb);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(ftruncate(sb.vm.ram_fd, 0), 0);
	pid = fork();
	if (!pid) {
		_exit(hv_standby_guard(touch_other, p) ? 1 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	munmap(p, TV_PAGE_BYTES);
}

/* What lies in QEMU's memory is reached through a file: this process stands for it. */
static void a_lost_page_of_qemus_own(void **state)
{
	uint8_t *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ended[2];
	pid_t pid;

	(void)state;
	hv_standby_watch_map(&sb);
	sb.blocks[1].host.v = (uintptr_t)p;
	assert_int_equal(hv_standby_guard(work, &other_block), 0);
	munmap(p + BAD * TV_PAGE_BYTES, TV_PAGE_BYTES);
	/* If QEMU has ended, that is why. */
	pid = fork();
	if (!pid)
		_exit(0);
	close(sb.vm.pidfd);
	sb.vm.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	waitpid(pid, ended, 0);
	assert_int_equal(hv_standby_guard(work, &other_block), -EIO);
	assert_false(hv_standby_lost(NULL));
	close(sb.vm.pidfd);
	sb.vm.pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	assert_int_equal(hv_standby_guard(work, &other_block), TV_E_POISON);
	is_lost("0xb000 of the standby's RAM block vga.vram");
	munmap(p, BYTES);
}

static int no_taps(void *arg, struct tv_err *e)
{
	(void)arg;
	(void)e;
	fail_msg("it was to be promoted");
	return 0;
}

static void a_standby_with_a_lost_page_is_not_promoted(void **state)
{
	static const struct hv_host_ops host = {.taps = no_taps};
	struct tv_err e = {0};

	(void)state;
	hv_standby_watch_map(&sb);
	sb.host = &host;
	sb.n_blocks = 1;
	early(sb.map);
	assert_int_equal(hv_standby_promote(&sb, "state", 5, 1000, &e), TV_E_POISON);
	assert_non_null(strstr(e.text, "0x0 of the standby's RAM block pc.ram"));
}

/* The next standby of this process, in other memory. */
static void the_next_standby_is_whole(void **state)
{
	(void)state;
	hv_standby_watch_map(&sb);
	early(sb.map);
	assert_true(hv_standby_lost(NULL));
	hv_standby_unwatch_map();
	assert_true(hv_standby_lost(NULL)); /* until then it stays known */
	hv_standby_watch_map(&sb);
	assert_false(hv_standby_lost(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(work_that_meets_a_lost_page_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(a_page_with_a_memory_error, setup, teardown),
		cmocka_unit_test_setup_teardown(a_page_that_nobody_touches, setup, teardown),
		cmocka_unit_test_setup_teardown(other_memory_ends_the_process, setup, teardown),
		cmocka_unit_test_setup_teardown(a_lost_page_of_qemus_own, setup, teardown),
		cmocka_unit_test_setup_teardown(a_standby_with_a_lost_page_is_not_promoted, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_next_standby_is_whole, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
