/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: once a second it is decided what becomes of each VM that runs here, from the state of
 * this host's hardware and of its backup's, and from whether one of them is in maintenance (fo_moves, pure).
 * What is decided is carried out as `twinvm failover` is: a planned switch, in which nothing is lost. With
 * `health_action = warn` what the hardware asks for is only an event.
 *
 * One VM after another. That a switch has ended is seen by the VM: its entry has gone (moves_switched), or it
 * runs here and its session has ended. When a VM has been moved is kept, and shown to other hosts, so that
 * the one that runs it now does not send it back within the hour.
 *
 * The list has a fixed size; a VM that is not in it counts as never moved.
 */
#include "daemon/moves.h"
#include "daemon/cluster.h"
#include "daemon/health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EVERY_NS TV_NS_PER_S
#define MAX_VMS 256   /* that are decided about at once */
#define MAX_NOTES 128 /* of VMs that were moved, or are to be */
#define MOVING_S 30   /* then a switch that has not ended is not waited for */
#define SHORTER 4     /* so much shorter are the epochs of a VM whose own page or core is weak */
#define SHOW_LOOKS 5  /* what hinders a move is an event when it has lasted so long */

struct note {
	char id[33], name[128], to[64];
	char session[33];	  /* in which it was asked to move */
	char hurried[33];	  /* its session, whose epochs are shorter; "": none */
	int64_t moved_s, begun_s; /* as in struct fo_move_vm */
	int64_t would_s;	  /* it would have been moved: health_action = warn */
	bool moving, for_maintenance;
	enum fo_move last, shown;
	unsigned looks; /* `last` has been the same for so many */
};
static struct {
	struct daemon *d;
	struct event *tick;
	struct note notes[MAX_NOTES];
} m;

static int64_t now_s(void)
{
	return (int64_t)time(NULL);
}

static bool acts(const struct daemon *d)
{
	return maintenance_is(d) || config_health_acts(&d->conf);
}

/* ---- notes ---- */
static struct note *find(const char *id)
{
	for (unsigned i = 0; i < MAX_NOTES; i++)
		if (!strcmp(m.notes[i].id, id))
			return &m.notes[i];
	return NULL;
}

static int64_t latest(const struct note *n)
{
	return n->moved_s > n->begun_s ? n->moved_s : n->begun_s;
}

static struct note *note_of(const struct vm *vm)
{
	struct note *n = find(vm->id), *oldest = m.notes;

	if (n)
		return n;
	for (unsigned i = 0; i < MAX_NOTES && oldest->id[0]; i++)
		if (!m.notes[i].id[0] || latest(&m.notes[i]) < latest(oldest))
			oldest = &m.notes[i];
	*oldest = (struct note){0};
	tv_copy(oldest->id, sizeof(oldest->id), vm->id);
	tv_copy(oldest->name, sizeof(oldest->name), vm->name);
	return oldest;
}

/* ---- what is decided by ---- */
static bool is_concerned(const struct vm *vm, const struct ras_cause *c)
{
	unsigned cpu;

	if (c->rule == RAS_RULE_VM_PAGE_WEAK)
		return weak_page_is(vm->id, c->what);
	return c->rule == RAS_RULE_CORE_WEAK && sscanf(c->what, "core of CPU %u", &cpu) == 1 &&
	       weak_core_binds(vm->saved.qemu.pid, cpu);
}

/* A part that any VM uses, or may be given next. */
static bool is_important(const struct ras_cause *c)
{
	return c->rule == RAS_RULE_DIMM_WEAK || c->rule == RAS_RULE_PACKAGE_WEAK ||
	       c->rule == RAS_RULE_DEVICE_ERROR;
}

/* A planned switch would be refused to a VM that stands still. */
static bool is_ready(const struct vm *vm)
{
	const struct session_stats *s = &vm->now.stats;

	return !s->suspended && (!s->run_state[0] || !strcmp(s->run_state, "running")) &&
	       vm->now.rep && vm->phase == VM_RUNNING && !vm->waiter && !vm->saved.leaving &&
	       !strcmp(vm->now.stats.state, "protected");
}

static struct fo_move_vm about(struct vm *vm, const struct ras_cause *causes, unsigned n)
{
	struct note *note = find(vm->id);
	int64_t there_s = cluster_moved_s(vm->d, vm->saved.peer.name, vm->id);
	struct fo_move_vm v = {.priority = config_priority(&vm->d->conf, vm->name),
			       .ready = is_ready(vm),
			       .peer_away = cluster_maintenance(vm->d, &vm->saved.peer),
			       .peer = (int)cluster_health(vm->d, &vm->saved.peer, NULL)};

	tv_copy(v.id, sizeof(v.id), vm->id);
	for (unsigned i = 0; i < n; i++)
		v.concerned |= is_concerned(vm, &causes[i]);
	if (note && note->moving &&
	    (vm->phase != VM_RUNNING || strcmp(vm->saved.session, note->session) != 0 ||
	     now_s() - note->begun_s > MOVING_S))
		note->moving = false;
	if (note) {
		v.moving = note->moving;
		v.moved_s = note->moved_s;
		v.begun_s = note->begun_s;
		if (!acts(vm->d) && note->would_s > v.moved_s)
			v.moved_s = note->would_s;
	}
	if (there_s > v.moved_s && there_s <= now_s())
		v.moved_s = there_s;
	return v;
}

struct look {
	struct fo_move_host host;
	struct vm *vms[MAX_VMS];
	struct fo_move_vm about[MAX_VMS];
	enum fo_move is[MAX_VMS];
	unsigned n;
};

static void decide(struct daemon *d, struct look *l)
{
	static struct ras_cause causes[RAS_MAX_CAUSES];
	unsigned n = health_causes(causes, RAS_MAX_CAUSES);
	struct vm *vm;

	*l = (struct look){.host = {.health = (int)health_of_host(),
				    .maintenance = maintenance_is(d),
				    .now_s = now_s()}};
	for (unsigned i = 0; i < n; i++) {
		l->host.important |= is_important(&causes[i]);
		l->host.urgent |= causes[i].rule == RAS_RULE_KERNEL_PAGE;
	}
	TAILQ_FOREACH(vm, &d->vms, link)
		if (vm->role == SESSION_PRIMARY && vm->phase != VM_FENCING && l->n < MAX_VMS) {
			l->vms[l->n] = vm;
			l->about[l->n++] = about(vm, causes, n);
		}
	fo_moves(&l->host, l->about, l->n, l->is);
}

/* ---- what follows ---- */
static void tell(const struct vm *vm, enum events_kind kind, bool would, const char *what)
{
	const char *why, *state = health_state(&why), *self = vm->d->conf.host;

	if (maintenance_is(vm->d)) {
		events_vm(vm,
			  kind == EVENTS_HEALTH_STAYS ? EVENTS_MAINTENANCE_STAYS
						      : EVENTS_MAINTENANCE_MOVE,
			  json_pack("{si}", "priority", config_priority(&vm->d->conf, vm->name)),
			  "%s %s: %s is in maintenance", vm->name, what, self);
		return;
	}
	events_vm(vm, kind,
		  json_pack("{ss so sb si}", "state", state, "reason", events_text(why), "would",
			    would, "priority", config_priority(&vm->d->conf, vm->name)),
		  "%s %s: the hardware of %s is %s%s%s", vm->name, what, self, state,
		  *why ? ": " : "", why);
}

static void go(struct vm *vm)
{
	struct note *n = note_of(vm);
	char what[200];

	snprintf(what, sizeof(what), "%s %s", acts(vm->d) ? "is moved to" : "would be moved to",
		 vm->saved.peer.name);
	tv_copy(n->to, sizeof(n->to), vm->saved.peer.name);
	tell(vm, EVENTS_HEALTH_MOVE, !acts(vm->d), what);
	if (!acts(vm->d)) {
		n->would_s = now_s();
	} else {
		n->begun_s = now_s();
		n->moving = true;
		n->for_maintenance = maintenance_is(vm->d);
		tv_copy(n->session, sizeof(n->session), vm->saved.session);
		ctl_send(vm->now.rep, session_message(SESSION_OP_SWITCH, NULL));
	}
	health_changed();
}

/* Its switch does not end, and the host may die: what the backup has is continued at once. */
static void hand_over(struct vm *vm)
{
	struct session_memory_error e = {.at_ns = (uint64_t)tv_now_ns()};
	struct note *n = note_of(vm);
	const char *why;

	if (!vm->now.rep)
		return;
	health_state(&why);
	tv_copy(e.text, sizeof(e.text), why);
	n->moving = false;
	n->moved_s = now_s();
	tell(vm, EVENTS_HEALTH_MOVE, false, "is handed over at its last committed epoch");
	ctl_send(vm->now.rep, session_message(SESSION_OP_MEMORY_ERROR, &e));
	health_changed();
}

/* What hinders a move, once. */
static void hindered(struct vm *vm, enum fo_move is)
{
	struct note *n = note_of(vm);
	char what[200];

	n->looks = n->last == is ? n->looks + 1 : 0;
	n->last = is;
	if (n->looks != SHOW_LOOKS || n->shown == is)
		return;
	n->shown = is;
	snprintf(what, sizeof(what), "stays on this host, although it would be moved: %s",
		 fo_move_reason(is));
	tell(vm, EVENTS_HEALTH_STAYS, false, what);
}

static void forget_hindrance(const struct vm *vm)
{
	struct note *n = find(vm->id);

	if (n) {
		n->last = n->shown = FO_MOVE_STAYS;
		n->looks = 0;
	}
}

/* As long as it stays although its own part is weak, less is to be lost. */
static void hurry(struct vm *vm, bool concerned)
{
	const char *session = concerned ? vm->saved.session : "";
	struct session_hurry h = {0};
	struct note *n = find(vm->id);

	if (!is_ready(vm) || !config_health_acts(&vm->d->conf) ||
	    (!concerned && (!n || !n->hurried[0])))
		return;
	n = note_of(vm);
	if (!strcmp(n->hurried, session))
		return;
	tv_copy(n->hurried, sizeof(n->hurried), session);
	if (concerned)
		h.epoch_ms = vm->saved.epoch_ms > SHORTER ? vm->saved.epoch_ms / SHORTER : 1;
	ctl_send(vm->now.rep, session_message(SESSION_OP_HURRY, &h));
}

static void follow(struct vm *vm, enum fo_move is)
{
	struct note *n = find(vm->id);

	switch (is) {
	case FO_MOVE_GOES:
		go(vm);
		break;
	case FO_MOVE_HAND_OVER:
		hand_over(vm);
		break;
	case FO_MOVE_TOO_SOON:
		if (!acts(vm->d) && n && n->would_s > n->moved_s)
			break; /* it was an event already */
		hindered(vm, is);
		break;
	case FO_MOVE_NOT_READY:
	case FO_MOVE_NOT_BETTER:
	case FO_MOVE_PEER_RED:
	case FO_MOVE_PEER_AWAY:
		hindered(vm, is);
		break;
	case FO_MOVE_STAYS:
		forget_hindrance(vm);
		break;
	default:
		break;
	}
}

void moves_look(struct daemon *d)
{
	static struct look l;

	decide(d, &l);
	for (unsigned i = 0; i < l.n; i++) {
		hurry(l.vms[i], l.about[i].concerned && l.host.health >= FO_YELLOW);
		follow(l.vms[i], l.is[i]);
	}
}

void moves_switched(const struct vm *vm)
{
	struct note *n = find(vm->id);

	if (!n || !n->moving)
		return;
	n->moving = false;
	if (n->for_maintenance)
		maintenance_moved(vm->d);
	else
		n->moved_s = now_s();
	health_changed();
}

void moves_clear(void)
{
	for (unsigned i = 0; i < MAX_NOTES; i++) {
		struct note was = m.notes[i];

		m.notes[i] = (struct note){0};
		if (!was.hurried[0])
			continue;
		tv_copy(m.notes[i].id, sizeof(was.id), was.id);
		tv_copy(m.notes[i].name, sizeof(was.name), was.name);
		tv_copy(m.notes[i].hurried, sizeof(was.hurried), was.hurried);
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	moves_look(arg);
}

void moves_start(struct daemon *d)
{
	const struct timeval every = tv_timeval(EVERY_NS);

	m.d = d;
	m.tick = event_new(d->base, -1, EV_PERSIST, on_tick, d);
	event_add(m.tick, &every);
}

/* ---- what is shown and kept ---- */
static json_t *vm_json(const struct look *l, unsigned i)
{
	const struct fo_move_vm *v = &l->about[i];

	return json_pack("{so ss si sb sb ss}", "vm", events_text(l->vms[i]->name), "id", v->id,
			 "priority", v->priority, "concerned", (int)v->concerned, "stays",
			 l->is[i] == FO_MOVE_STAYS, "why", fo_move_reason(l->is[i]));
}

json_t *moves_json(struct daemon *d)
{
	json_t *vms = json_array();
	static struct look l;

	decide(d, &l);
	for (unsigned i = 0; i < l.n; i++)
		json_array_append_new(vms, vm_json(&l, i));
	return json_pack("{sb so so}", "acts", (int)acts(d), "vms", vms, "recent", moves_recent());
}

json_t *moves_recent(void)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < MAX_NOTES; i++) {
		const struct note *n = &m.notes[i];

		if (n->moved_s && now_s() - n->moved_s < FO_MOVE_EVERY_S)
			json_array_append_new(list, json_pack("{ss sI}", "id", n->id, "time",
							      (json_int_t)n->moved_s));
	}
	return list;
}

json_t *moves_keep(void)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < MAX_NOTES; i++) {
		const struct note *n = &m.notes[i];

		if (n->id[0])
			json_array_append_new(
				list, json_pack("{ss so ss sI sI sI sb}", "id", n->id, "name",
						events_text(n->name), "session", n->session,
						"moved", (json_int_t)n->moved_s, "begun",
						(json_int_t)n->begun_s, "would",
						(json_int_t)n->would_s, "moving", (int)n->moving));
	}
	return list;
}

static int64_t time_of(const json_t *o, const char *key)
{
	json_int_t t = json_integer_value(json_object_get(o, key));

	return t > 0 && t <= now_s() ? t : 0;
}

void moves_restore(const json_t *kept)
{
	unsigned n = 0;
	json_t *o;
	size_t i;

	json_array_foreach((json_t *)kept, i, o) {
		const char *id = json_string_value(json_object_get(o, "id"));
		const char *name = json_string_value(json_object_get(o, "name"));
		const char *session = json_string_value(json_object_get(o, "session"));
		struct note *to = &m.notes[n];

		if (n == MAX_NOTES || !id || strlen(id) != 32 || !name || !session)
			continue;
		*to = (struct note){.moved_s = time_of(o, "moved"),
				    .begun_s = time_of(o, "begun"),
				    .would_s = time_of(o, "would"),
				    .moving = json_is_true(json_object_get(o, "moving"))};
		tv_copy(to->id, sizeof(to->id), id);
		tv_copy(to->name, sizeof(to->name), name);
		tv_copy(to->session, sizeof(to->session), session);
		n++;
	}
}
