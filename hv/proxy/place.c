/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The place of QEMU's socket. Ours is made beside it and renamed over it, after QEMU's own got a
 * second name: at no moment is there nothing to connect to, and what is put back is the same file.
 * The note in run_dir is written before, so that whoever finds it can undo every step, by what the
 * files are and not by their names: a VM that is started anew meanwhile has made its own socket,
 * and that is left alone. The folder is root's (hv_proxy_wants), so nobody else renames there.
 *
 * QEMU removes the name of its socket when it ends, which is ours then; one that was killed removes
 * nothing. Both leave QEMU's second name.
 */
#include "hv/proxy/proxy_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 64

void hv_proxy_note(const char *run_dir, const char *vm_id, char out[HV_PROXY_PATH])
{
	snprintf(out, HV_PROXY_PATH, "%s/%s.proxy", run_dir, vm_id);
}

/* ---- is it to be shared? ---- */
static bool is_in(const char *dir, const char *folders)
{
	for (const char *p = folders; *p; p += strspn(p, ":")) {
		size_t n = strcspn(p, ":");
		char name[1024], *real;
		bool same;

		if (tv_copy_n(name, sizeof(name), p, n) && (real = realpath(name, NULL))) {
			same = !strcmp(real, dir);
			free(real);
			if (same)
				return true;
		}
		p += n;
	}
	return false;
}

bool hv_proxy_wants(const struct hv_vm_id *vm, const char *folders)
{
	char dir[sizeof(vm->qmp_path)], second[sizeof(vm->qmp_path)];
	char *slash, *real;
	struct stat st;
	bool wants;

	tv_copy(dir, sizeof(dir), vm->qmp_path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir || hv_find_qmp("/proc", vm->pid, 1, second, sizeof(second)))
		return false;
	*slash = '\0';
	real = realpath(dir, NULL);
	wants = real && is_in(real, folders) && !stat(real, &st) && st.st_uid == geteuid() &&
		!(st.st_mode & (S_IWGRP | S_IWOTH)) && !lstat(vm->qmp_path, &st) &&
		S_ISSOCK(st.st_mode);
	free(real);
	return wants;
}

/* ---- the note ---- */
static int write_note(int fd, const struct proxy_place *p)
{
	json_t *o =
		json_pack("{s:i, s:i, s:I, s:s, s:s, s:s, s:[I, I], s:[I, I]}", "proxy",
			  (int)p->proxy, "qemu", (int)p->qemu, "ticks", (json_int_t)p->qemu_ticks,
			  "path", p->path, "aside", p->aside, "fresh", p->fresh, "ours",
			  p->ours.dev, p->ours.ino, "theirs", p->theirs.dev, p->theirs.ino);
	TV_FREE char *text = o ? json_dumps(o, 0) : NULL;

	json_decref(o);
	if (!text)
		return -ENOMEM;
	if (ftruncate(fd, 0) || lseek(fd, 0, SEEK_SET))
		return -errno;
	return tv_write_all(fd, text, strlen(text));
}

static int read_note(const char *note, struct proxy_place *p)
{
	json_t *o = json_load_file(note, 0, NULL);
	const char *path, *aside, *fresh;
	json_int_t ticks;
	int proxy, qemu, rc;

	*p = (struct proxy_place){0};
	rc = json_unpack(o, "{s:i, s:i, s:I, s:s, s:s, s:s, s:[I, I], s:[I, I]}", "proxy", &proxy,
			 "qemu", &qemu, "ticks", &ticks, "path", &path, "aside", &aside, "fresh",
			 &fresh, "ours", &p->ours.dev, &p->ours.ino, "theirs", &p->theirs.dev,
			 &p->theirs.ino);
	if (!rc) {
		p->proxy = proxy;
		p->qemu = qemu;
		p->qemu_ticks = (uint64_t)ticks;
		tv_copy(p->path, sizeof(p->path), path);
		tv_copy(p->aside, sizeof(p->aside), aside);
		tv_copy(p->fresh, sizeof(p->fresh), fresh);
	}
	json_decref(o);
	return rc ? -EBADMSG : 0;
}

pid_t hv_proxy_serves(const char *note)
{
	TV_CLOSE int fd = open(note, O_RDWR | O_CLOEXEC);
	struct proxy_place p;

	if (fd < 0 || !flock(fd, LOCK_EX | LOCK_NB))
		return 0;
	return read_note(note, &p) ? 0 : p.proxy;
}

/* ---- taking it ---- */
static bool is_file(const char *path, const struct proxy_file *f)
{
	struct stat st;

	return !lstat(path, &st) && (json_int_t)st.st_dev == f->dev &&
	       (json_int_t)st.st_ino == f->ino;
}

static int look(const char *path, struct proxy_file *f, struct stat *st)
{
	if (lstat(path, st))
		return -errno;
	*f = (struct proxy_file){(json_int_t)st->st_dev, (json_int_t)st->st_ino};
	return 0;
}

/* Listens at p->fresh, which whoever may connect to QEMU's may connect to. */
static int listen_fresh(struct proxy_place *p, int *listen_fd)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct stat theirs, ours;
	int fd, rc;

	if (!tv_copy(a.sun_path, sizeof(a.sun_path), p->fresh))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(p->fresh); /* of one that died at this point */
	rc = look(p->path, &p->theirs, &theirs);
	if (!rc && (bind(fd, (struct sockaddr *)&a, sizeof(a)) || chmod(p->fresh, 0600) ||
		    lchown(p->fresh, theirs.st_uid, theirs.st_gid) ||
		    chmod(p->fresh, theirs.st_mode & 07777) || listen(fd, BACKLOG)))
		rc = -errno;
	if (!rc)
		rc = look(p->fresh, &p->ours, &ours);
	if (rc)
		close(fd);
	else
		*listen_fd = fd;
	return rc;
}

static void name_all(struct proxy_place *p, const struct hv_vm_id *vm)
{
	*p = (struct proxy_place){
		.proxy = getpid(), .qemu = vm->pid, .qemu_ticks = vm->start_ticks};
	tv_copy(p->path, sizeof(p->path), vm->qmp_path);
	snprintf(p->aside, sizeof(p->aside), "%s.qemu", p->path);
	snprintf(p->fresh, sizeof(p->fresh), "%s.new", p->path);
}

int proxy_take_place(const struct hv_vm_id *vm, const char *note, int *listen_fd, int *note_fd,
		     struct tv_err *e)
{
	struct proxy_place p;
	int rc = 0;

	name_all(&p, vm);
	*listen_fd = -1;
	*note_fd = open(note, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*note_fd < 0 || flock(*note_fd, LOCK_EX | LOCK_NB)) {
		rc = -errno;
		tv_close_fd(note_fd); /* another's */
	}
	if (!rc)
		rc = listen_fresh(&p, listen_fd);
	if (!rc)
		rc = write_note(*note_fd, &p);
	if (!rc && ((link(p.path, p.aside) && errno != EEXIST) || !is_file(p.aside, &p.theirs) ||
		    rename(p.fresh, p.path)))
		rc = errno ? -errno : -EEXIST;
	if (!rc)
		return 0;
	tv_close_fd(listen_fd);
	return tv_fail(e, rc, "cannot put a proxy in the place of %s: %s", p.path, tv_strerror(rc));
}

/* ---- putting it back ---- */
bool proxy_qemu_ended(pid_t pid, uint64_t start_ticks, int timeout_ms)
{
	TV_CLOSE int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd w = {.fd = fd, .events = POLLIN};

	/* The pidfd first: what it means cannot change after the start time was read. */
	if (fd < 0 || tv_pid_start_ticks(pid) != start_ticks)
		return true;
	return poll(&w, 1, timeout_ms) > 0;
}

static int restore(const struct proxy_place *p)
{
	bool has_aside = is_file(p->aside, &p->theirs);

	if (is_file(p->fresh, &p->ours))
		unlink(p->fresh);
	if (proxy_qemu_ended(p->qemu, p->qemu_ticks, 0)) {
		if (is_file(p->path, &p->ours) || is_file(p->path, &p->theirs))
			unlink(p->path);
		if (has_aside)
			unlink(p->aside);
		return 0;
	}
	if (!has_aside)
		return 0;
	/* Renaming one name of a file over another does nothing. */
	if (is_file(p->path, &p->theirs))
		return unlink(p->aside) ? -errno : 0;
	/* Else QEMU, or somebody who tidied up, has removed it, or made another. */
	if (is_file(p->path, &p->ours))
		return rename(p->aside, p->path) ? -errno : 0;
	return unlink(p->aside) ? -errno : 0;
}

int hv_proxy_put_back(const char *note, struct tv_err *e)
{
	struct proxy_place p;
	int rc = read_note(note, &p);

	/* Empty: it died before it had changed anything. */
	if (!rc)
		rc = restore(&p);
	else
		rc = 0;
	if (!rc && unlink(note) && errno != ENOENT)
		rc = -errno;
	return rc ? tv_fail(e, rc, "cannot put %s back in the place of %s: %s", p.aside, p.path,
			    tv_strerror(rc))
		  : 0;
}
