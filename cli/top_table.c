/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm top: the columns that a width has room for, and a VM's line in them. Pure. */
#include "cli/top.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LAG_FLOOR_S 0.2 /* smaller ones are drawn low */
#define PAUSE_FLOOR_S 0.02

/* ---- columns ---- */
enum column {
	C_NAME,
	C_ROLE,
	C_STATE,
	C_LAG,
	C_LAG_LINE,
	C_PAUSE,
	C_PAUSE_LINE,
	C_DIRTY,
	C_WIRE,
	C_HELD,
	C_CPU,
	C_MEMORY,
	C_DISK,
	C_NET,
	C_SINCE,
	COLUMNS = TOP_COLUMNS
};
static const struct {
	const char *title;
	unsigned columns, from_width; /* shown when the screen is at least so wide */
	bool right;
} columns[COLUMNS] = {
	[C_NAME] = {"VM", 10, 0, false},	[C_ROLE] = {"ROLE", 1, 0, false},
	[C_STATE] = {"STATE", 14, 0, false},	[C_LAG] = {"LAG", 7, 36, true},
	[C_LAG_LINE] = {"", 6, 64, false},	[C_PAUSE] = {"PAUSE", 7, 72, true},
	[C_PAUSE_LINE] = {"", 6, 80, false},	[C_DIRTY] = {"DIRTY", 6, 100, true},
	[C_WIRE] = {"WIRE", 8, 92, true},	[C_HELD] = {"HELD", 5, 108, true},
	[C_CPU] = {"CPU", 5, 126, true},	[C_MEMORY] = {"MEM", 7, 134, true},
	[C_DISK] = {"DISK R/W", 18, 184, true}, [C_NET] = {"NET IN/OUT", 18, 164, true},
	[C_SINCE] = {"SINCE", 12, 146, true},
};
#define NAME_MOST 32
#define ROLE_WORDS_FROM 76 /* narrower: only the shape */
#define ROLE_MOST 26

static unsigned longest_name(const struct top *t)
{
	unsigned most = 0, n;

	for (unsigned i = 0; i < t->n; i++) {
		n = top_columns(t->vms[i].name);
		most = n > most ? n : most;
	}
	return most;
}

static unsigned role_columns(const struct top *t)
{
	unsigned most = 0, n;

	for (unsigned i = 0; i < t->n; i++) {
		n = top_columns(t->vms[i].peer);
		most = n > most ? n : most;
	}
	most += 11 + (t->utf8 ? 1 : 2);
	return most < ROLE_MOST ? most : ROLE_MOST;
}

/* Of what was before: a table that is printed once has none. */
static bool is_line(unsigned c)
{
	return c == C_LAG_LINE || c == C_PAUSE_LINE;
}

struct top_layout top_lay_out(const struct top *t, const struct top_screen *s)
{
	unsigned used = 0, room, want = longest_name(t), wide = role_columns(t);
	struct top_layout l = {0};

	for (unsigned c = 0; c < COLUMNS; c++) {
		if (s->width < columns[c].from_width || (!s->height && is_line(c)))
			continue;
		l.w[c] = columns[c].columns;
		if (is_line(c) && s->width >= 120)
			l.w[c] = s->width >= 190 ? 14 : 10;
		used += l.w[c] + (c ? 1 : 0);
	}
	room = s->width > used ? s->width - used : 0;
	if (s->width >= ROLE_WORDS_FROM) {
		l.w[C_ROLE] += room < wide - 1 ? room : wide - 1;
		room -= l.w[C_ROLE] - 1;
	}
	want = want < NAME_MOST ? want : NAME_MOST;
	if (want > l.w[C_NAME])
		l.w[C_NAME] += room < want - l.w[C_NAME] ? room : want - l.w[C_NAME];
	if (used > s->width) /* very narrow */
		l.w[C_NAME] -= used - s->width < 9 ? used - s->width : 9;
	return l;
}

static void count_text(char out[TOP_WORD], double v)
{
	if (!(v >= 0))
		snprintf(out, TOP_WORD, "-");
	else if (v < 99999.5)
		snprintf(out, TOP_WORD, "%.0f", v);
	else if (v < 9.95e6)
		snprintf(out, TOP_WORD, "%.0fk", v / 1e3);
	else
		snprintf(out, TOP_WORD, "%.0fM", v / 1e6);
}

static void two(char out[2 * TOP_WORD], double a, double b)
{
	char x[TOP_WORD], y[TOP_WORD];

	top_bytes(x, a, "");
	top_bytes(y, b, "/s");
	if (isnan(a) && isnan(b))
		snprintf(out, TOP_WORD, "-");
	else
		snprintf(out, 2 * TOP_WORD, "%s %s", x, y);
}

static void role_text(const struct top *t, const struct top_vm *vm, unsigned room, char *out,
		      size_t bytes)
{
	if (room == 1)
		snprintf(out, bytes, "%s", top_shape(vm, t->utf8));
	else if (!top_has_peer(vm))
		snprintf(out, bytes, "%s %s", top_shape(vm, t->utf8),
			 vm->backup ? "backup" : "primary");
	else
		snprintf(out, bytes, "%s %-7s %s %s", top_shape(vm, t->utf8),
			 vm->backup ? "backup" : "primary", top_arrow(vm, t->utf8), vm->peer);
}

static void cell_text(const struct top *t, const struct top_screen *s, const struct top_vm *vm,
		      const struct top_layout *l, enum column c, char *out, size_t room)
{
	double lag = top_lag(t, vm, s->now_s);

	switch (c) {
	case C_NAME:
		tv_copy(out, room, vm->name);
		break;
	case C_ROLE:
		role_text(t, vm, l->w[c], out, room);
		break;
	case C_STATE:
		top_state_text(t, vm, s->now_s, out);
		break;
	case C_LAG:
		top_duration(out, lag);
		break;
	case C_LAG_LINE:
		top_spark(out, room, &vm->lag, l->w[c], LAG_FLOOR_S, t->utf8);
		break;
	case C_PAUSE:
		top_duration(out, vm->pause_p50 / 1e3);
		break;
	case C_PAUSE_LINE:
		top_spark(out, room, &vm->pause, l->w[c], PAUSE_FLOOR_S, t->utf8);
		break;
	case C_DIRTY:
		count_text(out, vm->dirty_p50);
		break;
	case C_WIRE:
		top_bytes(out, vm->wire_rate, "/s");
		break;
	case C_HELD:
		count_text(out, vm->held);
		break;
	case C_CPU:
		if (isnan(vm->backup ? vm->standby_cpu : vm->cpu))
			tv_copy(out, room, "-");
		else
			snprintf(out, room, "%.0f%%", vm->backup ? vm->standby_cpu : vm->cpu);
		break;
	case C_MEMORY:
		top_bytes(out, vm->backup ? vm->standby_memory : vm->memory, "");
		break;
	case C_DISK:
		two(out, vm->disk_read, vm->disk_write);
		break;
	case C_NET:
		two(out, vm->net_rx, vm->net_tx);
		break;
	case C_SINCE:
		top_clock(out, vm->state_since, top_wall(t, s->now_s));
		break;
	default:
		out[0] = 0;
		break;
	}
}

static enum top_style cell_style(const struct top *t, const struct top_screen *s,
				 const struct top_vm *vm, enum column c)
{
	if (top_is_stale(t, s->now_s))
		return TOP_DIM;
	if (c == C_STATE)
		return top_state_style(t, vm, s->now_s);
	if (c == C_NAME)
		return TOP_BOLD;
	if (c == C_LAG && top_lag(t, vm, s->now_s) > 1)
		return TOP_WARN;
	return is_line(c) ? TOP_DIM : TOP_PLAIN;
}

void top_titles(const struct top *t, const struct top_layout *l, struct top_page *page)
{
	struct top_line *line = top_line(page);

	for (unsigned c = 0; c < COLUMNS; c++) {
		if (!l->w[c])
			continue;
		if (c)
			top_put(line, TOP_TITLE, " ");
		top_cell(line, TOP_TITLE, l->w[c], columns[c].right,
			 c == C_ROLE && l->w[c] == 1 ? "" : columns[c].title, t->utf8);
	}
}

void top_row(const struct top *t, const struct top_screen *s, const struct top_vm *vm,
	     const struct top_layout *l, bool selected, struct top_page *page)
{
	struct top_line *line = top_line(page);
	char text[TOP_MAX_COLUMNS * 4];

	for (unsigned c = 0; c < COLUMNS; c++) {
		if (!l->w[c])
			continue;
		if (c)
			top_put(line, selected ? TOP_SELECTED : TOP_PLAIN, " ");
		cell_text(t, s, vm, l, (enum column)c, text, sizeof(text));
		top_cell(line, selected ? TOP_SELECTED : cell_style(t, s, vm, (enum column)c),
			 l->w[c], columns[c].right, text, t->utf8);
	}
}
