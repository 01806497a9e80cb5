/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arbiter in a directory that both hosts see (a shared file system).
 *
 * DIR/VM_ID/NUMBER is record number NUMBER. Compare-and-swap is link(2) of a complete, synced file
 * to the next number: it exists whole or not at all, and only one link of that name can succeed, on
 * a local file system and on NFS (where the answer may get lost: then the link count of the linked
 * file shows whether it happened, see open(2) under O_EXCL). The newest record is the highest
 * number. Old records are removed, the newest few stay; a claim far behind that links a number that
 * was removed sees a higher number afterwards and has lost.
 */
#include "failover/arbiter/backend.h"
#include "failover/arbiter/members_file.h"
#include "failover/arbiter/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEP_RECORDS 8

struct file_arbiter {
	struct fo_backend ops;
	char folder[PATH_MAX - 128];
	int64_t member_ns;
	struct fo_members members;
};

static int vm_folder(struct fo_arbiter *a, const char *vm_id, char out[PATH_MAX], struct tv_err *e)
{
	struct file_arbiter *f = (struct file_arbiter *)a;

	if (!fo_vm_id_ok(vm_id))
		return tv_fail(e, -EINVAL, "'%s' is not a VM id", vm_id);
	snprintf(out, PATH_MAX, "%s/%s", f->folder, vm_id);
	return 0;
}

/* Highest record number in the folder, 0 for none; removes records that are KEEP_RECORDS behind. */
static int newest(const char *folder, uint64_t *version, bool prune, struct tv_err *e)
{
	DIR *d = opendir(folder);
	struct dirent *ent;
	uint64_t max = 0;

	*version = 0;
	if (!d)
		return errno == ENOENT ? 0
				       : tv_fail(e, -errno, "arbiter directory %s: %s", folder,
						 strerror(errno));
	errno = 0;
	while ((ent = readdir(d))) {
		char *end;
		uint64_t v = strtoull(ent->d_name, &end, 10);

		if (!*end && v > max)
			max = v;
	}
	if (errno) {
		int rc = tv_fail(e, -errno, "arbiter directory %s: %s", folder, strerror(errno));

		closedir(d);
		return rc;
	}
	rewinddir(d);
	while (prune && (ent = readdir(d))) {
		char *end;
		uint64_t v = strtoull(ent->d_name, &end, 10);

		if (!*end && v && v + KEEP_RECORDS < max)
			unlinkat(dirfd(d), ent->d_name, 0);
	}
	closedir(d);
	*version = max;
	return 0;
}

static int file_read(struct fo_arbiter *a, const char *vm_id, struct fo_record *out,
		     struct tv_err *e)
{
	char folder[PATH_MAX], path[PATH_MAX + 32];
	TV_FREE char *text = NULL;
	size_t bytes = 0;
	int rc = vm_folder(a, vm_id, folder, e);

	*out = (struct fo_record){0};
	if (rc)
		return rc;
	rc = newest(folder, &out->version, false, e);
	if (rc)
		return rc;
	if (!out->version) {
		/* No record, or no arbiter: a share that is not mounted must not look like "no
		 * record". */
		struct file_arbiter *f = (struct file_arbiter *)a;

		if (access(f->folder, R_OK | W_OK | X_OK))
			return tv_fail(e, -EIO, "arbiter directory %s: %s", f->folder,
				       strerror(errno));
		return tv_fail(e, -ENOENT, "the arbiter has no record of this VM");
	}
	snprintf(path, sizeof(path), "%s/%020llu", folder, (unsigned long long)out->version);
	rc = tv_read_file(path, FO_MAX_TEXT_BYTES, &text, &bytes);
	if (rc) /* pruned or removed between readdir and open: not an answer */
		return tv_fail(e, rc == -ENOENT ? -EAGAIN : rc, "arbiter record %s: %s", path,
			       tv_strerror(rc));
	rc = fo_record_parse(text, bytes, out, NULL);
	return rc ? tv_fail(e, rc,
			    "arbiter record %s is malformed: inspect it, and remove the VM's "
			    "folder only if the VM runs on at most one host",
			    path)
		  : 0;
}

/* Writes a complete, synced file beside the records, to be linked; path becomes its name. */
static int write_candidate(const char *folder, const struct fo_record *r, char *path, size_t room,
			   struct tv_err *e)
{
	TV_FREE char *text = fo_record_text(r, NULL);
	char tag[17];
	int rc;

	if (!text)
		return tv_fail(e, -ENOMEM, "no memory for an arbiter record");
	tv_random_hex(tag, 8);
	snprintf(path, room, "%s/.claim-%s", folder, tag);
	TV_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return tv_fail(e, -errno, "arbiter: cannot write %s: %s", path, strerror(errno));
	rc = tv_write_all(fd, text, strlen(text));
	if (!rc && fsync(fd))
		rc = -errno;
	if (rc) {
		unlink(path);
		return tv_fail(e, rc, "arbiter: cannot write %s: %s", path, tv_strerror(rc));
	}
	return 0;
}

static int sync_folder(const char *folder)
{
	TV_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) ? -errno : 0;
}

static int file_cas(struct fo_arbiter *a, const char *vm_id, const struct fo_record *next,
		    struct tv_err *e)
{
	char folder[PATH_MAX], mine[PATH_MAX + 32], target[PATH_MAX + 32];
	uint64_t max = 0;
	struct stat st;
	int rc = vm_folder(a, vm_id, folder, e);

	if (rc)
		return rc;
	if (mkdir(folder, 0700) && errno != EEXIST)
		return tv_fail(e, -errno, "arbiter: cannot create %s: %s", folder, strerror(errno));
	rc = newest(folder, &max, false, e);
	if (rc)
		return rc;
	if (max >= next->version)
		return tv_fail(e, TV_E_LOST, "another record came first");
	if (max + 1 != next->version)
		return tv_fail(e, -EINVAL, "arbiter: record %llu does not follow %llu",
			       (unsigned long long)next->version, (unsigned long long)max);
	rc = write_candidate(folder, next, mine, sizeof(mine), e);
	if (rc)
		return rc;
	snprintf(target, sizeof(target), "%s/%020llu", folder, (unsigned long long)next->version);
	if (link(mine, target))
		rc = -errno;
	if (rc && !stat(mine, &st) && st.st_nlink == 2)
		rc = 0; /* NFS lost the answer, not the link */
	unlink(mine);
	if (rc)
		return rc == -EEXIST ? tv_fail(e, TV_E_LOST, "another record came first")
				     : tv_fail(e, rc, "arbiter: cannot create %s: %s", target,
					       tv_strerror(rc));
	rc = sync_folder(folder);
	if (rc)
		return tv_fail(e, rc, "arbiter: cannot sync %s: %s", folder, tv_strerror(rc));
	rc = newest(folder, &max, true, e);
	if (rc)
		return rc;
	return max == next->version ? 0 : tv_fail(e, TV_E_LOST, "another record came first");
}

static int file_forget(struct fo_arbiter *a, const char *vm_id, struct tv_err *e)
{
	char folder[PATH_MAX];
	int rc = vm_folder(a, vm_id, folder, e);
	struct dirent *ent;
	DIR *d;

	if (rc)
		return rc;
	d = opendir(folder);
	if (!d)
		return errno == ENOENT
			       ? 0
			       : tv_fail(e, -errno, "arbiter: %s: %s", folder, strerror(errno));
	while ((ent = readdir(d)))
		if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0)
			unlinkat(dirfd(d), ent->d_name, 0);
	closedir(d);
	if (rmdir(folder) && errno != ENOENT)
		return tv_fail(e, -errno, "arbiter: %s: %s", folder, strerror(errno));
	return 0;
}

static int file_announce(struct fo_arbiter *a, const struct fo_host *h, struct tv_err *e)
{
	struct file_arbiter *f = (struct file_arbiter *)a;

	return fo_members_announce(&f->members, f->folder, h, e);
}

static int file_members(struct fo_arbiter *a, struct fo_host *out, unsigned n, struct tv_err *e)
{
	struct file_arbiter *f = (struct file_arbiter *)a;

	return fo_members_list(&f->members, f->folder, tv_now_ns(), f->member_ns, out, n, e);
}

static void file_close(struct fo_arbiter *a)
{
	free(a);
}

int fo_arbiter_file_open(const char *url, const struct fo_arbiter_conf *conf,
			 struct fo_arbiter **out, struct tv_err *e)
{
	const char *folder = url + strlen("file://");
	struct file_arbiter *f;
	struct stat st;

	if (strlen(folder) >= sizeof(f->folder))
		return tv_fail(e, -ENAMETOOLONG, "arbiter directory name is too long");
	if (stat(folder, &st) || !S_ISDIR(st.st_mode) || access(folder, R_OK | W_OK | X_OK))
		return tv_fail(
			e, errno ? -errno : -ENOTDIR,
			"arbiter directory %s cannot be used: %s; mount or create it on both hosts",
			folder, strerror(errno ? errno : ENOTDIR));
	f = calloc(1, sizeof(*f));
	if (!f)
		return tv_fail(e, -ENOMEM, "no memory for the arbiter");
	f->ops = (struct fo_backend){.records = {.read = file_read, .cas = file_cas},
				     .forget = file_forget,
				     .close = file_close,
				     .announce = file_announce,
				     .members = file_members};
	f->member_ns = conf->times->member_ns;
	snprintf(f->folder, sizeof(f->folder), "%s", folder);
	*out = &f->ops.records;
	return 0;
}
