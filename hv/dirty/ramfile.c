/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared memory files (memfd, tmpfs) behind RAM blocks. A page of one may hold something without
 * being mapped in QEMU: a promoted standby's RAM was filled from outside. So what a file holds is
 * asked of the file.
 */
#include "hv/dirty/dirty_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>
#include <unistd.h>

int hv_ramfile_open(pid_t pid, const struct hv_map *m, int flags)
{
	struct statfs fs;
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid, m->start,
		 m->end);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!fstatfs(fd, &fs) && fs.f_type == TMPFS_MAGIC)
		return fd;
	close(fd);
	return -ENOTSUP;
}

int hv_ramfile_data(int fd, uint64_t from, uint64_t end, uint64_t *start, uint64_t *stop)
{
	off_t data = lseek(fd, (off_t)from, SEEK_DATA), hole;

	if (data < 0)
		return errno == ENXIO ? 0 : -errno;
	if ((uint64_t)data >= end)
		return 0;
	hole = lseek(fd, data, SEEK_HOLE);
	if (hole < 0)
		return -errno;
	*start = (uint64_t)data;
	*stop = (uint64_t)hole < end ? (uint64_t)hole : end;
	return 1;
}
