/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events that a replicator's reports show. It sends one with every change of its decision table
 * (docs/FAILOVER.md), and they arrive in order, so none is missed while the daemon lives. What changed
 * while there was none is not made up: the first report of a session that this daemon did not begin is
 * only where the next one is compared with.
 */
#include "daemon/daemon.h"

#include <string.h>

static bool is_one_of(const char *core, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(core, *words))
			return true;
	return false;
}

static bool is_primary(const char *core, enum fo_primary_state s)
{
	return !strcmp(core, fo_primary_state_name(s));
}

static bool is_backup(const char *core, enum fo_backup_state s)
{
	return !strcmp(core, fo_backup_state_name(s));
}

static const char *peer_of(const struct vm *vm)
{
	return vm->saved.peer.name[0] ? vm->saved.peer.name : vm->saved.peer.address;
}

/* ---- the primary ---- */
static void first_copy(struct vm *vm, const char *was, const struct session_stats *now)
{
	bool under_way = is_primary(now->core, FO_P_SYNCING) && now->progress > 0;
	bool done = is_primary(now->core, FO_P_PAIRING);

	if (!vm->now.copies && (under_way || done)) {
		vm->now.copies = true;
		events_vm(vm, EVENTS_COPY_BEGUN, NULL, "%s: its first copy to %s has begun",
			  vm->name, peer_of(vm));
	}
	if (done && strcmp(was, now->core) != 0)
		events_vm(vm, EVENTS_COPY_FINISHED,
			  json_pack("{sI sI}", "wire_bytes", (json_int_t)now->wire_bytes,
				    "raw_bytes", (json_int_t)now->raw_bytes),
			  "%s: its first copy is on %s (%.0f MiB sent)", vm->name, peer_of(vm),
			  (double)now->wire_bytes / (1 << 20));
}

static void backup_lost(struct vm *vm, const char *was, const struct session_stats *now)
{
	static const char *const lost[] = {"ASKING", "HELD", NULL};
	static const char *const not_before[] = {"ASKING", "HELD", "LEAVING", "", NULL};

	if (is_one_of(now->core, lost) && !is_one_of(was, not_before))
		events_vm(vm, EVENTS_BACKUP_LOST,
			  json_pack("{so}", "reason", events_text(now->reason)),
			  "%s: its backup %s is lost: %s", vm->name, peer_of(vm),
			  now->reason[0] ? now->reason : "the connection has ended");
}

static void lease(struct vm *vm, const char *was, const struct session_stats *now)
{
	bool before = is_primary(was, FO_P_SUSPENDED) || is_primary(was, FO_P_HELD);
	bool over = is_primary(now->core, FO_P_SUSPENDED) || is_primary(now->core, FO_P_HELD);

	if (!before && over)
		events_vm(vm, EVENTS_LEASE_OVER, NULL,
			  "%s is stopped: neither %s nor the arbiter confirms that it may run here",
			  vm->name, peer_of(vm));
	else if (before && !over && !is_primary(now->core, FO_P_FENCED))
		events_vm(vm, EVENTS_LEASE_BACK, NULL, "%s may run here again", vm->name);
}

/* ---- the backup ---- */
static void primary_lost(struct vm *vm, const char *was, const struct session_stats *now)
{
	static const char *const lost[] = {"ASKING", "WAITING", NULL};

	if (!is_backup(was, FO_B_STANDBY) || !is_one_of(now->core, lost))
		return;
	if (now->asked_to_run)
		events_vm(vm, EVENTS_TAKE_OVER, NULL, "%s: %s asks this host to continue it",
			  vm->name, peer_of(vm));
	else
		events_vm(vm, EVENTS_PRIMARY_LOST, NULL, "%s: %s, which runs it, does not answer%s",
			  vm->name, peer_of(vm),
			  is_backup(now->core, FO_B_WAITING) ? "; an operator decides" : "");
}

static void promotion(struct vm *vm, const char *was, const struct session_stats *now)
{
	if (!is_backup(was, FO_B_PROMOTING) && is_backup(now->core, FO_B_PROMOTING))
		events_vm(vm, EVENTS_PROMOTING, NULL,
			  "%s is this host's, and is started from epoch %llu", vm->name,
			  (unsigned long long)now->epoch_committed);
	if (is_backup(was, FO_B_PROMOTING) &&
	    (is_backup(now->core, FO_B_KEPT) || is_backup(now->core, FO_B_OFFERED)))
		events_vm(vm, EVENTS_PROMOTION_FAILED,
			  json_pack("{so}", "reason", events_text(now->reason)), "%s: %s%s",
			  vm->name, now->reason,
			  is_backup(now->core, FO_B_OFFERED)
				  ? "; it is given back"
				  : "; its copy is kept: 'twinvm failover --retry'");
}

static void standby(struct vm *vm, const char *was, const struct session_stats *now)
{
	if (is_backup(was, FO_B_SYNCING) && is_backup(now->core, FO_B_STANDBY))
		events_vm(vm, EVENTS_STANDBY_READY, NULL, "%s: a whole copy is here, from %s",
			  vm->name, peer_of(vm));
	if (is_backup(was, FO_B_WAITING) && is_backup(now->core, FO_B_STANDBY))
		events_vm(vm, EVENTS_PRIMARY_BACK, NULL, "%s: %s, which runs it, answers again",
			  vm->name, peer_of(vm));
}

/* ---- both ---- */
static void warning(struct vm *vm, const struct session_stats *now)
{
	const char *was = vm->now.stats.warning;

	if (!was[0] && now->warning[0])
		events_vm(vm, EVENTS_WARNING,
			  json_pack("{so}", "reason", events_text(now->warning)), "%s: %s",
			  vm->name, now->warning);
	else if (was[0] && !now->warning[0])
		events_vm(vm, EVENTS_WARNING_OVER, NULL, "%s: over: %s", vm->name, was);
}

void events_stats(struct vm *vm, const struct session_stats *fresh)
{
	const char *was = vm->now.stats.core;
	bool begun_here = vm->now.child > 0 && vm->now.child == vm->now.replicator;

	if (!vm->now.stats.state[0] && !(vm->role == SESSION_PRIMARY && begun_here)) {
		vm->now.copies = true;
		return;
	}
	if (vm->role == SESSION_PRIMARY) {
		first_copy(vm, was, fresh);
		backup_lost(vm, was, fresh);
		lease(vm, was, fresh);
	} else {
		standby(vm, was, fresh);
		primary_lost(vm, was, fresh);
		promotion(vm, was, fresh);
	}
	warning(vm, fresh);
}
