/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening a file as a QEMU would: with its user, its groups, and inside its root folder. */
#include "hv/attach/as_qemu.h"
#include "hv/qemu/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_GROUPS 256
#define STATUS_LIMIT (1u << 16)

enum { CAN_OPEN = 0, CANNOT_OPEN = 1, NOT_TRIED = 2 };

struct rights {
	uid_t uid;
	gid_t gid;
	gid_t groups[MAX_GROUPS];
	size_t n_groups;
};

bool hv_changed_user(char *const *argv)
{
	char v[256];

	for (unsigned i = 1; argv && argv[i] && argv[i + 1]; i++) {
		if (hv_arg_is(argv[i], "runas") || hv_arg_is(argv[i], "chroot"))
			return true;
		if (hv_arg_is(argv[i], "run-with") &&
		    (hv_opt_get(argv[i + 1], NULL, "user", v, sizeof(v)) ||
		     hv_opt_get(argv[i + 1], NULL, "chroot", v, sizeof(v))))
			return true;
	}
	return false;
}

/* The user and group that file access goes by: the fourth number of "Uid:" and "Gid:". */
static bool read_rights(pid_t pid, struct rights *r)
{
	TV_FREE char *text = NULL;
	unsigned uid, gid;
	char path[64], *p, *end;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (tv_read_file(path, STATUS_LIMIT, &text, NULL) || !(p = strstr(text, "\nUid:")) ||
	    sscanf(p, "\nUid: %*u %*u %*u %u", &uid) != 1 || !(p = strstr(text, "\nGid:")) ||
	    sscanf(p, "\nGid: %*u %*u %*u %u", &gid) != 1 || !(p = strstr(text, "\nGroups:")))
		return false;
	r->uid = uid;
	r->gid = gid;
	p += strlen("\nGroups:");
	for (p[strcspn(p, "\n")] = '\0'; r->n_groups < MAX_GROUPS; p = end) {
		r->groups[r->n_groups] = (gid_t)strtoul(p, &end, 10);
		if (end == p)
			break;
		r->n_groups++;
	}
	return true;
}

static bool become(pid_t pid, const struct rights *r)
{
	char root[64];

	snprintf(root, sizeof(root), "/proc/%d/root", (int)pid);
	return !chroot(root) && !chdir("/") && !setgroups(r->n_groups, r->groups) &&
	       !setresgid(r->gid, r->gid, r->gid) && !setresuid(r->uid, r->uid, r->uid);
}

static int try_to_open(pid_t pid, const struct rights *r, const char *file)
{
	int fd;

	if (!become(pid, r))
		return NOT_TRIED;
	fd = open(file, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	return fd >= 0 || errno == EROFS || errno == EBUSY ? CAN_OPEN : CANNOT_OPEN;
}

bool hv_can_open(const char *file, void *pid)
{
	struct rights r = {0};
	int status = 0;
	pid_t child;

	if (!read_rights(*(pid_t *)pid, &r))
		return true;
	child = fork();
	if (!child)
		_exit(try_to_open(*(pid_t *)pid, &r, file));
	if (child < 0)
		return true;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return !WIFEXITED(status) || WEXITSTATUS(status) != CANNOT_OPEN;
}

/* In a child: the descriptor, or -errno, goes to out, and stays open until the parent has it. */
static void open_there(pid_t pid, const struct rights *r, const char *file, int out, int wait)
{
	int fd = -EPERM;
	char byte;

	if (become(pid, r))
		fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd == -1)
		fd = -errno;
	(void)!write(out, &fd, sizeof(fd));
	(void)!read(wait, &byte, 1);
	_exit(0);
}

/* What the child has opened, as a descriptor of this process. */
static int take(pid_t child, int from)
{
	int theirs = -EIO, pidfd, fd;

	if (tv_read_all(from, &theirs, sizeof(theirs)))
		return -EIO;
	if (theirs < 0)
		return theirs;
	pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, theirs, 0);
	if (fd < 0)
		fd = -errno;
	tv_close_fd(&pidfd);
	return fd;
}

int hv_open_as(const char *file, pid_t pid)
{
	int out[2] = {-1, -1}, go[2] = {-1, -1}, fd = -EIO;
	struct rights r = {0};
	pid_t child = -1;

	/* Without rights of its own this process cannot open more than its user's. */
	if (geteuid() != 0) {
		fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		return fd < 0 ? -errno : fd;
	}
	if (read_rights(pid, &r) && !pipe2(out, O_CLOEXEC) && !pipe2(go, O_CLOEXEC))
		child = fork();
	if (!child) {
		close(go[1]);
		open_there(pid, &r, file, out[1], go[0]);
	}
	tv_close_fd(&out[1]);
	if (child > 0)
		fd = take(child, out[0]);
	tv_close_fd(&go[1]);
	tv_close_fd(&go[0]);
	tv_close_fd(&out[0]);
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}
