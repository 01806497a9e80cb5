/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that a clone writes: empty qcow2 files, version 3, made here so that no other program is needed.
 * What they lie over stands on the command line of QEMU, never in the file. Layout: header, table of
 * reference counts, one block of these, first-level table.
 */
#include "clone/clone_int.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLUSTER_BITS 16
#define CLUSTER (UINT64_C(1) << CLUSTER_BITS)
#define L1_COVERS (CLUSTER / 8 * CLUSTER) /* bytes of the disk that an entry is for */
#define HEADER_BYTES 104
#define FIXED_CLUSTERS 3
#define MAX_L1_CLUSTERS 1024 /* 4 PiB */

struct header {
	uint32_t magic, version;
	uint64_t backing_offset;
	uint32_t backing_bytes, cluster_bits;
	uint64_t size;
	uint32_t crypt, l1_entries;
	uint64_t l1_offset, refcount_offset;
	uint32_t refcount_clusters, snapshots;
	uint64_t snapshots_offset, incompatible, compatible, autoclear;
	uint32_t refcount_order, header_bytes;
} __attribute__((packed));

static int write_all(int fd, uint64_t bytes, uint64_t entries, uint64_t l1_clusters)
{
	struct header h = {.magic = htobe32(0x514649fb),
			   .version = htobe32(3),
			   .cluster_bits = htobe32(CLUSTER_BITS),
			   .size = htobe64(bytes),
			   .l1_entries = htobe32((uint32_t)entries),
			   .l1_offset = htobe64(FIXED_CLUSTERS * CLUSTER),
			   .refcount_offset = htobe64(CLUSTER),
			   .refcount_clusters = htobe32(1),
			   .refcount_order = htobe32(4),
			   .header_bytes = htobe32(HEADER_BYTES)};
	uint64_t used = FIXED_CLUSTERS + l1_clusters, block = htobe64(2 * CLUSTER);
	uint16_t counts[FIXED_CLUSTERS + MAX_L1_CLUSTERS];

	_Static_assert(sizeof(h) == HEADER_BYTES, "as in QEMU's docs/interop/qcow2.txt");
	for (uint64_t i = 0; i < used; i++)
		counts[i] = htobe16(1);
	if (ftruncate(fd, (off_t)(used * CLUSTER)) ||
	    pwrite(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) ||
	    pwrite(fd, &block, sizeof(block), CLUSTER) != (ssize_t)sizeof(block) ||
	    pwrite(fd, counts, used * 2, 2 * CLUSTER) != (ssize_t)(used * 2))
		return errno ? -errno : -EIO;
	return 0;
}

int clone_image(const char *path, uint64_t bytes, uid_t uid)
{
	uint64_t entries = (bytes + L1_COVERS - 1) / L1_COVERS;
	uint64_t l1_clusters = (entries * 8 + CLUSTER - 1) / CLUSTER;
	TV_CLOSE int fd = -1;
	int rc;

	if (!bytes || bytes % 512 || l1_clusters > MAX_L1_CLUSTERS)
		return -EINVAL;
	(void)unlink(path); /* of an earlier test */
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	errno = 0;
	rc = write_all(fd, bytes, entries, l1_clusters);
	if (!rc && (fchmod(fd, 0600) || fchown(fd, uid, (gid_t)-1)))
		rc = -errno;
	return rc;
}

uint64_t clone_image_takes(const char *path)
{
	struct stat st;

	return lstat(path, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}
