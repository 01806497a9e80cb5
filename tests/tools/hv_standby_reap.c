/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hv_standby_reap QEMU ARGS...: the owner of a standby is killed, and hv_standby_reap takes the
 * standby away; then one is killed by its owner. Nothing is left behind. Exit status 0: all of it;
 * else the first failure is on stderr.
 */
#include "tests/tools/lib_hv_standby.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned ram_files(void)
{
	struct dirent *de;
	unsigned n = 0;
	DIR *d = opendir("/dev/shm");

	while (d && (de = readdir(d)))
		n += !strncmp(de->d_name, "twinvm", 6);
	if (d)
		closedir(d);
	return n;
}

int main(int argc, char **argv)
{
	unsigned before = ram_files();
	struct hv_vm_id id;
	json_t *desc;
	int fds[2];
	pid_t owner;

	MUST(argc > 1, "usage: %s QEMU ARGS...", argv[0]);
	sbed_start("hv_standby_reap", argv + 1, argc - 1);
	desc = sbed_describe();
	MUST(!pipe2(fds, O_CLOEXEC), "pipe");
	owner = fork();
	if (!owner) {
		struct hv_standby *sb = sbed_standby(desc);

		hv_standby_id(sb, &id);
		MUST(!tv_write_all(fds[1], &id, sizeof(id)), "pipe");
		for (;;)
			pause();
	}
	close(fds[1]);
	MUST(!tv_read_all(fds[0], &id, sizeof(id)), "no standby");
	kill(owner, SIGKILL);
	waitpid(owner, NULL, 0);
	MUST(tv_pid_start_ticks(id.pid) == id.start_ticks, "the standby died with its owner");
	MUST(ram_files() == before, "a RAM file is left");
	hv_standby_reap(id.pid, id.start_ticks + 1, bed.dir);
	MUST(tv_pid_start_ticks(id.pid) == id.start_ticks, "reaped by the wrong start time");
	int pidfd = (int)syscall(SYS_pidfd_open, id.pid, 0);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	MUST(pidfd >= 0 && poll(&p, 1, 0) == 0, "it does not live");
	hv_standby_reap(id.pid, id.start_ticks, sbed.run_dir);
	MUST(poll(&p, 1, 0) == 1, "it was not reaped");
	close(pidfd);
	MUST(sbed_files_left() == 0, "files are left");
	hv_standby_reap(id.pid, id.start_ticks, sbed.run_dir); /* again: nothing to do */

	/* By its owner. */
	struct hv_standby *sb = sbed_standby(desc);
	pidfd = p.fd = dup(hv_standby_pidfd(sb));
	MUST(poll(&p, 1, 0) == 0, "it does not live");
	hv_standby_kill(sb);
	hv_standby_kill(NULL);
	MUST(poll(&p, 1, 0) == 1, "it was not killed");
	MUST(sbed_files_left() == 0, "files are left");
	json_decref(desc);
	puts("ok");
	return 0;
}
