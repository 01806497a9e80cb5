/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How far a VM's disks are, one by one, as a replicator reports them to its daemon. */
#ifndef REPLICATOR_SESSION_DISK_STATE_H
#define REPLICATOR_SESSION_DISK_STATE_H

#include "replicator/session/fields.h"

#define SESSION_MAX_DISKS 64

/* NAN, UINT64_MAX: not known, or not this side's. */
struct session_disk {
	char name[160], file[1024];
	char state[16];
	uint64_t bytes;
	double progress;
	uint64_t behind_bytes, image_bytes;
};
extern const struct fields session_disk_fields;

/* Of a description's `disks` (hv_describe), where everything is only claimed: names and sizes of at
 * most SESSION_MAX_DISKS; the rest is not known. Returns how many. */
unsigned session_disks_described(const json_t *description,
				 struct session_disk out[SESSION_MAX_DISKS]);
/* The message. NULL: no memory. */
json_t *session_disks_message(const struct session_disk *disks, unsigned n);
/* Those of a message, as an array of objects that have the fields of the table and no other; what is
 * malformed is left out. NULL: no memory. */
json_t *session_disks_take(const json_t *msg);

#endif
