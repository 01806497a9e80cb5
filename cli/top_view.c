/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm top: the screen: header, list, what is below a VM's line, keys. Pure: from what is known to
 * lines. */
#include "cli/top.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is below a VM's line ---- */
#define INDENT 4
#define MOST_LINES 2

/* The text over at most MOST_LINES lines, between words. */
static void wrap(struct top_page *page, enum top_style style, unsigned indent, const char *text,
		 bool utf8)
{
	unsigned room = page->width > indent + 8 ? page->width - indent : 8;
	char part[TOP_MAX_COLUMNS * 4 + 1];

	for (unsigned i = 0; i < MOST_LINES && *text; i++) {
		struct top_line *l = top_line(page);
		size_t n = strlen(text), end = n;

		while (i + 1 < MOST_LINES && end) {
			tv_copy_n(part, sizeof(part), text, end);
			if (top_columns(part) <= room)
				break;
			while (end && text[--end] != ' ')
				;
		}
		if (!end || i + 1 == MOST_LINES) {
			top_cut(part, sizeof(part), text, room, utf8);
			end = n; /* the rest has no room, or is one long word */
		}
		top_tab(l, indent);
		top_put(l, style, part);
		text += end;
		text += strspn(text, " ");
	}
}

static void wrapped(struct top_page *page, enum top_style style, const char *text, bool utf8)
{
	wrap(page, style, INDENT, text, utf8);
}

static void progress_line(const struct top *t, const struct top_screen *s, const struct top_vm *vm,
			  struct top_page *page)
{
	unsigned bar = page->width >= 100 ? 40 : page->width >= 60 ? 24 : 10, done;
	struct top_line *l = top_line(page);
	char left[TOP_WORD];
	double sec = top_left(vm, t->data_s);

	done = vm->progress > 0 ? (unsigned)(vm->progress * bar) : 0;
	top_tab(l, INDENT);
	for (unsigned i = 0; i < bar; i++)
		top_put(l, top_is_stale(t, s->now_s) ? TOP_DIM : TOP_WARN,
			i < done ? (t->utf8 ? "█" : "#") : (t->utf8 ? "░" : "."));
	top_printf(l, TOP_PLAIN, " %.0f %%", vm->progress * 100);
	top_duration(left, sec);
	if (!isnan(sec))
		top_printf(l, TOP_PLAIN, ", about %s left", left);
	if (vm->next_action[0])
		top_printf(l, TOP_DIM, "  %s", vm->next_action);
}

static void reasons(const struct top *t, const struct top_screen *s, const struct top_vm *vm,
		    struct top_page *page)
{
	bool stale = top_is_stale(t, s->now_s);
	enum top_style style = stale ? TOP_DIM : top_state_style(t, vm, s->now_s);
	double wall = top_wall(t, s->now_s);
	char text[1024], when[TOP_WORD];

	if (vm->reason[0])
		wrapped(page, style, vm->reason, t->utf8);
	if (vm->warning[0]) {
		snprintf(text, sizeof(text), "warning: %s", vm->warning);
		wrapped(page, stale ? TOP_DIM : TOP_WARN, text, t->utf8);
	}
	if (!strcmp(vm->state, "protected") && vm->knows_failover && !vm->failover_allowed) {
		snprintf(text, sizeof(text), "no automatic failover: %s", vm->failover_reason);
		wrapped(page, stale ? TOP_DIM : TOP_WARN, text, t->utf8);
	}
	if (!strcmp(vm->state, "syncing") && !vm->backup) {
		progress_line(t, s, vm, page);
	} else if (vm->next_action[0]) {
		bool later = !isnan(vm->next_time);

		top_duration(when, vm->next_time > wall ? vm->next_time - wall : 0);
		snprintf(text, sizeof(text), "%s: %s%s%s", later ? "next" : "now", vm->next_action,
			 later ? ", in " : "", later ? when : "");
		wrapped(page, stale ? TOP_DIM : TOP_PLAIN, text, t->utf8);
	}
	if (vm->kept)
		wrapped(page, TOP_DIM,
			vm->kept == 1 ? "a stopped QEMU of it is kept here: see 'twinvm status'"
				      : "stopped QEMUs of it are kept here: see 'twinvm status'",
			t->utf8);
}

/* ---- header ---- */
struct totals {
	unsigned runs, protected, standbys, problems;
	double worst_lag;
};

static struct totals add_up(const struct top *t, double now_s)
{
	struct totals sum = {.worst_lag = NAN};

	for (unsigned i = 0; i < t->n; i++) {
		const struct top_vm *vm = &t->vms[i];
		bool good = !strcmp(vm->state, "protected");
		double lag = top_lag(t, vm, now_s);

		sum.problems += top_severity(t, vm, now_s) >= 2;
		sum.standbys += vm->backup;
		sum.runs += !vm->backup;
		sum.protected += !vm->backup && good;
		if (good && !vm->backup && !isnan(lag) && !(lag <= sum.worst_lag))
			sum.worst_lag = lag;
	}
	return sum;
}

static void header(const struct top *t, const struct top_screen *s, struct top_page *page)
{
	struct totals sum = add_up(t, s->now_s);
	bool stale = top_is_stale(t, s->now_s);
	char lag[TOP_WORD], clock[TOP_WORD], age[TOP_WORD], text[200], when[120];
	struct top_line *l = top_line(page);
	enum top_style style = stale				       ? TOP_DIM
			       : sum.protected == sum.runs && sum.runs ? TOP_GOOD
			       : sum.runs			       ? TOP_BAD
								       : TOP_PLAIN;

	top_duration(lag, sum.worst_lag);
	top_clock(clock, t->data_s, t->data_s);
	snprintf(age, sizeof(age), "%.0f s", s->now_s - t->got_s);
	snprintf(when, sizeof(when),
		 page->width < 60    ? "%s, %s ago"
		 : page->width < 100 ? "as of %s, %s ago"
				     : "data as of %s, %s ago",
		 clock, age);
	top_printf(l, TOP_BOLD, "%s  ", t->host[0] ? t->host : "twinvm");
	snprintf(text, sizeof(text), "%s%u of %u %sprotected", stale ? "? " : "", sum.protected,
		 sum.runs, page->width >= 100 ? "VMs " : "");
	top_put(l, style, sum.runs ? text : stale ? "? no VMs" : "no VMs");
	if (sum.standbys)
		top_printf(l, stale ? TOP_DIM : TOP_PLAIN, ", %u standby%s", sum.standbys,
			   sum.standbys == 1 ? "" : "s");
	if (!isnan(sum.worst_lag))
		top_printf(l, stale ? TOP_DIM : TOP_PLAIN, ", worst lag %s", lag);
	if (isnan(t->data_s))
		return;
	if (l->columns + 2 + top_columns(when) > page->width)
		l = top_line(page);
	top_tab(l, page->width - (unsigned)top_columns(when));
	top_put(l, stale ? TOP_BAD : TOP_DIM, when);
}

static void banner(const struct top *t, const struct top_screen *s, struct top_page *page)
{
	double from_s = t->away[0] ? t->away_s : t->got_s;
	char since[TOP_WORD], text[600];

	if (!t->away[0] && (isnan(t->data_s) || !top_is_stale(t, s->now_s)))
		return;
	top_duration(since, s->now_s > from_s ? s->now_s - from_s : 0);
	snprintf(text, sizeof(text), "%s %s", t->utf8 ? "✘" : "X",
		 t->away[0] ? t->away : "twinvmd does not answer");
	wrap(page, TOP_BAD, 0, text, t->utf8);
	snprintf(text, sizeof(text), "for %s%s; asking again every %.3g s", since,
		 isnan(t->data_s) ? "" : ": what is shown is old", s->interval_s);
	wrap(page, TOP_DIM, 2, text, t->utf8);
}

/* ---- the screen ---- */
static void help(struct top_page *page)
{
	static const char *const text[] = {
		"twinvm top: the VMs that this host runs, and the standbys that it keeps",
		"",
		"  Up, Down, j, k    selects a VM           PgUp, PgDn, Home, End",
		"  Enter             shows all of it        Esc, q: back",
		"  s                 sorts by the next of: problems, name, lag, pause, wire, CPU",
		"  p                 only problems, or all",
		"  r                 asks now                ?  this page           q  ends",
		"",
		"  VM, ROLE  a full dot: it runs here, its copy is where the arrow goes;",
		"            a hollow one: a copy of it waits here",
		"  STATE     protected, syncing (the first copy is made), alone (no other host",
		"            has a copy), promoting, stopped",
		"  LAG       how old the newest state is that the other host has. It grows when",
		"            commits stop. Beside it the last minutes; the same for",
		"  PAUSE     how long the VM stands still for an epoch: median of the last 512",
		"  DIRTY     pages of 4 KiB per epoch       HELD  frames that wait for a commit",
		"  WIRE      sent to the other host, or received",
		"  CPU, MEM  of the VM's QEMU, or of the standby with its replicator",
		"",
		"  What is grey is old: twinvmd has not answered for some seconds."};

	for (size_t i = 0; i < sizeof(text) / sizeof(*text); i++)
		top_put(top_line(page), i ? TOP_PLAIN : TOP_BOLD, text[i]);
}

/* Lines of the list; from..to are those of the selected VM. */
static void list(const struct top *t, const struct top_screen *s, struct top_page *out,
		 const struct top_vm **selected, unsigned *from, unsigned *to)
{
	const struct top_vm **order = calloc(t->n + 1, sizeof(*order));
	struct top_layout l = top_lay_out(t, s);
	unsigned n = order ? top_order(t, s, order) : 0, at = 0;

	for (unsigned i = 0; i < n; i++)
		if (!strcmp(order[i]->key, s->selected))
			at = i;
	for (unsigned i = 0; i < n; i++) {
		if (i == at) {
			*selected = order[i];
			*from = out->n;
		}
		top_row(t, s, order[i], &l, s->height && i == at, out);
		reasons(t, s, order[i], out);
		if (i == at)
			*to = out->n;
	}
	if (!n && !isnan(t->data_s))
		wrap(out, TOP_DIM, 0,
		     t->n ? "no problems: every VM is protected (p shows them)"
			  : "this host has no protected VMs and no standbys: 'twinvm protect VM "
			    "--to HOST' protects one",
		     t->utf8);
	free(order);
}

/* room lines of what is in from, those from s->first on. */
static void window(struct top_page *out, const struct top_page *from, unsigned first, unsigned room)
{
	for (unsigned i = 0; i < room; i++) {
		struct top_line *l = top_line(out);

		if (first + i < from->n)
			*l = from->lines[first + i];
	}
}

static void keys(const struct top_screen *s, unsigned hidden, struct top_page *page)
{
	struct top_line *l = top_line(page);
	char more[60];

	snprintf(more, sizeof(more), "%u more lines", hidden);
	if (s->help || s->detail)
		top_put(l, TOP_DIM, s->help ? "any key: back" : "Esc back  Up/Down scroll  q quit");
	else if (page->width < 70)
		top_printf(l, TOP_DIM, "q quit  ? help  s %s", top_sort_name(s->sort));
	else
		top_printf(l, TOP_DIM, "q quit  ? help  Enter detail  s sort: %s  p %s",
			   top_sort_name(s->sort), s->problems ? "all VMs" : "only problems");
	if (hidden && l->columns + strlen(more) + 2 <= page->width) {
		top_tab(l, page->width - (unsigned)strlen(more));
		top_put(l, TOP_WARN, more);
	}
}

static void keep_in_sight(struct top_screen *s, unsigned from, unsigned to, unsigned n,
			  unsigned room)
{
	if (to > s->first + room)
		s->first = to - room;
	if (from < s->first)
		s->first = from;
	if (s->first + room > n)
		s->first = n > room ? n - room : 0;
}

static void body(const struct top *t, struct top_screen *s, struct top_page *all,
		 const struct top_vm **selected, unsigned room)
{
	unsigned from = 0, to = 0;

	if (s->help) {
		help(all);
		return;
	}
	list(t, s, all, selected, &from, &to);
	if (s->detail && *selected) {
		top_page_dispose(all);
		all->width = s->width;
		top_detail(t, *selected, s, all);
		from = to = s->first;
	}
	keep_in_sight(s, from, to, all->n, room);
}

void top_view(const struct top *t, struct top_screen *s, struct top_page *out)
{
	struct top_page all = {.width = s->width};
	const struct top_vm *selected = NULL;
	const unsigned below = 3; /* the sentence and the keys */
	unsigned room, from, to;
	char text[1024];

	out->width = s->width;
	header(t, s, out);
	banner(t, s, out);
	if (!s->help && !s->detail) {
		struct top_layout l = top_lay_out(t, s);

		top_titles(t, &l, out);
	}
	if (!s->height) {
		list(t, s, out, &selected, &from, &to);
		return;
	}
	room = s->height > out->n + below ? s->height - out->n - below : 1;
	body(t, s, &all, &selected, room);
	window(out, &all, s->first, room);
	text[0] = 0;
	if (selected && !s->help)
		top_sentence(t, selected, s->now_s, text, sizeof(text));
	wrap(out, top_is_stale(t, s->now_s) ? TOP_DIM : TOP_BOLD, 0, text, t->utf8);
	while (out->n < s->height - 1)
		top_line(out);
	keys(s, all.n > room ? all.n - room : 0, out);
	top_page_dispose(&all);
}
