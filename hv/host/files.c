/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What lies on this host because of a standby: its run directory, and how that becomes empty after
 * any kind of end; its images, which another process makes. QEMU, and for the images that other
 * process, may have put anything in a file's place: nothing here follows a link.
 */
#include "hv/host/files.h"
#include "hv/host/host.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_DEPTH 16
#define BACKLOG 1
#define MAX_SHARED 100000

/* ---- the run directory ---- */

const char *hv_host_name(const char *dir)
{
	const char *slash = strrchr(dir, '/');

	return slash ? slash + 1 : dir;
}

static void empty_folder(int at, const char *name, unsigned depth)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct dirent *de;
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

	if (!d) {
		tv_close_fd(&fd);
		return;
	}
	while ((de = readdir(d))) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (!unlinkat(dirfd(d), de->d_name, 0) || depth == MAX_DEPTH)
			continue;
		empty_folder(dirfd(d), de->d_name, depth + 1);
		(void)unlinkat(dirfd(d), de->d_name, AT_REMOVEDIR);
	}
	closedir(d);
}

void hv_host_remove_files(const char *dir, bool with_log)
{
	static const char *const folders[] = {HV_HOST_FOLDER_NAME, HV_HOST_TPM_NAME};
	TV_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	for (unsigned i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		empty_folder(fd, folders[i], 0);
		(void)unlinkat(fd, folders[i], AT_REMOVEDIR);
	}
	(void)unlinkat(fd, HV_HOST_QMP, 0);
	if (with_log) {
		(void)unlinkat(fd, HV_HOST_LOG, 0);
		(void)unlinkat(fd, HV_HOST_TPM_LOG, 0);
	}
}

int hv_host_make_folder(const char *dir, const char *name, const struct hv_host_user *u,
			struct tv_err *e)
{
	TV_CLOSE int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
	char path[512];
	int rc;

	if (at >= 0 && !mkdirat(at, name, 0700))
		fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchown(fd, u->uid, u->gid))
		return tv_fail(e, -errno, "cannot make %s/%s: %s", dir, name, strerror(errno));
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	rc = hv_host_user_try(u, path, O_RDONLY | O_DIRECTORY);
	return rc ? tv_fail(e, rc,
			    "the user %s, who runs standbys, cannot reach %s: %s; let everybody "
			    "pass through each folder above it (chmod o+x), or name another "
			    "'run_dir'",
			    u->name, path, tv_strerror(rc))
		  : 0;
}

void hv_host_let_pass(const char *dir)
{
	TV_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && !fstat(fd, &st) && st.st_uid == geteuid() && (st.st_mode & 0011) != 0011)
		(void)!fchmod(fd, (st.st_mode & 07777) | 0011);
}

/* ---- images ---- */

/* NAME-<number>.raw, or .qcow2 of a clone, where NAME is this VM's here: no folder, and no other VM's. */
static bool is_image(const char *id, const char *name)
{
	size_t n = strlen(id);

	if (strncmp(name, id, n) != 0 || name[n] != '-' || !isdigit((unsigned char)name[n + 1]))
		return false;
	name += n + 1;
	name += strspn(name, "0123456789");
	return !strcmp(name, ".raw") || !strcmp(name, ".qcow2");
}

int hv_host_image_path(const char *replica_dir, const char *dir, const char *name, char *path,
		       size_t room, struct tv_err *e)
{
	if (!is_image(hv_host_name(dir), name) || !*replica_dir)
		return tv_fail(e, -EINVAL, "%s is no image of this VM", name);
	if (snprintf(path, room, "%s/%s", replica_dir, name) >= (int)room)
		return tv_fail(e, -ENAMETOOLONG, "%s: too long a name", name);
	return 0;
}

/* links: how many names it may have. */
static int give(const char *path, const struct hv_host_user *u, mode_t mode, nlink_t links)
{
	TV_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), dir = -1;
	struct stat st, folder;
	char up[512];

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	snprintf(up, sizeof(up), "%.*s", (int)(strrchr(path, '/') - path), path);
	dir = open(up, O_PATH | O_CLOEXEC);
	if (dir < 0 || fstat(dir, &folder))
		return -errno;
	/* A second name of somebody else's file is not ours to give away. */
	if (!S_ISREG(st.st_mode) || st.st_nlink > links || st.st_uid != folder.st_uid)
		return -EPERM;
	if (st.st_gid == u->gid && (st.st_mode & 0777) == mode)
		return 0;
	return fchown(fd, (uid_t)-1, u->gid) || fchmod(fd, mode) ? -errno : 0;
}

int hv_host_give_image(const char *path, const struct hv_host_user *u, struct tv_err *e)
{
	int rc = give(path, u, 0660, 1);

	if (rc)
		return tv_fail(e, rc, "cannot give the image %s to the group of user %s: %s", path,
			       u->name, tv_strerror(rc));
	rc = hv_host_user_try(u, path, O_RDWR);
	return rc ? tv_fail(e, rc,
			    "the user %s, who runs standbys, cannot open the image %s: %s; let "
			    "everybody pass through each folder above it (chmod o+x), or name "
			    "another 'replica_dir'",
			    u->name, path, tv_strerror(rc))
		  : 0;
}

int hv_host_check_overlay(const char *path, const struct hv_host_user *u, struct tv_err *e)
{
	int rc = hv_host_user_try(u, path, O_RDWR | O_NOFOLLOW);

	return rc ? tv_fail(e, rc,
			    "the user %s, who runs clones, cannot open the image %s: %s; let "
			    "everybody pass through each folder above it (chmod o+x)",
			    u->name, path, tv_strerror(rc))
		  : 0;
}

/* VMs with one file share it: each has a name for it. All of them belong to the folder's owner. */
int hv_host_give_copy(const char *path, const struct hv_host_user *u, bool own, struct tv_err *e)
{
	int rc = own ? 0 : give(path, u, 0440, MAX_SHARED);

	if (!rc)
		rc = hv_host_user_try(u, path, O_RDONLY | (own ? O_NOFOLLOW : 0));
	return rc ? tv_fail(e, rc,
			    "cannot give the copy %s of a file to user %s, who runs standbys: %s",
			    path, u->name, tv_strerror(rc))
		  : 0;
}

/* ---- the monitor's socket ---- */

int hv_host_listen(const char *path, int *fd, struct tv_err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int rc = 0;

	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd < 0 || !tv_copy(a.sun_path, sizeof(a.sun_path), path))
		rc = *fd < 0 ? -errno : -ENAMETOOLONG;
	/* The mode of a socket that is not bound yet is that of its file: no moment is open. */
	if (!rc && (fchmod(*fd, 0600) || bind(*fd, (struct sockaddr *)&a, sizeof(a)) ||
		    listen(*fd, BACKLOG)))
		rc = -errno;
	if (!rc)
		return 0;
	tv_close_fd(fd);
	return tv_fail(e, rc, "cannot listen on %s: %s", path, tv_strerror(rc));
}
