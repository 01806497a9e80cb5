/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ras/bucket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int bucket_table_init(struct bucket_table *t, unsigned room, int64_t window_ns)
{
	int64_t step_ns = window_ns / (BUCKET_STEPS - 1);

	*t = (struct bucket_table){calloc(room, sizeof(*t->buckets)), room, step_ns ? step_ns : 1,
				   0};
	return t->buckets ? 0 : -ENOMEM;
}

void bucket_table_dispose(struct bucket_table *t)
{
	free(t->buckets);
	t->buckets = NULL;
}

void bucket_table_clear(struct bucket_table *t)
{
	memset(t->buckets, 0, t->room * sizeof(*t->buckets));
}

/* Lets out what is older than a window. */
static void leak(const struct bucket_table *t, struct bucket *b, int64_t now_ns)
{
	int64_t step = now_ns / t->step_ns, old = step - b->step;

	if (old <= 0)
		return;
	for (int64_t i = 1; i <= old && i <= BUCKET_STEPS; i++)
		for (unsigned s = 0; s < STREAM_COUNT; s++) {
			uint32_t *count = &b->count[s][(size_t)(b->step + i) % BUCKET_STEPS];

			b->sum[s] -= *count;
			*count = 0;
		}
	b->step = step;
}

uint32_t bucket_level(struct bucket_table *t, struct bucket *b, int64_t now_ns)
{
	uint64_t most = 0;

	if (!b)
		return 0;
	leak(t, b, now_ns);
	for (unsigned s = 0; s < STREAM_COUNT; s++)
		most = b->sum[s] > most ? b->sum[s] : most;
	return most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
}

/* FNV-1a */
static uint64_t hash_of(const char *key)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *key; key++)
		h = (h ^ (uint8_t)*key) * UINT64_C(0x100000001b3);
	return h;
}

static struct bucket *find(struct bucket_table *t, const char *key, uint64_t hash)
{
	for (unsigned i = 0; i < t->room; i++) {
		struct bucket *b = &t->buckets[i];

		if (b->used && b->hash == hash && !strcmp(b->key, key))
			return b;
	}
	return NULL;
}

struct bucket *bucket_find(struct bucket_table *t, const char *key)
{
	return find(t, key, hash_of(key));
}

/* Is a rather to be forgotten than b? */
static bool rather(struct bucket_table *t, struct bucket *a, struct bucket *b, int64_t now_ns)
{
	uint32_t of_a, of_b;

	if (a->used != b->used)
		return !a->used;
	if (a->pinned != b->pinned)
		return !a->pinned;
	of_a = bucket_level(t, a, now_ns);
	of_b = bucket_level(t, b, now_ns);
	return of_a != of_b ? of_a < of_b : a->last_ns < b->last_ns;
}

struct bucket *bucket_get(struct bucket_table *t, const char *key, int64_t now_ns)
{
	uint64_t hash = hash_of(key);
	struct bucket *b = find(t, key, hash);

	if (b)
		return b;
	b = &t->buckets[0];
	for (unsigned i = 1; i < t->room && b->used; i++)
		if (rather(t, &t->buckets[i], b, now_ns))
			b = &t->buckets[i];
	t->forgotten += b->used;
	memset(b, 0, sizeof(*b));
	b->used = true;
	b->hash = hash;
	tv_copy(b->key, sizeof(b->key), key);
	b->last_ns = now_ns;
	b->step = now_ns / t->step_ns;
	return b;
}

void bucket_add(struct bucket_table *t, struct bucket *b, enum bucket_stream stream, uint32_t n,
		int64_t now_ns)
{
	uint32_t *count;

	leak(t, b, now_ns);
	count = &b->count[stream][(size_t)b->step % BUCKET_STEPS];
	n = n < UINT32_MAX - *count ? n : UINT32_MAX - *count;
	*count += n;
	b->sum[stream] += n;
	b->last_ns = now_ns;
}

unsigned bucket_count_taken(const struct bucket_table *t, const char *of)
{
	unsigned n = 0;

	for (unsigned i = 0; *of && i < t->room; i++)
		n += t->buckets[i].used && t->buckets[i].taken && !strcmp(t->buckets[i].of, of);
	return n;
}

unsigned bucket_count_weak(struct bucket_table *t, const char *of, uint32_t least, int64_t now_ns)
{
	unsigned n = 0;

	for (unsigned i = 0; *of && i < t->room; i++) {
		struct bucket *b = &t->buckets[i];

		if (b->used && !strcmp(b->of, of) && bucket_level(t, b, now_ns) >= least)
			n++;
	}
	return n;
}
