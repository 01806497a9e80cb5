/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A round over more regions than the kernel puts into its own buffer (512), of a VM that runs on. A
 * child plays QEMU: it writes every second page, and one again in the moment after a scan.
 */
#include "hv/dirty/dirty_int.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DIRTY 1200u
#define AGAIN 1100u /* of these: behind the kernel's second buffer, in the third */
#define PAGES (2 * DIRTY)
#define RUNS 4096

static int sock = -1;
static pid_t child;
static struct hv_vm *vm;
static struct hv_run runs[RUNS];
static unsigned scans;
static bool again;

/* Pages [first, first + n) of every second one are written. */
struct order {
	unsigned first, n;
};

static void play_qemu(int s)
{
	uint8_t *ram = mmap(NULL, PAGES * TV_PAGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct order o;

	/* a huge page is one region */
	if (ram == MAP_FAILED || madvise(ram, PAGES * TV_PAGE_BYTES, MADV_NOHUGEPAGE) ||
	    write(s, &ram, sizeof(ram)) != sizeof(ram))
		_exit(1);
	while (read(s, &o, sizeof(o)) == sizeof(o)) {
		for (unsigned i = o.first; i < o.first + o.n; i++)
			ram[2 * i * TV_PAGE_BYTES]++;
		if (write(s, "", 1) != 1)
			break;
	}
	_exit(0);
}

static void tell(unsigned first, unsigned n)
{
	struct order o = {first, n};
	char done;

	assert_int_equal(write(sock, &o, sizeof(o)), sizeof(o));
	assert_int_equal(read(sock, &done, 1), 1);
}

/* In the place of libc's: the guest writes while the caller looks at what a scan has reported. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;
	long n;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	n = syscall(SYS_ioctl, fd, request, arg);
	if (request == PAGEMAP_SCAN && sock >= 0) {
		scans++;
		if (again && n > (long)AGAIN) {
			again = false;
			tell(AGAIN, 1);
		}
	}
	return (int)n;
}

static int take(void)
{
	struct hv_cursor c = {0};

	return hv_harvest(vm, &c, runs, RUNS, PAGES);
}

static bool set_up(void)
{
	struct tv_err e = {0};
	int socks[2], rc;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks), 0);
	vm = calloc(1, sizeof(*vm));
	assert_non_null(vm);
	assert_int_equal(hv_kernel_probe(&vm->features), 0);
	child = fork();
	if (!child) {
		close(socks[0]); /* the test's end is the child's */
		play_qemu(socks[1]);
	}
	close(socks[1]);
	sock = socks[0];
	vm->id.pid = child;
	vm->pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	vm->n_blocks = 1;
	vm->blocks[0].bytes = PAGES * TV_PAGE_BYTES;
	assert_int_equal(read(sock, &vm->blocks[0].host.v, sizeof(void *)), sizeof(void *));
	tell(0, DIRTY);
	rc = vm->features.pagemap_scan ? hv_dirty_setup(vm, false, &e) : -ENOTSUP;
	if (rc)
		print_message("not here: %s%s\n", vm->features.why, e.text);
	return !rc;
}

static void tear_down(void)
{
	hv_dirty_teardown(vm);
	close(sock);
	sock = -1;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(vm->pidfd);
	free(vm);
}

/* Each once and in order, in one walk; what is written again comes with the next round. */
static void test_many_regions_of_a_running_vm(void **state)
{
	(void)state;
	if (!set_up()) {
		tear_down();
		skip();
	}
	while (take() == RUNS)
		;
	tell(0, DIRTY);
	again = true;
	scans = 0;
	assert_int_equal(take(), DIRTY);
	assert_false(again);
	assert_int_equal(scans, 1);
	for (unsigned i = 0; i < DIRTY; i++) {
		assert_int_equal(runs[i].offset, 2 * i * TV_PAGE_BYTES);
		assert_int_equal(runs[i].pages, 1);
	}
	assert_int_equal(take(), 1);
	assert_int_equal(runs[0].offset, 2 * AGAIN * TV_PAGE_BYTES);
	tear_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_regions_of_a_running_vm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
