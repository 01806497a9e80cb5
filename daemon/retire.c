/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. A part that is to be taken out of service is one of a bounded list. Once a second those
 * that are due are looked at: whose the page is, who is bound to the core, what the rules make of it
 * (retire_rules.c). A part that a VM has to leave waits for that; who moves VMs sees it by itself (moves.c).
 * What the kernel refuses is tried again, later each time. Nothing here waits: the keeper answers later, and
 * an answer finds its part by number, as the part may be gone by then.
 *
 * With `health_action = warn` the rules are followed up to the last step, and that is reported instead.
 */
#include "daemon/retire.h"
#include "daemon/daemon.h"
#include "daemon/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVERY_MS 1000
#define MAX_PARTS 64

struct part {
	uint32_t number; /* 0: free */
	bool cpu;	 /* a core; else a page */
	uint64_t page;
	unsigned core, weak_cores;
	bool uncorrected;
	char dimm[RAS_TEXT_ROOM], why[320]; /* why: of a core */
	bool asked;			    /* the keeper, or whose it is */
	unsigned tries;
	int64_t due_ns;
	char vm_id[33];	    /* it waits for this VM; "": for none */
	char reported[200]; /* why it is still in service, as reported last; "": not yet */
	struct retire_cpus cpus, left; /* of a core; those that are still to be stopped */
};
static struct {
	struct daemon *d;
	struct event *tick;
	retire_taken_cb *taken;
	struct part parts[MAX_PARTS];
	uint32_t last_number;
	bool looking, full; /* full: logged */
} r;

const char *retire_sys = "/sys";

static struct part *part_of(void *arg)
{
	uint32_t number = (uint32_t)(uintptr_t)arg;

	for (unsigned i = 0; i < MAX_PARTS && number; i++)
		if (r.parts[i].number == number)
			return &r.parts[i];
	return NULL;
}

static void *number_of(const struct part *p)
{
	return (void *)(uintptr_t)p->number;
}

static void drop(struct part *p)
{
	p->number = 0;
}

static struct part *new_part(struct daemon *d)
{
	for (unsigned i = 0; i < MAX_PARTS; i++)
		if (!r.parts[i].number) {
			r.full = false;
			r.parts[i] = (struct part){.number = ++r.last_number};
			return &r.parts[i];
		}
	if (!r.full)
		tv_log(TV_WARN, "%s: more parts are weak than can be taken out of service at once",
		       d->conf.host);
	r.full = true;
	return NULL;
}

static void name_of(const struct part *p, char *out, size_t room)
{
	char cpus[256];

	if (!p->cpu) {
		snprintf(out, room, "page 0x%llx", (unsigned long long)p->page);
		return;
	}
	retire_cpus_text(&p->cpus, cpus, sizeof(cpus));
	snprintf(out, room, "CPU %.240s", cpus);
}

/* ---- what is reported ---- */
static json_t *data_of(const struct part *p, const char *reason)
{
	char name[256];

	name_of(p, name, sizeof(name));
	return json_pack("{ss so so sb}", "part", name, "where", events_text(p->dimm), "reason",
			 events_text(reason), "would", !config_health_acts(&r.d->conf));
}

static void tell_taken(const struct part *p)
{
	char name[256];

	name_of(p, name, sizeof(name));
	if (config_health_acts(&r.d->conf))
		events_add(r.d, EVENTS_PART_RETIRED, NULL, data_of(p, p->why),
			   "%s is out of service%s%s", name, p->dimm[0] ? ": of " : "", p->dimm);
	else
		events_add(r.d, EVENTS_PART_RETIRED, NULL, data_of(p, p->why),
			   "%s would be taken out of service now (health_action = warn)%s%s", name,
			   p->dimm[0] ? ": of " : "", p->dimm);
}

/* Once for each reason. */
static void tell_stays(struct part *p, const char *why)
{
	char name[256];

	if (!strncmp(p->reported, why, sizeof(p->reported) - 1))
		return;
	tv_copy(p->reported, sizeof(p->reported), why);
	name_of(p, name, sizeof(name));
	events_add(r.d, EVENTS_PART_STAYS, NULL, data_of(p, why), "%s stays in service: %s", name,
		   why);
}

static void again(struct part *p)
{
	int64_t pause = retire_pause_ns(p->tries++);

	p->asked = false;
	p->due_ns = tv_now_ns() + pause;
	if (pause < 0)
		drop(p); /* the next fault of it begins anew */
}

static bool is_protected(const struct vm *vm)
{
	return vm && vm->role == SESSION_PRIMARY && vm->phase == VM_RUNNING;
}

static void who_must_not(struct kp_request *q, bool all)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &r.d->vms, link)
		if (all || is_protected(vm))
			keeper_who(q, vm->saved.qemu.pid, vm->saved.qemu.start_ticks, "");
}

/* ---- pages ---- */
static void page_is_out(struct part *p)
{
	struct ras_pfn page = {p->page};

	if (retire_record_page(r.d, p->page, p->dimm)) {
		tell_taken(p);
		r.taken(r.d, page, p->dimm);
	}
	drop(p);
}

static void on_page_tried(struct daemon *d, const struct kp_reply *k, void *arg)
{
	struct part *p = part_of(arg);

	(void)d;
	if (!p)
		return;
	if (!k->rc || k->page == KP_PAGE_TAKEN) {
		page_is_out(p);
		return;
	}
	tell_stays(p, k->text);
	again(p);
}

static void take_page(struct part *p, bool soft)
{
	static struct kp_request q; /* kilobytes */

	if (!config_health_acts(&r.d->conf)) {
		tell_taken(p);
		drop(p);
		return;
	}
	q = (struct kp_request){.verb = soft ? KP_SOFT : KP_HARD, .page = p->page};
	who_must_not(&q, !soft);
	if (keeper_ask(&q, on_page_tried, number_of(p)))
		again(p);
}

static void on_owner(struct daemon *d, const struct page_owner *o, void *arg)
{
	struct part *p = part_of(arg);
	struct retire_page is;
	const char *why;

	r.looking = false;
	if (!p)
		return;
	is = (struct retire_page){.uncorrected = p->uncorrected,
				  .looked = o->looked,
				  .owner = o->owner,
				  .owner_protected = is_protected(vm_by_id(d, o->id)),
				  .page = o->state,
				  .takes_pages = keeper_takes_pages(),
				  .copy_recovers = keeper_copy_recovers(),
				  .dimm_taken = retire_record_dimm(p->dimm)};
	p->vm_id[0] = '\0';
	switch (retire_page_rule(&is, &why)) {
	case RETIRE_DONE:
		page_is_out(p);
		break;
	case RETIRE_SOFT:
		take_page(p, true);
		break;
	case RETIRE_HARD:
		take_page(p, false);
		break;
	case RETIRE_WAIT:
		tell_stays(p, why);
		tv_copy(p->vm_id, sizeof(p->vm_id), o->id);
		p->asked = false;
		break;
	case RETIRE_LATER:
		tell_stays(p, why);
		again(p);
		break;
	default:
		tell_stays(p, why);
		drop(p);
	}
}

static void look_at_page(struct part *p)
{
	p->asked = r.looking = true;
	if (page_owner_ask(r.d, (struct ras_pfn){p->page}, false, on_owner, number_of(p))) {
		r.looking = false;
		again(p);
	}
}

/* ---- cores ---- */
static unsigned vcpus_here(void)
{
	unsigned n = 0;
	struct vm *vm;

	TAILQ_FOREACH(vm, &r.d->vms, link)
		n += retire_vcpus("/proc", vm->saved.qemu.pid);
	return n;
}

/* A VM that has to leave first; NULL: none. */
static const struct vm *pinned_vm(const struct retire_cpus *cpus)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &r.d->vms, link)
		if (is_protected(vm) && retire_is_pinned(vm->saved.qemu.pid, cpus))
			return vm;
	return NULL;
}

static json_t *threads_of(const struct retire_cpus *cpus)
{
	json_t *list = json_array();
	struct vm *vm;

	TAILQ_FOREACH(vm, &r.d->vms, link)
		retire_note_threads(vm->saved.qemu.pid, cpus, list);
	return list;
}

/* Half a core helps nobody: what was stopped of it comes back. */
static void core_failed(struct part *p, const char *why)
{
	char cpus[256];

	for (unsigned cpu = 0; cpu < RETIRE_MAX_CPUS; cpu++)
		if (retire_has(&p->cpus, cpu) && !retire_has(&p->left, cpu) &&
		    retire_ask_cpu(KP_CPU_ON, cpu, 0, retire_cpu_back, (void *)(uintptr_t)cpu))
			tv_log(TV_WARN, "CPU %u does not come back: the keeper is busy", cpu);
	retire_cpus_text(&p->cpus, cpus, sizeof(cpus));
	retire_record_forget(r.d, cpus);
	tell_stays(p, why);
	again(p);
}

static void stop_next(struct part *p);

static void on_cpu_stopped(struct daemon *d, const struct kp_reply *k, void *arg)
{
	struct part *p = part_of(arg);
	int cpu = p ? retire_next_cpu(&p->left) : -1;

	(void)d;
	if (cpu < 0)
		return;
	if (k->rc && k->rc != -EALREADY) {
		core_failed(p, k->text);
		return;
	}
	p->left.bits[cpu / 64] &= ~(UINT64_C(1) << cpu % 64);
	stop_next(p);
}

static void stop_next(struct part *p)
{
	int cpu = retire_next_cpu(&p->left);

	if (cpu < 0) {
		tell_taken(p);
		drop(p);
	} else if (retire_ask_cpu(KP_CPU_OFF, (unsigned)cpu, vcpus_here(), on_cpu_stopped,
				  number_of(p))) {
		core_failed(p, "the keeper does not answer");
	}
}

static void stop_core(struct part *p)
{
	if (!config_health_acts(&r.d->conf)) {
		tell_taken(p);
		drop(p);
		return;
	}
	p->asked = true;
	p->left = p->cpus;
	retire_record_cpus(r.d, &p->cpus, p->why, threads_of(&p->cpus));
	stop_next(p);
}

static void look_at_core(struct part *p)
{
	struct retire_cpus online = {0};
	const struct vm *pinned;
	struct retire_core is = {.weak_cores = p->weak_cores, .stops_cpus = keeper_stops_cpus()};
	const char *why;

	is.known = retire_online(retire_sys, &online) &&
		   retire_siblings(retire_sys, p->core, &p->cpus);
	is.has_cpu0 = retire_has(&p->cpus, 0);
	is.cpus = retire_count(&p->cpus);
	is.online = retire_count(&online);
	is.needed = vcpus_here();
	pinned = pinned_vm(&p->cpus);
	is.pinned = pinned != NULL;
	p->vm_id[0] = '\0';
	switch (retire_core_rule(&is, &why)) {
	case RETIRE_CPUS:
		stop_core(p);
		break;
	case RETIRE_WAIT:
		tell_stays(p, why);
		tv_copy(p->vm_id, sizeof(p->vm_id), pinned->id);
		break;
	case RETIRE_LATER:
		tell_stays(p, why);
		again(p);
		break;
	case RETIRE_DONE:
		drop(p);
		break;
	default:
		tell_stays(p, why);
		drop(p);
	}
}

/* ---- the loop ---- */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	for (unsigned i = 0; i < MAX_PARTS; i++) {
		struct part *p = &r.parts[i];

		if (!p->number || p->asked || tv_now_ns() < p->due_ns ||
		    (p->vm_id[0] && is_protected(vm_by_id(r.d, p->vm_id))))
			continue;
		/* One look at a time: one for a page that has lost data must not wait for many. */
		if (p->cpu)
			look_at_core(p);
		else if (!r.looking)
			look_at_page(p);
	}
}

void retire_start(struct daemon *d, retire_taken_cb *taken)
{
	const struct timeval every = tv_timeval(EVERY_MS * TV_NS_PER_MS);

	r.d = d;
	r.taken = taken;
	retire_record_load(d);
	r.tick = event_new(d->base, -1, EV_PERSIST, on_tick, NULL);
	event_add(r.tick, &every);
}

/* ---- what others ask for ---- */
void retire_page_begin(struct daemon *d, struct ras_pfn page, bool uncorrected, const char *dimm)
{
	struct part *p;

	for (unsigned i = 0; i < MAX_PARTS && r.d; i++)
		if (r.parts[i].number && !r.parts[i].cpu && r.parts[i].page == page.n) {
			r.parts[i].uncorrected |= uncorrected;
			return;
		}
	p = r.d ? new_part(d) : NULL;
	if (!p)
		return;
	p->page = page.n;
	p->uncorrected = uncorrected;
	tv_copy(p->dimm, sizeof(p->dimm), dimm);
	tv_copy(p->why, sizeof(p->why), uncorrected ? "it has lost data" : "it is weak");
}

void retire_core_begin(struct daemon *d, unsigned core, unsigned weak_cores, const char *why)
{
	struct part *p;

	for (unsigned i = 0; i < MAX_PARTS && r.d; i++)
		if (r.parts[i].number && r.parts[i].cpu) {
			r.parts[i].weak_cores = weak_cores; /* of those before it, too */
			if (r.parts[i].core == core)
				return;
		}
	p = r.d ? new_part(d) : NULL;
	if (!p)
		return;
	p->cpu = true;
	p->core = core;
	p->weak_cores = weak_cores;
	tv_copy(p->why, sizeof(p->why), why);
	p->cpus.bits[core / 64 % (RETIRE_MAX_CPUS / 64)] |= UINT64_C(1) << core % 64;
}

void retire_page_gone(struct daemon *d, struct ras_pfn page, const char *dimm)
{
	if (r.d && retire_record_page(d, page.n, dimm))
		r.taken(d, page, dimm);
}

void retire_fault(struct daemon *d, const struct hw_fault *f, const struct ras_verdict *v,
		  const struct page_owner *o, unsigned weak_cores)
{
	const struct ras_fault *is = &f->fault;

	if (is->has_page && o && o->state == KP_PAGE_TAKEN)
		retire_page_gone(d, is->page, is->where);
	else if (is->has_page && (v->weak_page || (v->fresh && ras_uncorrected(is->severity))))
		retire_page_begin(d, is->page, ras_uncorrected(is->severity), is->where);
	else if (v->fresh && v->rule == RAS_RULE_CORE_WEAK)
		retire_core_begin(d, is->core, weak_cores, is->sentence);
}

void retire_clear(void)
{
	for (unsigned i = 0; i < MAX_PARTS; i++)
		drop(&r.parts[i]);
}

bool retire_waits_for(const struct vm *vm)
{
	for (unsigned i = 0; i < MAX_PARTS; i++)
		if (r.parts[i].number && !strcmp(r.parts[i].vm_id, vm->id))
			return true;
	return false;
}

json_t *retire_json(void)
{
	json_t *waits = json_array(), *cpus = json_array(), *c;
	char name[256];
	size_t k;

	for (unsigned i = 0; i < MAX_PARTS; i++)
		if (r.parts[i].number) {
			name_of(&r.parts[i], name, sizeof(name));
			json_array_append_new(waits, json_pack("{ss ss}", "part", name, "reason",
							       r.parts[i].reported));
		}
	json_array_foreach(json_object_get(retire_record(), "cpus"), k, c)
		json_array_append_new(cpus,
				      json_pack("{sO sO sO}", "cpus", json_object_get(c, "cpus"),
						"reason", json_object_get(c, "why"), "time",
						json_object_get(c, "time")));
	return json_pack("{sO* so so}", "pages", json_object_get(retire_record(), "pages"), "cpus",
			 cpus, "waits", waits);
}
