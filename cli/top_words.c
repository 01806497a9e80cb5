/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm top: the order of the VMs, and one in words and shapes. Pure. */
#include "cli/top.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which VMs, in which order ---- */
const char *top_sort_name(enum top_sort s)
{
	static const char *const names[] = {"problems", "name", "lag", "pause", "wire", "CPU"};

	return names[s < TOP_SORTS ? s : 0];
}

struct ranked {
	const struct top_vm *vm;
	double value; /* the largest first */
};

static int compare(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	int c;

	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	c = strcmp(x->vm->name, y->vm->name);
	return c ? c : strcmp(x->vm->key, y->vm->key);
}

static double rank(const struct top *t, const struct top_screen *s, const struct top_vm *vm)
{
	double v = 0;

	switch (s->sort) {
	case TOP_BY_PROBLEM:
		return top_severity(t, vm, s->now_s);
	case TOP_BY_LAG:
		v = top_lag(t, vm, s->now_s);
		break;
	case TOP_BY_PAUSE:
		v = vm->pause_p50;
		break;
	case TOP_BY_WIRE:
		v = vm->wire_rate;
		break;
	case TOP_BY_CPU:
		v = vm->cpu;
		break;
	default:
		break;
	}
	return isnan(v) ? -1 : v;
}

unsigned top_order(const struct top *t, const struct top_screen *s, const struct top_vm **out)
{
	struct ranked *list = calloc(t->n + 1, sizeof(*list));
	unsigned n = 0;

	for (unsigned i = 0; list && i < t->n; i++)
		if (!s->problems || top_severity(t, &t->vms[i], s->now_s))
			list[n++] = (struct ranked){&t->vms[i], rank(t, s, &t->vms[i])};
	if (n)
		qsort(list, n, sizeof(*list), compare);
	for (unsigned i = 0; i < n; i++)
		out[i] = list[i].vm;
	free(list);
	return n;
}

/* ---- words ---- */
/* Full: it runs here; hollow: a copy waits here. */
const char *top_shape(const struct top_vm *vm, bool utf8)
{
	return vm->backup ? (utf8 ? "○" : "o") : (utf8 ? "●" : "*");
}

const char *top_arrow(const struct top_vm *vm, bool utf8)
{
	return vm->backup ? (utf8 ? "←" : "<-") : (utf8 ? "→" : "->");
}

enum top_style top_state_style(const struct top *t, const struct top_vm *vm, double now_s)
{
	static const enum top_style styles[] = {TOP_GOOD, TOP_GOOD, TOP_WARN, TOP_BAD};

	return top_is_stale(t, now_s) ? TOP_DIM : styles[top_severity(t, vm, now_s)];
}

/* A mark besides the colour. */
static const char *mark_of(const struct top *t, const struct top_vm *vm, double now_s)
{
	static const char *const marks[][2] = {{"+", "✔"}, {"+", "✔"}, {"!", "▲"}, {"X", "✘"}};

	return top_is_stale(t, now_s) ? "?" : marks[top_severity(t, vm, now_s)][t->utf8];
}

void top_state_text(const struct top *t, const struct top_vm *vm, double now_s, char out[TOP_WORD])
{
	if (!strcmp(vm->state, "syncing") && !vm->backup)
		snprintf(out, TOP_WORD, "%s syncing %.0f%%", mark_of(t, vm, now_s),
			 vm->progress * 100);
	else
		snprintf(out, TOP_WORD, "%s %s", mark_of(t, vm, now_s), vm->state);
}

void top_sentence(const struct top *t, const struct top_vm *vm, double now_s, char *out,
		  size_t room)
{
	const char *runs = vm->backup ? vm->peer : t->host, *copy = vm->backup ? t->host : vm->peer;
	char lag[TOP_WORD];

	top_duration(lag, top_lag(t, vm, now_s));
	if (top_is_stale(t, now_s) || !vm->knows_failover)
		snprintf(out, room, "If %s died now: not known.", runs);
	else if (vm->failover_allowed)
		snprintf(out, room,
			 "If %s died now: %s continues on %s, losing nothing that was seen; its "
			 "state there is %s old.",
			 runs, vm->name, copy, lag);
	else if (!strcmp(vm->state, "protected"))
		snprintf(out, room, "If %s died now: %s does not continue by itself: %s.", runs,
			 vm->name, vm->failover_reason);
	else
		snprintf(out, room, "If %s died now: %s is lost: %s.", runs, vm->name,
			 vm->failover_reason);
}
