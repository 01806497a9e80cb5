/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon gives to the sinks' user, and what it does not. */
#include "daemon_kit.h"

#include <sys/stat.h>
#include <sys/un.h>

#define NOBODY 65534
#define STRANGER 12345

static void prepare(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(d.conf.sink_user, "nobody");
	strcpy(d.conf.host, "hostB");
	kit_path(d.conf.replica_dir, sizeof(d.conf.replica_dir), "disks");
	kit_path(d.conf.socket, sizeof(d.conf.socket), "sock");
	tv_copy(a.sun_path, sizeof(a.sun_path), d.conf.socket);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
}

static struct stat stat_of(const char *name)
{
	char path[300];
	struct stat st = {0};

	kit_path(path, sizeof(path), name);
	assert_int_equal(lstat(path, &st), 0);
	return st;
}

static void make_file(const char *name)
{
	char path[300];

	kit_path(path, sizeof(path), name);
	assert_int_equal(tv_write_file(path, "x", 1), 0);
}

static void the_way_is_open_and_the_contents_are_not(void **state)
{
	struct tv_err e = {0};

	(void)state;
	prepare();
	assert_int_equal(folders_make(&d.conf, &e), 0);
	assert_int_equal(stat_of("").st_mode & 07777, 0711);
	assert_int_equal(stat_of("run").st_mode & 07777, 0711);
	assert_int_equal(stat_of("vms").st_mode & 07777, 0700);
	assert_int_equal(stat_of("kept").st_mode & 07777, 0700);
	assert_int_equal(stat_of("generations").st_mode & 07777, 0700);
}

static void replicas_are_handed_over_once(void **state)
{
	char path[300], to[300];
	struct tv_err e = {0};

	(void)state;
	if (geteuid())
		skip(); /* chown */
	prepare();
	assert_int_equal(folders_make(&d.conf, &e), 0);
	assert_int_equal(tv_mkdirs(d.conf.replica_dir), 0);
	make_file("disks/a-0.raw");
	make_file("secret");
	make_file("twice");
	kit_path(to, sizeof(to), "secret");
	kit_path(path, sizeof(path), "disks/link");
	assert_int_equal(symlink(to, path), 0);
	kit_path(to, sizeof(to), "twice");
	kit_path(path, sizeof(path), "disks/twice");
	assert_int_equal(link(to, path), 0);
	folders_give(&d.conf);
	assert_int_equal(stat_of("disks").st_uid, NOBODY);
	assert_int_equal(stat_of("disks").st_mode & 07777, 0711);
	assert_int_equal(stat_of("disks/a-0.raw").st_uid, NOBODY);
	assert_int_equal(stat_of("sock").st_mode & 0777, 0660);
	assert_int_equal(stat_of("sock").st_uid, 0);
	assert_int_equal(stat_of("sock").st_gid, NOBODY);
	/* Neither what a link leads to, nor what has another name elsewhere. */
	assert_int_equal(stat_of("secret").st_uid, 0);
	assert_int_equal(stat_of("twice").st_uid, 0);
	/* From now on the folder is that user's: what it finds a way to put there stays whose it
	 * is. */
	make_file("disks/later");
	folders_give(&d.conf);
	assert_int_equal(stat_of("disks/later").st_uid, 0);
}

static void another_users_folder_is_left_alone(void **state)
{
	struct tv_err e = {0};

	(void)state;
	if (geteuid())
		skip();
	prepare();
	assert_int_equal(folders_make(&d.conf, &e), 0);
	assert_int_equal(tv_mkdirs(d.conf.replica_dir), 0);
	assert_int_equal(chown(d.conf.replica_dir, STRANGER, STRANGER), 0);
	make_file("disks/a-0.raw");
	folders_give(&d.conf);
	assert_int_equal(stat_of("disks").st_uid, STRANGER);
	assert_int_equal(stat_of("disks/a-0.raw").st_uid, 0);
	/* Without such a user nothing changes. */
	strcpy(d.conf.sink_user, "no-such-user");
	folders_give(&d.conf);
	assert_int_equal(stat_of("disks").st_uid, STRANGER);
	assert_int_equal(stat_of("sock").st_gid, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_way_is_open_and_the_contents_are_not),
		T(replicas_are_handed_over_once),
		T(another_users_folder_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
