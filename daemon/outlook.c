/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What would happen to a VM if its host died now, what this daemon tries to reach, and what it does
 * next: for people, derived from what was reported within the last moment. Nothing is decided by it.
 */
#include "daemon/away.h"
#include "daemon/daemon.h"

#include <math.h>
#include <stdio.h>

#define SILENT_NS (3 * TV_NS_PER_S)

#define O(member, kind, unit, meaning) FIELD_SPARSE(struct outlook, member, kind, unit, meaning)
static const struct field list[] = {
	FIELD(struct outlook, failover_allowed, BOOL, "",
	      "if the primary's host died now, the backup would run the VM without being asked"),
	O(failover_reason, TEXT, "", "why not"),
	O(wanted, TEXT, "",
	  "what this daemon tries to reach: protected, unprotected, alone, stopped"),
	O(next_action, TEXT, "", "what is being done about it, or is done next"),
	O(next_action_time, F64, "s since 1970", "when that is due"),
};
const struct fields outlook_fields = FIELDS("outlook", list);

static const char *peer_of(const struct vm *vm)
{
	const struct fo_candidate *p = &vm->saved.peer;

	return p->name[0] ? p->name : p->address[0] ? p->address : "the other host";
}

static bool is_silent(const struct vm *vm)
{
	return tv_now_ns() - vm->now.stats_ns > SILENT_NS;
}

/* Of a VM of which a backup has a whole epoch. "": none. */
static void why_not_by_arbiter(const struct vm *vm, char *why, size_t room)
{
	const struct session_stats *s = &vm->now.stats;
	bool fences = vm->d->conf.fence_command[0] && vm->d->conf.fence_required;

	if (!vm_has_arbiter(vm) && !fences)
		snprintf(why, room,
			 "no arbiter is configured: only an operator promotes, with 'twinvm "
			 "failover %s --force' on %s",
			 vm->name, vm->role == SESSION_BACKUP ? vm->d->conf.host : peer_of(vm));
	else if (!strcmp(s->arbiter_state, fo_arbiter_seen_name(FO_ARBITER_UNREACHABLE)))
		snprintf(why, room, "%s cannot reach the arbiter %s", vm->d->conf.host,
			 vm->saved.arbiter);
	else if (!strcmp(s->arbiter_state, fo_arbiter_seen_name(FO_ARBITER_NO_RECORD)))
		snprintf(why, room, "the arbiter %s has no record of this session",
			 vm->saved.arbiter);
}

static void why_not_primary(const struct vm *vm, const struct session_stats *s, char *why,
			    size_t room)
{
	if (!strcmp(s->state, "syncing"))
		snprintf(why, room, "%s has no whole copy yet: %.0f %% of the first one is done",
			 peer_of(vm), s->progress * 100);
	else if (strcmp(s->state, "protected") != 0 || vm->phase != VM_RUNNING)
		snprintf(why, room, "no other host has a copy that may run");
	else if (is_silent(vm))
		snprintf(why, room, "the VM's replicator has reported nothing for some seconds");
	else if (!s->lease)
		snprintf(why, room, "no heartbeat comes back from %s", peer_of(vm));
	else
		why_not_by_arbiter(vm, why, room);
}

static void why_not_backup(const struct vm *vm, const struct session_stats *s, char *why,
			   size_t room)
{
	if (!strcmp(s->core, fo_backup_state_name(FO_B_KEPT)))
		snprintf(why, room,
			 "the VM could not be started here; 'twinvm failover %s --retry' tries "
			 "again",
			 vm->name);
	else if (!strcmp(s->core, fo_backup_state_name(FO_B_SYNCING)))
		snprintf(why, room, "no whole epoch is here yet");
	else if (strcmp(s->state, "protected") != 0 || vm->phase != VM_RUNNING)
		snprintf(why, room, "this host has no copy that may run, or runs it already");
	else if (is_silent(vm))
		snprintf(why, room,
			 "the standby's replicator has reported nothing for some "
			 "seconds");
	else
		why_not_by_arbiter(vm, why, room);
}

static const char *wanted(const struct vm *vm)
{
	if (vm->highest > vm->saved.generation || vm->phase == VM_FENCING)
		return "stopped";
	if (vm->saved.leaving || vm->waiter_leaves)
		return "unprotected";
	if (vm->role == SESSION_PRIMARY && !vm->reprotect.on && !vm->now.rep)
		return "alone";
	return "protected";
}

static void next_of_session(const struct vm *vm, const struct session_stats *s, struct outlook *o)
{
	char *out = o->next_action;
	size_t room = sizeof(o->next_action);

	if (vm->fencer.pid)
		snprintf(out, room, "fence_command powers %s off", peer_of(vm));
	else if (vm->role == SESSION_BACKUP && !strcmp(s->state, "promoting"))
		snprintf(out, room, "the standby is promoted");
	else if (vm->role == SESSION_BACKUP && !strcmp(s->core, fo_backup_state_name(FO_B_WAITING)))
		snprintf(out, room, "waits for %s, or for 'twinvm failover %s --force'",
			 peer_of(vm), vm->name);
	else if (vm->role == SESSION_BACKUP)
		return;
	else if (!strcmp(vm->now.stats.state, "syncing"))
		snprintf(out, room, s->progress > 0 ? "the VM is copied to %s" : "%s is asked",
			 peer_of(vm));
	else if (!strcmp(s->core, fo_primary_state_name(FO_P_ASKING)) ||
		 !strcmp(s->core, fo_primary_state_name(FO_P_HELD)))
		snprintf(out, room, "the arbiter is asked to record that the VM runs alone");
}

static void next_action(const struct vm *vm, const struct session_stats *s, struct outlook *o)
{
	char *out = o->next_action;
	size_t room = sizeof(o->next_action);
	int64_t due_ns = fo_reprotect_due(&vm->reprotect);

	switch (vm->phase) {
	case VM_RUNNING:
		next_of_session(vm, s, o);
		break;
	case VM_RECOVERING:
		snprintf(out, room, "cleaning up after the VM's replicator");
		break;
	case VM_FENCING:
		snprintf(out, room, "the instance on this host is stopped");
		break;
	case VM_IDLE:
		if (away_is(vm)) {
			snprintf(out, room, "waits until the VM is started here");
			break;
		}
		if (vm->role != SESSION_PRIMARY || !vm->reprotect.on || due_ns == INT64_MAX)
			break;
		snprintf(out, room, "a backup is looked for");
		o->next_action_time = shown_wall_s(due_ns);
		break;
	}
}

void outlook_of(const struct vm *vm, const struct session_stats *shown, struct outlook *o)
{
	*o = (struct outlook){.next_action_time = NAN};
	if (vm->highest > vm->saved.generation)
		snprintf(o->failover_reason, sizeof(o->failover_reason),
			 "another host runs this VM");
	else if (vm->role == SESSION_PRIMARY)
		why_not_primary(vm, shown, o->failover_reason, sizeof(o->failover_reason));
	else
		why_not_backup(vm, shown, o->failover_reason, sizeof(o->failover_reason));
	o->failover_allowed = !o->failover_reason[0];
	tv_copy(o->wanted, sizeof(o->wanted), wanted(vm));
	next_action(vm, shown, o);
}
