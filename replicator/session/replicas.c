/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The folder of replicas belongs to sink_user. What lies in it is the sinks' to change, so root opens
 * nothing in it. Images of a version whose sinks were root are handed over once, with the folder.
 */
#include "replicator/session/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASS_MODE 0711

struct user {
	uid_t uid;
	gid_t gid;
};

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

int config_give_replicas(const struct config *c, struct tv_err *e)
{
	const char *path = c->replica_dir;
	struct user u;
	TV_CLOSE int fd = -1;
	struct stat st;
	int rc = config_sink_user(c, &u.uid, &u.gid, e);

	if (rc)
		return rc;
	rc = tv_mkdirs(path);
	if (rc)
		return tv_fail(e, rc, "%s: %s", path, tv_strerror(rc));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return tv_fail(e, -errno, "%s: %s", path, strerror(errno));
	if (st.st_uid == u.uid)
		return 0;
	if (st.st_uid)
		return tv_fail(e, -EPERM,
			       "%s belongs to user %u, and sinks run as user %u: chown -R it, or "
			       "change sink_user",
			       path, (unsigned)st.st_uid, (unsigned)u.uid);
	hand_over_files(fd, &u);
	if (fchmod(fd, PASS_MODE) || fchown(fd, u.uid, u.gid))
		return tv_fail(e, -errno, "%s: chown: %s", path, strerror(errno));
	return 0;
}
