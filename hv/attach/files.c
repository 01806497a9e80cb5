/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that the VM only reads: firmware, kernels, CD images. The backup may need copies, so they are
 * opened when the VM is described, and stay open: what was hashed is what is sent.
 *
 * QEMU may belong to another user, who chose its command line, and this process may read everything.
 * So a file is taken from QEMU's own descriptors, or opened with its user's rights (as_qemu.c), and
 * never because a command line names it. The first also finds an image that was removed or replaced
 * after QEMU had opened it.
 */
#include "hv/attach/files.h"
#include "hv/attach/as_qemu.h"
#include "hv/attach/attach_int.h"
#include "hv/attach/hashes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DELETED " (deleted)"

/* ---- what query-block says ---- */

static const char *text_of(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* "nbd://...", "json:{...}": no file of this host. */
static json_t *absolute(const char *path, const char *cwd)
{
	if (!*path || path[strcspn(path, ":/")] == ':')
		return NULL;
	return *path == '/' ? json_string(path)
			    : json_sprintf("%s/%s", strcmp(cwd, "/") ? cwd : "", path);
}

static const char *image_of(json_t *inserted)
{
	return text_of(json_object_get(inserted, "image"), "filename");
}

json_t *hv_drives_of(json_t *block, const char *cwd)
{
	json_t *list = json_array(), *dev;
	size_t i;

	json_array_foreach(block, i, dev) {
		json_t *inserted = json_object_get(dev, "inserted"), *o, *file;

		if (!json_is_true(json_object_get(dev, "removable")) ||
		    (inserted && !json_is_true(json_object_get(inserted, "ro"))))
			continue;
		o = json_pack("{s:s, s:s}", "device", text_of(dev, "device"), "qdev",
			      text_of(dev, "qdev"));
		if (inserted) {
			file = absolute(image_of(inserted), cwd);
			json_object_set_new(o, "node", json_string(text_of(inserted, "node-name")));
			json_object_set_new(o, "format", json_string(text_of(inserted, "drv")));
			json_object_set_new(o, "file",
					    file ? file : json_string(image_of(inserted)));
		}
		json_array_append_new(list, o);
	}
	return list;
}

static void add_once(json_t *paths, json_t *path)
{
	json_t *v;
	size_t i;

	json_array_foreach(paths, i, v)
		if (json_equal(v, path)) {
			json_decref(path);
			return;
		}
	json_array_append_new(paths, path);
}

void hv_read_only_images(json_t *block, const char *cwd, json_t *paths)
{
	json_t *dev, *path;
	size_t i;

	json_array_foreach(block, i, dev) {
		json_t *inserted = json_object_get(dev, "inserted");

		path = json_is_true(json_object_get(inserted, "ro"))
			       ? absolute(image_of(inserted), cwd)
			       : NULL;
		if (path)
			add_once(paths, path);
	}
}

/* ---- opening ---- */

static bool is_link_to(const char *link, const char *path)
{
	size_t n = strlen(path);

	return !strncmp(link, path, n) && (!link[n] || !strcmp(link + n, DELETED));
}

/* One of QEMU's descriptors for that path; -1: it has none. */
static int open_qemus(pid_t pid, const char *path)
{
	char dir[64], link[PATH_MAX + 16], full[PATH_MAX], name[PATH_MAX];
	struct dirent *de;
	int fd = -1;
	DIR *d;

	/* QEMU opened a name; the kernel shows where it led. */
	if (!realpath(path, full))
		tv_copy(full, sizeof(full), path);
	snprintf(dir, sizeof(dir), "/proc/%d/fd", (int)pid);
	d = opendir(dir);
	while (d && fd < 0 && (de = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), de->d_name, link, sizeof(link) - 1);

		if (n <= 0)
			continue;
		link[n] = '\0';
		if (!is_link_to(link, full) && !is_link_to(link, path))
			continue;
		snprintf(name, sizeof(name), "%s/%s", dir, de->d_name);
		fd = open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	if (d)
		closedir(d);
	return fd;
}

static int open_file(pid_t pid, const char *path, uint64_t *bytes)
{
	int fd = open_qemus(pid, path);
	struct stat st;
	off_t end;

	if (fd < 0)
		fd = hv_open_as(path, pid);
	if (fd < 0)
		return -1;
	end = lseek(fd, 0, SEEK_END);
	if (fstat(fd, &st) || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) || end < 0) {
		close(fd);
		return -1;
	}
	*bytes = (uint64_t)end;
	return fd;
}

static int changes(const char *path, struct tv_err *e)
{
	return tv_fail(e, -ESTALE,
		       "%.300s changes again and again while it is read: the VM is to read it only",
		       path);
}

json_t *hv_files_open(struct hv_vm *vm, json_t *paths, struct tv_err *e)
{
	json_t *list = json_array(), *v;
	size_t i;
	int rc;

	hv_files_close(vm);
	json_array_foreach(paths, i, v) {
		const char *path = json_string_value(v);
		char sha256[TV_SHA256_ROOM];
		uint64_t bytes;
		int fd;

		if (vm->n_files == HV_MAX_FILES) {
			tv_fail(e, -ENOTSUP, "the VM reads more than %d files", HV_MAX_FILES);
			json_decref(list);
			return NULL;
		}
		fd = open_file(vm->id.pid, path, &bytes);
		if (fd < 0)
			continue;
		rc = hv_hashes_add(vm->hashes, fd, bytes, NULL, NULL, sha256);
		if (rc == -ESTALE) {
			changes(path, e);
			close(fd);
			json_decref(list);
			return NULL;
		}
		if (rc) {
			tv_log(TV_WARN, "%s: %s cannot be read: %s", vm->id.name, path,
			       tv_strerror(rc));
			close(fd);
			continue;
		}
		vm->files[vm->n_files++] = (struct hv_file){fd, bytes};
		json_array_append_new(list, json_pack("{s:s, s:I, s:s}", "path", path, "bytes",
						      (json_int_t)bytes, "sha256", sha256));
	}
	hv_hashes_save(vm->hashes);
	return list;
}

void hv_files_close(struct hv_vm *vm)
{
	while (vm->n_files)
		close(vm->files[--vm->n_files].fd);
}

struct reading { /* of all files, for a caller's more */
	hv_hash_more *more;
	void *arg;
	uint64_t done_bytes, all_bytes;
};

static bool on_piece(void *arg, size_t piece_bytes)
{
	struct reading *r = arg;

	r->done_bytes += piece_bytes;
	return r->more(r->arg, r->done_bytes, r->all_bytes);
}

int hv_files_hash(pid_t pid, json_t *paths, struct hv_hashes *h, hv_hash_more *more, void *arg,
		  struct tv_err *e)
{
	struct reading r = {.more = more, .arg = arg};
	struct hv_file files[HV_MAX_FILES];
	const char *names[HV_MAX_FILES];
	char sha256[TV_SHA256_ROOM];
	unsigned n = 0;
	json_t *v;
	size_t i;
	int rc = 0;

	json_array_foreach(paths, i, v) {
		struct hv_file *f = &files[n];

		if (n == HV_MAX_FILES) /* hv_files_open refuses them */
			break;
		names[n] = json_string_value(v);
		f->fd = open_file(pid, names[n], &f->bytes);
		if (f->fd < 0)
			continue;
		n++;
		r.all_bytes += hv_hashes_know(h, f->fd, f->bytes, sha256) ? 0 : f->bytes;
	}
	for (i = 0; i < n; i++) {
		if (!rc)
			rc = hv_hashes_add(h, files[i].fd, files[i].bytes, on_piece, &r, sha256);
		if (rc == -ESTALE)
			changes(names[i], e);
		else if (rc != -ECANCELED)
			rc = 0; /* hv_files_open leaves it out */
		close(files[i].fd);
	}
	hv_hashes_save(h);
	return rc;
}

int hv_file_read(struct hv_vm *vm, unsigned file, uint64_t offset, void *p, size_t n,
		 struct tv_err *e)
{
	uint8_t *to = p;

	size_t all;

	if (file >= vm->n_files || offset >= vm->files[file].bytes)
		return tv_fail(e, -ERANGE, "the VM reads no such part of a file");
	if (n > vm->files[file].bytes - offset)
		n = (size_t)(vm->files[file].bytes - offset);
	all = n;
	while (n) {
		ssize_t k = pread(vm->files[file].fd, to, n, (off_t)offset);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return tv_fail(e, k ? -errno : -EIO, "a file that the VM reads: %s",
				       k ? strerror(errno) : "it has become shorter");
		to += k;
		offset += (uint64_t)k;
		n -= (size_t)k;
	}
	return (int)all;
}

/* ---- changes ---- */

/* "drive ide1-cd0" */
static const char *drive_name(json_t *o, char out[160])
{
	const char *device = text_of(o, "device");

	snprintf(out, 160, "%.150s", *device ? device : text_of(o, "qdev"));
	return out;
}

int hv_drives_differ(json_t *before, json_t *now, struct tv_err *e)
{
	size_t n = json_array_size(now), old = json_array_size(before);
	char name[160];

	for (size_t i = 0; i < n && i < old; i++) {
		json_t *a = json_array_get(before, i), *b = json_array_get(now, i);

		if (json_equal(a, b))
			continue;
		if (!*text_of(b, "file"))
			tv_fail(e, 0, "the medium in drive %s was taken out", drive_name(b, name));
		else
			tv_fail(e, 0, "another medium is in drive %s: %.300s", drive_name(b, name),
				text_of(b, "file"));
		return 1;
	}
	if (n != old)
		tv_fail(e, 0, "the VM has other drives than before");
	return n != old;
}

int hv_disks_differ(const struct hv_disk *disks, unsigned n, json_t *block, struct tv_err *e)
{
	json_t *dev;
	size_t i;

	json_array_foreach(block, i, dev) {
		json_t *image = json_object_get(json_object_get(dev, "inserted"), "image");
		json_int_t bytes = json_integer_value(json_object_get(image, "virtual-size"));

		for (unsigned k = 0; k < n; k++) {
			const char *name = *disks[k].device ? disks[k].device : NULL;

			if (!name || strcmp(text_of(dev, "device"), name) ||
			    !hv_disk_is_writable(dev) || (uint64_t)bytes == disks[k].bytes)
				continue;
			tv_fail(e, 0, "disk %s has another size", disks[k].name);
			return 1;
		}
	}
	return 0;
}

int hv_media_changed(struct hv_vm *vm, struct tv_err *e)
{
	json_t *block = NULL, *now;
	int rc;

	if (!vm->drives)
		return 0;
	rc = hv_qmp_cmd(vm->qmp, "query-block", NULL, &block, HV_CMD_MS, e);
	if (rc)
		return rc;
	now = hv_drives_of(block, vm->start_dir);
	rc = hv_drives_differ(vm->drives, now, e);
	if (!rc)
		rc = hv_disks_differ(vm->disks, vm->n_disks, block, e);
	json_decref(now);
	json_decref(block);
	return rc;
}
