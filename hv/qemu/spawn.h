/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes: starting one that answers a question, and ending any. Private to hv/: see qemu.h. */
#ifndef HV_QEMU_SPAWN_H
#define HV_QEMU_SPAWN_H

#include "common/common.h"

/* Starts a program as our child, to be waited for, with fd as its stdin and stdout. */
int hv_spawn_on(const char *path, const char *const *argv, int fd, int err_fd,
		pid_t *pid) TV_MUST_CHECK;
/* SIGKILL, and waits until the process has ended. -ETIMEDOUT, -errno. */
int hv_pidfd_kill(int pidfd, int timeout_ms) TV_MUST_CHECK;
/* Has it ended? Waits at most timeout_ms. */
bool hv_pidfd_ended(int pidfd, int timeout_ms);

#endif
