/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host's health with a clock of its own, and faults as the decoder leaves them. */
#ifndef RAS_HEALTH_KIT_H
#define RAS_HEALTH_KIT_H

#include "ras_kit.h"

#define S TV_NS_PER_S
#define HOUR (3600 * S)
#define DAY (24 * HOUR)

struct world {
	struct ras_health *h;
	int64_t now_ns;
	struct ras_verdict v;
};

static inline struct world world_of(bool intel)
{
	struct ras_policy p;
	struct world w = {.now_ns = 100 * DAY};

	ras_policy_default(&p, intel);
	w.h = ras_health_new(&p);
	assert_non_null(w.h);
	ras_health_watched(w.h, true);
	return w;
}

/* A fault with a sentence, as the decoder leaves it. */
static inline struct ras_fault fault(enum ras_part part, enum ras_severity severity)
{
	struct ras_fault f = {
		.source = RAS_SRC_MCE, .severity = severity, .part = part, .count = 1, .bank = 8};

	snprintf(f.sentence, sizeof(f.sentence), "a sentence");
	return f;
}

static inline struct ras_fault memory(uint64_t pfn, const char *dimm)
{
	struct ras_fault f = fault(RAS_PART_MEMORY, RAS_CORRECTED);

	f.has_page = pfn;
	f.page.n = pfn;
	snprintf(f.where, sizeof(f.where), "%s", dimm);
	return f;
}

static inline enum ras_color give(struct world *w, const struct ras_fault *f)
{
	ras_health_fault(w->h, f, w->now_ns, &w->v);
	return w->v.color;
}

static inline enum ras_color color(struct world *w)
{
	return ras_health_color(w->h, w->now_ns);
}

static inline bool has_cause(struct world *w, enum ras_rule rule)
{
	struct ras_cause causes[RAS_MAX_CAUSES];
	unsigned n = ras_health_causes(w->h, w->now_ns, causes, RAS_MAX_CAUSES);

	for (unsigned i = 0; i < n; i++)
		if (causes[i].rule == rule) {
			assert_true(causes[i].sentence[0]);
			return true;
		}
	return false;
}

#endif
