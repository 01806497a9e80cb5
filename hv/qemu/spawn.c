/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs that only answer a question, and the end of any process. */
#include "hv/qemu/spawn.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

int hv_spawn_on(const char *path, const char *const *argv, int fd, int err_fd, pid_t *pid)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none;
	int r;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&at);
	posix_spawn_file_actions_adddup2(&fa, fd, 0);
	posix_spawn_file_actions_adddup2(&fa, fd, 1);
	posix_spawn_file_actions_adddup2(&fa, err_fd, 2);
	posix_spawn_file_actions_addclosefrom_np(&fa, 3);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawn(pid, path, &fa, &at, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&at);
	return -r;
}

bool hv_pidfd_ended(int pidfd, int timeout_ms)
{
	int64_t deadline = tv_now_ns() + timeout_ms * TV_NS_PER_MS;

	for (;;) {
		struct pollfd p = {.fd = pidfd, .events = POLLIN};
		int64_t left = deadline - tv_now_ns();
		int r = poll(&p, 1, left > 0 ? (int)(left / TV_NS_PER_MS) + 1 : 0);

		if (r >= 0 || errno != EINTR)
			return r > 0;
	}
}

int hv_pidfd_kill(int pidfd, int timeout_ms)
{
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) && errno != ESRCH)
		return -errno;
	return hv_pidfd_ended(pidfd, timeout_ms) ? 0 : -ETIMEDOUT;
}
