/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading `info ramblock` of several QEMUs, and telling addresses from mappings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "hv/qemu/ramblock.h"

/* QEMU 7.2.22, -m 512 */
static const char v72[] = "              Block Name    PSize              Offset               "
			  "Used              Total\r\n"
			  "                  pc.ram    4 KiB  0x0000000000000000 "
			  "0x0000000020000000 0x0000000020000000\r\n"
			  "   0000:00:02.0/vga.vram    4 KiB  0x0000000020080000 "
			  "0x0000000001000000 0x0000000001000000\r\n"
			  "    /rom@etc/acpi/tables    4 KiB  0x0000000021100000 "
			  "0x0000000000020000 0x0000000000200000\r\n"
			  "                            4 KiB  0x0000000020000000 "
			  "0x0000000000040000 0x0000000000040000\r\n"
			  "      /rom@etc/acpi/rsdp    4 KiB  0x0000000021340000 "
			  "0x0000000000001000 0x0000000000001000\r\n";

/* QEMU 8.0 and later */
static const char v82[] = "              Block Name    PSize              Offset               "
			  "Used              Total                HVA  RO\n"
			  "           /objects/ram0    2 MiB  0x0000000000000000 "
			  "0x0000000020000000 0x0000000020000000 0x00007f5d7be00000  rw\n"
			  "                 pc.bios    4 KiB  0x0000000020000000 "
			  "0x0000000000040000 0x0000000000040000 0x00007f5da9800000  ro\n";

static void test_parse_7_2(void **state)
{
	struct hv_ramblock b[8];
	unsigned n, listed;

	(void)state;
	assert_int_equal(hv_ramblock_parse(v72, b, 8, &n, &listed, NULL), 0);
	assert_int_equal(n, 4);
	assert_int_equal(listed, 5);
	assert_string_equal(b[0].name, "pc.ram");
	assert_int_equal(b[0].used, 512 << 20);
	assert_int_equal(b[0].page_bytes, 4096);
	assert_int_equal(b[0].host, 0);
	assert_string_equal(b[1].name, "0000:00:02.0/vga.vram");
	assert_int_equal(b[1].offset, 0x20080000);
	assert_int_equal(b[2].used, 0x20000);
	assert_int_equal(b[2].total, 0x200000);
}

static void test_parse_8_2(void **state)
{
	struct hv_ramblock b[8];
	unsigned n, listed;

	(void)state;
	assert_int_equal(hv_ramblock_parse(v82, b, 8, &n, &listed, NULL), 0);
	assert_int_equal(n, 2);
	assert_string_equal(b[0].name, "/objects/ram0");
	assert_int_equal(b[0].page_bytes, 2 << 20);
	assert_int_equal(b[0].host, 0x00007f5d7be00000);
	assert_int_equal(b[0].total, 512 << 20);
	assert_int_equal(b[1].host, 0x00007f5da9800000);
	assert_int_equal(b[1].used, 0x40000);
}

static void test_parse_refuses(void **state)
{
	struct hv_ramblock b[8];
	struct tv_err e = {0};
	unsigned n, listed;

	(void)state;
	assert_int_equal(hv_ramblock_parse("", b, 8, &n, &listed, &e), TV_E_PROTOCOL);
	assert_int_equal(
		hv_ramblock_parse("unknown command: 'info ramblock'\r\n", b, 8, &n, &listed, &e),
		TV_E_PROTOCOL);
	assert_non_null(strstr(e.text, "unknown command"));
	assert_int_equal(hv_ramblock_parse("a 4 KiB 0x0 0x2 0x1\n", b, 8, &n, &listed, &e),
			 TV_E_PROTOCOL);
	assert_int_equal(hv_ramblock_parse(v72, b, 2, &n, &listed, &e), -ENOSPC);
}

static const char maps_text[] = "10000000-30000000 rw-p 00000000 00:00 0\n"
				"40000000-41000000 rw-p 00000000 00:00 0\n"
				"41000000-41001000 ---p 00000000 00:00 0\n"
				"50000000-50200000 rw-p 00000000 00:00 0\n"
				"60000000-60001000 rw-p 00000000 00:00 0\n";

static void test_by_maps(void **state)
{
	struct hv_ramblock b[8];
	unsigned n, listed;
	struct hv_maps m;

	(void)state;
	assert_int_equal(hv_ramblock_parse(v72, b, 8, &n, &listed, NULL), 0);
	assert_int_equal(hv_maps_parse(maps_text, &m), 0);
	assert_int_equal(hv_ramblock_by_maps(b, n, "pc.ram", 0x10000000, &m, NULL), 0);
	assert_int_equal(b[0].host, 0x10000000);
	assert_int_equal(b[1].host, 0x40000000);
	assert_int_equal(b[2].host, 0x50000000);
	assert_int_equal(b[3].host, 0x60000000);
	hv_maps_dispose(&m);
}

static void test_by_maps_ambiguous(void **state)
{
	char two[512];
	struct hv_ramblock b[8];
	struct tv_err e = {0};
	unsigned n, listed;
	struct hv_maps m;

	(void)state;
	snprintf(two, sizeof(two), "%s70000000-71000000 rw-p 00000000 00:00 0\n", maps_text);
	assert_int_equal(hv_ramblock_parse(v72, b, 8, &n, &listed, NULL), 0);
	assert_int_equal(hv_maps_parse(two, &m), 0);
	assert_int_equal(hv_ramblock_by_maps(b, n, "pc.ram", 0x10000000, &m, &e), TV_E_AMBIGUOUS);
	assert_non_null(strstr(e.text, "vga.vram"));
	hv_maps_dispose(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_7_2),	  cmocka_unit_test(test_parse_8_2),
		cmocka_unit_test(test_parse_refuses),	  cmocka_unit_test(test_by_maps),
		cmocka_unit_test(test_by_maps_ambiguous),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
