/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which files of this host a peer's domain may name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lv/question.h"

#define HASH "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"

static char folder[] = "/tmp/twinvm-question.XXXXXX";
static struct lv_question q;

/* ask: the part of the peer; more: added to that of this host. */
static int take(const char *ask, const char *more)
{
	char media[64], *text;
	json_t *j;
	int rc;

	snprintf(media, sizeof(media), "/nowhere:%s/media", folder);
	j = json_pack("{s:s, s:s, s:s, s:s}", "ask", ask, "folder", "/replicas", "media", media,
		      "id", "ID");
	if (more)
		assert_int_equal(json_object_update_new(j, json_loads(more, 0, NULL)), 0);
	text = json_dumps(j, 0);
	rc = lv_question_take(text, strlen(text), &q);
	free(text);
	json_decref(j);
	return rc;
}

static int take_file(const char *path, const char *copy)
{
	json_t *j = json_pack("{s:s, s:[{s:s, s:s}]}", "xml", "<domain/>", "files", "path", path,
			      "copy", copy);
	char *text = json_dumps(j, 0);
	int rc = take(text, NULL);

	free(text);
	json_decref(j);
	return rc;
}

static void put(const char *name)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fclose(f);
}

static int setup(void **state)
{
	char a[128];

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(a, sizeof(a), "%s/media", folder);
	assert_int_equal(mkdir(a, 0700), 0);
	snprintf(a, sizeof(a), "%s/media-other", folder);
	assert_int_equal(mkdir(a, 0700), 0);
	snprintf(a, sizeof(a), "%s/media/folder", folder);
	assert_int_equal(mkdir(a, 0700), 0);
	put("media/cd.iso");
	put("media-other/cd.iso");
	put("secret");
	snprintf(a, sizeof(a), "%s/media/link", folder);
	assert_int_equal(symlink("../secret", a), 0);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static void test_copies(void **state)
{
	static const char *const bad[] = {
		"../../etc/shadow",    "ID-file-../../etc/shadow",
		"other-file-" HASH,    "ID-0.raw",
		"ID-file-" HASH "/..", "ID-file-x" HASH,
		"x/ID-file-" HASH,     "-file-" HASH,
	};

	(void)state;
	assert_int_equal(take_file("/isos/debian.iso", "ID-file-" HASH), LV_EXIT_OK);
	assert_int_equal(q.xml.n_files, 1);
	assert_string_equal(q.xml.files[0].path, "/isos/debian.iso");
	assert_string_equal(q.xml.files[0].here, "/replicas/ID-file-" HASH);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(take_file("/isos/debian.iso", bad[i]), LV_EXIT_OK);
		assert_int_equal(q.xml.n_files, 0);
	}
}

static void test_media(void **state)
{
	static const char *const bad[] = {
		"secret", "media/link", "media/../secret",  "media-other/cd.iso",
		"media",  "media/none", "../../etc/shadow", "media/folder",
	};
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/media/cd.iso", folder);
	assert_int_equal(take_file(path, ""), LV_EXIT_OK);
	assert_int_equal(q.xml.n_files, 1);
	assert_string_equal(q.xml.files[0].here, path);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, bad[i]);
		assert_int_equal(take_file(path, ""), LV_EXIT_OK);
		assert_int_equal(q.xml.n_files, 0);
	}
	assert_int_equal(take_file("relative", ""), LV_EXIT_OK);
	assert_int_equal(q.xml.n_files, 0);
}

/* A peer cannot add to this host's part, nor have it read twice. */
static void test_parts(void **state)
{
	(void)state;
	assert_int_equal(take("{\"xml\":\"<d/>\",\"disks\":[{\"node\":\"n\",\"file\":\"/a\"}],"
			      "\"images\":[\"/etc/shadow\"],\"emulator\":\"/bin/sh\"}",
			      NULL),
			 LV_EXIT_REFUSED);
	assert_int_equal(take("{\"xml\":\"<d/>\",\"disks\":[{\"node\":\"n\",\"file\":\"/a\"}],"
			      "\"emulator\":\"/bin/sh\"}",
			      "{\"images\":[\"/replicas/ID-0.raw\"],\"emulator\":\"/usr/bin/q\","
			      "\"bridges\":[\"br0\",\"\"]}"),
			 LV_EXIT_OK);
	assert_string_equal(q.xml.emulator, "/usr/bin/q");
	assert_string_equal(q.xml.disks[0].image, "/replicas/ID-0.raw");
	assert_string_equal(q.xml.disks[0].file, "/a");
	assert_int_equal(q.xml.n_bridges, 2);
	assert_string_equal(q.xml.xml, "<d/>");
}

static void test_limits(void **state)
{
	json_t *files = json_array(), *j;
	char *text;

	(void)state;
	for (unsigned i = 0; i <= LV_MAX_FILES; i++)
		json_array_append_new(
			files, json_pack("{s:s, s:s}", "path", "/a", "copy", "ID-file-" HASH));
	j = json_pack("{s:o}", "files", files);
	text = json_dumps(j, 0);
	assert_int_equal(take(text, NULL), LV_EXIT_REFUSED);
	free(text);
	json_decref(j);
	assert_int_equal(take("", NULL), LV_EXIT_USAGE);
	assert_int_equal(take("[", NULL), LV_EXIT_USAGE);
	assert_int_equal(lv_question_take("{", 1, &q), LV_EXIT_USAGE);
	assert_int_equal(lv_question_take(NULL, 0, &q), LV_EXIT_USAGE);
	assert_int_equal(take("[]", NULL), LV_EXIT_OK); /* nothing is in it: no XML */
	assert_int_equal(q.xml.bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_media),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
