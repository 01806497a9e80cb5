/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disks of a description, and a replica for them: see open_disks.h. */
#include "replicator/sink/open_disks.h"

#include <errno.h>
#include <sys/statvfs.h>

#define RESERVE_SHARE 20 /* a small file system is not all reserve */

/* Of all epochs' disk records; the rest goes to a file. A fast disk's writes of 250 ms fit. */
#define JOURNAL_MEMORY_BYTES (96u << 20)

int sink_open_disks(json_t *desc, const struct open_disks_conf *conf, struct ckpt_rep **out,
		    const char *paths[CKPT_MAX_DISKS], unsigned *n, struct tv_err *e)
{
	struct ckpt_rep_conf rc = {.dir = conf->dir,
				   .vm_id = conf->vm_id,
				   .session = conf->session,
				   .memory_bytes = JOURNAL_MEMORY_BYTES,
				   .room = conf->room,
				   .hash_key = conf->hash_key};
	json_t *list = json_object_get(desc, "disks"), *d;
	size_t i;
	int r;

	*out = NULL;
	*n = 0;
	if (json_array_size(list) > CKPT_MAX_DISKS)
		return tv_fail(e, TV_E_PROTOCOL, "the VM has more than %u disks", CKPT_MAX_DISKS);
	json_array_foreach(list, i, d)
		rc.bytes[i] = (uint64_t)json_integer_value(json_object_get(d, "bytes"));
	rc.disks = (unsigned)json_array_size(list);
	if (!rc.disks)
		return 0;
	r = ckpt_rep_open(&rc, out, e);
	for (; !r && *n < rc.disks; ++*n)
		paths[*n] = ckpt_rep_path(*out, *n);
	return r;
}

int sink_make_room(const char *dir, uint64_t spool_bytes, uint64_t reserve, struct ckpt_room **out,
		   struct tv_err *e)
{
	uint64_t share;
	struct statvfs fs;
	int rc = tv_mkdirs(dir);

	if (!rc && statvfs(dir, &fs))
		rc = -errno;
	if (!rc) {
		share = (uint64_t)fs.f_blocks * fs.f_frsize / RESERVE_SHARE;
		rc = ckpt_room_new(dir, spool_bytes, reserve < share ? reserve : share, out);
	}
	return rc ? tv_fail(e, rc, "the folder for replicas %s: %s", dir, tv_strerror(rc)) : 0;
}
