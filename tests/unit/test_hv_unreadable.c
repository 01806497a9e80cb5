/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages that the kernel does not read. Cutting a memory file stands in for the hardware: reading a page
 * behind its end is the EFAULT of a page with a memory error.
 */
#include "hv/dirty/dirty_int.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 16
#define BAD 11

static struct hv_vm *vm;
static uint8_t copy[PAGES * TV_PAGE_BYTES];
static uint8_t *ram;

/* A child has our mapping, and is read. */
static int setup(void **state)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(copy)), 0);
	ram = mmap(NULL, sizeof(copy), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(ram != MAP_FAILED);
	memset(ram, 0x5a, sizeof(copy));
	vm = calloc(1, sizeof(*vm));
	vm->dirty = calloc(1, sizeof(*vm->dirty));
	vm->dirty->iovs = calloc(HV_IOVS, sizeof(*vm->dirty->iovs));
	vm->n_blocks = 1;
	strcpy(vm->blocks[0].name, "pc.ram");
	vm->blocks[0].bytes = sizeof(copy);
	vm->blocks[0].host.v = (uintptr_t)ram;
	vm->id.pid = fork();
	if (!vm->id.pid) {
		pause();
		_exit(0);
	}
	assert_int_equal(ftruncate(fd, BAD * TV_PAGE_BYTES), 0);
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kill(vm->id.pid, SIGKILL);
	waitpid(vm->id.pid, NULL, 0);
	munmap(ram, sizeof(copy));
	free(vm->dirty->iovs);
	free(vm->dirty);
	free(vm);
	return 0;
}

static void the_page_is_named(void **state)
{
	struct hv_run runs[] = {{.block = 0, .offset = 0, .pages = 4},
				{.block = 0, .offset = 8 * TV_PAGE_BYTES, .pages = 8}};
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(hv_copy(vm, runs, 1, copy), 0);
	assert_int_equal(copy[4 * TV_PAGE_BYTES - 1], 0x5a);
	assert_int_equal(hv_copy(vm, runs, 2, copy), TV_E_POISON);
	assert_int_equal(hv_unreadable(vm, &e), TV_E_POISON);
	assert_non_null(strstr(e.text, "0xb000 of the VM's RAM block pc.ram"));
}

static void memory_that_qemu_took_away_is_not_broken(void **state)
{
	struct hv_run run = {.block = 0, .offset = 0, .pages = 1};
	struct tv_err e = {0};

	(void)state;
	vm->blocks[0].host.v = TV_PAGE_BYTES; /* nothing is mapped there */
	assert_int_equal(hv_copy(vm, &run, 1, copy), TV_E_POISON);
	assert_int_equal(hv_unreadable(vm, &e), -EFAULT);
	assert_non_null(strstr(e.text, "unmapped"));
}

static void a_process_that_has_ended_is_gone(void **state)
{
	struct hv_run run = {.block = 0, .offset = 0, .pages = 1};

	(void)state;
	kill(vm->id.pid, SIGKILL);
	waitpid(vm->id.pid, NULL, 0);
	assert_int_equal(hv_copy(vm, &run, 1, copy), TV_E_GONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_page_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_that_qemu_took_away_is_not_broken, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_process_that_has_ended_is_gone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
