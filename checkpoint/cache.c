/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Contents of pages as they were last sent, bounded, found by (block, offset).
 *
 * Slots are one array of pages beside one array of keys; an index with open addressing and linear
 * probing leads from key to slot and is at most half full. Removal moves later entries of the probe
 * run back, so there are no tombstones to clean up.
 *
 * Eviction: a hand walks the slots and looks at LOOK of them for the one used longest
 * ago (sampled LRU). One used in this or the previous tick is never evicted: a guest that dirties
 * more than fits, in the same order every epoch, would otherwise push out every page just before
 * it is needed and never hit at all. Then the new page simply is not remembered.
 */
#include "checkpoint/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOK 16u
#define EMPTY UINT32_MAX
#define NO_KEY UINT64_MAX

struct ckpt_cache {
	uint32_t slots, used; /* slots below used have been taken at least once */
	uint32_t free_slot;   /* head of a list of dropped slots, linked through tick */
	uint32_t hand, tick;
	uint32_t mask; /* of the index */
	uint32_t *index;
	struct slot {
		uint64_t key;
		uint32_t tick; /* of last use; next free slot while free */
	} * slot;
	uint8_t *pages;
};

static uint64_t key_of(uint32_t block, uint64_t offset)
{
	/* Eight bits of block (CKPT_MAX_BLOCKS) above 52 bits of page number: no two pages share a
	 * key. */
	return (uint64_t)block << 52 | offset >> TV_PAGE_SHIFT;
}

static uint32_t home_of(const struct ckpt_cache *c, uint64_t key)
{
	/* Fibonacci hashing spreads neighbouring pages; the shift brings the block's bits into
	 * play. */
	return (uint32_t)((key ^ key >> 40) * UINT64_C(0x9e3779b97f4a7c15) >> 32) & c->mask;
}

int ckpt_cache_new(size_t bytes, struct ckpt_cache **out)
{
	size_t slots = bytes / TV_PAGE_BYTES;
	struct ckpt_cache *c;
	uint64_t index = 2;

	if (slots > UINT32_MAX / 4)
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	while (index < 2 * slots)
		index *= 2;
	c->slots = (uint32_t)slots;
	c->mask = (uint32_t)(index - 1);
	c->index = malloc(index * sizeof(*c->index));
	c->slot = calloc(slots + 1, sizeof(*c->slot));
	c->pages = aligned_alloc(TV_PAGE_BYTES, (slots + 1) * TV_PAGE_BYTES);
	if (!c->index || !c->slot || !c->pages) {
		ckpt_cache_free(c);
		return -ENOMEM;
	}
	ckpt_cache_clear(c);
	*out = c;
	return 0;
}

void ckpt_cache_free(struct ckpt_cache *c)
{
	if (!c)
		return;
	free(c->index);
	free(c->slot);
	free(c->pages);
	free(c);
}

void ckpt_cache_clear(struct ckpt_cache *c)
{
	memset(c->index, 0xff, ((size_t)c->mask + 1) * sizeof(*c->index));
	c->used = 0;
	c->free_slot = EMPTY;
	c->hand = 0;
	c->tick = 0;
}

void ckpt_cache_tick(struct ckpt_cache *c)
{
	c->tick++;
}

/* Position in the index: of the key, or of the empty place where it would go. */
static uint32_t probe(const struct ckpt_cache *c, uint64_t key)
{
	uint32_t i = home_of(c, key);

	while (c->index[i] != EMPTY && c->slot[c->index[i]].key != key)
		i = (i + 1) & c->mask;
	return i;
}

static uint8_t *page_of(struct ckpt_cache *c, uint32_t slot)
{
	return c->pages + (size_t)slot * TV_PAGE_BYTES;
}

uint8_t *ckpt_cache_find(struct ckpt_cache *c, uint32_t block, uint64_t offset)
{
	uint32_t s = c->index[probe(c, key_of(block, offset))];

	if (s == EMPTY)
		return NULL;
	c->slot[s].tick = c->tick;
	return page_of(c, s);
}

/* Takes position i out of the index and closes the gap it leaves in its probe run. */
static void unlink_at(struct ckpt_cache *c, uint32_t i)
{
	uint32_t j = i;

	c->slot[c->index[i]].key = NO_KEY;
	for (;;) {
		uint32_t home;

		j = (j + 1) & c->mask;
		if (c->index[j] == EMPTY)
			break;
		home = home_of(c, c->slot[c->index[j]].key);
		/* j may move to i unless its home lies in (i, j], cyclically. */
		if (((j - home) & c->mask) < ((j - i) & c->mask))
			continue;
		c->index[i] = c->index[j];
		i = j;
	}
	c->index[i] = EMPTY;
}

/* Evicts a page: its slot, already out of the index; EMPTY: none should be evicted. */
static uint32_t evict(struct ckpt_cache *c)
{
	uint32_t best = EMPTY, best_age = 1, look = c->slots < LOOK ? c->slots : LOOK;

	while (look--) {
		uint32_t age = c->tick - c->slot[c->hand].tick;

		if (age > best_age) {
			best = c->hand;
			best_age = age;
		}
		c->hand = c->hand + 1 < c->slots ? c->hand + 1 : 0;
	}
	if (best != EMPTY)
		unlink_at(c, probe(c, c->slot[best].key));
	return best;
}

static uint32_t take_slot(struct ckpt_cache *c)
{
	uint32_t s = c->free_slot;

	if (s != EMPTY) {
		c->free_slot = c->slot[s].tick;
		return s;
	}
	/* Taken in order, so that a cache larger than the guest needs costs no memory for the
	 * rest. */
	if (c->used < c->slots)
		return c->used++;
	return evict(c);
}

uint8_t *ckpt_cache_insert(struct ckpt_cache *c, uint32_t block, uint64_t offset)
{
	uint64_t key = key_of(block, offset);
	uint32_t s = take_slot(c);

	if (s == EMPTY)
		return NULL;
	c->slot[s] = (struct slot){.key = key, .tick = c->tick};
	c->index[probe(c, key)] = s;
	return page_of(c, s);
}

void ckpt_cache_drop(struct ckpt_cache *c, uint32_t block, uint64_t offset)
{
	uint32_t i = probe(c, key_of(block, offset)), s = c->index[i];

	if (s == EMPTY)
		return;
	unlink_at(c, i);
	c->slot[s].tick = c->free_slot;
	c->free_slot = s;
}
