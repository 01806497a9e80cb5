/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What query-block says of drives and disks, and when that is another VM than was described. */
#include "hv/attach/files.h"
#include "hv/attach/hashes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* ---- what files hold ---- */

struct file {
	char dir[64], path[96], kept[96];
	int fd;
	unsigned pieces, writes; /* what was read; how often it is written meanwhile */
};

static void write_file(struct file *f, const char *text)
{
	assert_int_equal(pwrite(f->fd, text, strlen(text), 0), strlen(text));
}

static int set_up(void **state)
{
	struct file *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/test_hv_files.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/disc", f->dir);
	snprintf(f->kept, sizeof(f->kept), "%s/hashes.json", f->dir);
	f->fd = open(f->path, O_RDWR | O_CREAT, 0600);
	assert_true(f->fd >= 0);
	write_file(f, "disc");
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct file *f = *state;

	close(f->fd);
	unlink(f->path);
	unlink(f->kept);
	assert_int_equal(rmdir(f->dir), 0); /* nothing else was left in it */
	free(f);
	return 0;
}

static bool on_read(void *arg, size_t piece_bytes)
{
	struct file *f = arg;
	struct stat before, after;

	(void)piece_bytes;
	f->pieces++;
	if (f->writes) {
		f->writes--;
		assert_int_equal(fstat(f->fd, &before), 0);
		do { /* the kernel stamps in steps */
			write_file(f, f->writes & 1 ? "DISC" : "disk");
			assert_int_equal(fstat(f->fd, &after), 0);
		} while (!memcmp(&before.st_ctim, &after.st_ctim, sizeof(after.st_ctim)));
	}
	return true;
}

static int hash(struct file *f, struct hv_hashes *h, char out[TV_SHA256_ROOM])
{
	f->pieces = 0;
	return hv_hashes_add(h, f->fd, 4, on_read, f, out);
}

/* As if it had been read long after its last change. */
static void age(const struct file *f)
{
	json_t *list = json_load_file(f->kept, 0, NULL), *o;
	size_t i;

	json_array_foreach(list, i, o)
		json_object_set_new(o, "begun_ns", json_integer(INT64_MAX));
	assert_int_equal(json_dump_file(list, f->kept, 0), 0);
	json_decref(list);
}

static void an_unchanged_file_is_read_once(void **state)
{
	struct file *f = *state;
	struct hv_hashes *h = hv_hashes_open(f->kept);
	char first[TV_SHA256_ROOM], now[TV_SHA256_ROOM];
	struct timespec old[2] = {{1, 0}, {1, 0}};

	assert_false(hv_hashes_know(h, f->fd, 4, now));
	assert_int_equal(hash(f, h, first), 0);
	assert_int_equal(f->pieces, 1);
	assert_int_equal(hash(f, h, now), 0);
	assert_int_equal(f->pieces, 0);
	assert_string_equal(first, now);
	/* Another size than when it was opened. */
	assert_int_equal(hv_hashes_add(h, f->fd, 3, on_read, f, now), -ESTALE);
	write_file(f, "DISC");
	assert_int_equal(futimens(f->fd, old), 0); /* hides nothing */
	assert_false(hv_hashes_know(h, f->fd, 4, now));
	assert_int_equal(hash(f, h, now), 0);
	assert_string_not_equal(first, now);
	hv_hashes_free(h);
	assert_int_equal(hash(f, NULL, first), 0);
	assert_string_equal(first, now);
}

static void it_is_known_to_the_next_session_when_its_change_is_over(void **state)
{
	struct file *f = *state;
	struct hv_hashes *h = hv_hashes_open(f->kept), *next;
	char first[TV_SHA256_ROOM], now[TV_SHA256_ROOM];
	json_t *list, *o;
	size_t i;

	assert_int_equal(hash(f, h, first), 0);
	hv_hashes_save(h);
	next = hv_hashes_open(f->kept);
	assert_false(hv_hashes_know(next, f->fd, 4, now)); /* it was just written */
	hv_hashes_free(next);

	list = json_pack("[{s:I, s:I, s:I, s:I, s:I, s:I, s:s}]", "dev", (json_int_t)0, "ino",
			 (json_int_t)0, "bytes", (json_int_t)4, "mtime_ns", (json_int_t)0,
			 "ctime_ns", (json_int_t)0, "begun_ns", (json_int_t)0, "sha256", first);
	json_array_foreach(list, i, o) {
		struct stat st;

		assert_int_equal(fstat(f->fd, &st), 0);
		json_object_set_new(o, "dev", json_integer((json_int_t)st.st_dev));
		json_object_set_new(o, "ino", json_integer((json_int_t)st.st_ino));
		json_object_set_new(
			o, "mtime_ns",
			json_integer(st.st_mtim.tv_sec * TV_NS_PER_S + st.st_mtim.tv_nsec));
		json_object_set_new(
			o, "ctime_ns",
			json_integer(st.st_ctim.tv_sec * TV_NS_PER_S + st.st_ctim.tv_nsec));
	}
	assert_int_equal(json_dump_file(list, f->kept, 0), 0);
	next = hv_hashes_open(f->kept);
	assert_false(hv_hashes_know(next, f->fd, 4, now)); /* read before its change */
	hv_hashes_free(next);
	age(f);
	next = hv_hashes_open(f->kept);
	assert_true(hv_hashes_know(next, f->fd, 4, now));
	assert_string_equal(first, now);
	hv_hashes_free(next);
	hv_hashes_free(h);
	json_decref(list);
}

static void what_changes_while_it_is_read_is_read_again_and_then_refused(void **state)
{
	struct file *f = *state;
	struct hv_hashes *h = hv_hashes_open(f->kept);
	char now[TV_SHA256_ROOM], right[TV_SHA256_ROOM];

	f->writes = 1;
	assert_int_equal(hash(f, h, now), 0);
	assert_int_equal(f->pieces, 2);
	assert_int_equal(tv_sha256(f->fd, 4, right), 0);
	assert_string_equal(now, right);
	write_file(f, "more");
	f->writes = 1000;
	assert_int_equal(hash(f, h, now), -ESTALE);
	assert_in_range(f->pieces, 2, 10);
	hv_hashes_free(h);
}

static void notes_that_make_no_sense_are_none(void **state)
{
	static const char *const texts[] = {
		"", "nonsense", "{}", "[1, null, {}]",
		"[{\"dev\":1,\"ino\":1,\"bytes\":4,\"mtime_ns\":0,\"ctime_ns\":0,\"begun_ns\":"
		"9000000000,\"sha256\":\"../../x\"}]"};
	struct file *f = *state;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		char now[TV_SHA256_ROOM];
		struct hv_hashes *h;

		assert_int_equal(tv_write_file(f->kept, texts[i], strlen(texts[i])), 0);
		h = hv_hashes_open(f->kept);
		assert_non_null(h);
		assert_false(hv_hashes_know(h, f->fd, 4, now));
		assert_int_equal(hash(f, h, now), 0);
		hv_hashes_save(h);
		hv_hashes_free(h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drives_and_files_are_found),
		cmocka_unit_test(changes_are_named),
		cmocka_unit_test(another_size_is_noticed),
		cmocka_unit_test_setup_teardown(an_unchanged_file_is_read_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			it_is_known_to_the_next_session_when_its_change_is_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_changes_while_it_is_read_is_read_again_and_then_refused, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(notes_that_make_no_sense_are_none, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
