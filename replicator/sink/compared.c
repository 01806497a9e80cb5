/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does the standby hold what the primary has? The primary's hashes of an epoch's end come behind
 * that end, so the apply thread, which works in order, has just applied it and nothing newer. What
 * is hashed here is read from the standby's memory and from its images: a bit that has flipped
 * there, or that was written wrongly, is found, whatever was received and checked before.
 *
 * All numbers are a peer's: each place is checked against the standby's own sizes before it is read.
 */
#include "replicator/sink/compared.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct run {
	struct compared_ask ask;
	const uint8_t *at, *hashes;
	const struct compared_with *with;
	struct ckpt_hasher *hasher;
	uint8_t *room; /* CKPT_BLOCK_BYTES */
};

static uint64_t at(const struct run *r, uint32_t i)
{
	uint64_t v;

	memcpy(&v, r->at + (size_t)i * sizeof(v), sizeof(v));
	return v;
}

const char *compared_invalid(const struct compared_ask *a, size_t hashes_bytes)
{
	static const uint32_t most[COMPARED_WHATS] = {COMPARED_MAX_PAGES, COMPARED_MAX_BLOCKS,
						      COMPARED_MAX_PARTS};
	static const uint32_t places[COMPARED_WHATS] = {0, 1, 2};

	if (a->what >= COMPARED_WHATS)
		return "what";
	if (hashes_bytes % COMPARED_HASH_BYTES || hashes_bytes / COMPARED_HASH_BYTES != a->n ||
	    !a->n || a->n > most[a->what])
		return "hashes";
	return a->nat != a->n * places[a->what] ? "at" : NULL;
}

/* Each finds the contents that hash i is of. */
static int page(struct run *r, uint32_t i, const uint8_t **p, size_t *n, struct tv_err *e)
{
	const struct ckpt_mem *mem = r->with->mem;
	uint64_t bytes =
		r->ask.number < mem->blocks ? mem->block_bytes(mem->arg, r->ask.number) : 0;
	uint64_t pages = bytes >> TV_PAGE_SHIFT;
	uint8_t *map;
	int rc;

	if (r->ask.first >= pages || i >= pages - r->ask.first)
		return tv_fail(e, -ERANGE, "the standby has no such page");
	*n = TV_PAGE_BYTES;
	*p = r->room;
	map = mem->map(mem->arg, r->ask.number);
	if (map) {
		*p = map + ((r->ask.first + i) << TV_PAGE_SHIFT);
		return 0;
	}
	rc = mem->read(mem->arg, r->ask.number, (r->ask.first + i) << TV_PAGE_SHIFT, r->room,
		       TV_PAGE_BYTES);
	return rc ? tv_fail(e, rc, "the standby's memory: %s", tv_strerror(rc)) : 0;
}

static int block(struct run *r, uint32_t i, const uint8_t **p, size_t *n, struct tv_err *e)
{
	uint64_t bytes = r->with->rep ? ckpt_rep_bytes(r->with->rep, r->ask.number) : 0;
	uint64_t b = at(r, i);

	if (b >= bytes / CKPT_BLOCK_BYTES + (bytes % CKPT_BLOCK_BYTES != 0))
		return tv_fail(e, -ERANGE, "the standby has no such block");
	*n = bytes - b * CKPT_BLOCK_BYTES < CKPT_BLOCK_BYTES
		     ? (size_t)(bytes - b * CKPT_BLOCK_BYTES)
		     : CKPT_BLOCK_BYTES;
	*p = r->room;
	return ckpt_rep_read(r->with->rep, r->ask.number, b * CKPT_BLOCK_BYTES, r->room, *n, e);
}

static int part(struct run *r, uint32_t i, const uint8_t **p, size_t *n, struct tv_err *e)
{
	uint64_t offset = at(r, 2 * i), bytes = at(r, 2 * i + 1);

	if (!bytes || offset > r->with->state_bytes || bytes > r->with->state_bytes - offset)
		return tv_fail(e, -ERANGE, "the standby's device state has %zu bytes",
			       r->with->state_bytes);
	*p = r->with->state + offset;
	*n = (size_t)bytes;
	return 0;
}

static int compare(struct run *r, uint32_t *different, struct tv_err *e)
{
	static int (*const find[COMPARED_WHATS])(struct run * r, uint32_t i, const uint8_t **p,
						 size_t *n, struct tv_err *e) = {page, block, part};
	int found = 0;

	for (uint32_t i = 0; i < r->ask.n; i++) {
		uint8_t hash[CKPT_HASH_BYTES];
		const uint8_t *p;
		size_t n;
		int rc = find[r->ask.what](r, i, &p, &n, e);

		if (!rc && (rc = ckpt_hash_block(r->hasher, p, n, hash)))
			tv_fail(e, rc, "hashing failed");
		if (rc)
			return rc;
		if (memcmp(hash, r->hashes + (size_t)i * COMPARED_HASH_BYTES, COMPARED_HASH_BYTES))
			different[found++] = i;
	}
	return found;
}

int compared_run(const void *data, size_t bytes, const struct compared_with *with,
		 uint32_t *different, struct tv_err *e)
{
	struct run r = {.with = with};
	int rc;

	memcpy(&r.ask, data, sizeof(r.ask));
	r.at = (const uint8_t *)data + sizeof(r.ask);
	r.hashes = r.at + (size_t)r.ask.nat * sizeof(uint64_t);
	tv_assert(bytes == (size_t)(r.hashes - (const uint8_t *)data) +
				   (size_t)r.ask.n * COMPARED_HASH_BYTES);
	r.room = malloc(CKPT_BLOCK_BYTES);
	rc = r.room ? ckpt_hasher_new(r.ask.key, &r.hasher) : -ENOMEM;
	rc = rc ? tv_fail(e, rc, "no memory to compare") : compare(&r, different, e);
	ckpt_hasher_free(r.hasher);
	free(r.room);
	return rc;
}
