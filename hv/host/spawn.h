/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting a QEMU that outlives us. Private to hv/host. */
#ifndef HV_HOST_SPAWN_H
#define HV_HOST_SPAWN_H

#include "common/common.h"

/*
 * Starts a program as a child of init, in its own session, with stdin from /dev/null,
 * stdout and stderr to log_path, and none of our other files. cwd is used when it exists.
 */
int hv_host_spawn(const char *path, char *const *argv, const char *cwd, const char *log_path,
		  pid_t *pid, int *pidfd, struct tv_err *e) TV_MUST_CHECK;

#endif
