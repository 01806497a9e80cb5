/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM's memory and state as files: what a loader finds in them, and what is refused. QEMU's own loading:
 * tests/local/103-snapshot.sh. */
#include "hv/dump/dump.h"
#include "hv/dump/dump_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/procfs.h>
#include <unistd.h>

#define RAM (3u << 20)
#define VGA (64u << 10)

static uint8_t ram[RAM], vga[VGA];
static uint8_t state[2000];
static size_t state_bytes;
static struct hv_dump_block blocks[2];
static struct hv_dump dump;
static unsigned calls, stop_at;

static bool on_more(void *arg, uint64_t done, uint64_t all)
{
	(void)arg;
	assert_true(done && done <= all);
	return ++calls != stop_at;
}

static void add(const void *p, size_t n)
{
	memcpy(state + state_bytes, p, n);
	state_bytes += n;
}

static void add_be(uint64_t v, unsigned bytes)
{
	while (bytes--) {
		uint8_t b = (uint8_t)(v >> 8 * bytes);

		add(&b, 1);
	}
}

static void add_segment(unsigned n)
{
	add_be(0x10 + n, 4);
	add_be(0x1000 * n, 8);
	add_be(0xfffff, 4);
	add_be(0xa09300, 4);
}

/* One section "cpu", as far as registers go, in a state as QEMU saves it. */
static void make_state(unsigned version)
{
	state_bytes = 0;
	add("QEVM\0\0\0\3\4\0\0\0\7\3cpu\0\0\0\0", 21);
	add_be(version, 4);
	for (unsigned i = 0; i < 16; i++)
		add_be(0x100 + i, 8);
	add_be(0xffffffff81000000u, 8);
	add_be(0x246, 8);
	add_be(0, 4);
	for (unsigned i = 0; i < 88; i++)
		add_be(0xee, 1);
	for (unsigned i = 0; i < 10; i++)
		add_segment(i);
	add_be(0, 4);
	add_be(0, 8);
	add_be(0, 8);
	add_be(0x80050033, 8);
	add_be(0xc2, 8);
	add_be(0xc3000, 8);
	add_be(0x6f0, 8);
	add("\x7e\0\0\0\7\0", 6);
}

static int set_up(void **data)
{
	(void)data;
	memset(ram, 0, sizeof(ram));
	for (unsigned i = 0; i < RAM; i += 9000)
		ram[i] = (uint8_t)(i / 9000 + 1);
	memset(ram + (1u << 20), 0, 1u << 20); /* a hole */
	memset(vga, 0x5a, sizeof(vga));
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *p = i ? ram : vga;
		size_t n = i ? RAM : VGA;
		int fd = memfd_create("block", MFD_CLOEXEC);

		assert_int_equal(ftruncate(fd, (off_t)n + 4096), 0);
		for (size_t at = 0; at < n; at += 4096)
			if (!dump_is_zero(p + at, 4096))
				assert_int_equal(pwrite(fd, p + at, 4096, (off_t)at + 4096), 4096);
		blocks[i] = (struct hv_dump_block){.name = i ? "pc.ram" : "vga.vram",
						   .fd = fd,
						   .offset = 4096,
						   .bytes = n,
						   .main = i};
	}
	make_state(12);
	calls = stop_at = 0;
	dump = (struct hv_dump){.machine = "pc-q35-7.2",
				.blocks = blocks,
				.n_blocks = 2,
				.state = state,
				.state_bytes = state_bytes,
				.more = on_more};
	return 0;
}

static int tear_down(void **data)
{
	(void)data;
	close(blocks[0].fd);
	close(blocks[1].fd);
	return 0;
}

/* ---- a loader ---- */
static const uint8_t *at, *end;

static uint64_t be(unsigned bytes)
{
	uint64_t v = 0;

	assert_true(end - at >= (long)bytes);
	while (bytes--)
		v = v << 8 | *at++;
	return v;
}

static void expect(const void *p, size_t n)
{
	assert_true((size_t)(end - at) >= n);
	assert_memory_equal(at, p, n);
	at += n;
}

static void load_pages(void)
{
	static uint8_t got[2][RAM];
	uint64_t v, pages = 0;
	unsigned b = 0;

	memset(got, 0xff, sizeof(got));
	while (!((v = be(8)) & 0x10)) {
		uint64_t offset = v & ~UINT64_C(0xfff);

		if (!(v & 0x20)) {
			size_t n = be(1);

			b = n == 6;
			expect(b ? "pc.ram" : "vga.vram", n);
		}
		assert_true(offset + 4096 <= blocks[b].bytes);
		if (v & 2) {
			assert_int_equal(be(1), 0);
			memset(got[b] + offset, 0, 4096);
		} else {
			assert_true(v & 8);
			memcpy(got[b] + offset, at, 4096);
			at += 4096;
		}
		pages++;
	}
	assert_int_equal(pages, (RAM + VGA) / 4096);
	assert_memory_equal(got[0], vga, VGA);
	assert_memory_equal(got[1], ram, RAM);
}

static void test_stream(void **data)
{
	int fd = memfd_create("out", MFD_CLOEXEC);
	struct tv_err e = {0};
	uint8_t *file;
	struct stat st;

	(void)data;
	assert_int_equal(hv_dump_stream(&dump, fd, &e), 0);
	assert_true(calls > 0);
	assert_int_equal(fstat(fd, &st), 0);
	file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	at = file;
	end = file + st.st_size;
	expect("QEVM\0\0\0\3\7\0\0\0\12pc-q35-7.2", 23);
	expect("\1", 1);
	at += 4; /* the section's number */
	expect("\3ram\0\0\0\0\0\0\0\4", 12);
	assert_int_equal(be(8), (RAM + VGA) | 4);
	expect("\10vga.vram", 9);
	assert_int_equal(be(8), VGA);
	expect("\6pc.ram", 7);
	assert_int_equal(be(8), RAM);
	assert_int_equal(be(8), 0x10);
	expect("\x7e", 1);
	at += 4;
	expect("\3", 1);
	at += 4;
	load_pages();
	expect("\x7e", 1);
	at += 4;
	expect(state + 8, state_bytes - 8);
	expect("\6\0\0\0\0", 5);
	assert_ptr_equal(at, end);
	munmap(file, (size_t)st.st_size);
	close(fd);
}

static void test_elf(void **data)
{
	int fd = memfd_create("out", MFD_CLOEXEC);
	struct elf_prstatus *status;
	struct tv_err e = {0};
	struct stat st;
	uint8_t *file;
	Elf64_Phdr *ph;

	(void)data;
	assert_int_equal(hv_dump_elf(&dump, 2u << 20, fd, &e), 0); /* a hole after 2 MiB */
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks * 512 < RAM); /* zeroes are not written */
	file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	ph = (Elf64_Phdr *)(file + sizeof(Elf64_Ehdr));
	assert_int_equal(((Elf64_Ehdr *)file)->e_phnum, 3);
	assert_true(ph[0].p_type == PT_NOTE && ph[1].p_type == PT_LOAD);
	assert_true(ph[1].p_paddr == 0 && ph[1].p_filesz == 2u << 20);
	assert_true(ph[2].p_paddr == UINT64_C(4) << 30 && ph[2].p_filesz == 1u << 20);
	assert_memory_equal(file + ph[1].p_offset, ram, 2u << 20);
	assert_memory_equal(file + ph[2].p_offset, ram + (2u << 20), 1u << 20);
	status = (struct elf_prstatus *)(file + ph[0].p_offset + sizeof(Elf64_Nhdr) + 8);
	assert_true(status->pr_reg[16] == 0xffffffff81000000u && status->pr_reg[19] == 0x104);
	assert_true(status->pr_reg[10] == 0x100 && status->pr_reg[11] == 0x101); /* rax, rcx */
	assert_true(status->pr_reg[5] == 0x103 && status->pr_reg[0] == 0x10f);	 /* rbx, r15 */
	munmap(file, (size_t)st.st_size);
	close(fd);
}

static void test_cpus(void **data)
{
	struct dump_cpu c[2];

	(void)data;
	assert_int_equal(dump_cpus(state, state_bytes, c, 2), 1);
	assert_true(c[0].cr[0] == 0x80050033 && c[0].cr[2] == 0xc2 && c[0].cr[3] == 0xc3000 &&
		    c[0].cr[4] == 0x6f0);
	assert_true(c[0].segs[1].selector == 0x11 && c[0].segs[1].base == 0x1000 &&
		    c[0].idt.selector == 0x19);
	/* Every shorter state is read without a step outside, and has no CPU. */
	for (size_t n = 0; n < state_bytes - 1; n++) {
		uint8_t *copy = malloc(n + 1);

		memcpy(copy, state, n);
		assert_int_equal(dump_cpus(copy, n, c, 2), 0);
		free(copy);
	}
	make_state(11);
	assert_int_equal(dump_cpus(state, state_bytes, c, 2), 0);
}

static void refused(int rc)
{
	int fd = memfd_create("out", MFD_CLOEXEC);
	struct tv_err e = {0};

	assert_int_equal(hv_dump_stream(&dump, fd, &e), rc);
	assert_true(e.text[0]);
	close(fd);
}

static void test_refusals(void **data)
{
	struct tv_err e = {0};
	int fd = memfd_create("out", MFD_CLOEXEC);

	(void)data;
	state[8] = 7; /* a configuration section is there already */
	refused(TV_E_PROTOCOL);
	state[8] = 4;
	state[0] = 'X';
	refused(TV_E_PROTOCOL);
	state[0] = 'Q';
	dump.state_bytes--; /* cut off */
	state[dump.state_bytes - 1] = 7;
	refused(TV_E_PROTOCOL);
	set_up(NULL);
	stop_at = 2;
	refused(-ECANCELED);
	/* The memory is cut off: it may not pass for a hole. */
	stop_at = 0;
	assert_int_equal(ftruncate(blocks[1].fd, 1u << 20), 0);
	refused(-EIO);
	dump.machine = "virt-7.2";
	assert_int_equal(hv_dump_elf(&dump, 0, fd, &e), -ENOTSUP);
	fd = (close(fd), open("/dev/full", O_WRONLY | O_CLOEXEC));
	set_up(NULL);
	assert_int_equal(hv_dump_stream(&dump, fd, &e), -ENOSPC);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_stream, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_elf, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cpus, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
