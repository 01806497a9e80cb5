/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Folders and the socket, as processes without rights need them. A sink runs as sink_user: it has
 * the folder of replicas for its own, passes through state_dir and run_dir, and may connect to the
 * socket, where it can register and nothing else (register.c). What root keeps in the other two is
 * in folders, or in files, that only root can read.
 *
 * What lies in the folder of replicas is the sinks' to change, so root opens nothing in it. Images
 * of a version whose sinks were root are handed over once, with the folder.
 */
#include "daemon/daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASS_MODE 0711

struct user {
	uid_t uid;
	gid_t gid;
};

/* Root's, and to be passed through. */
static int make_passable(const char *path, struct tv_err *e)
{
	int rc = tv_mkdirs(path);

	if (!rc && chmod(path, PASS_MODE))
		rc = -errno;
	return rc ? tv_fail(e, rc, "%s: %s", path, tv_strerror(rc)) : 0;
}

/* Only while root alone can put files there. */
static void hand_over_files(int dir_fd, const struct user *u)
{
	int fd = dup(dir_fd);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *ent;
	struct stat st;

	if (!d) {
		tv_close_fd(&fd);
		return;
	}
	while ((ent = readdir(d)))
		if (!fstatat(dir_fd, ent->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    S_ISREG(st.st_mode) && st.st_nlink == 1 &&
		    fchownat(dir_fd, ent->d_name, u->uid, u->gid, AT_SYMLINK_NOFOLLOW))
			tv_log(TV_WARN, "%s in the folder of replicas: chown: %s", ent->d_name,
			       strerror(errno));
	closedir(d);
}

static int give_replica_dir(const char *path, const struct user *u, struct tv_err *e)
{
	TV_CLOSE int fd = -1;
	struct stat st;
	int rc = tv_mkdirs(path);

	if (rc)
		return tv_fail(e, rc, "%s: %s", path, tv_strerror(rc));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return tv_fail(e, -errno, "%s: %s", path, strerror(errno));
	if (st.st_uid == u->uid)
		return 0;
	if (st.st_uid)
		return tv_fail(e, -EPERM,
			       "%s belongs to user %u, and sinks run as user %u: chown -R it, or "
			       "change sink_user",
			       path, (unsigned)st.st_uid, (unsigned)u->uid);
	hand_over_files(fd, u);
	if (fchmod(fd, PASS_MODE) || fchown(fd, u->uid, u->gid))
		return tv_fail(e, -errno, "%s: chown: %s", path, strerror(errno));
	return 0;
}

/* The first folder on the way to path that the user cannot pass; "": there is none. */
static void find_closed(const char *path, const struct user *u, char at[PATH_MAX])
{
	struct stat st;

	for (const char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		snprintf(at, PATH_MAX, "%.*s", (int)(p - path), path);
		if (stat(at, &st))
			continue;
		if (!(st.st_mode & (st.st_uid == u->uid	  ? S_IXUSR
				    : st.st_gid == u->gid ? S_IXGRP
							  : S_IXOTH)))
			return;
	}
	at[0] = 0;
}

static void warn_if_closed(const struct config *c, const char *path, const struct user *u)
{
	char at[PATH_MAX];

	find_closed(path, u, at);
	if (at[0])
		tv_log(TV_ERROR,
		       "%s: user %s cannot reach %s: chmod o+x %s; until then no other host can "
		       "be protected here",
		       c->host, c->sink_user, path, at);
}

int folders_make(const struct config *c, struct tv_err *e)
{
	static const char *const roots[] = {"vms", "kept", "generations"};
	char path[256];
	int rc = make_passable(c->state_dir, e);

	for (size_t i = 0; i < sizeof(roots) / sizeof(*roots) && !rc; i++) {
		snprintf(path, sizeof(path), "%s/%s", c->state_dir, roots[i]);
		rc = tv_mkdirs(path);
		if (rc)
			tv_fail(e, rc, "%s: %s", path, tv_strerror(rc));
	}
	return rc ? rc : make_passable(c->run_dir, e);
}

void folders_give(const struct config *c)
{
	struct tv_err e = {0};
	struct user u;
	int rc = config_sink_user(c, &u.uid, &u.gid, &e);

	if (!rc)
		rc = give_replica_dir(c->replica_dir, &u, &e);
	if (!rc && (chown(c->socket, geteuid(), u.gid) || chmod(c->socket, 0660)))
		rc = tv_fail(&e, -errno, "%s: %s", c->socket, strerror(errno));
	if (rc) {
		tv_log(TV_ERROR, "%s; until then no VM of another host can be protected here",
		       e.text);
		return;
	}
	warn_if_closed(c, c->socket, &u);
	warn_if_closed(c, c->replica_dir, &u);
}
