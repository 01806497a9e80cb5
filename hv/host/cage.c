/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Landlock knows only what is allowed, and what a QEMU may need of its host is not known in full:
 * libraries, firmware, modules, media, what an operator plugs in later. So all is allowed but what
 * lies in the folders of twinvm, where the other VMs' images and sockets are: at each level from
 * the root down to a closed folder everything beside the way is allowed. What is made beside the
 * way later is not, but for what is made further down. File owners and modes count as ever.
 *
 * A process inside cannot trace, or read the memory of, one outside, nor (from Linux 6.12 on) send
 * it a signal.
 */
#include "hv/host/cage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/landlock.h of the kernels that are asked, not of the one that this is built with. */
struct rules_attr {
	uint64_t fs, net, scoped;
};
struct beneath_attr {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));
#define CREATE_VERSION 1
#define RULE_BENEATH 1
#define FS_EXECUTE (UINT64_C(1) << 0)
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_FIRST_VERSION ((UINT64_C(1) << 13) - 1)
#define FS_REFER (UINT64_C(1) << 13)	/* version 2 */
#define FS_TRUNCATE (UINT64_C(1) << 14) /* version 3 */
#define SCOPE_VERSION 6
#define SCOPE_ABSTRACT_SOCKETS (UINT64_C(1) << 0)
#define SCOPE_SIGNALS (UINT64_C(1) << 1)

struct work {
	int fd;
	uint64_t rights;
	char *closed[4];
	unsigned n_closed;
};

static int allow(const struct work *w, const char *path)
{
	TV_CLOSE int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct beneath_attr a = {.allowed = w->rights, .parent_fd = fd};
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return errno == ENOENT ? 0 : -errno; /* it has just been removed */
	if (S_ISLNK(st.st_mode))
		return 0; /* where it leads to is looked at when it is met there */
	if (!S_ISDIR(st.st_mode))
		a.allowed &= FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE;
	return syscall(SYS_landlock_add_rule, w->fd, RULE_BENEATH, &a, 0) ? -errno : 0;
}

/* 0 beside the way, 1 on the way to a closed folder, 2 it is one. */
static int where(const struct work *w, const char *path)
{
	size_t n = strlen(path);
	int on_way = 0;

	for (unsigned i = 0; i < w->n_closed; i++) {
		if (!strcmp(w->closed[i], path))
			return 2;
		on_way |= !strncmp(w->closed[i], path, n) && w->closed[i][n] == '/';
	}
	return on_way;
}

/* All inside a folder that leads to a closed one. top: "" for the root. */
static int allow_beside(const struct work *w, const char *top)
{
	char path[PATH_MAX];
	struct dirent *de;
	DIR *d = opendir(*top ? top : "/");
	int rc = d ? 0 : -errno;

	while (!rc && d && (de = readdir(d))) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", top, de->d_name) >= (int)sizeof(path))
			continue;
		switch (where(w, path)) {
		case 0:
			rc = allow(w, path);
			break;
		case 1:
			rc = allow_beside(w, path);
			break;
		}
	}
	if (d)
		closedir(d);
	return rc;
}

int hv_host_cage_new(const struct hv_host_cage *c)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
	struct rules_attr a = {.fs = FS_FIRST_VERSION};
	struct work w = {.fd = -1};
	int rc = 0;

	if (version < 1)
		return -EOPNOTSUPP;
	a.fs |= (version >= 2 ? FS_REFER : 0) | (version >= 3 ? FS_TRUNCATE : 0);
	if (version >= SCOPE_VERSION)
		a.scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS;
	w.rights = a.fs;
	/* An older kernel takes a longer struct as long as the rest is zero. */
	w.fd = (int)syscall(SYS_landlock_create_ruleset, &a, sizeof(a), 0);
	if (w.fd < 0)
		return -errno;
	for (unsigned i = 0; i < sizeof(c->closed) / sizeof(*c->closed); i++) {
		char *real = c->closed[i] ? realpath(c->closed[i], NULL) : NULL;

		if (real)
			w.closed[w.n_closed++] = real;
		else if (c->closed[i] && errno != ENOENT)
			rc = rc ? rc : -errno;
	}
	if (!rc)
		rc = allow_beside(&w, "");
	for (unsigned i = 0; i < c->n_open && !rc; i++)
		rc = allow(&w, c->open[i]);
	for (unsigned i = 0; i < w.n_closed; i++)
		free(w.closed[i]);
	if (rc)
		tv_close_fd(&w.fd);
	return rc ? rc : w.fd;
}

int hv_host_cage_enter(int fd)
{
	return syscall(SYS_landlock_restrict_self, fd, 0) ? -errno : 0;
}
