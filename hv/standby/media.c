/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files that a peer's command line makes this host's QEMU read: firmware, kernels, CD images.
 * A peer must not read this host's other files through a guest of its own, so they have to lie
 * below the folders that the operator named for it, after all links are resolved. QEMU opens them
 * by name later: whoever may change links in these folders is trusted with that.
 *
 * A disk image is more than a file: the head of a qcow2 image may name another one, which QEMU
 * opens too, and a raw one that begins like qcow2 would be taken for that if QEMU had to guess.
 */
#include "hv/standby/media.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QCOW2_DATA_FILE 4u /* incompatible feature: the contents are in another file */

static bool is_below(const char *path, const char *folder)
{
	char real[PATH_MAX];
	size_t n;

	if (!realpath(folder, real))
		return false;
	n = strlen(real);
	return !strcmp(real, "/") || (!strncmp(path, real, n) && (path[n] == '/' || !path[n]));
}

static bool is_below_any(const char *path, const char *folders)
{
	for (const char *p = folders; *p; p += *p == ':') {
		size_t n = strcspn(p, ":");
		char folder[PATH_MAX];

		if (n && n < sizeof(folder)) {
			memcpy(folder, p, n);
			folder[n] = '\0';
			if (is_below(path, folder))
				return true;
		}
		p += n;
	}
	return false;
}

/* Formats that QEMU recognises by how they begin. */
static bool has_magic(const uint8_t *head, size_t n)
{
	static const struct {
		const char *text;
		size_t n;
	} magic[] = {{"QFI\xfb", 4},
		     {"KDMV", 4},
		     {"COWD", 4},
		     {"conectix", 8},
		     {"vhdxfile", 8},
		     {"QED\0", 4},
		     {"LUKS\xba\xbe", 6},
		     {"Bochs Virtual", 13},
		     {"WithoutFreeSpace", 16},
		     {"WithouFreSpacExt", 16},
		     {"# Disk DescriptorFile", 21},
		     {"<<< ", 4},
		     {"OOOM", 4},
		     {"#!/bin/sh\n#V2.0 Format", 23}};

	for (size_t i = 0; i < sizeof(magic) / sizeof(*magic); i++)
		if (n >= magic[i].n && !memcmp(head, magic[i].text, magic[i].n))
			return true;
	return false;
}

/* qcow2's head: bytes 4 version, 8 where the backing file's name is, 72 features (version 3). */
static bool names_other_file(const uint8_t *head, size_t n)
{
	uint64_t backing, features = 0;
	uint32_t version;

	if (n < 80 || memcmp(head, "QFI\xfb", 4))
		return false;
	memcpy(&version, head + 4, 4);
	memcpy(&backing, head + 8, 8);
	if (be32toh(version) >= 3)
		memcpy(&features, head + 72, 8);
	return backing || (be64toh(features) & QCOW2_DATA_FILE);
}

static int check_image(int fd, const char *path, const char *kind, const char *peer,
		       struct tv_err *e)
{
	uint8_t head[512];
	ssize_t n = pread(fd, head, sizeof(head), 0);

	if (n < 0)
		return tv_fail(e, -errno, "cannot read %s: %s", path, strerror(errno));
	if (!strcmp(kind, HV_MEDIA_RAW) && has_magic(head, (size_t)n))
		return tv_fail(e, TV_E_REFUSED,
			       "%s asks for the image %s without its format: not allowed on this "
			       "host, where it is no raw image; start the VM with format=",
			       peer, path);
	if (names_other_file(head, (size_t)n))
		return tv_fail(e, TV_E_REFUSED,
			       "%s asks for the image %s: not allowed on this host, because it "
			       "names a further file; convert it to one without (qemu-img convert)",
			       peer, path);
	return 0;
}

static int check_opened(int fd, const char *path, const char *kind, const char *peer,
			struct tv_err *e)
{
	bool folder = !strcmp(kind, HV_MEDIA_FOLDER);
	struct stat st;

	if (fstat(fd, &st))
		return tv_fail(e, -errno, "cannot look at %s: %s", path, strerror(errno));
	if (folder ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))
		return tv_fail(e, TV_E_REFUSED,
			       "%s asks for %s: not allowed on this host, where "
			       "it is no %s",
			       peer, path, folder ? "folder" : "ordinary file");
	return strstr(kind, "image") ? check_image(fd, path, kind, peer, e) : 0;
}

static int check_file(const char *path, const char *kind, const char *folders, const char *peer,
		      struct tv_err *e)
{
	TV_CLOSE int fd = -1;
	char real[PATH_MAX];
	int rc = 0;

	/* What does not exist outside these folders is no one's to know: the same sentence. */
	if (!realpath(path, real)) {
		rc = -errno;
		tv_copy(real, sizeof(real), path);
	}
	if (strstr(real, "/..") || !is_below_any(real, folders))
		return tv_fail(e, TV_E_REFUSED,
			       "%s asks for the file %s: not allowed on this host; put it below "
			       "one of %s, or add its folder to 'media' in this host's "
			       "configuration",
			       peer, path, *folders ? folders : "the folders of 'media'");
	if (!rc && (fd = open(real, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		rc = -errno;
	if (rc)
		return tv_fail(e, -ENOTSUP,
			       "the VM needs the file %s, which cannot be read on this host (%s); "
			       "copy it there, under the same name",
			       path, tv_strerror(rc));
	return check_opened(fd, path, kind, peer, e);
}

/* A copy that this host made for the VM; its name has nothing of the peer's. */
static int check_copy(const char *path, const char *kind, const char *peer, struct tv_err *e)
{
	TV_CLOSE int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return tv_fail(e, -errno, "the copy %s of a file of the VM: %s", path,
			       strerror(errno));
	return check_opened(fd, path, kind, peer, e);
}

bool hv_media_has(const char *path, const char *folders, uint64_t bytes, const char *sha256)
{
	char real[PATH_MAX], found[TV_SHA256_ROOM];
	TV_CLOSE int fd = -1;
	struct stat st;

	if (!realpath(path, real) || !is_below_any(real, folders))
		return false;
	fd = open(real, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == bytes &&
	       !tv_sha256(fd, bytes, found) && !strcmp(found, sha256);
}

int hv_media_check(json_t *files, const char *folders, const char *peer, struct tv_err *e)
{
	json_t *file;
	size_t i;
	int rc = 0;

	json_array_foreach(files, i, file) {
		const char *path = json_string_value(json_object_get(file, "path"));
		const char *kind = json_string_value(json_object_get(file, "kind"));

		rc = json_is_true(json_object_get(file, "copy"))
			     ? check_copy(path, kind, peer, e)
			     : check_file(path, kind, folders, peer, e);
		if (rc)
			break;
	}
	return rc;
}
