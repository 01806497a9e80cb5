/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A driver's name of a part is not always the counter's. So events are held against counters by the sum of a source: no
 * error counts twice, whatever it is called; what is left over is of the parts whose counters have moved.
 */
#include "hardware/missed.h"

#include <stdio.h>
#include <string.h>

static enum hw_counter counter_of(const struct ras_fault *f)
{
	if (f->severity == RAS_CORRECTED)
		return HW_CORRECTED;
	return f->source == RAS_SRC_AER && f->severity == RAS_FATAL ? HW_FATAL : HW_UNCORRECTED;
}

void hw_missed_event(struct hw_missed *m, const struct ras_fault *f)
{
	if (f->severity != RAS_NOTHING)
		m->reported[f->source][counter_of(f)] += f->count;
}

/* NULL: too many. */
static struct hw_part *part_of(struct hw_missed *m, enum ras_source source, const char *where)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->parts[i].source == source && !strcmp(m->parts[i].where, where))
			return &m->parts[i];
	if (m->n == HW_MISSED_PARTS)
		return NULL;
	m->parts[m->n] = (struct hw_part){.source = source};
	tv_copy(m->parts[m->n].where, sizeof(m->parts[0].where), where);
	return &m->parts[m->n++];
}

static void give(const struct hw_part *p, enum hw_counter c, uint64_t errors, hw_missed_fn *each,
		 void *arg)
{
	static const char *const words[] = {"corrected", "uncorrected", "fatal"};
	const bool device = p->source == RAS_SRC_AER;
	struct ras_fault f = {
		.source = p->source,
		.severity = c == HW_CORRECTED ? RAS_CORRECTED
			    : c == HW_FATAL   ? RAS_FATAL
					      : RAS_UNCORRECTED,
		.part = device ? RAS_PART_DEVICE : RAS_PART_MEMORY,
		.count = errors < UINT32_MAX ? (uint32_t)errors : UINT32_MAX,
		.device_fails = c == HW_FATAL,
	};

	tv_copy(f.where, sizeof(f.where), p->where);
	snprintf(f.sentence, sizeof(f.sentence),
		 "%s: %u errors of %s %s, by the kernel's counters alone", words[c], f.count,
		 device ? "PCI Express device" : "DIMM", p->where);
	each(arg, &f);
}

struct look {
	struct hw_missed *m;
	unsigned complete;
	hw_missed_fn *each;
	void *arg;
};

static void look_at(const struct look *l, enum ras_source source, const char *where,
		    const uint64_t now[HW_COUNTERS])
{
	struct hw_part *p = part_of(l->m, source, where);

	for (unsigned c = 0; p && c < HW_COUNTERS; c++) {
		/* A driver that was loaded anew begins at 0. */
		uint64_t more = now[c] > p->counted[c] ? now[c] - p->counted[c] : 0;
		uint64_t *reported = &l->m->reported[source][c],
			 known = more < *reported ? more : *reported;

		p->counted[c] = now[c];
		if (!p->known)
			continue;
		*reported -= known;
		if (more > known && !(l->complete >> source & 1))
			give(p, (enum hw_counter)c, more - known, l->each, l->arg);
	}
	if (p)
		p->known = true;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static uint64_t number_of(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

/* As an event names it where the board has labels. */
static void look_at_dimm(const struct look *l, const json_t *o)
{
	const uint64_t now[HW_COUNTERS] = {number_of(o, "corrected"), number_of(o, "uncorrected")};
	const char *label = text_of(o, "label");
	char where[RAS_TEXT_ROOM];

	if (*label)
		tv_copy(where, sizeof(where), label);
	else
		snprintf(where, sizeof(where), "%.24s %.24s", text_of(o, "mc"), text_of(o, "dimm"));
	look_at(l, RAS_SRC_MC, where, now);
}

void hw_missed_look(struct hw_missed *m, const json_t *counters, unsigned complete,
		    hw_missed_fn *each, void *arg)
{
	const struct look l = {m, complete, each, arg};
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(counters, "edac"), "dimms"), i, o)
		look_at_dimm(&l, o);
	json_array_foreach(json_object_get(json_object_get(counters, "aer"), "devices"), i, o) {
		const uint64_t now[HW_COUNTERS] = {number_of(o, "corrected"),
						   number_of(o, "nonfatal"), number_of(o, "fatal")};

		look_at(&l, RAS_SRC_AER, text_of(o, "device"), now);
	}
	memset(m->reported, 0, sizeof(m->reported));
}
