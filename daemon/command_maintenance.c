/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * twinvm maintenance: begins and ends it, and says what is left to move. `on` is answered when no VM runs here
 * any more, or when its time is over; moves.c moves the VMs, whether somebody waits or not.
 */
#include "daemon/cluster.h"
#include "daemon/commands.h"
#include "daemon/moves.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS (200 * TV_NS_PER_MS)
#define MAX_WAITERS 16

/* A `maintenance on` that is not answered yet. */
struct waiter {
	struct daemon *d;
	struct ctl *c; /* NULL: free */
	struct event *tick;
	int64_t until_ns;
	char shown[256];
};
static struct waiter waiters[MAX_WAITERS];

/* ---- what is left ---- */
static bool is_left(const struct vm *vm)
{
	return vm->role == SESSION_PRIMARY && vm->phase != VM_FENCING;
}

static void why_of(struct vm *vm, const char *move, char *out, size_t room)
{
	struct session_stats s;

	shown_stats(vm, &s);
	if (s.suspended)
		snprintf(out, room, "an operator has suspended it: 'twinvm resume %s' first",
			 vm->name);
	else if (!strcmp(s.state, "syncing"))
		snprintf(out, room, "its backup has no whole copy yet: %.0f %% copied",
			 s.progress * 100);
	else if (strcmp(s.state, "protected") != 0)
		snprintf(out, room, "it has no backup%s%s", s.reason[0] ? ": " : "", s.reason);
	else if (s.run_state[0] && strcmp(s.run_state, "running") != 0)
		snprintf(out, room, "it stands still (%s): %s", s.run_state, s.reason);
	else if (vm->waiter)
		snprintf(out, room, "another twinvm command waits for it");
	else
		tv_copy(out, room, move);
}

/* One that moves_json leaves out, as there are too many, is left all the same. */
static json_t *vms_json(struct daemon *d)
{
	json_t *list = json_array(), *moves = moves_json(d), *o;
	struct session_stats s;
	const char *id, *move;
	char why[700];
	struct vm *vm;
	size_t i;

	TAILQ_FOREACH(vm, &d->vms, link) {
		if (!is_left(vm))
			continue;
		move = "";
		json_array_foreach(json_object_get(moves, "vms"), i, o) {
			id = json_string_value(json_object_get(o, "id"));
			if (id && !strcmp(id, vm->id))
				move = json_string_value(json_object_get(o, "why"));
		}
		shown_stats(vm, &s);
		why_of(vm, move, why, sizeof(why));
		json_array_append_new(
			list, json_pack("{so ss si ss so so}", "vm", events_text(vm->name), "id",
					vm->id, "priority", config_priority(&d->conf, vm->name),
					"state", s.state, "peer", events_text(vm->saved.peer.name),
					"why", events_text(why)));
	}
	json_decref(moves);
	return list;
}

static json_t *standbys_json(struct daemon *d)
{
	json_t *list = json_array();
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (vm->role == SESSION_BACKUP)
			json_array_append_new(list,
					      json_pack("{so ss so}", "vm", events_text(vm->name),
							"id", vm->id, "primary",
							events_text(vm->saved.peer.name)));
	return list;
}

/* Other hosts that are in maintenance, as far as they say so. */
static json_t *others_json(struct daemon *d)
{
	json_t *list = json_array(), *all = cluster_json(d), *o;
	size_t i;

	json_array_foreach(all, i, o)
		if (json_is_true(json_object_get(o, "answers")) &&
		    json_is_object(json_object_get(json_object_get(o, "view"), "maintenance")))
			json_array_append(list, json_object_get(o, "host"));
	json_decref(all);
	return list;
}

static json_t *answer(struct daemon *d)
{
	const struct maintenance *m = &d->maintenance;

	return json_pack("{sb si ss sb so sb si so so so}", "done", 1, "rc", 0, "host",
			 d->conf.host, "on", (int)maintenance_is(d), "since",
			 m->since_s ? json_integer((json_int_t)m->since_s) : json_null(),
			 "until_boot", (int)m->until_boot, "moved", (int)m->moved, "vms",
			 vms_json(d), "standbys", standbys_json(d), "others", others_json(d));
}

/* ---- those that wait ---- */
static void end(struct waiter *w, json_t *last)
{
	struct ctl *c = w->c;

	event_free(w->tick);
	*w = (struct waiter){0};
	ctl_set_arg(c, &ctl_deaf, NULL);
	ctl_send(c, last);
	ctl_close_when_sent(c);
}

static void on_closed(struct ctl *c, void *arg)
{
	struct waiter *w = arg;

	event_free(w->tick);
	*w = (struct waiter){0};
	ctl_free(c);
}

static void late(struct waiter *w, json_t *last, json_t *vms)
{
	json_t *first = json_array_get(vms, 0);
	size_t n = json_array_size(vms);
	struct tv_err e;

	tv_fail(&e, -ETIMEDOUT,
		"%zu of the VMs on %s could not be moved yet: %s: %s%s; %s stays in maintenance and "
		"tries again: see 'twinvm maintenance status'",
		n, w->d->conf.host, json_string_value(json_object_get(first, "vm")),
		json_string_value(json_object_get(first, "why")), n > 1 ? "; and others" : "",
		w->d->conf.host);
	json_object_set_new(last, "rc", json_integer(-ETIMEDOUT));
	json_object_set_new(last, "error", events_text(e.text));
	end(w, last);
}

static void tell(struct waiter *w, json_t *vms)
{
	char text[sizeof(w->shown)];
	json_t *vm;
	size_t i, n;

	n = (size_t)snprintf(text, sizeof(text), "%zu to move:", json_array_size(vms));
	json_array_foreach(vms, i, vm)
		if (n < sizeof(text))
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s %s (%s)",
					      i ? "," : "",
					      json_string_value(json_object_get(vm, "vm")),
					      json_string_value(json_object_get(vm, "why")));
	if (!strcmp(text, w->shown))
		return;
	tv_copy(w->shown, sizeof(w->shown), text);
	ctl_send(w->c, json_pack("{so si}", "state", events_text(text), "left",
				 (int)json_array_size(vms)));
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct waiter *w = arg;
	json_t *last, *vms;

	(void)fd;
	(void)what;
	last = answer(w->d);
	vms = json_object_get(last, "vms");
	if (!maintenance_is(w->d)) {
		json_object_set_new(last, "rc", json_integer(-ECANCELED));
		json_object_set_new(last, "error",
				    json_string("somebody has ended the maintenance meanwhile"));
		end(w, last);
	} else if (!json_array_size(vms)) {
		end(w, last);
	} else if (tv_now_ns() >= w->until_ns) {
		late(w, last, vms);
	} else {
		tell(w, vms);
		json_decref(last);
	}
}

static struct waiter *free_waiter(void)
{
	for (unsigned i = 0; i < MAX_WAITERS; i++)
		if (!waiters[i].c)
			return &waiters[i];
	return NULL;
}

static void on(struct daemon *d, struct ctl *c, json_t *msg)
{
	static const struct ctl_ops ops = {ctl_deaf_message, on_closed};
	json_t *limit = json_object_get(msg, "timeout");
	json_int_t s = limit ? json_integer_value(limit) : d->conf.maintenance_timeout_s;
	const struct timeval every = tv_timeval(LOOK_NS);
	struct waiter *w = free_waiter();
	struct tv_err e = {0};
	int rc = 0;

	if (s < 0 || s > CONFIG_MAX_MAINTENANCE_S)
		rc = tv_fail(&e, -EINVAL, "the time-out must be 0 to %d s",
			     CONFIG_MAX_MAINTENANCE_S);
	if (!rc && !w)
		rc = tv_fail(&e, -EBUSY, "%d commands wait for the maintenance of %s already",
			     MAX_WAITERS, d->conf.host);
	if (!rc)
		rc = maintenance_begin(d, json_is_true(json_object_get(msg, "until_boot")), &e);
	if (rc) {
		command_end(c, rc, "%s", e.text);
		return;
	}
	*w = (struct waiter){.d = d,
			     .c = c,
			     .until_ns = tv_now_ns() + s * TV_NS_PER_S,
			     .tick = event_new(d->base, -1, EV_PERSIST, on_look, w)};
	ctl_set_arg(c, &ops, w);
	event_add(w->tick, &every);
	moves_look(d);
	event_active(w->tick, EV_TIMEOUT, 0);
}

void command_maintenance(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *what = command_text(msg, "what", "");
	struct tv_err e = {0};
	int rc;

	if (!strcmp(what, "on")) {
		on(d, c, msg);
		return;
	}
	if (!strcmp(what, "off")) {
		rc = maintenance_end(d, &e);
		if (rc) {
			command_end(c, rc, "%s", e.text);
			return;
		}
	} else if (strcmp(what, "status") != 0) {
		command_end(c, -EINVAL, "'%.20s' is not on, off or status", what);
		return;
	}
	ctl_send(c, answer(d));
	ctl_close_when_sent(c);
}
