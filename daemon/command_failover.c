/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm failover: a switch of roles, ordered where the VM runs; with --force or
 * --retry, where its standby is. */
#include "daemon/cluster.h"
#include "daemon/commands.h"

#include <errno.h>
#include <string.h>

/* --force or --retry: how says which. */
static void promote(struct ctl *c, struct vm *vm, enum session_op how)
{
	if (vm->role == SESSION_PRIMARY) {
		command_end(c, TV_E_REFUSED, "%s runs here on %s: %s is for the backup (%s)%s",
			    vm->name, vm->d->conf.host,
			    how == SESSION_OP_RETRY ? "--retry" : "--force", vm->saved.peer.name,
			    how == SESSION_OP_RETRY ? "" : ", when this host is dead");
		return;
	}
	if (!vm->now.rep || vm->waiter) {
		command_end(c, -EBUSY, "%s",
			    vm->waiter ? "another twinvm command waits for this VM"
				       : "the standby is still starting; try again");
		return;
	}
	command_waits(c, vm, false);
	ctl_send(vm->now.rep, session_message(how, NULL));
}

/* A planned switch. */
static void change_roles(struct ctl *c, struct vm *vm)
{
	if (vm->role == SESSION_BACKUP) {
		command_end(c, -EINVAL,
			    "%s runs on %s: give the command there (or, when that host is dead, "
			    "--force here)",
			    vm->name, vm->saved.peer.name);
		return;
	}
	if (vm->waiter) {
		command_end(c, -EBUSY, "another twinvm command waits for this VM");
		return;
	}
	if (!vm->now.rep || vm->phase != VM_RUNNING ||
	    strcmp(vm->now.stats.state, "protected") != 0) {
		command_end(c, TV_E_REFUSED,
			    "%s has no backup that could take over: wait until 'twinvm status' "
			    "shows protected",
			    vm->name);
		return;
	}
	if (cluster_maintenance(vm->d, &vm->saved.peer)) {
		command_end(c, TV_E_REFUSED,
			    "%s is in maintenance: it takes %s only when this host fails",
			    vm->saved.peer.name, vm->name);
		return;
	}
	events_vm(vm, EVENTS_SWITCH_ASKED, NULL, "%s: a planned switch to %s was asked for",
		  vm->name, vm->saved.peer.name);
	command_waits(c, vm, false);
	ctl_send(vm->now.rep, session_message(SESSION_OP_SWITCH, NULL));
}

void command_failover(struct daemon *d, struct ctl *c, json_t *msg)
{
	struct vm *vm = command_vm(d, c, msg);

	if (!vm)
		return;
	if (json_is_true(json_object_get(msg, "force")))
		promote(c, vm, SESSION_OP_PROMOTE);
	else if (json_is_true(json_object_get(msg, "retry")))
		promote(c, vm, SESSION_OP_RETRY);
	else
		change_roles(c, vm);
}
