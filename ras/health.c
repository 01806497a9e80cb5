/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. A corrected error goes into the leaky bucket of its part: page and DIMM, or
 * core, package, device. A bucket that reaches its threshold is a cause, and so is each record that
 * is more than corrected. The host's colour is that of its worst cause.
 *
 * A colour is entered at the threshold. A yellow cause leaves when its bucket holds half of that or
 * less, and a window (24 hours) has passed without news of it. A red one stays until the operator
 * has looked. A host on which nothing can be noticed is grey as long as it has no cause.
 *
 * Every table has a fixed size. A part whose bucket is a cause is forgotten last; with all buckets
 * in use a new part takes that of the one with the fewest errors.
 */
#include "ras/judge.h"
#include "ras/state.h"
#include "ras/text.h"

#include <stdlib.h>
#include <string.h>

static const unsigned rooms[TABLES] = {512, 128, 512, 32, 64};
#define NO_DIMM "memory without a name"

struct ras_health *ras_health_new(const struct ras_policy *p)
{
	struct ras_health *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->policy = *p;
	for (int i = 0; i < TABLES; i++)
		if (bucket_table_init(&h->table[i], rooms[i],
				      i == DEVICES ? p->device_window_ns : p->window_ns)) {
			ras_health_free(h);
			return NULL;
		}
	return h;
}

void ras_health_free(struct ras_health *h)
{
	for (int i = 0; h && i < TABLES; i++)
		bucket_table_dispose(&h->table[i]);
	free(h);
}

void ras_health_watched(struct ras_health *h, bool watched)
{
	h->watched = watched;
}

/* Records of several CPUs do not come in the order of their times. */
static int64_t set_now(struct ras_health *h, int64_t now_ns)
{
	if (now_ns > h->now_ns)
		h->now_ns = now_ns;
	return h->now_ns;
}

/* Which bucket a cause of this row hangs on, and from what level it does; false: none. */
static bool bucket_of(const struct ras_policy *p, enum ras_rule rule, enum table *table,
		      uint32_t *threshold)
{
	switch (rule) {
	case RAS_RULE_VM_PAGE_WEAK:
	case RAS_RULE_PAGE_WEAK:
		*table = PAGES;
		*threshold = p->page_yellow;
		return true;
	case RAS_RULE_DIMM_WEAK:
	case RAS_RULE_DIMM_FAILS:
		*table = DIMMS;
		*threshold = p->dimm_yellow;
		return true;
	case RAS_RULE_CORE_WEAK:
		*table = CORES;
		*threshold = p->core_yellow;
		return true;
	case RAS_RULE_PACKAGE_WEAK:
		*table = PACKAGES;
		*threshold = p->package_yellow;
		return true;
	case RAS_RULE_DEVICE_CORRECTED:
		*table = DEVICES;
		*threshold = p->device_yellow;
		return true;
	default:
		return false;
	}
}

/* A part is still weak while its bucket holds more than half of the threshold. */
static bool still_weak(void *arg, const struct ras_cause *cause)
{
	struct ras_health *h = arg;
	struct bucket *b;
	enum table table;
	uint32_t threshold;

	if (!bucket_of(&h->policy, cause->rule, &table, &threshold))
		return false;
	b = bucket_find(&h->table[table], cause->what);
	if (bucket_level(&h->table[table], b, h->now_ns) > threshold / 2)
		return true;
	if (b && !b->taken)
		b->pinned = false;
	return false;
}

static void expire(struct ras_health *h)
{
	causes_expire(&h->causes, h->now_ns, h->policy.window_ns, still_weak, h);
}

enum ras_color ras_health_color(struct ras_health *h, int64_t now_ns)
{
	enum ras_color color;

	set_now(h, now_ns);
	expire(h);
	color = causes_color(&h->causes);
	return color == RAS_GREY && h->watched ? RAS_GREEN : color;
}

static void put(struct ras_health *h, enum ras_rule rule, enum ras_color color, bool has_page,
		const char *what, const char *sentence, struct ras_verdict *out)
{
	struct cause_new n = {rule,	color, ras_row(rule)->until_cleared || color == RAS_RED,
			      has_page, what,  sentence};

	if (color != RAS_GREY && causes_put(&h->causes, &n, h->now_ns))
		out->fresh = true;
	out->rule = rule;
}

/*
 * Counts one part; returns its level. A part that is weak is kept, and news of it is news of its
 * cause: its level is then at least the threshold, until the cause has left. What the CPU itself
 * calls too many is at the threshold at once.
 */
static uint32_t count(struct ras_health *h, enum table table, const char *key,
		      const struct ras_fault *f, uint32_t threshold)
{
	struct bucket *b = bucket_get(&h->table[table], key, h->now_ns);
	uint32_t level;

	bucket_add(&h->table[table], b, f->source == RAS_SRC_MCE ? STREAM_MCE : STREAM_OTHERS,
		   f->count, h->now_ns);
	level = bucket_level(&h->table[table], b, h->now_ns);
	if (level >= threshold || f->many)
		b->pinned = true;
	return b->pinned && !b->taken && level < threshold ? threshold : level;
}

static void page_key(struct ras_pfn page, char key[RAS_TEXT_ROOM])
{
	ras_text(key, RAS_TEXT_ROOM, "page 0x%llx", (unsigned long long)page.n);
}

bool ras_health_weakens(struct ras_health *h, const struct ras_fault *f, int64_t now_ns)
{
	char key[RAS_TEXT_ROOM];
	struct bucket *b;

	if (!judge_is_counted(f) || !f->has_page)
		return false;
	set_now(h, now_ns);
	page_key(f->page, key);
	b = bucket_find(&h->table[PAGES], key);
	return (b && b->pinned) || f->many ||
	       (uint64_t)bucket_level(&h->table[PAGES], b, h->now_ns) + f->count >=
		       h->policy.page_yellow;
}

/* Returns whether the page is weak. */
static bool count_page(struct ras_health *h, const struct ras_fault *f, const char *dimm,
		       struct ras_verdict *out)
{
	char key[RAS_TEXT_ROOM];
	struct bucket *b;

	page_key(f->page, key);
	if (count(h, PAGES, key, f, h->policy.page_yellow) >= h->policy.page_yellow) {
		bool before = out->fresh;

		out->fresh = false;
		put(h, f->owner == RAS_OWNER_VM ? RAS_RULE_VM_PAGE_WEAK : RAS_RULE_PAGE_WEAK,
		    RAS_YELLOW, true, key, f->sentence, out);
		out->weak_page = out->fresh;
		out->fresh |= before;
	}
	b = bucket_find(&h->table[PAGES], key);
	/* A driver's name of a DIMM is better than what a machine check has. */
	if (b && (!b->of[0] || f->source != RAS_SRC_MCE))
		tv_copy(b->of, sizeof(b->of), dimm);
	return b && b->pinned;
}

static void count_memory(struct ras_health *h, const struct ras_fault *f, struct ras_verdict *out)
{
	const struct ras_policy *p = &h->policy;
	const char *dimm = f->where[0] ? f->where : NO_DIMM;
	bool weak = f->has_page && count_page(h, f, dimm, out);
	uint32_t level = count(h, DIMMS, dimm, f, p->dimm_yellow);

	if (level >= p->dimm_red)
		put(h, RAS_RULE_DIMM_FAILS, RAS_RED, false, dimm, f->sentence, out);
	else if (level >= p->dimm_yellow ||
		 (weak && bucket_count_weak(&h->table[PAGES], dimm, p->page_yellow, h->now_ns) >=
				  p->dimm_pages_yellow))
		put(h, RAS_RULE_DIMM_WEAK, RAS_YELLOW, false, dimm, f->sentence, out);
}

static void count_part(struct ras_health *h, const struct ras_fault *f, struct ras_verdict *out)
{
	const struct ras_policy *p = &h->policy;
	char key[RAS_TEXT_ROOM];
	uint32_t level;

	if (f->part == RAS_PART_DEVICE) {
		level = count(h, DEVICES, f->where, f, p->device_yellow);
		if (level >= p->device_yellow)
			put(h, RAS_RULE_DEVICE_CORRECTED, RAS_YELLOW, false, f->where, f->sentence,
			    out);
	} else if (f->part == RAS_PART_CORE) {
		ras_text(key, sizeof(key), "core of CPU %u", f->core);
		level = count(h, CORES, key, f, p->core_yellow);
		if (level >= p->core_yellow)
			put(h, RAS_RULE_CORE_WEAK, RAS_YELLOW, false, key, f->sentence, out);
	} else {
		/* A part that is unknown is at least in that package. */
		ras_text(key, sizeof(key), "package %u", f->package);
		level = count(h, PACKAGES, key, f, p->package_yellow);
		if (level >= p->package_yellow)
			put(h, RAS_RULE_PACKAGE_WEAK,
			    level >= p->package_red ? RAS_RED : RAS_YELLOW, false, key, f->sentence,
			    out);
	}
}

/*
 * So many in each of so many seconds, one after another. Whoever reports a storm once a second may be
 * late: a second is left out if those of the one before are enough for both.
 */
static bool is_storm(struct ras_health *h, uint32_t n)
{
	const struct ras_policy *p = &h->policy;
	int64_t second = h->now_ns / TV_NS_PER_S, passed = second - h->second;

	if (passed) {
		bool full = passed <= 2 && h->in_second >= (uint64_t)passed * p->storm_per_s;

		h->full_seconds = full ? h->full_seconds + (uint32_t)passed : 0;
		h->second = second;
		h->in_second = 0;
	}
	h->in_second += n;
	return h->full_seconds + (h->in_second >= p->storm_per_s) >= p->storm_s;
}

static void count_corrected(struct ras_health *h, const struct ras_fault *f,
			    struct ras_verdict *out)
{
	out->rule = RAS_RULE_ONE_CORRECTED;
	if (f->part == RAS_PART_MEMORY || f->source == RAS_SRC_FIRMWARE)
		count_memory(h, f, out);
	else
		count_part(h, f, out);
	if (is_storm(h, f->count))
		put(h, RAS_RULE_STORM, RAS_RED, false, "", f->sentence, out);
}

void ras_health_more(struct ras_health *h, uint32_t errors, int64_t now_ns, struct ras_verdict *out)
{
	memset(out, 0, sizeof(*out));
	set_now(h, now_ns);
	expire(h);
	h->totals.corrected += errors;
	out->rule = RAS_RULE_ONE_CORRECTED;
	if (is_storm(h, errors))
		put(h, RAS_RULE_STORM, RAS_RED, false, "",
		    "more corrected errors than can be named", out);
	out->color = ras_health_color(h, now_ns);
}

static void judge(struct ras_health *h, const struct ras_fault *f, struct ras_verdict *out)
{
	enum ras_rule rule = judge_rule(f);
	char what[RAS_TEXT_ROOM];

	if (f->has_page)
		page_key(f->page, what);
	else if (f->where[0])
		tv_copy(what, sizeof(what), f->where);
	else
		ras_text(what, sizeof(what), "package %u bank %u", f->package, f->bank);
	put(h, rule, judge_color(rule, f), f->has_page, what, f->sentence, out);
}

void ras_health_fault(struct ras_health *h, const struct ras_fault *f, int64_t now_ns,
		      struct ras_verdict *out)
{
	memset(out, 0, sizeof(*out));
	set_now(h, now_ns);
	expire(h);
	h->totals.faults++;
	if (f->severity == RAS_NOTHING) {
		h->totals.ignored++;
	} else if (judge_is_counted(f)) {
		h->totals.corrected += f->count;
		count_corrected(h, f, out);
	} else {
		h->totals.uncorrected += ras_uncorrected(f->severity);
		judge(h, f, out);
	}
	out->color = ras_health_color(h, now_ns);
}

void ras_health_notice(struct ras_health *h, enum ras_rule rule, const char *what,
		       const char *sentence, int64_t now_ns, struct ras_verdict *out)
{
	tv_assert(ras_row(rule));
	memset(out, 0, sizeof(*out));
	set_now(h, now_ns);
	expire(h);
	put(h, rule, ras_row(rule)->color, false, what, sentence, out);
	out->color = ras_health_color(h, now_ns);
}

void ras_health_taken(struct ras_health *h, struct ras_pfn page, const char *dimm, int64_t now_ns,
		      struct ras_verdict *out)
{
	char key[RAS_TEXT_ROOM], sentence[RAS_TEXT_ROOM];
	struct bucket *b;

	memset(out, 0, sizeof(*out));
	set_now(h, now_ns);
	expire(h);
	page_key(page, key);
	b = bucket_get(&h->table[PAGES], key, h->now_ns);
	b->taken = b->pinned = true;
	if (!b->of[0])
		tv_copy(b->of, sizeof(b->of), dimm[0] ? dimm : NO_DIMM);
	ras_text(sentence, sizeof(sentence), "%s is out of service", key);
	put(h, RAS_RULE_PAGE_TAKEN, RAS_YELLOW, true, key, sentence, out);
	if (bucket_count_taken(&h->table[PAGES], b->of) >= h->policy.dimm_pages_red)
		put(h, RAS_RULE_DIMM_FAILS, RAS_RED, false, b->of, sentence, out);
	out->color = ras_health_color(h, now_ns);
}

unsigned ras_health_causes(struct ras_health *h, int64_t now_ns, struct ras_cause *out,
			   unsigned room)
{
	set_now(h, now_ns);
	expire(h);
	causes_sort(&h->causes);
	for (unsigned i = 0; i < h->causes.n && i < room; i++)
		out[i] = h->causes.list[i].is;
	return h->causes.n;
}

void ras_health_clear(struct ras_health *h)
{
	h->causes.n = 0;
	h->full_seconds = 0;
	h->in_second = 0;
	for (int i = 0; i < TABLES; i++)
		bucket_table_clear(&h->table[i]);
}

const struct ras_totals *ras_health_totals(struct ras_health *h)
{
	struct ras_totals *t = &h->totals;

	t->forgotten = h->causes.forgotten;
	for (int i = 0; i < TABLES; i++)
		t->forgotten += h->table[i].forgotten;
	return t;
}
