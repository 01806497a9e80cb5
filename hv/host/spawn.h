/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting a QEMU that outlives us, with few rights. Private to hv/host. */
#ifndef HV_HOST_SPAWN_H
#define HV_HOST_SPAWN_H

#include "hv/host/cgroup.h"
#include "hv/host/user.h"

struct hv_host_spawn {
	const char *path;
	char *const *argv;
	const char *log_path;
	const int *fds; /* become its 3, 4, ...; -1: it has none there; and no others */
	unsigned n_fds;
	const struct hv_host_user *user;
	int cage_fd;			     /* -1: none */
	const struct hv_host_cgroup *cgroup; /* it is in it before it runs */
	uint64_t file_bytes;		     /* no file that it writes gets larger; 0: any size */
};
/*
 * Starts a program as a child of init, in its own session, in "/", with stdin from /dev/null,
 * stdout and stderr to log_path, and the rights of that user only.
 */
int hv_host_spawn(const struct hv_host_spawn *s, pid_t *pid, int *pidfd,
		  struct tv_err *e) TV_MUST_CHECK;

#endif
