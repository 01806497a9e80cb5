/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See history.h. A number that is not known at a time is NAN here, and a gap in a chart. */
#include "web/history.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FRESH_MS 4000 /* older views of other hosts are none */
#define ID_BYTES 32

enum series {
	LAG,
	PAUSE50,
	PAUSE99,
	UNCOMMITTED,
	HELD,
	DIRTY50,
	DIRTY99,
	RAW,
	WIRE,
	HEADROOM,
	SERIES
};
static const char *const names[SERIES] = {
	"lag_ms",    "pause_p50_ms", "pause_p99_ms", "uncommitted_bytes", "held_ms",
	"dirty_p50", "dirty_p99",    "raw_bytes_s",  "wire_bytes_s",	  "link_headroom"};

struct sample {
	double wall_s;
	float v[SERIES];
};
struct ring {
	char id[ID_BYTES + 1]; /* "": unused */
	double seen_s;
	double raw_bytes, at_ms; /* the last ones; NAN: none */
	unsigned n;		 /* ever */
	struct sample *samples;
};
struct history {
	double last_s;
	struct ring rings[HISTORY_VMS];
};

int history_new(struct history **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void history_free(struct history *h)
{
	if (!h)
		return;
	for (unsigned i = 0; i < HISTORY_VMS; i++)
		free(h->rings[i].samples);
	free(h);
}

static struct ring *ring_of(const struct history *h, const char *id)
{
	for (unsigned i = 0; i < HISTORY_VMS; i++)
		if (!strcmp(h->rings[i].id, id))
			return (struct ring *)&h->rings[i];
	return NULL;
}

/* The VM's, or the one that was used longest ago. */
static struct ring *take_ring(struct history *h, const char *id)
{
	struct ring *r = ring_of(h, id), *oldest = &h->rings[0];

	if (r)
		return r;
	for (unsigned i = 0; i < HISTORY_VMS; i++)
		if (h->rings[i].seen_s < oldest->seen_s)
			oldest = &h->rings[i];
	if (!oldest->samples)
		oldest->samples = calloc(HISTORY_SAMPLES, sizeof(struct sample));
	if (!oldest->samples)
		return NULL;
	tv_copy(oldest->id, sizeof(oldest->id), id);
	oldest->n = 0;
	oldest->raw_bytes = oldest->at_ms = NAN;
	return oldest;
}

static double number(const json_t *vm, const char *key, const char *inner)
{
	const json_t *v = json_object_get(vm, key);

	if (inner)
		v = json_object_get(v, inner);
	return json_is_number(v) ? json_number_value(v) : NAN;
}

static double raw_rate(struct ring *r, double raw_bytes, double at_ms)
{
	double rate = (raw_bytes - r->raw_bytes) * 1000 / (at_ms - r->at_ms);

	r->raw_bytes = raw_bytes;
	r->at_ms = at_ms;
	return isfinite(rate) && rate >= 0 ? rate : NAN;
}

/* age_ms: of the view that has it. */
static void sample_vm(struct ring *r, const json_t *vm, double time_ms, double age_ms,
		      struct sample *s)
{
	const char *state = json_string_value(json_object_get(vm, "state"));
	bool live = json_is_true(json_object_get(vm, "live"));
	double lag_ms;

	s->v[RAW] = (float)raw_rate(r, live ? number(vm, "raw_bytes", NULL) : NAN, time_ms);
	if (!live)
		return;
	s->v[WIRE] = (float)number(vm, "wire_bytes_s", NULL);
	s->v[HEADROOM] = (float)number(vm, "link_headroom", NULL);
	if (!state || strcmp(state, "protected") != 0)
		return;
	lag_ms = time_ms - number(vm, "last_commit_time", NULL) * 1000 + age_ms;
	s->v[LAG] = (float)(lag_ms < 0 ? 0 : lag_ms);
	s->v[PAUSE50] = (float)number(vm, "pause_ms", "p50");
	s->v[PAUSE99] = (float)number(vm, "pause_ms", "p99");
	s->v[UNCOMMITTED] = (float)number(vm, "uncommitted_bytes", NULL);
	s->v[HELD] = (float)number(vm, "oldest_held_frame_ms", NULL);
	s->v[DIRTY50] = (float)number(vm, "dirty_pages", "p50");
	s->v[DIRTY99] = (float)number(vm, "dirty_pages", "p99");
}

static bool runs(const json_t *vm)
{
	const char *role = json_string_value(json_object_get(vm, "role"));
	const char *state = json_string_value(json_object_get(vm, "state"));

	return role && state && !strcmp(role, "primary") && strcmp(state, "stopped") != 0;
}

static void add_view(struct history *h, const json_t *view, double age_ms, double wall_s)
{
	double time_ms = number(view, "time_ms", NULL);
	const json_t *vms = json_object_get(view, "vms"), *vm;
	struct ring *r;
	size_t i;

	json_array_foreach(vms, i, vm) {
		const char *id = json_string_value(json_object_get(vm, "id"));
		struct sample s = {.wall_s = wall_s};

		if (!id || strlen(id) != ID_BYTES || !runs(vm) || !(r = take_ring(h, id)) ||
		    r->seen_s == wall_s) /* two hosts say that they run it: one has been taken */
			continue;
		for (unsigned k = 0; k < SERIES; k++)
			s.v[k] = NAN;
		sample_vm(r, vm, time_ms, age_ms, &s);
		r->seen_s = wall_s;
		r->samples[r->n++ % HISTORY_SAMPLES] = s;
	}
}

void history_add(struct history *h, const json_t *snapshot, double wall_s)
{
	const json_t *others = json_object_get(snapshot, "others"), *one;
	double age_ms;
	size_t i;

	/* A clock that was set back begins anew. */
	if (wall_s >= h->last_s && wall_s - h->last_s < HISTORY_STEP_S)
		return;
	h->last_s = wall_s;
	add_view(h, json_object_get(snapshot, "self"), 0, wall_s);
	json_array_foreach(others, i, one) {
		age_ms = number(one, "age_ms", NULL);
		if (json_is_true(json_object_get(one, "answers")) && age_ms < FRESH_MS)
			add_view(h, json_object_get(one, "view"), age_ms, wall_s);
	}
}

static const struct sample *sample_at(const struct ring *r, unsigned i)
{
	return &r->samples[(r->n - (r->n < HISTORY_SAMPLES ? r->n : HISTORY_SAMPLES) + i) %
			   HISTORY_SAMPLES];
}

/* Uplot wants ascending times. */
static bool is_behind(const struct ring *r, unsigned i)
{
	return i && sample_at(r, i)->wall_s <= sample_at(r, i - 1)->wall_s;
}

static void write_series(const struct ring *r, unsigned n, int k, struct evbuffer *out)
{
	const char *comma = "";

	for (unsigned i = 0; i < n; i++) {
		const struct sample *s = sample_at(r, i);

		if (is_behind(r, i))
			continue;
		if (k < 0)
			evbuffer_add_printf(out, "%s%.1f", comma, s->wall_s);
		else if (isnan(s->v[k]))
			evbuffer_add_printf(out, "%snull", comma);
		else
			evbuffer_add_printf(out, "%s%.4g", comma, (double)s->v[k]);
		comma = ",";
	}
}

int history_write(const struct history *h, const char *vm_id, struct evbuffer *out)
{
	const struct ring *r = *vm_id ? ring_of(h, vm_id) : NULL;
	unsigned n = !r ? 0 : r->n < HISTORY_SAMPLES ? r->n : HISTORY_SAMPLES;

	evbuffer_add_printf(out, "{\"time\":[");
	write_series(r, n, -1, out);
	evbuffer_add_printf(out, "],\"series\":{");
	for (int k = 0; k < SERIES; k++) {
		evbuffer_add_printf(out, "%s\"%s\":[", k ? "," : "", names[k]);
		write_series(r, n, k, out);
		evbuffer_add_printf(out, "]");
	}
	return evbuffer_add_printf(out, "}}") < 0 ? -ENOMEM : 0;
}
