/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The caller's end of `twinvm-libvirt qmp`. Linked into twinvmd: no libvirt here. */
#include "lv/lv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The program becomes a process of its own and returns: nobody has to wait for its end later. */
static int start(const char *path, const char *uuid, pid_t qemu, int fd)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	char number[16];
	const char *argv[] = {LV_PROGRAM, "qmp", uuid, number, NULL};
	sigset_t none;
	pid_t pid;
	int rc, status = 0;

	snprintf(number, sizeof(number), "%d", (int)qemu);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&at);
	posix_spawn_file_actions_adddup2(&fa, fd, 3);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&fa, 0, 1);
	posix_spawn_file_actions_addclosefrom_np(&fa, 4);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK);
	rc = -posix_spawn(&pid, path, &fa, &at, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&at);
	if (rc)
		return rc;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}

/* Its first line, byte by byte: what follows is QMP. */
static int read_line(int fd, int64_t until, char *line, size_t room)
{
	size_t n = 0;

	while (n + 1 < room) {
		int64_t left = (until - tv_now_ns()) / TV_NS_PER_MS;
		struct pollfd p = {fd, POLLIN, 0};
		ssize_t r;

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		r = recv(fd, line + n, 1, 0);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return -EPIPE;
		if (line[n] == '\n')
			break;
		n++;
	}
	line[n] = '\0';
	return 0;
}

int lv_qmp(const char *uuid, pid_t pid, int timeout_ms, int *fd, struct tv_err *e)
{
	int64_t until = tv_now_ns() + timeout_ms * TV_NS_PER_MS;
	char path[PATH_MAX], line[sizeof(e->text) + 16], *sentence;
	int pair[2], rc, status;

	*fd = -1;
	rc = lv_program(path, sizeof(path), e);
	if (rc)
		return rc;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return tv_fail(e, -errno, "socketpair: %s", strerror(errno));
	rc = start(path, uuid, pid, pair[1]);
	close(pair[1]);
	if (!rc)
		rc = read_line(pair[0], until, line, sizeof(line));
	if (rc) {
		close(pair[0]);
		return rc == -ETIMEDOUT
			       ? tv_fail(e, rc,
					 "libvirt did not answer within %d ms: does libvirtd "
					 "hang?",
					 timeout_ms)
			       : tv_fail(e, rc, "%s qmp: %s", path, tv_strerror(rc));
	}
	status = (int)strtol(line, &sentence, 10);
	tv_mend_utf8(line);
	if (status) {
		close(pair[0]);
		return tv_fail(e, lv_exit_code(status), "%s", sentence + (*sentence == ' '));
	}
	*fd = pair[0];
	return 0;
}
