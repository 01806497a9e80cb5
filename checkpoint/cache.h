/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the receiver has, as far as the sender remembers: the bases of differences. */
#ifndef CHECKPOINT_CACHE_H
#define CHECKPOINT_CACHE_H

#include "common/common.h"

struct ckpt_cache;
int ckpt_cache_new(size_t bytes, struct ckpt_cache **out) TV_MUST_CHECK;
void ckpt_cache_free(struct ckpt_cache *c);
void ckpt_cache_clear(struct ckpt_cache *c);
/* Pages older than about two ticks may be evicted for new ones. */
void ckpt_cache_tick(struct ckpt_cache *c);
/* The remembered contents, or NULL. Writable: the caller updates a base in place. */
uint8_t *ckpt_cache_find(struct ckpt_cache *c, uint32_t block, uint64_t offset);
/* A place for a page that find did not find; NULL: not worth remembering now. */
uint8_t *ckpt_cache_insert(struct ckpt_cache *c, uint32_t block, uint64_t offset);
void ckpt_cache_drop(struct ckpt_cache *c, uint32_t block, uint64_t offset);

#endif
