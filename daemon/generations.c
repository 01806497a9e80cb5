/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state_dir/generations/VMID: the highest generation of a VM that this host ever took part in or
 * learned of, as a number. It outlives the VM's entry: a host that offers the VM with a lower one
 * later has been asleep, and is refused. The files are tiny and never removed by twinvm.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int path_of(struct daemon *d, const char *vm_id, char *out, size_t room)
{
	if (strlen(vm_id) != 32 || strspn(vm_id, "0123456789abcdef") != 32)
		return -EINVAL;
	snprintf(out, room, "%s/generations/%s", d->conf.state_dir, vm_id);
	return 0;
}

uint64_t generation_seen(struct daemon *d, const char *vm_id)
{
	TV_FREE char *text = NULL;
	const char *later;
	char path[300];
	int rc = path_of(d, vm_id, path, sizeof(path));

	later = rc ? NULL : durable_unwritten(d, path);
	if (later)
		return strtoull(later, NULL, 10);
	if (!rc)
		rc = tv_read_file(path, 64, &text, NULL);
	if (rc && rc != -ENOENT)
		tv_log(TV_WARN, "%s: %s; taken as generation 0", path, tv_strerror(rc));
	return rc ? 0 : strtoull(text, NULL, 10);
}

int generation_note(struct daemon *d, const char *vm_id, uint64_t generation, struct tv_err *e)
{
	char path[300], text[32];
	uint64_t seen;

	if (path_of(d, vm_id, path, sizeof(path)))
		return tv_fail(e, -EINVAL, "'%.40s' is no VM's id", vm_id);
	seen = generation_seen(d, vm_id);
	if (generation <= seen && !durable_unwritten(d, path))
		return 0;
	generation = generation > seen ? generation : seen;
	snprintf(text, sizeof(text), "%" PRIu64 "\n", generation);
	return durable_write(d, path, text, e);
}

void generation_note_later(struct daemon *d, const char *vm_id, uint64_t generation)
{
	char path[300], text[32];

	if (path_of(d, vm_id, path, sizeof(path)) || generation <= generation_seen(d, vm_id))
		return;
	snprintf(text, sizeof(text), "%" PRIu64 "\n", generation);
	durable_write_later(d, path, text);
}
