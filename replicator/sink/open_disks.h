/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disks' replicas as the apply thread uses them: opened from a VM's description, handed to the
 * standby, given up or removed at the end. */
#ifndef REPLICATOR_SINK_OPEN_DISKS_H
#define REPLICATOR_SINK_OPEN_DISKS_H

#include "checkpoint/checkpoint.h"
#include <jansson.h>

struct open_disks_conf {
	const char *dir, *vm_id, *session;
	const char *spool_dir;
	uint64_t spool_bytes;
	const uint8_t *hash_key; /* may be NULL */
};
/* *out is NULL for a VM without writable disks. paths gets CKPT_MAX_DISKS places; *n are used. */
int sink_open_disks(json_t *desc, const struct open_disks_conf *conf, struct ckpt_rep **out,
		    const char *paths[CKPT_MAX_DISKS], unsigned *n, struct tv_err *e) TV_MUST_CHECK;

#endif
