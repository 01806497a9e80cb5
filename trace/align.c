/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One time for both hosts. Between two samples of the clocks (clock.c) the offset is interpolated, as the
 * clocks drift; before the first and after the last one it is that one's. A sample may be wrong by half of
 * its round trip. So an epoch could seem to arrive before it was sent, or its commit before it was given:
 * then the backup's times of that epoch are moved by as little as makes cause and effect right, all by the
 * same, which leaves each phase as long as it was. How often that was so is part of the trace.
 */
#include "trace/trace_int.h"

#include <stdlib.h>
#include <string.h>

/* What bounds the backup's half of one epoch, and how far that is moved. */
struct epoch {
	uint64_t number;
	int64_t sent_ns, acked_ns;	   /* by the primary; 0: not in the trace */
	int64_t received_ns, committed_ns; /* by the backup */
	int64_t move_ns;
};

static int by_start(const void *a, const void *b)
{
	const struct trace_event *x = a, *y = b;

	if (x->start_ns != y->start_ns)
		return x->start_ns < y->start_ns ? -1 : 1;
	/* What holds the others comes first. */
	return x->length_ns > y->length_ns ? -1 : x->length_ns < y->length_ns;
}

static int by_epoch(const void *a, const void *b)
{
	const struct epoch *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static int64_t end_of(const struct trace_event *ev)
{
	return ev->start_ns + ev->length_ns;
}

static bool is_backups(const struct trace_event *ev)
{
	return trace_phase_info(ev->phase)->host == TRACE_B;
}

/* ---- the clocks ---- */

struct clocks {
	struct trace_event *at; /* by time */
	size_t n;
};

/* Backup's time minus primary's, at that time of the backup. */
static int64_t offset_at(const struct clocks *c, int64_t backup_ns)
{
	size_t lo = 0, hi = c->n;
	const struct trace_event *a, *b;
	double share;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (c->at[mid].start_ns + c->at[mid].value <= backup_ns)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo || lo == c->n)
		return c->at[lo ? lo - 1 : 0].value;
	a = &c->at[lo - 1];
	b = &c->at[lo];
	if (b->start_ns <= a->start_ns)
		return b->value;
	share = (double)(backup_ns - a->value - a->start_ns) / (double)(b->start_ns - a->start_ns);
	share = share < 0 ? 0 : share > 1 ? 1 : share;
	return a->value + (int64_t)((double)(b->value - a->value) * share);
}

/* Without a common time there is one half: that of the host whose clock the trace has. */
static void drop_other_half(struct trace_set *s)
{
	enum trace_host other = s->role == TRACE_P ? TRACE_B : TRACE_P;
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		if (trace_phase_info(s->events[i].phase)->host != other)
			s->events[n++] = s->events[i];
	s->n = n;
	s->half[other].there = false;
}

/* False: no memory; then there is no common time either. */
static bool find_clocks(struct trace_set *s, struct clocks *c)
{
	c->at = calloc(s->n + 1, sizeof(*c->at));
	c->n = 0;
	for (size_t i = 0; c->at && i < s->n; i++)
		if (s->events[i].phase == TRACE_CLOCK)
			c->at[c->n++] = s->events[i];
	if (!c->at || !c->n)
		return false;
	qsort(c->at, c->n, sizeof(*c->at), by_start);
	s->clocks = (unsigned)c->n;
	s->offset_ns = c->at[c->n - 1].value;
	for (size_t i = 0; i < c->n; i++)
		if (c->at[i].length_ns / 2 >= s->uncertain_ns)
			s->uncertain_ns = (c->at[i].length_ns + 1) / 2;
	return true;
}

/* ---- cause and effect ---- */

static void note(struct epoch *ep, const struct trace_event *ev)
{
	switch (ev->phase) {
	case TRACE_SEND:
		ep->sent_ns = end_of(ev);
		break;
	case TRACE_ACK:
		ep->acked_ns = end_of(ev);
		break;
	case TRACE_RECEIVE:
		ep->received_ns = end_of(ev);
		break;
	case TRACE_COMMIT:
		ep->committed_ns = end_of(ev);
		break;
	default:
		break;
	}
}

static void merge(struct epoch *to, const struct epoch *from)
{
	if (!to->sent_ns)
		to->sent_ns = from->sent_ns;
	if (!to->acked_ns)
		to->acked_ns = from->acked_ns;
	if (!to->received_ns)
		to->received_ns = from->received_ns;
	if (!to->committed_ns)
		to->committed_ns = from->committed_ns;
}

static size_t collect(const struct trace_set *s, struct epoch *eps)
{
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->events[i].epoch) {
			eps[n] = (struct epoch){.number = s->events[i].epoch};
			note(&eps[n++], &s->events[i]);
		}
	qsort(eps, n, sizeof(*eps), by_epoch);
	for (size_t i = 0; i < n; i++) {
		if (kept && eps[kept - 1].number == eps[i].number)
			merge(&eps[kept - 1], &eps[i]);
		else
			eps[kept++] = eps[i];
	}
	return kept;
}

/* The arrival is not before the sending; and, if that leaves room, the commit not after its coming. */
static int64_t move_of(const struct epoch *ep)
{
	int64_t first_ns = INT64_MIN, last_ns = INT64_MAX;

	if (ep->sent_ns && ep->received_ns)
		first_ns = ep->sent_ns - ep->received_ns;
	if (ep->acked_ns && ep->committed_ns)
		last_ns = ep->acked_ns - ep->committed_ns;
	if (first_ns > 0)
		return first_ns;
	if (last_ns < 0)
		return last_ns > first_ns ? last_ns : first_ns;
	return 0;
}

static void move(struct trace_set *s, struct epoch *eps, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		eps[i].move_ns = move_of(&eps[i]);
		s->moved += eps[i].move_ns != 0;
		if (llabs(eps[i].move_ns) > s->moved_most_ns)
			s->moved_most_ns = llabs(eps[i].move_ns);
	}
	for (size_t i = 0; i < s->n; i++) {
		struct trace_event *ev = &s->events[i];
		struct epoch key = {.number = ev->epoch}, *ep;

		if (!is_backups(ev))
			continue;
		ep = bsearch(&key, eps, n, sizeof(*eps), by_epoch);
		ev->start_ns += ep ? ep->move_ns : 0;
	}
}

/* Some arrive before they were sent by more than any clock explains: a peer that lies. */
static void keep_times(struct trace_set *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct trace_event *ev = &s->events[i];

		if (ev->start_ns > 0 && ev->start_ns < TRACE_MAX_NS)
			s->events[n++] = *ev;
		else
			s->refused++;
	}
	s->n = n;
}

void trace_align(struct trace_set *s)
{
	struct clocks c;
	struct epoch *eps = calloc(s->n + 1, sizeof(*eps));

	if (!find_clocks(s, &c) || !eps) {
		drop_other_half(s);
	} else {
		for (size_t i = 0; i < s->n; i++)
			if (is_backups(&s->events[i]))
				s->events[i].start_ns -= offset_at(&c, s->events[i].start_ns);
		move(s, eps, collect(s, eps));
		if (s->role == TRACE_B)
			s->wall_ms_at_0 += s->offset_ns / TV_NS_PER_MS;
	}
	keep_times(s);
	qsort(s->events, s->n, sizeof(*s->events), by_start);
	free(c.at);
	free(eps);
}
