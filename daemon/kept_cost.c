/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a stopped QEMU occupies (kept.c): its memory, and the replica images of its slot. A QEMU that
 * was never a standby here runs from the user's own images, which are not looked at.
 */
#include "daemon/daemon.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define C(member, meaning) FIELD(struct kept_cost, member, U64, "bytes", meaning)
static const struct field list[] = {
	C(memory_bytes, "resident memory of its process"),
	C(image_bytes, "on disk: of the images in replica_dir that only it used"),
};
const struct fields kept_cost_fields = FIELDS("cost of a stopped QEMU", list);

/* NAME-DISK.raw, NAME.state or NAME-file-HASH, as checkpoint/ calls them, of that name and no longer
 * one. */
static bool is_of(const char *name, const char *file)
{
	size_t n = strlen(name);
	const char *p = file + n;

	if (strncmp(file, name, n) != 0)
		return false;
	if (!strcmp(p, ".state"))
		return true;
	if (!strncmp(p, "-file-", 6))
		return true;
	if (*p++ != '-' || !isdigit((unsigned char)*p))
		return false;
	while (isdigit((unsigned char)*p))
		p++;
	return !strcmp(p, ".raw");
}

static uint64_t each_image(const struct kept *k, bool remove)
{
	struct slot_names names;
	struct dirent *ent;
	uint64_t bytes = 0;
	struct stat st;
	DIR *dir;

	if (k->slot < 0)
		return 0;
	slot_names(k->id, (unsigned)k->slot, &names);
	dir = opendir(k->d->conf.replica_dir);
	while (dir && (ent = readdir(dir))) {
		if (!is_of(names.id, ent->d_name) ||
		    fstatat(dirfd(dir), ent->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		bytes += (uint64_t)st.st_blocks * 512;
		if (remove && unlinkat(dirfd(dir), ent->d_name, 0))
			tv_log(TV_WARN, "%s/%s is not removed: %m", k->d->conf.replica_dir,
			       ent->d_name);
	}
	if (dir)
		closedir(dir);
	return bytes;
}

void kept_remove_images(const struct kept *k)
{
	(void)each_image(k, true);
}

static uint64_t resident_bytes(pid_t pid)
{
	TV_FREE char *text = NULL;
	const char *line;
	char path[64];
	size_t bytes;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (tv_read_file(path, 64 << 10, &text, &bytes))
		return 0;
	line = strstr(text, "\nVmRSS:");
	return line ? strtoull(line + 7, NULL, 10) << 10 : 0;
}

struct kept_cost kept_cost(const struct kept *k)
{
	return (struct kept_cost){.memory_bytes = resident_bytes(k->qemu.pid),
				  .image_bytes = each_image(k, false)};
}
