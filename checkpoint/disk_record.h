/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disk records (docs/WIRE.md, "Disk records"): header, checks, contents. Private to checkpoint/. */
#ifndef CHECKPOINT_DISK_RECORD_H
#define CHECKPOINT_DISK_RECORD_H

#include "checkpoint/checkpoint.h"

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

#endif
