/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a standby's QEMU may do on its host: its user, its files, its cage. */
#include "hv/host/cage.h"
#include "hv/host/files.h"
#include "hv/host/host.h"
#include "hv/qemu/qemu.h"
#include "tests/unit/hv_host_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static void test_user(void **state)
{
	struct hv_host_user u;
	struct tv_err e = {0};

	(void)state;
	need_root();
	assert_int_equal(hv_host_user_find("nobody-of-that-name", &u, &e), -ENOENT);
	assert_non_null(strstr(e.text, "useradd --system"));
	assert_non_null(strstr(e.text, "standby_user"));
	assert_int_equal(hv_host_user_find("root", &u, &e), TV_E_REFUSED);
	assert_int_equal(hv_host_user_find("", &u, &e), -EINVAL);
	assert_true(vm_user.uid && vm_user.gid && vm_user.n_groups >= 1);
	for (unsigned i = 0; i < vm_user.n_groups; i++)
		assert_int_not_equal(vm_user.groups[i], 0);
	assert_int_equal(hv_host_user_try(&vm_user, "/etc/passwd", O_RDONLY), 0);
	assert_int_equal(hv_host_user_try(&vm_user, "/etc/passwd", O_RDWR), -EACCES);
	assert_int_equal(hv_host_user_try(&vm_user, "/etc/shadow", O_RDONLY), -EACCES);
	assert_int_equal(hv_host_user_try(&vm_user, "/none", O_RDONLY), -ENOENT);
}

/* What QEMU's user may have put into its folder goes, and nothing that it points to. */
static void test_files(void **state)
{
	char dir[] = "/tmp/test_hv_host.XXXXXX", path[256], outside[128];
	struct tv_err e = {0};
	struct stat st;

	(void)state;
	need_root();
	assert_non_null(mkdtemp(dir));
	put(dir, "standby.log", "");
	put(dir, "standby.qmp", "");
	put(dir, "outside", "");
	put(dir, "promoted", "");
	assert_int_equal(hv_host_make_folder(dir, HV_HOST_FOLDER_NAME, &vm_user, &e), -EACCES);
	assert_non_null(strstr(e.text, "chmod o+x"));
	hv_host_remove_files(dir, false);
	hv_host_let_pass(dir);
	put(dir, "standby.qmp", "");
	assert_int_equal(hv_host_make_folder(dir, HV_HOST_FOLDER_NAME, &vm_user, &e), 0);
	snprintf(path, sizeof(path), "%s/vm", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_uid == vm_user.uid && (st.st_mode & 0777) == 0700);
	assert_int_equal(hv_host_make_folder(dir, HV_HOST_FOLDER_NAME, &vm_user, &e), -EEXIST);
	put(dir, "vm/s.log", "");
	snprintf(path, sizeof(path), "%s/vm/deep/er", dir);
	assert_int_equal(tv_mkdirs(path), 0);
	put(dir, "vm/deep/er/file", "");
	snprintf(path, sizeof(path), "%s/vm/link", dir);
	assert_int_equal(symlink("..", path), 0);
	hv_host_remove_files(dir, false);
	assert_false(has(dir, "vm") || has(dir, "standby.qmp"));
	assert_true(has(dir, "standby.log") && has(dir, "outside") && has(dir, "promoted"));
	/* A link in the folder's place. */
	snprintf(outside, sizeof(outside), "%s/other", dir);
	assert_int_equal(mkdir(outside, 0700), 0);
	put(outside, "file", "");
	snprintf(path, sizeof(path), "%s/vm", dir);
	assert_int_equal(symlink(outside, path), 0);
	assert_int_not_equal(hv_host_make_folder(dir, HV_HOST_FOLDER_NAME, &vm_user, &e), 0);
	hv_host_remove_files(dir, true);
	assert_true(has(outside, "file"));
	assert_false(has(dir, "standby.log"));
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/file", outside);
	unlink(path);
	rmdir(outside);
	snprintf(path, sizeof(path), "%s/outside", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/promoted", dir);
	unlink(path);
	assert_int_equal(rmdir(dir), 0);
}

static void test_image(void **state)
{
	char dir[] = "/tmp/test_hv_host.XXXXXX", path[128], other[128];
	struct tv_err e = {0};
	struct stat st;

	(void)state;
	need_root();
	assert_non_null(mkdtemp(dir));
	put(dir, "a-0.raw", "x");
	snprintf(path, sizeof(path), "%s/a-0.raw", dir);
	snprintf(other, sizeof(other), "%s/a-1.raw", dir);
	assert_int_equal(chmod(path, 0600), 0);
	/* Its folder is closed to that user. */
	assert_int_equal(hv_host_give_image(path, &vm_user, &e), -EACCES);
	assert_non_null(strstr(e.text, "chmod o+x"));
	hv_host_let_pass(dir);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0711);
	assert_int_equal(hv_host_give_image(path, &vm_user, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_uid == geteuid() && st.st_gid == vm_user.gid);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(hv_host_give_image(path, &vm_user, &e), 0);
	/* Second names, links and other people's files are not given away. */
	assert_int_equal(link(path, other), 0);
	assert_int_equal(hv_host_give_image(other, &vm_user, &e), -EPERM);
	assert_int_equal(unlink(other), 0);
	assert_int_equal(symlink(path, other), 0);
	assert_int_equal(hv_host_give_image(other, &vm_user, &e), -ELOOP);
	assert_int_equal(unlink(other), 0);
	assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
	assert_int_equal(hv_host_give_image(path, &vm_user, &e), -EPERM);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

/* Runs a shell's line as a standby's QEMU would run; what it prints is in log. */
static void run_line(const char *line, const char *log, const int *fds, unsigned n_fds, int cage)
{
	char *argv[] = {"/bin/sh", "-c", (char *)line, NULL};
	struct tv_err e = {0};
	int pidfd;
	pid_t pid;

	assert_int_equal(spawn(argv, log, fds, n_fds, cage, &pid, &pidfd, &e), 0);
	assert_true(hv_pidfd_ended(pidfd, 20000));
	close(pidfd);
}

static void test_spawn(void **state)
{
	char dir[] = "/tmp/test_hv_host.XXXXXX", log[128], want[512];
	char *none[] = {"/nowhere/x", NULL}, *tail[] = {"/usr/bin/tail", "-f", "/dev/null", NULL};
	struct tv_err e = {0};
	int pidfd = -1, leak, fds[2];
	pid_t pid;

	(void)state;
	need_root();
	assert_non_null(mkdtemp(dir));
	snprintf(log, sizeof(log), "%s/standby.log", dir);
	/* No rights, and of our open files just those that go along; this one has no close-on-exec. */
	leak = open("/dev/null", O_RDONLY);
	assert_int_equal(pipe(fds), 0);
	run_line("echo $PPID; pwd; umask; id -u; id -g; "
		 "grep -E '^(Cap...|NoNewPrivs):' /proc/$$/status | tr '\t' ' '; "
		 "ls /proc/$$/fd; "
		 "echo x >&4",
		 log, fds, 2, -1);
	snprintf(want, sizeof(want),
		 "1\n/\n0077\n%u\n%u\n"
		 "CapInh: 0000000000000000\nCapPrm: 0000000000000000\n"
		 "CapEff: 0000000000000000\nCapBnd: 0000000000000000\n"
		 "CapAmb: 0000000000000000\nNoNewPrivs: 1\n0\n1\n2\n3\n4\n",
		 (unsigned)vm_user.uid, (unsigned)vm_user.gid);
	must_hold(log, want);
	assert_int_equal(read(fds[0], want, 2), 2); /* its 4 was fds[1] */
	close(leak);
	close(fds[0]);
	close(fds[1]);
	/* A missing program. */
	assert_int_equal(spawn(none, log, NULL, 0, -1, &pid, &pidfd, &e), -ENOENT);
	assert_non_null(strstr(e.text, "twinvm-vm"));
	assert_int_equal(pidfd, -1);
	assert_int_equal(spawn(tail, log, NULL, 0, -1, &pid, &pidfd, &e), 0);
	assert_false(hv_pidfd_ended(pidfd, 0));
	assert_int_equal(hv_pidfd_kill(pidfd, 20000), 0);
	assert_int_equal(hv_pidfd_kill(pidfd, 20000), 0);
	close(pidfd);
	assert_int_equal(spawn(tail, "/nowhere/log", NULL, 0, -1, &pid, &pidfd, &e), -ENOENT);
	unlink(log);
	assert_int_equal(rmdir(dir), 0);
}

/* Two processes of one user: in its cage one sees neither the other's files nor its memory. */
static void test_cage(void **state)
{
	char dir[] = "/tmp/test_hv_host.XXXXXX", log[128], mine[128], other[128], line[768];
	char *tail[] = {"/usr/bin/tail", "-f", "/dev/null", NULL};
	const char *open_files[] = {mine};
	struct hv_host_cage c = {.closed = {dir, "/nowhere"}, .open = open_files, .n_open = 1};
	struct tv_err e = {0};
	int cage, pidfd;
	pid_t pid;

	(void)state;
	need_root();
	assert_non_null(mkdtemp(dir));
	hv_host_let_pass(dir);
	snprintf(log, sizeof(log), "%s/standby.log", dir);
	snprintf(mine, sizeof(mine), "%s/mine", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	put(dir, "mine", "mine\n");
	put(dir, "other", "other\n");
	assert_true(!chmod(mine, 0666) && !chmod(other, 0666));
	cage = hv_host_cage_new(&c);
	if (cage == -EOPNOTSUPP)
		skip(); /* a kernel without Landlock */
	assert_true(cage >= 0);
	assert_int_equal(spawn(tail, log, NULL, 0, -1, &pid, &pidfd, &e), 0);
	snprintf(line, sizeof(line),
		 "exec 2>/dev/null; cat %s; echo more >>%s && echo written; cat %s; echo no >>%s; "
		 "head -c 1 /etc/passwd >/dev/null && echo passwd; "
		 "head -c 1 /proc/self/stat >/dev/null && echo proc; "
		 "cat /proc/%d/maps && echo maps; readlink /proc/%d/fd/0",
		 mine, mine, other, other, (int)pid, (int)pid);
	run_line(line, log, NULL, 0, cage);
	must_hold(log, "mine\nwritten\npasswd\nproc\n");
	/* The same line without the cage. */
	run_line("exec 2>/dev/null; cd /; cat \"$0\"", log, NULL, 0, -1);
	snprintf(line, sizeof(line), "cat %s; cat /proc/%d/maps >/dev/null && echo maps", other,
		 (int)pid);
	run_line(line, log, NULL, 0, -1);
	must_hold(log, "other\nmaps\n");
	assert_int_equal(hv_pidfd_kill(pidfd, 20000), 0);
	close(pidfd);
	close(cage);
	unlink(mine);
	unlink(other);
	unlink(log);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_user),  cmocka_unit_test(test_files),
		cmocka_unit_test(test_image), cmocka_unit_test(test_spawn),
		cmocka_unit_test(test_cage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
