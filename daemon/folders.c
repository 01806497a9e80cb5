/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Folders and the socket, as processes without rights need them. A sink runs as sink_user: it has
 * the folder of replicas for its own, passes through state_dir and run_dir, and may connect to the
 * socket, where it can register and nothing else (register.c). What root keeps in the other two is
 * in folders, or in files, that only root can read.
 */
#include "daemon/daemon.h"

#include <errno.h>
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
	static const char *const roots[] = {"vms", "kept", "generations", "elsewhere",
					    "rehearsals"};
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
		rc = config_give_replicas(c, &e);
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
