/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: files that a VM only reads
 *
 * CD images, firmware and kernels lie beside the replicas, one file for each contents: its name is
 * the VM's, "-file-", and the SHA-256 of what it holds. Nothing that a peer calls a file by is part of
 * a name here. What arrives goes to NAME.part, which is renamed when it holds what its name says; a
 * part of an earlier session is continued. A file is read again, and compared with its name, by each
 * session that is to use it.
 *
 * Several VMs with one file share its blocks: the second one gets another name (link) of the first
 * one's file. So a VM's files are removed with its images, nothing has to be counted, and the last
 * name that goes frees the room.
 */
#include "checkpoint/checkpoint.h"
#include "checkpoint/room.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "-file-"
#define PART ".part"
#define NAME_ROOM 160

struct ckpt_store {
	struct ckpt_room *room;
	int dir; /* the folder */
	char vm_id[40];
};

static int failed(const char *name, const char *what, int rc, struct tv_err *e)
{
	return tv_fail(e, rc, "the copy of a file, %s: %s: %s", name, what, tv_strerror(rc));
}

static void name_of(const struct ckpt_store *s, const char *sha256, const char *end,
		    char out[NAME_ROOM])
{
	snprintf(out, NAME_ROOM, "%s" MARK "%s%s", s->vm_id, sha256, end);
}

int ckpt_store_new(const char *dir, const char *vm_id, struct ckpt_room *room,
		   struct ckpt_store **out)
{
	struct ckpt_store *s = calloc(1, sizeof(*s));

	*out = NULL;
	if (!s)
		return -ENOMEM;
	s->room = room;
	s->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0 || !tv_copy(s->vm_id, sizeof(s->vm_id), vm_id)) {
		int rc = s->dir < 0 ? -errno : -ENAMETOOLONG;

		ckpt_store_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void ckpt_store_free(struct ckpt_store *s)
{
	if (!s)
		return;
	tv_close_fd(&s->dir);
	free(s);
}

/* 1: that file holds what it is named for; 0: there is none. One that is damaged is removed. */
static int is_whole(const struct ckpt_store *s, const char *name, const char *sha256,
		    uint64_t bytes, struct tv_err *e)
{
	TV_CLOSE int fd = openat(s->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char found[TV_SHA256_ROOM];
	struct stat st;
	int rc;

	if (fd < 0)
		return errno == ENOENT ? 0 : failed(name, "open", -errno, e);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return failed(name, "not an ordinary file", -EINVAL, e);
	rc = (uint64_t)st.st_size == bytes ? tv_sha256(fd, bytes, found) : 0;
	if (rc)
		return failed(name, "read", rc, e);
	if ((uint64_t)st.st_size == bytes && !strcmp(found, sha256))
		return 1;
	return unlinkat(s->dir, name, 0) ? failed(name, "remove", -errno, e) : 0;
}

/* Another VM's file of these contents gets a second name, this VM's. */
static void share(const struct ckpt_store *s, const char *sha256, const char *name)
{
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char end[NAME_ROOM];
	struct dirent *ent;

	if (!d) {
		tv_close_fd(&fd);
		return;
	}
	snprintf(end, sizeof(end), MARK "%s", sha256);
	while ((ent = readdir(d))) {
		size_t n = strlen(ent->d_name);

		if (n > strlen(end) && !strcmp(ent->d_name + n - strlen(end), end) &&
		    !linkat(s->dir, ent->d_name, s->dir, name, 0))
			break;
	}
	closedir(d);
}

int ckpt_store_find(struct ckpt_store *s, const char *sha256, uint64_t bytes, uint64_t *part_bytes,
		    struct tv_err *e)
{
	char name[NAME_ROOM], part[NAME_ROOM];
	struct stat st;
	int rc;

	*part_bytes = 0;
	if (!tv_is_sha256(sha256))
		return tv_fail(e, -EINVAL, "a file without a hash");
	name_of(s, sha256, "", name);
	name_of(s, sha256, PART, part);
	rc = is_whole(s, name, sha256, bytes, e);
	if (!rc) {
		share(s, sha256, name);
		rc = is_whole(s, name, sha256, bytes, e);
	}
	if (!rc && !fstatat(s->dir, part, &st, AT_SYMLINK_NOFOLLOW)) {
		if (S_ISREG(st.st_mode) && (uint64_t)st.st_size <= bytes)
			*part_bytes = (uint64_t)st.st_size;
		else if (unlinkat(s->dir, part, 0))
			rc = failed(part, "remove", -errno, e);
	}
	return rc;
}

int ckpt_store_add(struct ckpt_store *s, const char *sha256, uint64_t offset, const void *p,
		   size_t n, struct tv_err *e)
{
	char part[NAME_ROOM];
	TV_CLOSE int fd = -1;
	struct stat st;
	int rc;

	name_of(s, sha256, PART, part);
	fd = openat(s->dir, part, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &st))
		return failed(part, "open", -errno, e);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != offset)
		return failed(part, "its size is not what was written", -EIO, e);
	rc = ckpt_room_grow(s->room, n);
	if (rc)
		return tv_fail(e, rc, "the copy of a file, %s: %s", part,
			       ckpt_room_why(s->room, rc));
	rc = tv_write_all(fd, p, n);
	return rc ? failed(part, "write", rc, e) : 0;
}

int ckpt_store_finish(struct ckpt_store *s, const char *sha256, uint64_t bytes, struct tv_err *e)
{
	char name[NAME_ROOM], part[NAME_ROOM];
	TV_CLOSE int fd = -1;
	int rc;

	name_of(s, sha256, "", name);
	name_of(s, sha256, PART, part);
	fd = openat(s->dir, part, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fsync(fd))
		return failed(part, "sync", -errno, e);
	rc = is_whole(s, part, sha256, bytes, e);
	if (rc < 0)
		return rc;
	if (!rc)
		return tv_fail(
			e, TV_E_CORRUPT,
			"a file of the VM is not what was announced: was it changed while it "
			"was copied?");
	return renameat(s->dir, part, s->dir, name) || fsync(s->dir)
		       ? failed(name, "rename", -errno, e)
		       : 0;
}

int ckpt_store_path(const char *dir, const char *vm_id, const char *sha256, char *out, size_t room)
{
	int n = snprintf(out, room, "%s/%s" MARK "%s", dir, vm_id, sha256);

	return n < 0 || (size_t)n >= room ? -ENAMETOOLONG : 0;
}

static bool is_among(const char *text, const char *const *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(text, list[i]))
			return true;
	return false;
}

void ckpt_store_keep(struct ckpt_store *s, const char *const *sha256, unsigned n)
{
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *ent;
	char begin[64];
	size_t len;

	if (!d) {
		tv_close_fd(&fd);
		return;
	}
	snprintf(begin, sizeof(begin), "%s" MARK, s->vm_id);
	len = strlen(begin);
	while ((ent = readdir(d)))
		if (!strncmp(ent->d_name, begin, len) && !is_among(ent->d_name + len, sha256, n) &&
		    unlinkat(s->dir, ent->d_name, 0))
			tv_log(TV_WARN, "%s is not removed: %m", ent->d_name);
	closedir(d);
}
