/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: room on disk
 *
 * A sparse replica grows as its VM writes, and an epoch that is larger than memory goes to a spool
 * beside it. The file system is also that of the state files from which this host knows who may run
 * a VM, so a part of it stays free: nothing here grows into the reserve. What does not grow (a write
 * to a place that has its block) is not refused.
 *
 * All spools of a VM, of its memory's epochs and of its disks', have one budget.
 *
 * Asking the file system costs a system call, so what was found free is used up in steps. Each of
 * several VMs on one file system can be into the reserve by one of them, an eighth of it at most.
 */
#include "checkpoint/room.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define STEP_BYTES (16u << 20)
#define SPOOL_PREFIX "twinvm-spool-" /* spool.c; only where unnamed files are not known */

struct ckpt_room {
	char *dir;
	uint64_t spool_limit, spool_used, reserve_bytes;
	uint64_t found; /* free beyond the reserve, not yet used up */
	char why[400];	/* the last refusal */
};

/* What a host that died left. Another process that is about to remove its own loses nothing. */
static void clean(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *ent;

	while (dir && (ent = readdir(dir)))
		if (!strncmp(ent->d_name, SPOOL_PREFIX, strlen(SPOOL_PREFIX)))
			unlinkat(dirfd(dir), ent->d_name, 0);
	if (dir)
		closedir(dir);
}

int ckpt_room_new(const char *dir, uint64_t spool_bytes, uint64_t reserve_bytes,
		  struct ckpt_room **out)
{
	struct ckpt_room *r = calloc(1, sizeof(*r));

	*out = NULL;
	if (!r)
		return -ENOMEM;
	r->spool_limit = spool_bytes;
	r->reserve_bytes = reserve_bytes;
	r->dir = strdup(dir);
	if (!r->dir) {
		free(r);
		return -ENOMEM;
	}
	clean(dir);
	*out = r;
	return 0;
}

void ckpt_room_free(struct ckpt_room *r)
{
	if (!r)
		return;
	free(r->dir);
	free(r);
}

const char *ckpt_room_dir(const struct ckpt_room *r)
{
	return r ? r->dir : NULL;
}

const char *ckpt_room_why(const struct ckpt_room *r, int rc)
{
	return r && rc == -ENOSPC && r->why[0] ? r->why : tv_strerror(rc);
}

static unsigned long long mib(uint64_t bytes)
{
	return bytes >> 20;
}

int ckpt_room_grow(struct ckpt_room *r, uint64_t n)
{
	struct statvfs fs;
	uint64_t free_bytes, step;
	struct tv_err e;

	if (!r)
		return 0;
	if (n <= r->found) {
		r->found -= n;
		return 0;
	}
	if (statvfs(r->dir, &fs))
		return -errno;
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (free_bytes < r->reserve_bytes || free_bytes - r->reserve_bytes < n) {
		r->found = 0;
		tv_fail(&e, 0,
			"the file system of %s has %llu MiB free, and %llu MiB are kept free for "
			"state files (reserve_mib): make room there",
			r->dir, mib(free_bytes), mib(r->reserve_bytes));
		tv_copy(r->why, sizeof(r->why), e.text);
		return -ENOSPC;
	}
	free_bytes -= r->reserve_bytes + n;
	step = r->reserve_bytes && r->reserve_bytes / 8 < STEP_BYTES ? r->reserve_bytes / 8
								     : STEP_BYTES;
	r->found = free_bytes < step ? free_bytes : step;
	return 0;
}

int ckpt_room_take(struct ckpt_room *r, uint64_t n)
{
	struct tv_err e;
	int rc;

	if (!r)
		return -ENOSPC;
	if (n > r->spool_limit - r->spool_used) {
		tv_fail(&e, 0,
			"what is not committed has more than %llu MiB: spool_mib on the backup is "
			"too small for this VM",
			mib(r->spool_limit));
		tv_copy(r->why, sizeof(r->why), e.text);
		return -ENOSPC;
	}
	rc = ckpt_room_grow(r, n);
	if (!rc)
		r->spool_used += n;
	return rc;
}

void ckpt_room_give(struct ckpt_room *r, uint64_t n)
{
	if (!n)
		return;
	r->spool_used -= n;
}
