/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the time went: for each phase how often it was, its median, its 99th percentile, its worst and the
 * epoch of that. What is left of a pause when its parts are taken away is a row of its own.
 */
#include "trace/trace_int.h"

#include <inttypes.h>
#include <stdlib.h>

struct sample {
	int64_t ns;
	uint64_t epoch;
};
struct row {
	struct sample *at;
	size_t n;
	int64_t sum_ns;
};

static int by_length(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	return x->ns < y->ns ? -1 : x->ns > y->ns;
}

static double ms(int64_t ns)
{
	return (double)(ns / 1000) / 1e3;
}

/* Of an epoch that the ring has begun to lose, some parts are missing. */
static uint64_t first_whole(const struct trace_set *s)
{
	uint64_t first = UINT64_MAX;

	for (size_t i = 0; i < s->n; i++)
		if (s->events[i].epoch && s->events[i].epoch < first)
			first = s->events[i].epoch;
	return s->lost ? first + 1 : first;
}

static void add(struct row *r, int64_t ns, uint64_t epoch)
{
	r->at[r->n++] = (struct sample){ns, epoch};
	r->sum_ns += ns;
}

static struct row take(const struct trace_set *s, unsigned phase, uint64_t first)
{
	struct row r = {.at = calloc(s->n + 1, sizeof(*r.at))};

	for (size_t i = 0; r.at && i < s->n; i++)
		if (s->events[i].phase == phase && s->events[i].epoch >= first)
			add(&r, s->events[i].length_ns, s->events[i].epoch);
	return r;
}

/* Events are by their start: the parts of a pause come after it. */
static struct row take_other(const struct trace_set *s, uint64_t first)
{
	struct row r = {.at = calloc(s->n + 1, sizeof(*r.at))};

	for (size_t i = 0; r.at && i < s->n; i++) {
		const struct trace_event *ev = &s->events[i];

		if (ev->epoch < first)
			continue;
		if (ev->phase == TRACE_PAUSE)
			r.at[r.n++] = (struct sample){ev->length_ns, ev->epoch};
		else if (trace_phase_info(ev->phase)->in_pause && r.n &&
			 r.at[r.n - 1].epoch == ev->epoch)
			r.at[r.n - 1].ns -= ev->length_ns;
	}
	for (size_t i = 0; i < r.n; i++)
		r.sum_ns += r.at[i].ns;
	return r;
}

static json_t *describe(struct row *r, const char *word, const char *host, bool in_pause)
{
	json_t *o;

	if (!r->at || !r->n) {
		free(r->at);
		return NULL;
	}
	qsort(r->at, r->n, sizeof(*r->at), by_length);
	o = json_pack("{ss ss sb sI sf sf sf sI sf}", "phase", word, "host", host, "in_pause",
		      in_pause, "count", (json_int_t)r->n, "p50_ms", ms(r->at[(r->n - 1) / 2].ns),
		      "p99_ms", ms(r->at[(r->n - 1) * 99 / 100].ns), "worst_ms",
		      ms(r->at[r->n - 1].ns), "worst_epoch", (json_int_t)r->at[r->n - 1].epoch,
		      "sum_ms", ms(r->sum_ns));
	free(r->at);
	return o;
}

static void add_phases(json_t *rows, const struct trace_set *s, uint64_t first, int64_t *pause_ns,
		       int64_t *parts_ns)
{
	for (unsigned p = TRACE_TRIGGER; p < TRACE_PHASE_END; p++) {
		const struct trace_phase_info *info = trace_phase_info(p);
		struct row r, other;

		if (p == TRACE_CLOCK)
			continue;
		r = take(s, p, first);
		*pause_ns += p == TRACE_PAUSE ? r.sum_ns : 0;
		*parts_ns += info->in_pause ? r.sum_ns : 0;
		json_array_append_new(
			rows, describe(&r, info->word, s->half[info->host].host, info->in_pause));
		if (p != TRACE_CONT)
			continue;
		other = take_other(s, first);
		json_array_append_new(rows, describe(&other, "other", s->half[TRACE_P].host, true));
	}
}

json_t *trace_summary(const struct trace_set *s)
{
	uint64_t first = first_whole(s), last = 0;
	int64_t pause_ns = 0, parts_ns = 0;
	json_t *rows = json_array();

	for (size_t i = 0; i < s->n; i++)
		if (s->events[i].epoch > last)
			last = s->events[i].epoch;
	add_phases(rows, s, first, &pause_ns, &parts_ns);
	return json_pack("{ss ss ss sb sb sI sI sf sf si sf sI sI sI so}", "vm", s->vm, "primary",
			 s->half[TRACE_P].host, "backup", s->half[TRACE_B].host, "primary_half",
			 s->half[TRACE_P].there, "backup_half", s->half[TRACE_B].there,
			 "first_epoch", (json_int_t)(last ? first : 0), "last_epoch",
			 (json_int_t)last, "pause_ms", ms(pause_ns), "parts_ms", ms(parts_ns),
			 "clocks", (int)s->clocks, "uncertain_ms", ms(s->uncertain_ns),
			 "moved_epochs", (json_int_t)s->moved, "lost_events", (json_int_t)s->lost,
			 "refused_events", (json_int_t)s->refused, "phases", rows);
}

/* ---- as a table ---- */

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static double number(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static void print_half(const json_t *o, FILE *out)
{
	if (!json_is_true(json_object_get(o, "backup_half")))
		fprintf(out,
			"the backup's half is missing: %s reported no times, or the clocks "
			"could not be compared\n",
			text(o, "backup"));
	else if (!json_is_true(json_object_get(o, "primary_half")))
		fprintf(out, "the primary's half is missing: %s reported no times\n",
			text(o, "primary"));
	else
		fprintf(out,
			"clocks of the two hosts: compared %.0f times, uncertain by %.3f ms at "
			"most\n",
			number(o, "clocks"), number(o, "uncertain_ms"));
}

void trace_summary_print(const json_t *summary, FILE *out)
{
	double pause_ms = number(summary, "pause_ms");
	const json_t *row;
	size_t i;

	fprintf(out, "%s: epochs %.0f to %.0f, %s -> %s\n\n", text(summary, "vm"),
		number(summary, "first_epoch"), number(summary, "last_epoch"),
		text(summary, "primary"), text(summary, "backup"));
	fprintf(out, "%-12s %-16s %7s %10s %10s %10s %10s\n", "phase", "host", "count", "p50 ms",
		"p99 ms", "worst ms", "in epoch");
	json_array_foreach(json_object_get(summary, "phases"), i, row) {
		bool part = json_is_true(json_object_get(row, "in_pause"));

		fprintf(out, "%s%-*s %-16.16s %7.0f %10.3f %10.3f %10.3f %10.0f\n",
			part ? "  " : "", part ? 10 : 12, text(row, "phase"), text(row, "host"),
			number(row, "count"), number(row, "p50_ms"), number(row, "p99_ms"),
			number(row, "worst_ms"), number(row, "worst_epoch"));
	}
	fputc('\n', out);
	if (pause_ms > 0)
		fprintf(out, "the parts of the pauses add up to %.1f %% of them\n",
			100 * number(summary, "parts_ms") / pause_ms);
	print_half(summary, out);
}
