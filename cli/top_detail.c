/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm top: all of one VM. Pure, as top_view.c. */
#include "cli/top.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LABEL 11

/* One or more lines: the label, and the text beside it, wrapped between words. */
static void fact(struct top_page *page, enum top_style style, const char *label, const char *text)
{
	unsigned room = page->width > LABEL + 8 ? page->width - LABEL : 8;
	char part[TOP_MAX_COLUMNS * 4 + 1];

	while (*text) {
		struct top_line *l = top_line(page);
		size_t end = strlen(text);

		tv_copy_n(part, sizeof(part), text, end);
		while (end && top_columns(part) > room) {
			while (end && text[--end] != ' ')
				;
			tv_copy_n(part, sizeof(part), text, end);
		}
		if (!end) /* one long word: the line's end cuts it */
			end = strlen(text);
		tv_copy_n(part, sizeof(part), text, end);
		top_put(l, TOP_DIM, label);
		top_tab(l, LABEL);
		top_put(l, style, part);
		label = "";
		text += end;
		text += strspn(text, " ");
	}
}

/* A text that is made of parts. */
struct sentence {
	char text[700];
};

static void add(struct sentence *s, const char *fmt, ...) TV_PRINTF(2, 3);
static void add(struct sentence *s, const char *fmt, ...)
{
	size_t n = strlen(s->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->text + n, sizeof(s->text) - n, fmt, ap);
	va_end(ap);
}

/* The last three add nothing where the number is not known. */
static void add_count(struct sentence *s, const char *before, double v, const char *after)
{
	if (!isnan(v))
		add(s, "%s%.0f%s", before, v, after);
}

static void add_ms(struct sentence *s, const char *before, double v_ms)
{
	char text[TOP_WORD];

	top_duration(text, v_ms / 1e3);
	if (!isnan(v_ms))
		add(s, "%s%s", before, text);
}

static void add_bytes(struct sentence *s, const char *before, double v, const char *per)
{
	char text[TOP_WORD];

	top_bytes(text, v, per);
	if (!isnan(v))
		add(s, "%s%s", before, text);
}

static void state(const struct top *t, const struct top_vm *vm, const struct top_screen *s,
		  struct top_page *page)
{
	double wall = top_wall(t, s->now_s);
	char since[TOP_WORD], age[TOP_WORD];
	struct sentence text = {""};

	add(&text, "%s", vm->state);
	if (!strcmp(vm->state, "syncing"))
		add_count(&text, " ", vm->progress * 100, " %");
	top_clock(since, vm->state_since, wall);
	top_duration(age, wall - vm->state_since);
	if (!isnan(vm->state_since))
		add(&text, " since %s (%s)", since, age);
	if (vm->wanted[0] && strcmp(vm->wanted, vm->state) != 0)
		add(&text, ", wanted: %s", vm->wanted);
	fact(page, top_state_style(t, vm, s->now_s), "state", text.text);
}

static void who(const struct top *t, const struct top_vm *vm, const struct top_screen *s,
		struct top_page *page)
{
	enum top_style style = top_state_style(t, vm, s->now_s);
	struct top_line *l = top_line(page);

	top_printf(l, TOP_BOLD, "%s %s", top_shape(vm, t->utf8), vm->name);
	top_printf(l, TOP_PLAIN, "  %s on %s", vm->backup ? "backup" : "primary", t->host);
	if (top_has_peer(vm))
		top_printf(l, TOP_PLAIN, " %s %s", top_arrow(vm, t->utf8), vm->peer);
	if (!isnan(vm->generation))
		top_printf(l, TOP_PLAIN, ", generation %.0f", vm->generation);
	state(t, vm, s, page);
	fact(page, style, "why", vm->reason);
	fact(page, style, "warning", vm->warning);
	fact(page, TOP_PLAIN, isnan(vm->next_time) ? "now" : "next", vm->next_action);
	if (vm->knows_failover && vm->failover_allowed)
		fact(page, TOP_PLAIN, "failover", "by itself, if the primary's host died now");
	else if (vm->knows_failover)
		fact(page, style, "failover", vm->failover_reason);
}

static void chart(const struct top *t, const struct top_history *h, double floor_s,
		  struct top_page *page)
{
	unsigned columns = page->width > LABEL + 34 ? page->width - LABEL - 15 : 10;
	char text[TOP_MAX_COLUMNS * 4], most[TOP_WORD];
	struct top_line *l;

	if (columns > TOP_HISTORY)
		columns = TOP_HISTORY;
	if (isnan(top_largest(h, columns)))
		return;
	top_spark(text, sizeof(text), h, columns, floor_s, t->utf8);
	top_duration(most, top_largest(h, columns));
	l = top_line(page);
	top_tab(l, LABEL);
	top_put(l, TOP_GOOD, text);
	top_printf(l, TOP_DIM, " most %s", most);
}

static void lag(const struct top *t, const struct top_vm *vm, const struct top_screen *s,
		struct top_page *page)
{
	double age = top_lag(t, vm, s->now_s);
	struct sentence text = {""};

	if (isnan(age))
		return;
	add_ms(&text, "", age * 1e3);
	add(&text, "%s", vm->backup ? " since the last commit" : ": so old is the copy's state");
	if (!vm->backup && vm->uncommitted_bytes > 0)
		add_bytes(&text, ", not committed: ", vm->uncommitted_bytes, "");
	fact(page, TOP_PLAIN, "lag", text.text);
	chart(t, &vm->lag, 0.2, page);
}

static void epochs(const struct top *t, const struct top_vm *vm, struct top_page *page)
{
	struct sentence text = {""}, pause = {""}, dirty = {""};

	add_count(&text, "", vm->epoch_committed, " committed");
	if (!vm->backup && vm->mode[0])
		add(&text, ", mode %s", vm->mode);
	if (vm->epoch_p50 > 0)
		add_ms(&text, ", median ", vm->epoch_p50);
	add_ms(&text, ", while nothing waits ", vm->epoch_target);
	if (vm->epoch_why[0])
		add(&text, " (%s)", vm->epoch_why);
	fact(page, TOP_PLAIN, "epochs", text.text);
	if (isnan(vm->pause_p50))
		return;
	add_ms(&pause, "p50 ", vm->pause_p50);
	add_ms(&pause, ", p99 ", vm->pause_p99);
	add_ms(&pause, ", longest ", vm->pause_max);
	fact(page, TOP_PLAIN, "pause", pause.text);
	chart(t, &vm->pause, 0.02, page);
	add_count(&dirty, "p50 ", vm->dirty_p50, "");
	add_count(&dirty, ", p99 ", vm->dirty_p99, " pages of 4 KiB per epoch");
	fact(page, TOP_PLAIN, "dirty", dirty.text);
}

static void output(const struct top_vm *vm, struct top_page *page)
{
	struct sentence text = {""};

	if (vm->backup || !vm->held_by[0] || isnan(vm->held))
		return;
	add_count(&text, "", vm->held, " frames held");
	if (vm->oldest_held_ms > 0)
		add_ms(&text, ", the oldest for ", vm->oldest_held_ms);
	add_count(&text, ", ", vm->released, " released");
	if (vm->dropped > 0)
		add_count(&text, ", ", vm->dropped, " DROPPED");
	add(&text, " (%s)", vm->held_by);
	fact(page, TOP_PLAIN, "output", text.text);
}

static void link_facts(const struct top *t, const struct top_vm *vm, const struct top_screen *s,
		       struct top_page *page)
{
	struct sentence text = {""}, disks = {""}, arbiter = {""};
	bool bad = vm->arbiter_state[0] && strcmp(vm->arbiter_state, "reachable") != 0;
	char since[TOP_WORD];

	if (vm->wire_bytes > 0) {
		add_bytes(&text, vm->backup ? "received " : "sent ", vm->wire_bytes, "");
		add_bytes(&text, ", ", vm->wire_rate, "/s");
	}
	if (vm->wire_bytes > 0 && vm->raw_bytes > 0)
		add_bytes(&text, ", for memory and state of ", vm->raw_bytes, "");
	add_ms(&text, text.text[0] ? ", round trip " : "round trip ", vm->rtt_ms);
	fact(page, TOP_PLAIN, "wire", text.text);
	if (vm->disk_bytes > 0)
		add_bytes(&disks, "replicated writes: ", vm->disk_bytes, "");
	fact(page, TOP_PLAIN, "disks", disks.text);
	add(&arbiter, "%s", vm->arbiter);
	top_clock(since, vm->arbiter_since, top_wall(t, s->now_s));
	if (vm->arbiter_state[0])
		add(&arbiter, ": %s since %s", vm->arbiter_state, since);
	fact(page, bad ? TOP_BAD : TOP_PLAIN, "arbiter", arbiter.text);
}

static void cost(const struct top_vm *vm, struct top_page *page)
{
	double cpu = vm->backup ? vm->standby_cpu : vm->cpu;
	double memory = vm->backup ? vm->standby_memory : vm->memory;
	struct sentence text = {""};

	if (isnan(cpu) && isnan(memory))
		return;
	add_count(&text, "CPU ", cpu, " %, ");
	add_bytes(&text, "memory ", memory, "");
	add_bytes(&text, ", disk read ", vm->disk_read, "/s");
	add_bytes(&text, ", written ", vm->disk_write, "/s");
	add_bytes(&text, ", network in ", vm->net_rx, "/s");
	add_bytes(&text, ", out ", vm->net_tx, "/s");
	if (vm->pid > 0)
		add_count(&text, ", pid ", vm->pid, "");
	if (vm->qemu[0])
		add(&text, ", QEMU %s", vm->qemu);
	if (vm->run_state[0])
		add(&text, ", %s", vm->run_state);
	fact(page, TOP_PLAIN, vm->backup ? "standby" : "VM", text.text);
}

static void events(const struct top *t, const struct top_vm *vm, const struct top_screen *s,
		   struct top_page *page)
{
	char clock[TOP_WORD];
	struct sentence text;

	if (!t->has_events || strcmp(t->events_of, vm->id) != 0)
		return;
	top_line(page);
	top_put(top_line(page), TOP_BOLD, t->events_n ? "last events" : "no events are kept");
	for (unsigned i = 0; i < t->events_n; i++) {
		text.text[0] = 0;
		add(&text, "%s", t->events[i].text);
		top_clock(clock, t->events[i].time, top_wall(t, s->now_s));
		fact(page, TOP_PLAIN, clock, text.text);
	}
}

void top_detail(const struct top *t, const struct top_vm *vm, const struct top_screen *s,
		struct top_page *page)
{
	who(t, vm, s, page);
	lag(t, vm, s, page);
	epochs(t, vm, page);
	output(vm, page);
	link_facts(t, vm, s, page);
	cost(vm, page);
	if (vm->kept)
		fact(page, TOP_PLAIN, "kept", "a stopped QEMU of it: see 'twinvm status'");
	events(t, vm, s, page);
}
