/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The standby's small parts that need no QEMU. */
#include "hv/qemu/keyval.h"
#include "hv/standby/standby_int.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void round_trip(const char *in, const char *implied, const char *want)
{
	struct hv_keyval kv;
	char *out;

	assert_int_equal(hv_keyval_parse(&kv, in, implied), 0);
	out = hv_keyval_print(&kv);
	assert_string_equal(out, want);
	free(out);
	hv_keyval_dispose(&kv);
}

static void test_keyval(void **state)
{
	struct hv_keyval kv;
	char *out;

	(void)state;
	round_trip("a=b,c=d", NULL, "a=b,c=d");
	round_trip("tap,id=n", "type", "tap,id=n");
	round_trip("type=tap,id=n", "type", "type=tap,id=n");
	round_trip("virtio-net,mac=1", NULL, "virtio-net,mac=1");
	round_trip("file=a,,b,,,c", NULL, "file=a,,b,,,c");
	round_trip("x=,y", NULL, "x=,y");
	round_trip("", "type", "");
	round_trip("a=b=c", NULL, "a=b=c");
	round_trip("{\"a\": {\"b\": 1}}", NULL, "{\"a\":{\"b\":1}}");
	assert_int_equal(hv_keyval_parse(&kv, "{\"a\"", NULL), -EINVAL);

	assert_int_equal(hv_keyval_parse(&kv, "s=1,x=a,x=b,server,nowait,y=on,z=off", NULL), 0);
	assert_string_equal(hv_keyval_get(&kv, "x"), "b");
	assert_null(hv_keyval_get(&kv, "q"));
	assert_true(hv_keyval_is_on(&kv, "server"));
	assert_true(hv_keyval_is_on(&kv, "y"));
	assert_false(hv_keyval_is_on(&kv, "z"));
	assert_false(hv_keyval_is_on(&kv, "wait"));
	hv_keyval_del(&kv, "wait");
	hv_keyval_del(&kv, "y");
	assert_int_equal(hv_keyval_set(&kv, "x", "c,d"), 0);
	assert_int_equal(hv_keyval_number(&kv, "s", 9), 1);
	assert_int_equal(hv_keyval_number(&kv, "x", 9), 9);
	assert_int_equal(hv_keyval_number(&kv, "q", 9), 9);
	out = hv_keyval_print(&kv);
	assert_string_equal(out, "s=1,server,z=off,x=c,,d");
	free(out);
	hv_keyval_dispose(&kv);

	assert_int_equal(hv_keyval_parse(&kv, "{\"n\": 4, \"m\": -1, \"t\": \"5\"}", NULL), 0);
	assert_int_equal(hv_keyval_number(&kv, "n", 9), 4);
	assert_int_equal(hv_keyval_number(&kv, "m", 9), 9);
	assert_int_equal(hv_keyval_number(&kv, "t", 9), 5);
	assert_int_equal(hv_keyval_set(&kv, "t", "on"), 0);
	assert_int_equal(hv_keyval_switch(&kv, "m", true), 0);
	out = hv_keyval_print(&kv);
	assert_string_equal(out, "{\"n\":4,\"m\":true,\"t\":\"on\"}");
	free(out);
	hv_keyval_dispose(&kv);
}

static void test_texts(void **state)
{
	(void)state;
	assert_int_equal(hv_meminfo_available("MemFree: 1 kB\nMemAvailable:   2048 kB\n"), 2 << 20);
	assert_int_equal(hv_meminfo_available("MemFree: 1 kB\n"), 0);
}

static void test_words(void **state)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	char words[64], line[100];

	(void)state;
	assert_true(fd >= 0);
	hv_standby_last_words(fd, words, sizeof(words));
	assert_string_equal(words, "");
	memset(line, '.', sizeof(line));
	for (unsigned i = 0; i < 1000; i++) /* only the end is read */
		assert_int_equal(write(fd, line, sizeof(line)), sizeof(line));
	assert_int_equal(write(fd, "\none\ntwo\n\nthree\r\nfour\n", 23), 23);
	hv_standby_last_words(fd, words, sizeof(words));
	assert_string_equal(words, "two; three; four");
	hv_standby_last_words(fd, words, 8);
	assert_string_equal(words, "two; th");
	close(fd);
	hv_standby_last_words(-1, words, sizeof(words));
	assert_string_equal(words, "");
}

/* What the standby's QEMU put into its memory at its start is gone; this process stands for it. */
static void test_zero(void **state)
{
	const size_t main_bytes = 2 * TV_PAGE_BYTES, rom_bytes = 200u << 10;
	struct hv_standby sb = {.n_blocks = 2, .main_block = 1};
	uint8_t *rom = calloc(1, rom_bytes + 1);

	(void)state;
	assert_int_equal(hv_proc_open(getpid(), &sb.vm.fds), 0);
	sb.vm.ram_fd = memfd_create("ram", MFD_CLOEXEC);
	assert_true(rom && sb.vm.ram_fd >= 0 && !ftruncate(sb.vm.ram_fd, (off_t)main_bytes));
	sb.map = mmap(NULL, main_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, sb.vm.ram_fd, 0);
	assert_ptr_not_equal(sb.map, MAP_FAILED);
	sb.blocks[0] = (struct hv_block){.bytes = rom_bytes, .host = {(uintptr_t)rom}};
	sb.blocks[1] = (struct hv_block){.bytes = main_bytes, .main_ram = true};
	sb.map[0] = sb.map[main_bytes - 1] = 1;
	rom[0] = rom[1] = rom[70000] = rom[rom_bytes - 1] = 0x55;
	rom[rom_bytes] = 0xaa; /* not of the block */
	assert_int_equal(hv_standby_zero(&sb), 0);
	for (size_t i = 0; i < main_bytes; i++)
		assert_int_equal(sb.map[i], 0);
	for (size_t i = 0; i < rom_bytes; i++)
		assert_int_equal(rom[i], 0);
	assert_int_equal(rom[rom_bytes], 0xaa);
	munmap(sb.map, main_bytes);
	close(sb.vm.ram_fd);
	hv_proc_close(&sb.vm.fds);
	free(rom);
}

static void a_peers_vm_can_always_be_ended(void **state)
{
	static const struct {
		const char *desc;
		int adj;
	} cases[] = {{"{}", 0},
		     {"{\"oom_score_adj\":-1000}", HV_HOST_OOM_MIN},
		     {"{\"oom_score_adj\":9223372036854775807}", 1000},
		     {"{\"oom_score_adj\":\"-1000\"}", 0},
		     {"{\"oom_score_adj\":-500}", -500}};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *desc = json_loads(cases[i].desc, 0, NULL);

		assert_int_equal(hv_standby_oom(desc), cases[i].adj);
		json_decref(desc);
	}
}

static void a_peers_vm_gets_no_priority(void **state)
{
	static const struct {
		const char *desc;
		int nice;
	} cases[] = {{"{}", 0},
		     {"{\"nice\":-1}", 0},
		     {"{\"nice\":-9223372036854775807}", 0},
		     {"{\"nice\":5}", 5},
		     {"{\"nice\":4294967295}", 19},
		     {"{\"nice\":[5]}", 0}};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *desc = json_loads(cases[i].desc, 0, NULL);

		assert_int_equal(hv_standby_nice(desc), cases[i].nice);
		json_decref(desc);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_peers_vm_can_always_be_ended),
		cmocka_unit_test(a_peers_vm_gets_no_priority),
		cmocka_unit_test(test_keyval),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
