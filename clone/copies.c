/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that the VM only reads and this host has none of: the standby reads copies beside the replicas
 * (checkpoint/store.c), where a clone reaches nothing. It gets copies of its own, beside its images and
 * removed with them. The description is a peer's: what it says of a file is checked.
 */
#include "clone/clone_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "-file-" /* as that of the standby's copies */

static int copy_bytes(int in, int out, uint64_t bytes)
{
	if (!ioctl(out, FICLONE, in))
		return 0;
	while (bytes) {
		ssize_t n = copy_file_range(in, NULL, out, NULL, bytes, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		bytes -= (uint64_t)n;
	}
	return 0;
}

static int copy_file(const char *from, const char *to, uint64_t bytes, uid_t uid)
{
	TV_CLOSE int in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), out = -1;
	struct stat st;
	int rc = in < 0 || fstat(in, &st) ? -errno : 0;

	if (!rc && (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != bytes))
		rc = -EINVAL;
	if (rc)
		return rc;
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return errno == EEXIST ? 0 : -errno; /* two names of the same contents */
	rc = copy_bytes(in, out, bytes);
	if (!rc && (fchmod(out, 0400) || fchown(out, uid, (gid_t)-1)))
		rc = -errno;
	tv_close_fd(&out);
	return rc;
}

int clone_copies(const struct config *c, const struct clone_order *o, const json_t *desc,
		 struct hv_standby_conf *standby, uid_t uid, struct clone_copies *out,
		 struct tv_err *e)
{
	json_t *f, *list = json_object_get(desc, "copies");
	uint64_t sum = 0;
	struct clone_names names;
	char from[512];
	size_t i;
	int rc;

	clone_names(c, o->vm_id, &names);
	json_array_foreach(list, i, f) {
		const char *path = json_string_value(json_object_get(f, "path"));
		const char *sha256 = json_string_value(json_object_get(f, "sha256"));
		json_int_t bytes = json_integer_value(json_object_get(f, "bytes"));
		char *to = i < HV_MAX_FILES ? out->paths[i] : NULL;

		if (!to || !path || !tv_is_sha256(sha256) || bytes < 0)
			return tv_fail(e, TV_E_PROTOCOL, "the VM's list of files is invalid");
		if (hv_standby_has_file(standby, path, (uint64_t)bytes, sha256))
			continue;
		sum += (uint64_t)bytes;
		if ((uint64_t)bytes > o->disk_bytes || sum > o->disk_bytes)
			return tv_fail(e, -EFBIG,
				       "files that the VM reads, and of which %s has copies, have "
				       "more than %llu MiB: --disk-mib",
				       c->host, (unsigned long long)o->disk_bytes >> 20);
		snprintf(from, sizeof(from), "%s/%s" MARK "%s", c->replica_dir, o->vm_id, sha256);
		snprintf(to, sizeof(out->paths[i]), "%s/%s" MARK "%s", names.images, names.name,
			 sha256);
		rc = copy_file(from, to, (uint64_t)bytes, uid);
		if (rc)
			return tv_fail(e, rc, "cannot copy %s to %s: %s", from, to,
				       tv_strerror(rc));
		out->list[i] = to;
	}
	standby->copies = out->list;
	standby->n_copies = (unsigned)json_array_size(list);
	return 0;
}
