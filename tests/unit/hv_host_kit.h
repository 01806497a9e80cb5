/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files, and processes with the user of standbys, for the tests of hv/host. */
#ifndef HV_HOST_KIT_H
#define HV_HOST_KIT_H

#include "hv/host/spawn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void put(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static inline bool has(const char *dir, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return !access(path, F_OK);
}

static struct hv_host_user vm_user; /* the one of standbys */

static inline void need_root(void)
{
	struct tv_err e;

	if (geteuid() || hv_host_user_find("twinvm-vm", &vm_user, &e))
		skip(); /* root, and the users of tests/deps.sh */
}

static inline void must_hold(const char *path, const char *want)
{
	char *text = NULL;

	assert_int_equal(tv_read_file(path, 1u << 16, &text, NULL), 0);
	assert_string_equal(text, want);
	free(text);
}

static inline int spawn(char *const *argv, const char *log, const int *fds, unsigned n_fds,
			int cage, pid_t *pid, int *pidfd, struct tv_err *e)
{
	struct hv_host_spawn s = {.path = argv[0],
				  .argv = argv,
				  .log_path = log,
				  .fds = fds,
				  .n_fds = n_fds,
				  .user = &vm_user,
				  .cage_fd = cage};

	return hv_host_spawn(&s, pid, pidfd, e);
}

#endif
