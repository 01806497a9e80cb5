/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hardware/gather.h"

#include <ctype.h>

/* The name of a severity as a key. */
static const char *key(enum ras_severity s, char room[24])
{
	static const char *const names[] = {
#define NAME(name, text) #name,
		RAS_SEVERITIES(NAME)
#undef NAME
	};

	tv_copy(room, 24, names[s]);
	for (char *p = room; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return room;
}

/* What may have to be acted on: lost data in a known page. */
static bool urgent(const struct ras_fault *f)
{
	return ras_uncorrected(f->severity) && f->has_page;
}

static uint32_t add_bounded(uint32_t a, uint32_t b)
{
	return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

void hw_gather_add(struct hw_gather *g, const struct ras_fault *f, int64_t at_ns)
{
	struct hw_fault *w = NULL;
	bool lost;

	g->total[f->severity] += f->count;
	for (unsigned i = 0; i < g->n; i++)
		if (hw_fault_same(&g->waiting[i].fault, f)) {
			uint32_t sum = add_bounded(g->waiting[i].fault.count, f->count);

			w = &g->waiting[i];
			lost = w->fault.lost;
			w->fault = *f;
			w->fault.count = sum;
			w->fault.lost |= lost;
			w->records++;
			w->last_ns = at_ns;
			return;
		}
	if (g->n < HW_DIFFERENT) {
		w = &g->waiting[g->n++];
	} else if (urgent(f)) {
		for (unsigned i = 0; i < g->n && !w; i++)
			if (!urgent(&g->waiting[i].fault))
				w = &g->waiting[i];
		if (w)
			g->more += w->fault.count;
	}
	if (!w) {
		g->more += f->count;
		return;
	}
	*w = (struct hw_fault){.fault = *f, .records = 1, .first_ns = at_ns, .last_ns = at_ns};
}

bool hw_gather_due(const struct hw_gather *g, int64_t now_ns)
{
	bool new_second = now_ns - g->second_ns >= HW_SECOND_NS || !g->second_ns;

	if (!g->n && !g->more)
		return false;
	if (new_second || !g->sent)
		return true;
	for (unsigned i = 0; i < g->n && g->sent < HW_URGENT; i++)
		if (urgent(&g->waiting[i].fault))
			return true;
	return false;
}

json_t *hw_gather_take(struct hw_gather *g, int64_t now_ns)
{
	json_t *list = json_array(), *total = json_object();
	char room[24];

	if (now_ns - g->second_ns >= HW_SECOND_NS || !g->second_ns) {
		g->second_ns = now_ns;
		g->sent = 0;
	}
	g->sent++;
	for (unsigned i = 0; i < g->n; i++)
		json_array_append_new(list, hw_fault_json(&g->waiting[i]));
	for (int i = 0; i < RAS_SEVERITY_COUNT; i++)
		json_object_set_new(total, key((enum ras_severity)i, room),
				    json_integer((json_int_t)g->total[i]));
	g->n = 0;
	list = json_pack("{ss so sI so}", "op", "faults", "faults", list, "more",
			 (json_int_t)g->more, "total", total);
	g->more = 0;
	return list;
}
