/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ras/causes.h"
#include "ras/judge.h"

#include <stdlib.h>
#include <string.h>

/* Reports of one error that names no page come within this time. */
#define ONE_ERROR_NS TV_NS_PER_S

static bool same(const struct cause *c, const struct cause_new *n, int64_t now_ns)
{
	bool what = !strcmp(c->is.what, n->what);

	if (judge_is_page(c->is.rule) && judge_is_page(n->rule)) {
		if (c->has_page || n->has_page)
			return c->has_page && n->has_page && what;
		return c->is.rule == n->rule && (what || now_ns - c->is.last_ns <= ONE_ERROR_NS);
	}
	return c->is.rule == n->rule && what;
}

static struct cause *find(struct causes *c, const struct cause_new *n, int64_t now_ns)
{
	for (unsigned i = 0; i < c->n; i++)
		if (same(&c->list[i], n, now_ns))
			return &c->list[i];
	return NULL;
}

static int by_weight(const void *a, const void *b)
{
	const struct ras_cause *x = &((const struct cause *)a)->is,
			       *y = &((const struct cause *)b)->is;

	if (x->color != y->color)
		return x->color > y->color ? -1 : 1;
	return x->last_ns > y->last_ns ? -1 : x->last_ns < y->last_ns;
}

void causes_sort(struct causes *c)
{
	qsort(c->list, c->n, sizeof(*c->list), by_weight);
}

/* A place for one of that colour; NULL: all that is there is worse. */
static struct cause *place(struct causes *c, enum ras_color color)
{
	if (c->n < RAS_MAX_CAUSES)
		return &c->list[c->n++];
	c->forgotten++;
	causes_sort(c);
	return c->list[c->n - 1].is.color <= color ? &c->list[c->n - 1] : NULL;
}

/* Errors of a row of which the second one is red. */
static unsigned errors_of(const struct causes *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n; i++)
		if (judge_second_is_red(c->list[i].is.rule))
			n += c->list[i].errors;
	return n;
}

static void make_red(struct cause *at)
{
	at->is.color = RAS_RED;
	at->is.until_cleared = true;
}

static bool join(struct causes *c, struct cause *at, const struct cause_new *n, int64_t now_ns)
{
	enum ras_color before = at->is.color;

	if (!at->has_page && now_ns - at->is.last_ns > ONE_ERROR_NS)
		at->errors++;
	at->is.last_ns = now_ns;
	tv_copy(at->is.sentence, sizeof(at->is.sentence), n->sentence);
	if (n->color > before) {
		at->is.rule = n->rule;
		at->is.color = n->color;
	} else {
		at->is.rule = judge_join(at->is.rule, n->rule);
	}
	at->is.until_cleared |= n->until_cleared;
	if (judge_second_is_red(at->is.rule) && errors_of(c) > 1)
		make_red(at);
	return at->is.color > before;
}

bool causes_put(struct causes *c, const struct cause_new *n, int64_t now_ns)
{
	struct cause *at = find(c, n, now_ns);

	if (at)
		return join(c, at, n, now_ns);
	at = place(c, n->color);
	if (!at)
		return false;
	memset(at, 0, sizeof(*at));
	at->has_page = n->has_page;
	at->errors = 1;
	at->is = (struct ras_cause){.rule = n->rule,
				    .color = n->color,
				    .until_cleared = n->until_cleared,
				    .since_ns = now_ns,
				    .last_ns = now_ns};
	tv_copy(at->is.what, sizeof(at->is.what), n->what);
	tv_copy(at->is.sentence, sizeof(at->is.sentence), n->sentence);
	if (judge_second_is_red(n->rule) && errors_of(c) > 1)
		make_red(at);
	return true;
}

void causes_expire(struct causes *c, int64_t now_ns, int64_t silence_ns, cause_still_fn *still,
		   void *arg)
{
	for (unsigned i = 0; i < c->n;) {
		const struct ras_cause *is = &c->list[i].is;

		if (is->until_cleared || now_ns - is->last_ns < silence_ns || still(arg, is))
			i++;
		else
			c->list[i] = c->list[--c->n];
	}
}

enum ras_color causes_color(const struct causes *c)
{
	enum ras_color worst = RAS_GREY;

	for (unsigned i = 0; i < c->n; i++)
		if (c->list[i].is.color > worst)
			worst = c->list[i].is.color;
	return worst;
}
