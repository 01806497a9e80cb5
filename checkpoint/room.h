/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What replicas and spools take of their file system: room.c. Private to checkpoint/. */
#ifndef CHECKPOINT_ROOM_H
#define CHECKPOINT_ROOM_H

#include "checkpoint/checkpoint.h"

/* A file is about to grow by n bytes. -ENOSPC: less than the reserve would be free; errors of the
 * file system. Never for NULL. */
int ckpt_room_grow(struct ckpt_room *r, uint64_t n) TV_MUST_CHECK;
/* The same for a spool, whose bytes count against the budget of all: -ENOSPC, too. Given back with
 * ckpt_room_give(). */
int ckpt_room_take(struct ckpt_room *r, uint64_t n) TV_MUST_CHECK;
void ckpt_room_give(struct ckpt_room *r, uint64_t n);
/* NULL: no spool may be made. */
const char *ckpt_room_dir(const struct ckpt_room *r);

#endif
