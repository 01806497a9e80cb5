/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counts are of this daemon's life: those of a process that watches begin at 0 when it is started
 * again. What errors say of the host is judged by ras/: its buckets, its table. An event is made when
 * that finds something new, and when the host's colour changes; else errors are counted only.
 */
#include "daemon/health.h"
#include "daemon/daemon.h"
#include "daemon/moves.h"
#include "daemon/retire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOST_EVERY_NS (600 * TV_NS_PER_S)

static struct {
	json_t *sources, *counters; /* what the process reported last; NULL: nothing yet */
	json_t *total, *before;	    /* errors by severity: of this process, of those before it */
	struct ras_health *judge;   /* NULL: nothing has been reported yet */
	enum ras_color color;	    /* as events have it */
	struct hw_fault seen[HEALTH_FAULTS];
	unsigned n;
	uint64_t more; /* errors of which only the number is known */
	bool malformed;
	uint64_t lost; /* as reported by the last event about it */
	int64_t lost_ns;
	/* Memory that the kernel has taken: pages that are known, and what it had beside them. */
	uint64_t gone;
	json_int_t took_kib;
	bool based;
	bool unsaved,
		counted; /* kept_health.c: a cause, the colour or a move is new; more was counted */
	char why[200];	 /* nothing is watched; "": something is */
} health = {.why = "nothing has been reported yet"};

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* ---- the host's colour ---- */
static bool source_there(void)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(health.sources, "sources"), i, o)
		if (json_is_true(json_object_get(o, "there")) &&
		    (!strcmp(text(o, "name"), "mce_record") ||
		     !strcmp(text(o, "name"), "extlog_mem_event")))
			return true;
	return number(json_object_get(health.counters, "edac"), "controllers") > 0;
}

static enum ras_color color_now(void)
{
	if (!health.judge)
		return RAS_GREY;
	ras_health_watched(health.judge, !health.why[0] && source_there());
	return ras_health_color(health.judge, tv_now_ns());
}

enum fo_health health_of_host(void)
{
	static const enum fo_health of[] = {[RAS_GREY] = FO_UNKNOWN,
					    [RAS_GREEN] = FO_GREEN,
					    [RAS_YELLOW] = FO_YELLOW,
					    [RAS_RED] = FO_RED};

	return of[color_now()];
}

const char *health_state(const char **why)
{
	static struct ras_cause worst;
	enum ras_color color = color_now();
	const char *none;

	if (!why)
		why = &none;
	*why = "";
	if (color > RAS_GREEN && ras_health_causes(health.judge, tv_now_ns(), &worst, 1))
		*why = worst.sentence;
	else if (color == RAS_GREY && health.why[0])
		*why = health.why;
	else if (color == RAS_GREY && *text(health.sources, "trace"))
		*why = text(health.sources, "trace");
	else if (color == RAS_GREY)
		*why = "nothing on this host reports hardware errors: no machine checks are "
		       "traced, and no memory controller has a driver";
	return ras_color_text(color);
}

/* From grey to green and back is no news of the hardware. */
static void tell_color(struct daemon *d)
{
	enum ras_color color = color_now(), before = health.color;
	const char *why, *state = health_state(&why);

	health.color = color;
	if (color != before)
		health_changed();
	members_health(health_of_host());
	if (color == before || (color <= RAS_GREEN && before <= RAS_GREEN))
		return;
	events_add(d, EVENTS_HARDWARE_STATE, NULL,
		   json_pack("{ss ss so}", "state", state, "before", ras_color_text(before),
			     "reason", events_text(why)),
		   "the hardware of this host is %s now, it was %s%s%s", state,
		   ras_color_text(before), *why ? ": " : "", why);
}

void health_restored(void)
{
	health.color = color_now();
	members_health(health_of_host());
}

unsigned health_causes(struct ras_cause *out, unsigned room)
{
	unsigned n = health.judge ? ras_health_causes(health.judge, tv_now_ns(), out, room) : 0;

	return n < room ? n : room;
}

void health_changed(void)
{
	health.unsaved = true;
}

bool health_unsaved(bool *now)
{
	*now = health.unsaved;
	return health.counted;
}

void health_saved(void)
{
	health.unsaved = health.counted = false;
}

struct ras_health *health_judge(void)
{
	struct ras_policy policy;

	if (!health.judge) {
		ras_policy_default(&policy, hw_is_intel("/proc/cpuinfo"));
		health.judge = ras_health_new(&policy);
	}
	if (!health.judge)
		abort(); /* as vm_new */
	return health.judge;
}

void health_clear(struct daemon *d)
{
	if (!health.judge)
		return;
	ras_health_clear(health.judge);
	health_changed();
	retire_clear();
	tell_color(d);
}

/* ---- faults ---- */
static struct hw_fault *place_of(const struct hw_fault *f)
{
	struct hw_fault *oldest = health.seen;

	for (unsigned i = 0; i < health.n; i++) {
		if (hw_fault_same(&health.seen[i].fault, &f->fault))
			return &health.seen[i];
		if (health.seen[i].last_ns < oldest->last_ns)
			oldest = &health.seen[i];
	}
	if (health.n < HEALTH_FAULTS)
		oldest = &health.seen[health.n++];
	*oldest = (struct hw_fault){0};
	return oldest;
}

static void keep(const struct hw_fault *f)
{
	struct hw_fault *s = place_of(f);
	uint32_t n = s->fault.count;
	int64_t first = s->records ? s->first_ns : f->first_ns;
	uint64_t records = s->records + f->records;

	*s = *f;
	s->fault.count = n > UINT32_MAX - f->fault.count ? UINT32_MAX : n + f->fault.count;
	s->first_ns = first;
	s->records = records;
}

static unsigned weak_cores(void)
{
	static struct ras_cause list[RAS_MAX_CAUSES];
	unsigned all = ras_health_causes(health.judge, tv_now_ns(), list, RAS_MAX_CAUSES), n = 0;

	for (unsigned i = 0; i < all && i < RAS_MAX_CAUSES; i++)
		n += list[i].rule == RAS_RULE_CORE_WEAK;
	return n;
}

void health_taken(struct daemon *d, struct ras_pfn page, const char *dimm)
{
	struct ras_verdict v;

	health.gone++;
	if (!health.judge)
		return;
	ras_health_taken(health.judge, page, dimm, tv_now_ns(), &v);
	tell_color(d);
}

/* Whose it is is known, as far as it can be. o: NULL: nobody has looked. */
static void judge(struct daemon *d, const struct hw_fault *f, const struct page_owner *o)
{
	struct vm *vm = o && o->id[0] ? vm_by_id(d, o->id) : NULL;
	struct ras_verdict v = {0};

	if (vm && ras_uncorrected(f->fault.severity) &&
	    f->fault.owner == (vm->role == SESSION_PRIMARY ? RAS_OWNER_VM : RAS_OWNER_STANDBY))
		fault_tell_replicator(vm, f);
	for (unsigned i = 0; i < health.n; i++)
		if (hw_fault_same(&health.seen[i].fault, &f->fault))
			health.seen[i].fault.owner = f->fault.owner;
	ras_health_fault(health.judge, &f->fault, tv_now_ns(), &v);
	health.counted = true;
	health.unsaved |= v.fresh;
	if (vm && f->fault.owner == RAS_OWNER_VM &&
	    (v.weak_page || v.rule == RAS_RULE_VM_PAGE_WEAK))
		fault_note_weak_page(vm, f);
	if (v.fresh)
		fault_report(d, f, &v, vm, o ? o->command : "");
	retire_fault(d, f, &v, o, weak_cores());
	tell_color(d);
}

void health_notice(struct daemon *d, enum ras_rule rule, const struct vm *vm, const char *sentence)
{
	struct ras_verdict v;

	ras_health_notice(health_judge(), rule, vm ? vm->name : "", sentence, tv_now_ns(), &v);
	health.unsaved |= v.fresh;
	tell_color(d);
}

static void on_fault(struct daemon *d, const json_t *o)
{
	struct hw_fault f;

	if (!hw_fault_of(o, &f)) {
		if (!health.malformed)
			tv_log(TV_WARN, "a report of the hardware's process cannot be read");
		health.malformed = true;
		return;
	}
	if (f.fault.part == RAS_PART_CORE)
		f.fault.core = retire_first_sibling(retire_sys, f.fault.core);
	keep(&f);
	if (!health.judge)
		return;
	if (f.fault.has_page && f.fault.owner == RAS_OWNER_UNKNOWN &&
	    (ras_uncorrected(f.fault.severity) ||
	     ras_health_weakens(health.judge, &f.fault, tv_now_ns())))
		page_owner_find(d, &f, judge);
	else
		judge(d, &f, NULL);
}

/* Errors that found no place in a message are still a storm. */
static void on_more(uint64_t more)
{
	struct ras_verdict v;

	health.more += more;
	if (health.judge && more)
		ras_health_more(health.judge, more < UINT32_MAX ? (uint32_t)more : UINT32_MAX,
				tv_now_ns(), &v);
}

/* ---- counters ---- */
/* Memory that is gone although nobody has asked for it and no failure of it was reported: its corrected-errors
 * collector (RAS_CEC) takes pages by itself. */
static void kernel_took(struct daemon *d, const json_t *msg)
{
	char sentence[120];
	struct ras_verdict v;
	json_int_t now_kib = number(msg, "corrupted_kib"),
		   known = (json_int_t)(health.gone * (TV_PAGE_BYTES >> 10));

	if (!health.based) { /* what is gone since before this daemon counts no more */
		health.based = true;
		health.took_kib = now_kib - known;
	}
	if (now_kib - known <= health.took_kib || !health.judge)
		return;
	snprintf(sentence, sizeof(sentence), "the kernel has taken %lld KiB of memory by itself",
		 (long long)(now_kib - known - health.took_kib));
	health.took_kib = now_kib - known;
	ras_health_notice(health.judge, RAS_RULE_PAGE_TAKEN, "", sentence, tv_now_ns(), &v);
	if (v.fresh)
		events_add(d, EVENTS_PART_RETIRED, NULL,
			   json_pack("{ss ss ss sb}", "part", "", "where", "", "reason", sentence,
				     "would", false),
			   "%s", sentence);
}

static void on_counters(struct daemon *d, json_t *msg)
{
	static const char lost_text[] = "reports of hardware errors were lost on this host: more "
					"has happened than twinvm health counts";
	struct ras_verdict v;
	uint64_t lost = (uint64_t)number(msg, "lost") + (uint64_t)number(msg, "overrun") +
			(uint64_t)number(msg, "broken_pages");
	int64_t now = tv_now_ns();

	kernel_took(d, msg);
	json_decref(health.counters);
	health.counters = json_copy(msg);
	json_object_del(health.counters, "op");
	if (lost <= health.lost || (health.lost_ns && now - health.lost_ns < LOST_EVERY_NS))
		return;
	events_add(d, EVENTS_HARDWARE_LOST, NULL, json_copy(health.counters), "%s", lost_text);
	if (health.judge)
		ras_health_notice(health.judge, RAS_RULE_EVENTS_LOST, "", lost_text, now, &v);
	health.lost = lost;
	health.lost_ns = now;
}

static void on_sources(json_t *msg)
{
	(void)health_judge();
	json_decref(health.sources);
	health.sources = json_copy(msg);
	json_object_del(health.sources, "op");
	health.why[0] = '\0';
	health.lost = 0; /* counted anew */
}

void health_message(struct daemon *d, const json_t *msg)
{
	const char *op = text(msg, "op");
	json_t *o;
	size_t i;

	if (!strcmp(op, "sources")) {
		on_sources((json_t *)msg);
	} else if (!strcmp(op, "counters")) {
		on_counters(d, (json_t *)msg);
	} else if (!strcmp(op, "faults")) {
		json_decref(health.total);
		health.total = json_incref(json_object_get(msg, "total"));
		on_more((uint64_t)number(msg, "more"));
		json_array_foreach(json_object_get(msg, "faults"), i, o)
			on_fault(d, o);
	}
	tell_color(d);
}

void health_unwatched(const char *why)
{
	const char *key;
	json_t *n;

	if (!health.before)
		health.before = json_object();
	json_object_foreach(health.total, key, n)
		json_object_set_new(
			health.before, key,
			json_integer(number(health.before, key) + json_integer_value(n)));
	json_decref(health.total);
	health.total = NULL;
	tv_copy(health.why, sizeof(health.why), why);
}

/* ---- what is shown ---- */
static json_t *errors(void)
{
	json_t *o = health.before ? json_copy(health.before) : json_object(), *n;
	const char *key;

	json_object_foreach(health.total, key, n)
		json_object_set_new(o, key, json_integer(number(o, key) + json_integer_value(n)));
	return o;
}

static json_t *fault_json(const struct hw_fault *f)
{
	static const char *const inner[] = {"source_id", "severity_id", "part_id",  "kernel_id",
					    "owner_id",	 "result_id",	"first_ns", "last_ns"};
	json_t *o = hw_fault_json(f);

	for (size_t i = 0; i < sizeof(inner) / sizeof(*inner); i++)
		json_object_del(o, inner[i]);
	json_object_set_new(o, "where", events_text(f->fault.where));
	json_object_set_new(o, "text", events_text(f->fault.sentence));
	json_object_set_new(o, "first", json_real(fault_unix(f->first_ns)));
	json_object_set_new(o, "last", json_real(fault_unix(f->last_ns)));
	return o;
}

json_t *health_causes_json(void)
{
	static struct ras_cause list[RAS_MAX_CAUSES];
	unsigned n = health.judge
			     ? ras_health_causes(health.judge, tv_now_ns(), list, RAS_MAX_CAUSES)
			     : 0;
	json_t *o = json_array();

	for (unsigned i = 0; i < n && i < RAS_MAX_CAUSES; i++) {
		const struct ras_row *row = ras_row(list[i].rule);

		json_array_append_new(
			o,
			json_pack("{si ss ss so so sf sf sb}", "rule", (int)list[i].rule, "state",
				  ras_color_text(list[i].color), "fault", row ? row->fault : "",
				  "what", events_text(list[i].what), "text",
				  events_text(list[i].sentence), "since",
				  fault_unix(list[i].since_ns), "last", fault_unix(list[i].last_ns),
				  "until_cleared", list[i].until_cleared));
	}
	return o;
}

/* Newest first. */
static json_t *faults(void)
{
	json_t *list = json_array();
	uint64_t done = 0;

	for (unsigned i = 0; i < health.n; i++) {
		unsigned best = health.n;

		for (unsigned k = 0; k < health.n; k++)
			if (!(done >> k & 1) &&
			    (best == health.n ||
			     health.seen[k].last_ns > health.seen[best].last_ns))
				best = k;
		done |= UINT64_C(1) << best;
		json_array_append_new(list, fault_json(&health.seen[best]));
	}
	return list;
}

json_t *health_json(const struct daemon *d)
{
	const char *why, *state = health_state(&why);
	json_t *o;

	o = json_pack("{ss ss so sb so so so sI}", "host", d->conf.host, "state", state, "reason",
		      events_text(why), "watched", !health.why[0], "causes", health_causes_json(),
		      "errors", errors(), "faults", faults(), "errors_not_shown",
		      (json_int_t)health.more);
	json_object_set_new(o, "owners", json_boolean(keeper_sees_pages()));
	json_object_set_new(o, "keeper", keeper_json());
	json_object_set_new(o, "retired", retire_json());
	if (health.counters)
		json_object_update_missing(o, health.counters);
	if (health.sources)
		json_object_update_missing(o, health.sources);
	return o;
}
