/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buckets and causes over a restart of their owner. Times are ages: the next owner's clock may begin anew.
 * What is put back is checked, as it was in a file meanwhile.
 */
#include "ras/state.h"

#include <string.h>

_Static_assert(RAS_KEPT_STEPS == BUCKET_STEPS, "all counts are kept");
_Static_assert(RAS_KEPT_STREAMS == STREAM_COUNT, "of all streams");

/* Of a step that is so many before the one of `step`. */
static size_t place(int64_t step, unsigned age)
{
	return (size_t)(step % BUCKET_STEPS + BUCKET_STEPS - age % BUCKET_STEPS) % BUCKET_STEPS;
}

static void keep_bucket(struct ras_health *h, unsigned table, struct bucket *b, int64_t now_ns,
			ras_keep_bucket_fn *fn, void *arg)
{
	struct ras_kept_bucket out = {.table = table,
				      .pinned = b->pinned,
				      .taken = b->taken,
				      .age_ns = now_ns - b->last_ns};

	if (!bucket_level(&h->table[table], b, now_ns) && !b->pinned && !b->taken)
		return;
	tv_copy(out.key, sizeof(out.key), b->key);
	tv_copy(out.of, sizeof(out.of), b->of);
	for (unsigned s = 0; s < STREAM_COUNT; s++)
		for (unsigned age = 0; age < BUCKET_STEPS; age++)
			out.count[s][age] = b->count[s][place(b->step, age)];
	fn(arg, &out);
}

void ras_health_keep(struct ras_health *h, int64_t now_ns, ras_keep_bucket_fn *bucket,
		     ras_keep_cause_fn *cause, void *arg)
{
	for (unsigned t = 0; t < TABLES; t++)
		for (unsigned i = 0; i < h->table[t].room; i++)
			if (h->table[t].buckets[i].used)
				keep_bucket(h, t, &h->table[t].buckets[i], now_ns, bucket, arg);
	for (unsigned i = 0; i < h->causes.n; i++) {
		const struct cause *c = &h->causes.list[i];
		struct ras_kept_cause out = {
			.is = c->is, .has_page = c->has_page, .errors = c->errors};

		out.is.since_ns = now_ns - c->is.since_ns;
		out.is.last_ns = now_ns - c->is.last_ns;
		cause(arg, &out);
	}
}

static bool is_age(int64_t ns)
{
	return ns >= 0 && ns <= RAS_KEPT_MOST_NS;
}

bool ras_health_put_bucket(struct ras_health *h, const struct ras_kept_bucket *k, int64_t now_ns,
			   int64_t since_ns)
{
	struct bucket_table *t;
	struct bucket *b;
	int64_t gone;

	if (k->table >= TABLES || !k->key[0] || !is_age(k->age_ns) || !is_age(since_ns) ||
	    now_ns < 0)
		return false;
	t = &h->table[k->table];
	b = bucket_get(t, k->key, now_ns);
	gone = since_ns / t->step_ns;
	tv_copy(b->of, sizeof(b->of), k->of);
	b->pinned = k->pinned;
	b->taken = k->taken;
	b->last_ns = now_ns - k->age_ns - since_ns;
	memset(b->count, 0, sizeof(b->count));
	memset(b->sum, 0, sizeof(b->sum));
	for (unsigned s = 0; s < STREAM_COUNT; s++)
		for (unsigned age = 0; age < BUCKET_STEPS && age + gone < BUCKET_STEPS; age++) {
			b->count[s][place(b->step, age + (unsigned)gone)] = k->count[s][age];
			b->sum[s] += k->count[s][age];
		}
	return true;
}

bool ras_health_put_cause(struct ras_health *h, const struct ras_kept_cause *k, int64_t now_ns,
			  int64_t since_ns)
{
	const struct ras_cause *is = &k->is;
	struct cause *c;

	if (!ras_row(is->rule) || is->color < RAS_YELLOW || is->color > RAS_RED ||
	    !is_age(is->since_ns) || !is_age(is->last_ns) || !is_age(since_ns) || !k->errors ||
	    h->causes.n == RAS_MAX_CAUSES)
		return false;
	c = &h->causes.list[h->causes.n++];
	*c = (struct cause){.is = *is, .has_page = k->has_page, .errors = k->errors};
	c->is.since_ns = now_ns - is->since_ns - since_ns;
	c->is.last_ns = now_ns - is->last_ns - since_ns;
	c->is.until_cleared |= is->color == RAS_RED;
	if (h->now_ns < now_ns)
		h->now_ns = now_ns;
	return true;
}
