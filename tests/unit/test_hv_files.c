/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What query-block says of drives and disks, and when that is another VM than was described. */
#include "hv/attach/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

#define IN(node, file, ro, bytes)                                                            \
	",\"inserted\":{\"node-name\":\"" node "\",\"drv\":\"raw\",\"ro\":" ro ",\"image\":" \
	"{\"filename\":\"" file "\",\"virtual-size\":" bytes "}}"
#define DEV(name, removable, in) \
	"{\"device\":\"" name "\",\"qdev\":\"/q\",\"removable\":" removable in "}"

static json_t *load(const char *text)
{
	json_t *o = json_loads(text, 0, NULL);

	assert_non_null(o);
	return o;
}

static void drives_and_files_are_found(void **state)
{
	json_t *block = load("[" DEV("cd", "true", IN("#b1", "a.iso", "true", "4096")) "," DEV(
		"fd", "true",
		IN("#b2", "/w", "false",
		   "4096")) "," DEV("e", "true",
				    "") "," DEV("ro", "false",
						IN("r", "/r", "true",
						   "512")) "," DEV("n", "false",
								   IN("x", "nbd://h/x", "true",
								      "512")) "]");
	json_t *drives = hv_drives_of(block, "/w"), *paths = json_array();
	json_t *first = json_array_get(drives, 0);

	(void)state;
	assert_int_equal(json_array_size(drives), 2); /* what is written is a disk */
	assert_string_equal(json_string_value(json_object_get(first, "file")), "/w/a.iso");
	assert_null(json_object_get(json_array_get(drives, 1), "file"));
	hv_read_only_images(block, "/w", paths);
	hv_read_only_images(block, "/w", paths); /* each once */
	assert_int_equal(json_array_size(paths), 2);
	json_decref(paths);
	json_decref(drives);
	json_decref(block);
}

static void changes_are_named(void **state)
{
	json_t *a = load("[" DEV("cd", "true", IN("#b1", "/a", "true", "4096")) "]");
	json_t *b = load("[" DEV("cd", "true", IN("#b2", "/b", "true", "4096")) "]");
	json_t *none = load("[" DEV("cd", "true", "") "]");
	json_t *before = hv_drives_of(a, "/"), *other = hv_drives_of(b, "/");
	json_t *empty = hv_drives_of(none, "/"), *gone = json_array();
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(hv_drives_differ(before, before, &e), 0);
	assert_int_equal(hv_drives_differ(before, other, &e), 1);
	assert_non_null(strstr(e.text, "another medium is in drive cd: /b"));
	assert_int_equal(hv_drives_differ(before, empty, &e), 1);
	assert_non_null(strstr(e.text, "drive cd was taken out"));
	assert_int_equal(hv_drives_differ(before, gone, &e), 1);
	json_decref(gone);
	json_decref(before);
	json_decref(other);
	json_decref(empty);
	json_decref(a);
	json_decref(b);
	json_decref(none);
}

static void another_size_is_noticed(void **state)
{
	json_t *block = load("[" DEV("d0", "false", IN("#b1", "/a", "false", "8192")) "]");
	struct hv_disk d = {.name = "d0", .device = "d0", .bytes = 8192};
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(hv_disks_differ(&d, 1, block, &e), 0);
	d.bytes = 4096;
	assert_int_equal(hv_disks_differ(&d, 1, block, &e), 1);
	assert_non_null(strstr(e.text, "disk d0 has another size"));
	json_decref(block);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drives_and_files_are_found),
		cmocka_unit_test(changes_are_named),
		cmocka_unit_test(another_size_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
