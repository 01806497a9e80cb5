/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disk records and the files of a replica, inside the room. */
#ifndef CHECKPOINT_DISK_RECORD_H
#define CHECKPOINT_DISK_RECORD_H

#include "checkpoint/page_record.h"

struct ckpt_disk_rec {
	uint8_t kind, encoding;
	uint16_t disk;
	uint32_t payload_bytes;
	uint64_t offset, bytes, hash;
};
void ckpt_disk_get(const uint8_t *p, struct ckpt_disk_rec *r);
/* Everything a header can be checked for; sizes: of the disks. NULL or what is wrong. */
const char *ckpt_disk_check(const struct ckpt_disk_rec *r, unsigned disks,
			    const uint64_t *sizes) TV_MUST_CHECK;
/* Contents of a checked WRITE record; *out is payload or scratch (a piece of room). */
int ckpt_disk_decode(const struct ckpt_disk_rec *r, const uint8_t *payload, uint8_t *scratch,
		     const uint8_t **out) TV_MUST_CHECK;
/* The same, compared with its hash. */
int ckpt_disk_contents(const struct ckpt_disk_rec *r, const uint8_t *payload, uint8_t *scratch,
		       const uint8_t **out) TV_MUST_CHECK;

/* ---- repstate.c: the state file ---- */
struct ckpt_repstate;
/* Makes it anew: MIXED from now on, durably. */
int ckpt_repstate_begin(const char *dir, const char *vm_id, const char *session,
			struct ckpt_repstate **out, struct tv_err *e) TV_MUST_CHECK;
/* Around every apply. Cheap: memory that the kernel writes, whoever is killed. */
void ckpt_repstate_applying(struct ckpt_repstate *s);
void ckpt_repstate_applied(struct ckpt_repstate *s, uint64_t epoch);
/* The images are durable at the applied epoch. */
int ckpt_repstate_settle(struct ckpt_repstate *s) TV_MUST_CHECK;
/* Deletes the file. */
void ckpt_repstate_remove(struct ckpt_repstate *s);
void ckpt_repstate_free(struct ckpt_repstate *s);

#endif
