/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opens the replicas (checkpoint/) of the disks that a VM's description lists. */
#ifndef REPLICATOR_SINK_OPEN_DISKS_H
#define REPLICATOR_SINK_OPEN_DISKS_H

#include "checkpoint/checkpoint.h"
#include <jansson.h>

struct open_disks_conf {
	const char *dir, *vm_id, *session;
	struct ckpt_room *room;
	const uint8_t *hash_key; /* may be NULL */
};
/*
 * *out: the replicas, the caller's also on failure; NULL for a VM without writable disks. The first
 * *n of paths point to the images' paths, which are *out's. TV_E_PROTOCOL: too many disks; or what
 * ckpt_rep_open returns; with a sentence.
 */
int sink_open_disks(json_t *desc, const struct open_disks_conf *conf, struct ckpt_rep **out,
		    const char *paths[CKPT_MAX_DISKS], unsigned *n, struct tv_err *e) TV_MUST_CHECK;

/*
 * The room of a VM's replicas and spools in dir, which is made. Spools lie beside the replicas: /run is
 * memory, and a large guest could fill it. reserve: of a twentieth of the file system at most.
 */
int sink_make_room(const char *dir, uint64_t spool_bytes, uint64_t reserve, struct ckpt_room **out,
		   struct tv_err *e) TV_MUST_CHECK;

#endif
