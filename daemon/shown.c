/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM's state and reason as status shows them, and since when they are so. */
#include "daemon/away.h"
#include "daemon/daemon.h"

#include <math.h>
#include <time.h>

double shown_wall_s(int64_t ns)
{
	struct timespec t;
	int64_t ago_ms = (tv_now_ns() - ns) / TV_NS_PER_MS;

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)(t.tv_nsec / TV_NS_PER_MS - ago_ms) / 1e3;
}

void shown_set(struct session_stats *s, const char *state, const char *reason)
{
	tv_copy(s->state, sizeof(s->state), state);
	tv_copy(s->reason, sizeof(s->reason), reason);
}

void shown_stats(const struct vm *vm, struct session_stats *s)
{
	/* The last session's counters stay; its state only while it lives. */
	*s = vm->now.stats;
	if (vm->phase != VM_RUNNING || !s->state[0]) {
		shown_set(s, vm->phase == VM_FENCING || away_is(vm) ? "stopped" : "alone",
			  vm->saved.reason);
		s->progress = 0;
	} else if (vm->role == SESSION_PRIMARY && vm->saved.was_protected) {
		/* It is to be protected again: alone, until something is copied; and why. */
		if (!strcmp(s->state, "syncing") && s->progress <= 0)
			tv_copy(s->state, sizeof(s->state), "alone");
		if (strcmp(s->state, "protected") != 0 && !s->reason[0])
			tv_copy(s->reason, sizeof(s->reason), vm->saved.reason);
	}
}

/* Not written to disk for this alone: what follows from a change of state is. */
void shown_note(struct vm *vm)
{
	struct session_stats s;
	int64_t for_ms;

	if (vm->now.awaited)
		return;
	shown_stats(vm, &s);
	if (s.epoch_committed != vm->now.commit_seen) {
		vm->now.commit_seen = s.epoch_committed;
		vm->now.commit_seen_ns = vm->now.stats_ns;
	}
	if (!strcmp(s.state, vm->saved.state) && vm->saved.state_since > 0)
		return;
	/* A replicator knows it better: it may be older than this daemon. */
	for_ms = vm->phase == VM_RUNNING && !strcmp(s.state, vm->now.stats.state)
			 ? (int64_t)vm->now.stats.state_for_ms
			 : 0;
	tv_copy(vm->saved.state, sizeof(vm->saved.state), s.state);
	vm->saved.state_since = shown_wall_s(tv_now_ns() - for_ms * TV_NS_PER_MS);
}

double shown_since(const struct vm *vm)
{
	return vm->now.awaited || vm->saved.state_since <= 0 ? NAN : vm->saved.state_since;
}

/*
 * Age is computed by whoever reads it, so that it grows when reports stop. A VM that stands still does
 * not age (lag_ms): its time moves on with each report.
 */
double shown_commit(const struct vm *vm)
{
	const struct vm_session *n = &vm->now;

	if (vm->phase != VM_RUNNING || !n->stats.epoch_committed || !n->stats_ns)
		return NAN;
	if (vm->role == SESSION_BACKUP)
		return n->commit_seen_ns ? shown_wall_s(n->commit_seen_ns) : NAN;
	return shown_wall_s(n->stats_ns - (int64_t)(n->stats.lag_ms * (double)TV_NS_PER_MS));
}
