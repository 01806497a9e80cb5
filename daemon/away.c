/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain that another program has written to a file (`virsh save`, `managedsave`, libvirt-guests when
 * the host goes down) or migrated away. Its protection has ended by then, by record, and its QEMU ends.
 * No host runs it, and none may start it but from that file: the backup keeps its replicas and its note
 * (elsewhere.c), so that its libvirt does not start an older copy. Here the VM's entry stays, and when a
 * QEMU with the domain's UUID is started, that is the VM: it is protected again, as the same VM.
 *
 * Which it was, a file or another host, QEMU does not say. The entry of one that does not come back stays
 * until `twinvm unprotect`.
 */
#include "daemon/away.h"
#include "daemon/clones.h"
#include "hv/hv_runstate.h"

#include <stdio.h>
#include <string.h>

#define LOOK_NS (2 * TV_NS_PER_S)

/* Not what a VM's name means: a standby, one that was stopped for good, and a clone. */
static bool is_no_vm(pid_t pid, void *arg)
{
	struct daemon *d = arg;
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (vm->role == SESSION_BACKUP && vm->saved.qemu.pid == pid)
			return true;
	return kept_is(d, pid) || clones_has(pid);
}

int find_qemu(struct daemon *d, const char *what, struct hv_vm_id *out, struct tv_err *e)
{
	/* A VM that came here by a failover has the user of standbys. */
	char users[sizeof(d->conf.vm_users) + sizeof(d->conf.standby_user) + 1];

	snprintf(users, sizeof(users), "%s:%s", d->conf.standby_user, d->conf.vm_users);
	return hv_find(what, users, is_no_vm, d, out, e);
}

void away_learn(struct vm *vm)
{
	const char *state = vm->now.stats.run_state;

	if (state[0] && elsewhere_is_uuid(vm->saved.uuid) &&
	    hv_run_state_of(state)->protection == HV_ENDS)
		vm->saved.away = true;
}

bool away_is(const struct vm *vm)
{
	return vm->role == SESSION_PRIMARY && vm->saved.away && !vm->saved.leaving && !vm_lives(vm);
}

bool away_begin(struct vm *vm)
{
	char text[400];

	if (!away_is(vm))
		return false;
	snprintf(
		text, sizeof(text),
		"another program has written it to a file (virsh save, managedsave) or migrated it, "
		"and its QEMU has ended: it is protected again when it is started here; 'twinvm "
		"unprotect %s' forgets it",
		vm->name);
	if (vm->phase != VM_IDLE || strcmp(vm->saved.reason, text) != 0) {
		events_vm(vm, EVENTS_VM_ENDED, NULL, "%s: %s", vm->name, text);
		tv_copy(vm->saved.reason, sizeof(vm->saved.reason), text);
		vm->phase = VM_IDLE;
		vm_save_later(vm);
	}
	vm_timer(vm, LOOK_NS);
	return true;
}

void away_back(struct vm *vm, const struct hv_vm_id *now)
{
	vm->saved.qemu = *now;
	vm->now.stats = (struct session_stats){0};
}

bool away_look(struct vm *vm)
{
	struct hv_vm_id now;

	if (!away_is(vm) || find_qemu(vm->d, vm->saved.uuid, &now, NULL))
		return false;
	tv_log(TV_INFO, "%s is back (pid %d): it is protected again", vm->name, (int)now.pid);
	away_back(vm, &now);
	vm_save_later(vm);
	return true;
}
