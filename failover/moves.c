/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Red: all VMs leave, the most important first, one after another, as each is a pause and a burst on the
 * link. Yellow: those whose own page or core is weak, and where a part is weak that any VM may use those
 * that are not less important than by default; the others stay, as a switch is not free.
 *
 * A VM leaves for a better place only, so that two sick hosts do not pass it to and fro; and once an hour
 * at most, so that two hosts that fall ill in turn do not either.
 *
 * Maintenance: all VMs leave, whenever they were moved last, for every host that takes VMs and is not red:
 * the one that is in maintenance takes none, so nothing can go to and fro.
 */
#include "failover/failover.h"

#include <string.h>

static const char *const reasons[] = {
#define REASON(name, reason) reason,
	FO_MOVES(REASON)
#undef REASON
};

const char *fo_move_reason(enum fo_move m)
{
	return reasons[m];
}

static bool is_wanted(const struct fo_move_host *host, const struct fo_move_vm *vm)
{
	if (host->health == FO_RED)
		return true;
	return host->health == FO_YELLOW &&
	       (vm->concerned || (host->important && vm->priority >= FO_PRIORITY_DEFAULT));
}

/* A time in the future is of a clock that was set: it counts as now. */
static bool within(int64_t at_s, int64_t now_s, int64_t span_s)
{
	return at_s && now_s - at_s < span_s;
}

static enum fo_move judge_maintenance(const struct fo_move_host *host, const struct fo_move_vm *vm)
{
	if (!vm->ready)
		return FO_MOVE_NOT_READY;
	if (vm->peer_away)
		return FO_MOVE_PEER_AWAY;
	if (vm->peer == FO_RED)
		return FO_MOVE_PEER_RED;
	if (within(vm->begun_s, host->now_s, FO_MOVE_AGAIN_S))
		return FO_MOVE_FAILED;
	return FO_MOVE_WAITS;
}

static enum fo_move judge(const struct fo_move_host *host, const struct fo_move_vm *vm)
{
	if (vm->moving && host->health == FO_RED && host->urgent &&
	    !within(vm->begun_s, host->now_s, FO_MOVE_DEADLINE_S))
		return FO_MOVE_HAND_OVER;
	if (vm->moving)
		return FO_MOVE_MOVING;
	if (host->maintenance)
		return judge_maintenance(host, vm);
	if (!is_wanted(host, vm))
		return FO_MOVE_STAYS;
	if (within(vm->moved_s, host->now_s, FO_MOVE_EVERY_S))
		return FO_MOVE_TOO_SOON;
	if (!vm->ready)
		return FO_MOVE_NOT_READY;
	if (vm->peer_away)
		return FO_MOVE_PEER_AWAY;
	if (!fo_is_better((enum fo_health)vm->peer, (enum fo_health)host->health))
		return FO_MOVE_NOT_BETTER;
	if (within(vm->begun_s, host->now_s, FO_MOVE_RETRY_S))
		return FO_MOVE_FAILED;
	return FO_MOVE_WAITS;
}

static bool before(const struct fo_move_vm *a, const struct fo_move_vm *b)
{
	if (a->priority != b->priority)
		return a->priority > b->priority;
	if (a->concerned != b->concerned)
		return a->concerned;
	return strcmp(a->id, b->id) < 0;
}

void fo_moves(const struct fo_move_host *host, const struct fo_move_vm *vms, unsigned n,
	      enum fo_move out[])
{
	const struct fo_move_vm *first = NULL;
	bool moving = false;

	for (unsigned i = 0; i < n; i++) {
		out[i] = judge(host, &vms[i]);
		moving |= vms[i].moving;
		if (out[i] == FO_MOVE_WAITS && (!first || before(&vms[i], first)))
			first = &vms[i];
	}
	if (first && !moving)
		out[first - vms] = FO_MOVE_GOES;
}
