/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that a VM only reads, on the backup: by their contents; and what a peer may say of them. */
#include "hv/host/host.h"
#include "replicator/sink/copies.h"
#include "tests/unit/room_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ID1 "11111111111111111111111111111111"
#define ID2 "22222222222222222222222222222222"

static char dir[] = "/tmp/tv-test-store-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir); /* fails when a file was left */
}

static struct ckpt_store *store_of(const char *vm_id, struct ckpt_room *room)
{
	struct ckpt_store *s;

	assert_int_equal(ckpt_store_new(dir, vm_id, room, &s), 0);
	return s;
}

static bool is_there(const char *vm_id, const char *end)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s-file-%s", dir, vm_id, end);
	return !access(path, F_OK);
}

static void a_file_is_made_in_parts(void **state)
{
	struct ckpt_store *s = store_of(ID1, NULL);
	uint64_t part = 1;
	char path[200];
	struct tv_err e;

	(void)state;
	assert_int_equal(ckpt_store_find(s, ABC, 3, &part, &e), 0);
	assert_int_equal(part, 0);
	assert_int_equal(ckpt_store_add(s, ABC, 0, "a", 1, &e), 0);
	assert_int_equal(ckpt_store_add(s, ABC, 0, "a", 1, &e), -EIO); /* not where it ends */
	ckpt_store_free(s);
	s = store_of(ID1, NULL); /* another session */
	assert_int_equal(ckpt_store_find(s, ABC, 3, &part, &e), 0);
	assert_int_equal(part, 1);
	assert_int_equal(ckpt_store_add(s, ABC, 1, "bc", 2, &e), 0);
	assert_false(is_there(ID1, ABC));
	assert_int_equal(ckpt_store_finish(s, ABC, 3, &e), 0);
	assert_int_equal(ckpt_store_find(s, ABC, 3, &part, &e), 1);
	assert_int_equal(ckpt_store_path(dir, ID1, ABC, path, sizeof(path)), 0);
	assert_int_equal(access(path, R_OK), 0);
	assert_int_equal(ckpt_store_path(dir, ID1, ABC, path, 20), -ENAMETOOLONG);
	ckpt_store_keep(s, NULL, 0);
	assert_false(is_there(ID1, ABC));
	ckpt_store_free(s);
}

static void other_contents_are_refused(void **state)
{
	struct ckpt_store *s = store_of(ID1, NULL);
	char path[200];
	uint64_t part;
	struct tv_err e;

	(void)state;
	assert_int_equal(ckpt_store_add(s, ABC, 0, "abd", 3, &e), 0);
	assert_int_equal(ckpt_store_finish(s, ABC, 3, &e), TV_E_CORRUPT);
	assert_int_equal(ckpt_store_find(s, ABC, 3, &part, &e), 0);
	assert_int_equal(part, 0); /* removed */
	/* Changed on disk later: found, and removed. */
	assert_int_equal(ckpt_store_add(s, ABC, 0, "abc", 3, &e), 0);
	assert_int_equal(ckpt_store_finish(s, ABC, 3, &e), 0);
	snprintf(path, sizeof(path), "%s/%s-file-" ABC, dir, ID1);
	assert_int_equal(tv_write_file(path, "abd", 3), 0);
	assert_int_equal(ckpt_store_find(s, ABC, 3, &part, &e), 0);
	assert_false(is_there(ID1, ABC));
	/* A link in its place is not followed. */
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_true(ckpt_store_find(s, ABC, 3, &part, &e) < 0);
	unlink(path);
	assert_int_equal(ckpt_store_find(s, "../../etc/passwd", 3, &part, &e), -EINVAL);
	assert_int_equal(ckpt_store_finish(s, EMPTY, 0, &e), 0);
	ckpt_store_keep(s, NULL, 0);
	ckpt_store_free(s);
}

static void vms_share_a_file(void **state)
{
	const char *const abc[] = {ABC};
	struct ckpt_store *one = store_of(ID1, NULL), *two = store_of(ID2, NULL);
	char path[200];
	struct stat st;
	uint64_t part;
	struct tv_err e;

	(void)state;
	assert_int_equal(ckpt_store_add(one, ABC, 0, "abc", 3, &e), 0);
	assert_int_equal(ckpt_store_find(two, ABC, 3, &part, &e), 0); /* a part is nobody else's */
	assert_int_equal(ckpt_store_finish(one, ABC, 3, &e), 0);
	assert_int_equal(ckpt_store_find(two, ABC, 3, &part, &e), 1);
	assert_int_equal(ckpt_store_path(dir, ID2, ABC, path, sizeof(path)), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_nlink, 2);
	ckpt_store_keep(one, abc, 1);
	assert_true(is_there(ID1, ABC));
	ckpt_store_keep(one, NULL, 0);
	assert_false(is_there(ID1, ABC));
	assert_true(is_there(ID2, ABC)); /* that one stays */
	ckpt_store_keep(two, NULL, 0);
	ckpt_store_free(one);
	ckpt_store_free(two);
}

static void the_reserve_is_kept(void **state)
{
	struct ckpt_room *room;
	struct ckpt_store *s;
	struct tv_err e;

	(void)state;
	assert_int_equal(ckpt_room_new(dir, 1 << 20, UINT64_MAX / 2, &room), 0);
	s = store_of(ID1, room);
	assert_int_equal(ckpt_store_add(s, ABC, 0, "abc", 3, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "reserve_mib"));
	ckpt_store_keep(s, NULL, 0);
	ckpt_store_free(s);
	ckpt_room_free(room);
}

/* ---- what a peer asks for (replicator/sink/copies.c) ---- */

static int never(void *arg, const struct hv_host_file *f, struct tv_err *e)
{
	(void)arg;
	(void)f;
	return tv_fail(e, -EPERM, "no");
}
static const struct hv_host_ops ops = {.check = never};

static int open_copies(const char *text, uint64_t limit_bytes, struct hv_standby_conf *standby,
		       struct copies **out, struct tv_err *e)
{
	json_t *desc = json_loads(text, 0, NULL);
	struct copies_conf conf = {
		.dir = dir, .vm_id = ID1, .limit_bytes = limit_bytes, .standby = standby};
	int rc;

	*standby = (struct hv_standby_conf){.host = &ops, .media = "/nowhere"};
	assert_non_null(desc);
	rc = copies_open(desc, &conf, out, e);
	json_decref(desc);
	return rc;
}

static void a_bad_description_is_refused(void **state)
{
	static const char *const bad[] = {
		"{\"copies\":[1]}",
		"{\"copies\":[{\"path\":\"/a\",\"bytes\":1}]}",
		"{\"copies\":[{\"path\":\"a\",\"bytes\":1,\"sha256\":\"" ABC "\"}]}",
		"{\"copies\":[{\"path\":\"/a\",\"bytes\":-1,\"sha256\":\"" ABC "\"}]}",
		"{\"copies\":[{\"path\":\"/a\",\"bytes\":1,\"sha256\":\"../" ABC "\"}]}",
		"{\"copies\":[{\"path\":\"/a\",\"bytes\":9223372036854775807,\"sha256\":\"" ABC
		"\"},{\"path\":\"/b\",\"bytes\":9223372036854775807,\"sha256\":\"" ABC "\"}]}",
	};
	struct hv_standby_conf standby;
	struct copies *c;
	char many[8192] = "{\"copies\":[";
	struct tv_err e;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(open_copies(bad[i], 1000, &standby, &c, &e), TV_E_PROTOCOL);
	for (unsigned i = 0; i <= HV_MAX_FILES; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many),
			 "%s{\"path\":\"/%u\",\"bytes\":1,\"sha256\":\"" ABC "\"}", i ? "," : "",
			 i);
	strcat(many, "]}");
	assert_int_equal(open_copies(many, 1000, &standby, &c, &e), TV_E_PROTOCOL);
	assert_int_equal(open_copies("{}", 1000, &standby, &c, &e), 0); /* of an older host */
	copies_free(c);
}

static void no_more_is_taken_than_asked_for(void **state)
{
	static const char text[] =
		"{\"copies\":[{\"path\":\"/a\",\"bytes\":3,\"sha256\":\"" ABC "\"}]}";
	struct hv_standby_conf standby;
	struct copies_want want;
	struct copies *c;
	struct tv_err e;

	(void)state;
	assert_int_equal(open_copies(text, 2, &standby, &c, &e), 0);
	assert_int_equal(copies_next(c, &want, &e), -EFBIG);
	assert_non_null(strstr(e.text, "files_mib"));
	copies_free(c);
	assert_int_equal(open_copies(text, 1000, &standby, &c, &e), 0);
	assert_int_equal(copies_add(c, "a", 1, &e), TV_E_PROTOCOL); /* nothing was */
	assert_int_equal(copies_next(c, &want, &e), 1);
	assert_int_equal(want.bytes, 3);
	assert_int_equal(copies_add(c, "ab", 2, &e), 0);
	assert_int_equal(copies_add(c, "cd", 2, &e), TV_E_PROTOCOL);
	assert_int_equal(copies_add(c, "c", 1, &e), 1);
	assert_int_equal(copies_next(c, &want, &e), 0);
	assert_true(copies_are_new(c));
	assert_int_equal(standby.n_copies, 1);
	assert_non_null(strstr(standby.copies[0], ID1 "-file-" ABC));
	copies_free(c);
	assert_int_equal(open_copies(text, 1000, &standby, &c, &e), 0);
	assert_int_equal(copies_next(c, &want, &e), 0); /* kept between sessions */
	assert_false(copies_are_new(c));
	copies_remove(c);
	copies_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_made_in_parts),
		cmocka_unit_test(other_contents_are_refused),
		cmocka_unit_test(vms_share_a_file),
		cmocka_unit_test(the_reserve_is_kept),
		cmocka_unit_test(a_bad_description_is_refused),
		cmocka_unit_test(no_more_is_taken_than_asked_for),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
