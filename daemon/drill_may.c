/* SPDX-License-Identifier: GPL-2.0-or-later */
/* May a drill of a VM begin? Never on a red host, never without a way back, never beside another rehearsal. */
#include "daemon/cluster.h"
#include "daemon/drills.h"
#include "daemon/health.h"
#include "daemon/ready.h"
#include "daemon/rehearsals.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_yes(const json_t *ready, const char *name)
{
	const char *n, *v;
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(ready, "checks"), i, c) {
		n = json_string_value(json_object_get(c, "name"));
		v = json_string_value(json_object_get(c, "verdict"));
		if (n && v && !strcmp(n, name))
			return !strcmp(v, "yes");
	}
	return false;
}

/* Anything else that is tried with this VM, here or on the backup. */
bool drill_is_rehearsed(const struct vm *vm)
{
	json_t *there = json_object_get(
		       cluster_peer_vm(vm->d, vm->saved.peer.name, vm->id, NULL, NULL),
		       "rehearsals"),
	       *one;
	const char *kind;

	for (int k = 0; k < REHEARSAL_KINDS; k++)
		if (rehearsals_running(vm->d, vm->id, (enum rehearsal_kind)k))
			return true;
	json_object_foreach(there, kind, one)
		if (json_object_get(one, "running"))
			return true;
	return false;
}

int drill_may_begin(const struct vm *vm, struct tv_err *e)
{
	json_t *ready;
	const char *why, *reason;
	int rc = 0;

	if (vm->role == SESSION_BACKUP)
		return tv_fail(e, -EINVAL, "%s runs on %s: give the command there", vm->name,
			       vm->saved.peer.name);
	if (!vm->now.rep || vm->phase != VM_RUNNING || strcmp(vm->now.stats.state, "protected"))
		return tv_fail(e, TV_E_REFUSED,
			       "%s has no backup that could take over: wait until 'twinvm status' "
			       "shows protected",
			       vm->name);
	if (vm->waiter || drill_is_rehearsed(vm))
		return tv_fail(e, TV_E_REFUSED, "another command or rehearsal of %s is under way",
			       vm->name);
	if (health_of_host() == FO_RED) {
		(void)health_state(&reason);
		return tv_fail(
			e, TV_E_REFUSED,
			"the hardware of %s is red (%.200s): a drill would bring the VM back "
			"to it",
			vm->d->conf.host, reason);
	}
	if (maintenance_is(vm->d) || cluster_maintenance(vm->d, &vm->saved.peer))
		return tv_fail(e, TV_E_REFUSED, "%s is in maintenance: it takes no VM",
			       maintenance_is(vm->d) ? vm->d->conf.host : vm->saved.peer.name);
	ready = ready_status(vm);
	why = json_string_value(json_object_get(ready, "why"));
	if (!ready)
		rc = tv_fail(e, TV_E_REFUSED,
			     "%s has not reported whether it could run %s: see 'twinvm ready %s' "
			     "there",
			     vm->saved.peer.name, vm->name, vm->name);
	else if (!json_is_true(json_object_get(ready, "ready")))
		rc = tv_fail(e, TV_E_REFUSED, "%s is not ready to run %s: %.300s",
			     vm->saved.peer.name, vm->name, why ? why : "");
	else if (!is_yes(ready, "way-back"))
		rc = tv_fail(e, TV_E_REFUSED,
			     "there would be no way back: see 'twinvm ready %s' on %s", vm->name,
			     vm->saved.peer.name);
	json_decref(ready);
	return rc;
}

void drill_find_bridge(const struct vm *vm, char *out, size_t room)
{
	char path[80], link[256];
	const char *slash;
	ssize_t n = -1;

	if (vm->vitals.taps_n) {
		snprintf(path, sizeof(path), "/sys/class/net/%.15s/master", vm->vitals.taps[0]);
		n = readlink(path, link, sizeof(link) - 1);
	}
	link[n > 0 ? n : 0] = 0;
	slash = strrchr(link, '/');
	tv_copy(out, room, slash ? slash + 1 : vm->d->conf.bridge);
}
