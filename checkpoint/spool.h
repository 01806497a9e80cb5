/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The received bytes of one epoch: in memory, then in an unlinked file. */
#ifndef CHECKPOINT_SPOOL_H
#define CHECKPOINT_SPOOL_H

#include "checkpoint/page_record.h"
#include "checkpoint/room.h"

struct ckpt_spool;
/* room: the caller's, outlives it; NULL: memory only. */
int ckpt_spool_new(size_t memory_bytes, struct ckpt_room *room,
		   struct ckpt_spool **out) TV_MUST_CHECK;
void ckpt_spool_free(struct ckpt_spool *s);
/* Empties it and frees its disk space. */
void ckpt_spool_clear(struct ckpt_spool *s);
/* -ENOSPC: no room (ckpt_room_why), or disk full. After a failure every add fails the same way until clear. */
int ckpt_spool_add(struct ckpt_spool *s, const void *p, size_t n) TV_MUST_CHECK;
/* What made an add fail since clear, or 0. */
int ckpt_spool_failed(const struct ckpt_spool *s);
uint64_t ckpt_spool_bytes(const struct ckpt_spool *s);
/* n (at most CKPT_MAX_RECORD_BYTES) bytes at pos, inside what was added; valid until the next
 * call. */
int ckpt_spool_at(struct ckpt_spool *s, uint64_t pos, size_t n, const uint8_t **out) TV_MUST_CHECK;

#endif
