/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rehearsals by schedule. A test failover is begun by the backup's host, a drill and a verification by the
 * host that runs the VM: each host reads its own configuration. One begins at its time, or up to `within`
 * later: when the VM is protected then, when nothing else is rehearsed by the pair, or when the daemon is
 * back. Later than that it is skipped, until the next time. What has been begun since its time, whatever
 * came of it, is in the history: so nothing is begun twice, over restarts as well. Two hosts of a pair
 * that find something due at the same moment begin one after the other: the one with the larger name waits.
 */
#include "daemon/cluster.h"
#include "daemon/drills.h"
#include "daemon/rehearsals.h"
#include "daemon/schedules.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define TICK_NS (10 * TV_NS_PER_S)
#define SECOND_HOST_S 30
#define DAY_S 86400.0
#define VERIFY_RATE_MB_S 20 /* beside a VM that works */

static struct event *tick;

static enum rehearsal_kind kind_of(enum schedule_what what)
{
	return what == SCHEDULE_TEST_FAILOVER ? REHEARSAL_TEST_FAILOVER
	       : what == SCHEDULE_DRILL	      ? REHEARSAL_DRILL
					      : REHEARSAL_VERIFY;
}

/* The one that counts for a VM: its own, else that of all. NULL: none. */
static const struct schedule *of(const struct vm *vm, enum schedule_what what)
{
	const struct config *c = &vm->d->conf;
	const struct schedule *all = NULL;

	for (unsigned i = 0; i < c->schedule_count; i++) {
		const struct schedule *s = &c->schedules[i];

		if (s->what != what)
			continue;
		if (!strcmp(s->vm, vm->name))
			return s;
		if (!s->vm[0])
			all = s;
	}
	return all;
}

static bool is_ours(const struct vm *vm, enum schedule_what what)
{
	enum session_role role = what == SCHEDULE_TEST_FAILOVER ? SESSION_BACKUP : SESSION_PRIMARY;

	return vm->role == role;
}

static bool is_protected(const struct vm *vm)
{
	return vm->phase == VM_RUNNING && vm->now.rep && !strcmp(vm->now.stats.state, "protected");
}

/* Something is rehearsed with a VM that this one's other host has a part in. */
static bool pair_is_busy(const struct vm *vm)
{
	const struct vm *o;

	TAILQ_FOREACH(o, &vm->d->vms, link)
		if (!strcmp(o->saved.peer.name, vm->saved.peer.name) && drill_is_rehearsed(o))
			return true;
	return false;
}

static bool was_begun(const struct vm *vm, enum schedule_what what, time_t at)
{
	const struct rehearsal *last = rehearsals_last(vm->d, vm->id, kind_of(what), false);

	return vm->scheduled[what] >= at ||
	       (last && !strcmp(last->by, "schedule") && last->started >= (double)at);
}

static bool is_due(const struct vm *vm, const struct schedule *s, time_t now)
{
	time_t at = schedule_last(s, now);
	bool second = strcmp(vm->d->conf.host, vm->saved.peer.name) > 0;

	return at && now - at <= s->within_s && now - at >= (second ? SECOND_HOST_S : 0) &&
	       !was_begun(vm, s->what, at) && is_protected(vm) && !pair_is_busy(vm);
}

/* The request that twinvm would have made of these options. */
static json_t *request_of(const struct vm *vm, const struct schedule *s)
{
	static const char *const names[][2] = {{"probe", "probes"},
					       {"for", "for_s"},
					       {"probe-timeout", "probe_s"},
					       {"disk-mib", "disk_mib"},
					       {"rate", "rate_mb_s"}};
	static const char *const ops[] = {"test-failover", "drill", "verify"};
	json_t *msg = schedule_options(s), *v;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		v = json_object_get(msg, names[i][0]);
		if (!v)
			continue;
		(void)!json_object_set(msg, names[i][1], v);
		json_object_del(msg, names[i][0]);
	}
	if (s->what == SCHEDULE_VERIFY && !json_object_get(msg, "rate_mb_s"))
		(void)!json_object_set_new(msg, "rate_mb_s", json_integer(VERIFY_RATE_MB_S));
	(void)!json_object_set_new(msg, "op", json_string(ops[s->what]));
	(void)!json_object_set_new(msg, "vm", json_string(vm->id));
	(void)!json_object_set_new(msg, "by", json_string("schedule"));
	return msg;
}

static void begin(struct vm *vm, const struct schedule *s, time_t now)
{
	struct rehearsal r = {.kind = kind_of(s->what), .by = "schedule"};
	int rc = inner_run(vm->d, request_of(vm, s), NULL, NULL);

	vm->scheduled[s->what] = schedule_last(s, now);
	tv_log(TV_INFO, "%s: %s by schedule", vm->name, schedule_word(s->what));
	if (!rc)
		return;
	snprintf(r.reason, sizeof(r.reason), "it could not be begun: %s", tv_strerror(rc));
	rehearsals_refused(vm->d, vm->id, vm->name, &r);
}

bool schedules_next(const struct vm *vm, time_t now, const struct schedule **which, time_t *when)
{
	*which = NULL;
	for (int w = 0; w < SCHEDULE_WHATS; w++) {
		const struct schedule *s = of(vm, (enum schedule_what)w);
		time_t at = s && is_ours(vm, s->what) ? schedule_next(s, now) : 0;

		if (at && (!*which || at < *when)) {
			*which = s;
			*when = at;
		}
	}
	return *which != NULL;
}

/* ---- the reminder ---- */
/* When a test failover or a drill passed last, here or by the other host's view. 0: never. */
static double passed_s(const struct vm *vm)
{
	static const enum rehearsal_kind kinds[] = {REHEARSAL_TEST_FAILOVER, REHEARSAL_DRILL};
	json_t *there = json_object_get(
		cluster_peer_vm(vm->d, vm->saved.peer.name, vm->id, NULL, NULL), "rehearsals");
	double s = 0, other;

	for (size_t i = 0; i < 2; i++) {
		const struct rehearsal *r = rehearsals_last(vm->d, vm->id, kinds[i], true);

		if (r && r->ended > s)
			s = r->ended;
		other = json_number_value(
			json_object_get(json_object_get(there, rehearsal_key(kinds[i])), "passed"));
		if (other > s)
			s = other;
	}
	return s;
}

static void remind(struct vm *vm, time_t now)
{
	double since = passed_s(vm), days;

	vm->rehearsed = since;
	if (!since)
		since = rehearsals_since(vm->d, vm->id, (double)now);
	days = ((double)now - since) / DAY_S;
	if (!vm->d->conf.rehearsal_reminder_days || days <= vm->d->conf.rehearsal_reminder_days) {
		vm->rehearsal_due = false;
		return;
	}
	if (!vm->rehearsal_due)
		events_vm(vm, EVENTS_REHEARSAL_DUE, json_pack("{sf}", "days", days),
			  "%s: no test failover or drill has passed for %.0f days", vm->name, days);
	vm->rehearsal_due = true;
}

void schedules_look(struct daemon *d, time_t now)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link) {
		if (!is_protected(vm))
			continue;
		remind(vm, now);
		for (int w = 0; w < SCHEDULE_WHATS; w++) {
			const struct schedule *s = of(vm, (enum schedule_what)w);

			if (s && is_ours(vm, s->what) && is_due(vm, s, now)) {
				begin(vm, s, now);
				break; /* the next one sees that it runs */
			}
		}
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct timeval tv = tv_timeval(TICK_NS);

	(void)fd;
	(void)what;
	event_add(tick, &tv);
	schedules_look(arg, time(NULL));
}

void schedules_start(struct daemon *d)
{
	struct timeval tv = tv_timeval(TV_NS_PER_S);

	tick = evtimer_new(d->base, on_tick, d);
	if (tick)
		event_add(tick, &tv);
}
