/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: hashes of the VM at the end of an epoch, while it runs
 *
 * The backup, once it has applied epoch N, holds the VM at the end of N. To compare, the primary
 * needs hashes of the same moment, and must not stop the VM for them. So a part of memory is read
 * while the VM runs, between the harvest of N - 1 and that of N. What N's harvest does not report
 * has not been written meanwhile (hv/dirty/peek.c): it is as it was at the end of N - 1, and of N.
 * What N's harvest reports was copied in N's pause: the encoder hashes that copy, in place of what
 * was read. So each page of the part has the hash of the end of N, whatever the guest does, none
 * has to be tried again, and the pause is what it always is.
 *
 * What is wanted passes from one thread to the next, and belongs to one at a time:
 *   IDLE -- loop: compare_want --> WANTED -- capture thread: compare_read --> READ (in slices, so
 *   that an epoch never waits long) -- compare_attach --> ATTACHED -- encoder: compare_page --, loop,
 *   when the epoch's end is sent: compare_take --> IDLE.
 * An epoch that comes before all is read takes what there is: the part is shorter then.
 * Through the state, which is atomic, each sees what the one before has written.
 *
 * The device state is hashed by the encoder, as it was captured.
 */
#include "replicator/source/compare.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum state { IDLE, WANTED, READ, ATTACHED };

struct compare {
	atomic_int state;
	struct ckpt_hasher *hasher;
	struct compare_want want;
	uint32_t read; /* pages, from the front */
	bool reported; /* what is to be repaired */
	uint64_t epoch;
	int rc;
	uint8_t hashes[COMPARE_PAGES * COMPARE_HASH_BYTES];
	uint8_t slice[HV_PEEK_PAGES * TV_PAGE_BYTES];
	unsigned nparts;
	struct hv_state_part parts[COMPARE_PARTS];
	uint8_t part_hashes[COMPARE_PARTS * COMPARE_HASH_BYTES];
};

int compare_new(struct compare **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void compare_free(struct compare *c)
{
	if (!c)
		return;
	ckpt_hasher_free(c->hasher);
	free(c);
}

int compare_begin(struct compare *c, const uint8_t key[CKPT_HASH_KEY_BYTES])
{
	ckpt_hasher_free(c->hasher);
	return ckpt_hasher_new(key, &c->hasher);
}

bool compare_is_idle(const struct compare *c)
{
	return atomic_load_explicit(&c->state, memory_order_acquire) == IDLE;
}

static void pass_on(struct compare *c, enum state state)
{
	atomic_store_explicit(&c->state, state, memory_order_release);
}

void compare_want(struct compare *c, const struct compare_want *w)
{
	c->want = *w;
	c->read = 0;
	c->nparts = 0;
	c->rc = 0;
	c->reported = false;
	pass_on(c, WANTED);
}

void compare_take(struct compare *c, struct compare_out *out)
{
	*out = (struct compare_out){.epoch = c->epoch,
				    .block = c->want.block,
				    .pages = c->read,
				    .first = c->want.first,
				    .hashes = c->hashes,
				    .nparts = c->nparts,
				    .parts = c->parts,
				    .part_hashes = c->part_hashes,
				    .rc = c->rc};
	pass_on(c, IDLE);
}

static void hash(struct compare *c, const void *p, size_t n, uint8_t *out)
{
	uint8_t all[CKPT_HASH_BYTES];
	int rc = ckpt_hash_block(c->hasher, p, n, all);

	if (rc && !c->rc)
		c->rc = rc;
	memcpy(out, all, COMPARE_HASH_BYTES);
}

/* ---- the capture thread ---- */
bool compare_is_due(const struct compare *c)
{
	return c && atomic_load_explicit(&c->state, memory_order_acquire) == WANTED;
}

/* The next round reports them, so that they are sent again. */
static void report(struct compare *c, struct hv_vm *vm,
		   void (*forget)(void *arg, uint32_t block, uint64_t offset), void *arg)
{
	for (uint32_t i = 0; i < c->want.nrepair && !c->rc; i++) {
		uint64_t offset = (c->want.first + c->want.repair[i]) << TV_PAGE_SHIFT;

		forget(arg, c->want.block, offset);
		c->rc = hv_report(vm, c->want.block, offset);
	}
	c->reported = true;
}

void compare_read(struct compare *c, struct hv_vm *vm,
		  void (*forget)(void *arg, uint32_t block, uint64_t offset), void *arg)
{
	uint32_t left = c->want.pages - c->read;
	struct hv_run run = {.block = c->want.block,
			     .pages = left < HV_PEEK_PAGES ? left : HV_PEEK_PAGES,
			     .offset = (c->want.first + c->read) << TV_PAGE_SHIFT};

	if (!c->reported)
		report(c, vm, forget, arg);
	if (!c->rc)
		c->rc = hv_peek(vm, &run, c->slice);
	for (uint32_t i = 0; i < run.pages && !c->rc; i++)
		hash(c, c->slice + (size_t)i * TV_PAGE_BYTES, TV_PAGE_BYTES,
		     c->hashes + (size_t)(c->read + i) * COMPARE_HASH_BYTES);
	c->read += run.pages;
	if (c->rc || c->read == c->want.pages)
		pass_on(c, READ);
}

bool compare_attach(struct compare *c, uint64_t epoch)
{
	int state = c ? atomic_load_explicit(&c->state, memory_order_acquire) : IDLE;

	/* ATTACHED: an epoch that is still on its way to the loop has it. */
	if (state != READ && (state != WANTED || !c->read))
		return false;
	c->epoch = epoch;
	pass_on(c, ATTACHED);
	return true;
}

void compare_undo(struct compare *c)
{
	pass_on(c, c->rc || c->read == c->want.pages ? READ : WANTED);
}

/* ---- the encoder's thread ---- */
void compare_page(struct compare *c, uint32_t block, uint64_t offset, const void *page)
{
	uint64_t n = offset >> TV_PAGE_SHIFT;

	if (block == c->want.block && n >= c->want.first && n - c->want.first < c->read)
		hash(c, page, TV_PAGE_BYTES,
		     c->hashes + (size_t)(n - c->want.first) * COMPARE_HASH_BYTES);
}

void compare_state(struct compare *c, const void *state, size_t bytes)
{
	const uint8_t *p = state;

	if (!c->want.state)
		return;
	c->nparts = hv_state_parts(state, bytes, c->parts, COMPARE_PARTS);
	for (unsigned i = 0; i < c->nparts; i++)
		hash(c, p + c->parts[i].offset, c->parts[i].bytes,
		     c->part_hashes + (size_t)i * COMPARE_HASH_BYTES);
}
