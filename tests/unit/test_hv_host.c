/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a standby needs rights for: its process, its memory, its taps, its run directory. */
#include "hv/host/files.h"
#include "hv/host/host.h"
#include "hv/host/spawn.h"
#include "hv/host/taps.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static bool has(const char *dir, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return !access(path, F_OK);
}

static void test_files(void **state)
{
	char dir[] = "/tmp/test_hv_host.XXXXXX", serial[128], qmp[128], sub[128];
	char *argv[] = {"q", "-serial", serial, "-qmp", qmp, "-kernel", "/other/k", NULL};
	struct tv_err e = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(serial, sizeof(serial), "file:%s/s.log", dir);
	snprintf(qmp, sizeof(qmp), "unix:%s/standby.qmp,server=on", dir);
	assert_int_equal(hv_host_note_files(dir, argv, &e), 0);
	put(dir, "s.log", "");
	put(dir, "standby.qmp", "");
	put(dir, "others", "");
	put(dir, "standby.log", "one\n");
	hv_host_remove_files(dir, false);
	assert_false(has(dir, "s.log") || has(dir, "standby.qmp") || has(dir, "standby.files"));
	assert_true(has(dir, "others") && has(dir, "standby.log"));
	/* A list that was tampered with does not reach outside. */
	snprintf(sub, sizeof(sub), "%s/sub", dir);
	assert_int_equal(mkdir(sub, 0700), 0);
	put(dir, "standby.files", "../others\n..\nothers/x\n");
	hv_host_remove_files(sub, true);
	hv_host_remove_files(dir, true);
	assert_true(has(dir, "others"));
	assert_false(has(dir, "standby.log"));
	put(dir, "standby.files", "others\n");
	hv_host_remove_files(dir, true);
	assert_false(has(dir, "others"));
	rmdir(sub);
	assert_int_equal(rmdir(dir), 0);
}

static void must_hold(const char *path, const char *want)
{
	char *text = NULL;

	assert_int_equal(tv_read_file(path, 1u << 16, &text, NULL), 0);
	assert_string_equal(text, want);
	free(text);
}

static void test_detached(void **state)
{
	char dir[] = "/tmp/test_hv_host.XXXXXX", log[128], cmd[512], want[128];
	char *sh[] = {"sh", "-c", cmd, NULL}, *tail[] = {"tail", "-f", "/dev/null", NULL};
	struct tv_err e = {0};
	int pidfd = -1, leak;
	pid_t pid;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(log, sizeof(log), "%s/standby.log", dir);
	/* Our open file without close-on-exec is not inherited either. */
	leak = open("/dev/null", O_RDONLY);
	snprintf(cmd, sizeof(cmd),
		 "read x; echo \"$(pwd) $PPID\"; "
		 "test -e /proc/self/fd/%d || echo clean; ps -o sid= -p $$ | tr -d ' ' >&2",
		 leak);
	assert_int_equal(hv_host_spawn("/bin/sh", sh, "/tmp", log, &pid, &pidfd, &e), 0);
	assert_true(hv_pidfd_ended(pidfd, 20000));
	close(pidfd);
	snprintf(want, sizeof(want), "/tmp 1\nclean\n%d\n", (int)pid);
	must_hold(log, want);
	close(leak);
	/* A missing program, and a missing folder to run in. */
	assert_int_equal(hv_host_spawn("/nowhere/x", sh, "/", log, &pid, &pidfd, &e), -ENOENT);
	assert_int_equal(pidfd, -1);
	assert_int_equal(hv_host_spawn("/usr/bin/tail", tail, "/nowhere", log, &pid, &pidfd, &e),
			 0);
	assert_false(hv_pidfd_ended(pidfd, 0));
	assert_int_equal(hv_pidfd_kill(pidfd, 20000), 0);
	assert_int_equal(hv_pidfd_kill(pidfd, 20000), 0);
	close(pidfd);
	assert_int_equal(hv_host_spawn("/bin/sh", sh, "/", "/nowhere/log", &pid, &pidfd, &e),
			 -ENOENT);
	unlink(log);
	assert_int_equal(rmdir(dir), 0);
}

/* Any program does; it waits until it is killed. */
static void test_ops(void **state)
{
	char dir[] = "/tmp/test_hv_host.XXXXXX", log[128];
	char *argv[] = {"sh", "-c", "echo up; exec tail -f /dev/null", NULL};
	char *bad[] = {"sh", "-c", "echo no; exit 3", NULL};
	struct hv_host_conf conf = {.dir = dir};
	struct hv_host_start what = {.binary = "/bin/sh", .argv = argv};
	const struct hv_host_ops *ops = &hv_host_ops;
	struct hv_host_qemu q;
	struct hv_maps maps;
	struct hv_host *h;
	struct tv_err e = {0};
	uint64_t word;
	char byte;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(log, sizeof(log), "%s/standby.log", dir);
	assert_int_equal(hv_host_new(&conf, &h, &e), 0);
	assert_int_equal(ops->taps(h, &e), TV_E_GONE);
	assert_int_equal(ops->signal(h, SIGKILL), 0); /* nothing runs: no error */
	assert_int_equal(ops->start(h, &what, &q, &e), 0);
	assert_int_equal(q.start_ticks, tv_pid_start_ticks(q.pid));
	assert_false(hv_pidfd_ended(q.pidfd, 0));
	/* Its memory, as it is mapped. */
	assert_int_equal(hv_maps_read_fd(q.fds.maps, &maps), 0);
	assert_true(maps.n > 3);
	assert_int_equal(pread(q.fds.mem, &word, 8, (off_t)maps.map[0].start), 8);
	assert_memory_equal(&word, "\177ELF", 4);
	assert_int_equal(pread(q.fds.exe, &word, 8, 0), 8);
	assert_memory_equal(&word, "\177ELF", 4);
	hv_maps_dispose(&maps);
	/* What it prints. */
	while (pread(q.log_fd, &byte, 1, 2) < 1)
		;
	must_hold(log, "up\n");
	assert_int_equal(ops->qmp(h, &fd, &e), -ENOENT);
	assert_int_equal(ops->taps(h, &e), 0); /* it has none */
	assert_int_equal(ops->signal(h, SIGTERM), -EINVAL);
	assert_int_equal(ops->signal(h, SIGSTOP), 0);
	assert_int_equal(ops->signal(h, SIGCONT), 0);
	assert_int_equal(ops->signal(h, SIGKILL), 0);
	assert_true(hv_pidfd_ended(q.pidfd, 20000));
	assert_int_equal(pread(q.fds.mem, &word, 8, 4096), 0);
	assert_int_equal(ops->signal(h, SIGKILL), 0);
	assert_int_equal(ops->taps(h, &e), TV_E_GONE);
	hv_host_qemu_dispose(&q);
	/* One that ends at once: what it printed can be read. */
	what.argv = bad;
	what.again = true;
	assert_int_equal(ops->start(h, &what, &q, &e), 0);
	assert_true(hv_pidfd_ended(q.pidfd, 20000));
	must_hold(log, "no\n");
	hv_host_qemu_dispose(&q);
	hv_host_qemu_dispose(&q);
	what.binary = "/nowhere/x";
	assert_int_equal(ops->start(h, &what, &q, &e), -ENOENT);
	hv_host_qemu_dispose(&q);
	ops->clean(h, true);
	hv_host_free(h);
	hv_host_free(NULL);
	assert_int_equal(rmdir(dir), 0);
	conf.bridge = "a-name-that-is-too-long";
	assert_int_equal(hv_host_new(&conf, &h, &e), -EINVAL);
}

static void test_reap(void **state)
{
	char dir[] = "/tmp/test_hv_host.XXXXXX", log[128];
	char *argv[] = {"tail", "-f", "/dev/null", NULL};
	struct tv_err e = {0};
	uint64_t ticks;
	int pidfd;
	pid_t pid;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(log, sizeof(log), "%s/standby.log", dir);
	assert_int_equal(hv_host_spawn("/usr/bin/tail", argv, "/", log, &pid, &pidfd, &e), 0);
	ticks = tv_pid_start_ticks(pid);
	hv_host_reap(pid, ticks + 1, dir); /* another process's time */
	assert_false(hv_pidfd_ended(pidfd, 0));
	assert_false(has(dir, "standby.log"));
	hv_host_reap(pid, ticks, dir);
	assert_true(hv_pidfd_ended(pidfd, 0));
	hv_host_reap(0, 0, dir);
	close(pidfd);
	assert_int_equal(rmdir(dir), 0);
}

static bool is_up(const char *tap)
{
	char path[64], *text = NULL;
	bool up;

	snprintf(path, sizeof(path), "/sys/class/net/%s/flags", tap);
	assert_int_equal(tv_read_file(path, 64, &text, NULL), 0);
	up = strtoul(text, NULL, 16) & 1;
	free(text);
	return up;
}

/* One tap that is missing does not keep another one down. */
static void test_taps(void **state)
{
	const char taps[2][IFNAMSIZ] = {"tvhh-none", "tvhh0"};
	struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	struct tv_err e = {0};
	int fd;

	(void)state;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	strcpy(r.ifr_name, taps[1]);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r))
		skip(); /* not root */
	assert_int_equal(hv_host_taps_up(taps, 2, "tvhh-nobr", &e), -ENODEV);
	assert_non_null(strstr(e.text, "tvhh-none"));
	assert_true(is_up(taps[1]));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files), cmocka_unit_test(test_detached),
		cmocka_unit_test(test_ops),   cmocka_unit_test(test_reap),
		cmocka_unit_test(test_taps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
