/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm top: what is known of the VMs, from the answers of twinvmd, and what it was before. */
#include "cli/top.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATE_S 0.7
#define STALE_S 2.5
#define SLOW_LAG_S 1.0
#define MAX_VMS 10000

/* ---- an answer ---- */
static double number(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_number(v) ? json_number_value(v) : NAN;
}

static double inner(const json_t *o, const char *object, const char *key)
{
	return number(json_object_get(o, object), key);
}

static void text(const struct top *t, const json_t *o, const char *key, char *to, size_t room)
{
	const char *s = json_string_value(json_object_get(o, key));

	top_clean(to, room, s ? s : "", t->utf8);
}
#define TEXT(member, key) text(t, o, key, vm->member, sizeof(vm->member))

static void take_texts(const struct top *t, struct top_vm *vm, const json_t *o)
{
	TEXT(id, "id");
	TEXT(name, "name");
	TEXT(peer, "peer");
	TEXT(state, "state");
	TEXT(reason, "reason");
	TEXT(warning, "warning");
	TEXT(arbiter, "arbiter");
	TEXT(mode, "mode");
	TEXT(run_state, "run_state");
	TEXT(qemu, "qemu");
	TEXT(held_by, "output_held_by");
	TEXT(epoch_why, "epoch_why");
	TEXT(arbiter_state, "arbiter_state");
	TEXT(wanted, "wanted");
	TEXT(next_action, "next_action");
	TEXT(failover_reason, "failover_reason");
	TEXT(core, "core");
}

static bool in_session(const struct top_vm *vm)
{
	return !strcmp(vm->state, "protected") || !strcmp(vm->state, "syncing");
}

static void take_numbers(struct top_vm *vm, const json_t *o)
{
	const struct {
		const char *key;
		double *to;
	} list[] = {{"generation", &vm->generation},
		    {"pid", &vm->pid},
		    {"progress", &vm->progress},
		    {"epoch_running", &vm->epoch_running},
		    {"epoch_committed", &vm->epoch_committed},
		    {"uncommitted_bytes", &vm->uncommitted_bytes},
		    {"oldest_held_frame_ms", &vm->oldest_held_ms},
		    {"epoch_target_ms", &vm->epoch_target},
		    {"raw_bytes", &vm->raw_bytes},
		    {"wire_bytes", &vm->wire_bytes},
		    {"disk_bytes", &vm->disk_bytes},
		    {"held_frames", &vm->held},
		    {"released_frames", &vm->released},
		    {"dropped_frames", &vm->dropped},
		    {"state_since", &vm->state_since},
		    {"last_commit_time", &vm->commit_time},
		    {"rtt_ms", &vm->rtt_ms},
		    {"arbiter_since", &vm->arbiter_since},
		    {"next_action_time", &vm->next_time},
		    {"cpu_percent", &vm->cpu},
		    {"memory_bytes", &vm->memory},
		    {"disk_read_bytes_s", &vm->disk_read},
		    {"disk_write_bytes_s", &vm->disk_write},
		    {"net_rx_bytes_s", &vm->net_rx},
		    {"net_tx_bytes_s", &vm->net_tx},
		    {"wire_bytes_s", &vm->wire_rate},
		    {"standby_cpu_percent", &vm->standby_cpu},
		    {"standby_memory_bytes", &vm->standby_memory}};

	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++)
		*list[i].to = number(o, list[i].key);
	vm->pause_p50 = inner(o, "pause_ms", "p50");
	vm->pause_p99 = inner(o, "pause_ms", "p99");
	vm->pause_max = inner(o, "pause_ms", "max");
	vm->epoch_p50 = inner(o, "epoch_ms", "p50");
	vm->dirty_p50 = inner(o, "dirty_pages", "p50");
	vm->dirty_p99 = inner(o, "dirty_pages", "p99");
	vm->kept = (unsigned)json_array_size(json_object_get(o, "kept"));
	vm->sockets = (unsigned)json_array_size(json_object_get(o, "sockets"));
	vm->suspended = json_is_true(json_object_get(o, "suspended"));
	vm->knows_failover = json_is_boolean(json_object_get(o, "failover_allowed"));
	vm->failover_allowed = json_is_true(json_object_get(o, "failover_allowed"));
	/* Not measured here, or of a session that has ended. */
	if (!(vm->pause_p50 > 0) || !in_session(vm))
		vm->pause_p50 = vm->pause_p99 = vm->pause_max = NAN;
	if (vm->backup || !in_session(vm))
		vm->held = vm->dirty_p50 = vm->dirty_p99 = NAN;
}

/* The VM of that key, or a new one. NULL: too many. */
static struct top_vm *vm_of(struct top *t, const char *key)
{
	struct top_vm *more;

	for (unsigned i = 0; i < t->n; i++)
		if (!strcmp(t->vms[i].key, key))
			return &t->vms[i];
	if (t->n == MAX_VMS)
		return NULL;
	if (t->n == t->room) {
		more = realloc(t->vms, (t->room + 32) * sizeof(*more));
		if (!more)
			return NULL;
		t->vms = more;
		t->room += 32;
	}
	more = &t->vms[t->n++];
	memset(more, 0, sizeof(*more));
	more->progress_first = NAN;
	tv_copy(more->key, sizeof(more->key), key);
	return more;
}

static void take_progress(struct top_vm *vm, double wall_s)
{
	bool copies = !strcmp(vm->state, "syncing") && vm->progress < 1;

	if (!copies || vm->progress < vm->progress_first)
		vm->progress_first = NAN;
	if (copies && isnan(vm->progress_first)) {
		vm->progress_first = vm->progress;
		vm->progress_first_s = wall_s;
	}
}

static void take_vm(struct top *t, const json_t *o, double now_s)
{
	const char *role = json_string_value(json_object_get(o, "role"));
	char key[48], id[40];
	struct top_vm *vm;
	double lag;

	text(t, o, "id", id, sizeof(id));
	snprintf(key, sizeof(key), "%s %.6s", id, role ? role : "");
	vm = vm_of(t, key);
	if (!vm)
		return;
	vm->seen = true;
	vm->backup = role && !strcmp(role, "backup");
	take_texts(t, vm, o);
	take_numbers(vm, o);
	take_progress(vm, t->data_s);
	lag = top_lag(t, vm, now_s);
	top_remember(&vm->lag, lag);
	top_remember(&vm->pause, vm->pause_p50 / 1e3);
	top_remember(&vm->wire, vm->wire_rate);
}

int top_take(struct top *t, const json_t *answer, double now_s)
{
	const json_t *vms = json_object_get(answer, "vms"), *o;
	double time = number(answer, "time");
	unsigned kept = 0;
	size_t i;

	if (!json_is_array(vms))
		return -EINVAL;
	text(t, answer, "host", t->host, sizeof(t->host));
	t->got_s = now_s;
	t->data_s = time;
	t->away[0] = 0;
	for (unsigned k = 0; k < t->n; k++)
		t->vms[k].seen = false;
	json_array_foreach(vms, i, o)
		take_vm(t, o, now_s);
	for (unsigned k = 0; k < t->n; k++)
		if (t->vms[k].seen)
			t->vms[kept++] = t->vms[k];
	t->n = kept;
	return 0;
}

void top_take_events(struct top *t, const char *vm_id, const json_t *answer)
{
	const json_t *list = json_object_get(answer, "events"), *o;
	size_t n = json_array_size(list), i;

	t->has_events = json_is_array(list);
	t->events_n = 0;
	tv_copy(t->events_of, sizeof(t->events_of), vm_id);
	json_array_foreach(list, i, o) {
		struct top_event *e = &t->events[t->events_n];

		if (n - i > TOP_EVENTS)
			continue;
		e->time = number(o, "unix_ms") / 1e3;
		text(t, o, "host", e->host, sizeof(e->host));
		text(t, o, "text", e->text, sizeof(e->text));
		t->events_n++;
	}
}

void top_away(struct top *t, const char *why, double now_s)
{
	if (!t->away[0])
		t->away_s = now_s;
	top_clean(t->away, sizeof(t->away), why, t->utf8);
}

/* ---- what follows from it ---- */
double top_wall(const struct top *t, double now_s)
{
	return t->data_s + (now_s - t->got_s);
}

double top_lag(const struct top *t, const struct top_vm *vm, double now_s)
{
	bool late = now_s - t->got_s > t->every_s + LATE_S;
	double age = (late ? top_wall(t, now_s) : t->data_s) - vm->commit_time;

	return age < 0 ? 0 : age;
}

bool top_is_stale(const struct top *t, double now_s)
{
	return isnan(t->data_s) || now_s - t->got_s > t->every_s + STALE_S;
}

unsigned top_severity(const struct top *t, const struct top_vm *vm, double now_s)
{
	if (!strcmp(vm->state, "alone") && !strcmp(vm->wanted, "alone"))
		return 2;
	if (!strcmp(vm->state, "syncing"))
		return 2;
	if (strcmp(vm->state, "protected") != 0)
		return 3;
	if (vm->warning[0] || vm->reason[0] || top_lag(t, vm, now_s) > SLOW_LAG_S)
		return 2;
	return vm->knows_failover && !vm->failover_allowed;
}

bool top_has_peer(const struct top_vm *vm)
{
	return vm->peer[0] && (vm->backup || in_session(vm));
}

double top_left(const struct top_vm *vm, double wall_s)
{
	double done = vm->progress - vm->progress_first, took = wall_s - vm->progress_first_s;

	if (!(done > 0) || !(took >= 1))
		return NAN;
	return (1 - vm->progress) * took / done;
}

void top_dispose(struct top *t)
{
	free(t->vms);
	*t = (struct top){0};
}
