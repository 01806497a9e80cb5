/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm unprotect: ends protection; with --kept, forgets a stopped instance. */
#include "daemon/autoprotect.h"
#include "daemon/commands.h"

#include <errno.h>

/* What was stopped here is forgotten; true when that was all there was to do. */
static bool forget_kept(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *what = command_text(msg, "vm", "");
	bool several, only = json_is_true(json_object_get(msg, "kept"));
	struct kept *k = kept_find(d, what);
	struct elsewhere *x = only ? elsewhere_find(d, what) : NULL;

	/* An operator's word: it may be started here. Not while this host is part of a pair. */
	if (x && !vm_by_id(d, x->id)) {
		tv_log(TV_WARN, "%s is forgotten by order: it may be started here", x->name);
		if (k && !strcmp(k->id, x->id))
			kept_forget(d, k->id);
		elsewhere_release(d, x);
		command_end(c, 0, "%s", "");
		return true;
	}
	if (!only && vm_find(d, what, &several))
		return false;
	if (k) {
		kept_forget(d, k->id);
		command_end(c, 0, "%s", "");
	} else if (only) {
		command_end(c, -ENOENT, "no stopped QEMU of '%s' is kept on %s", what,
			    d->conf.host);
	}
	return k || only;
}

void command_unprotect(struct daemon *d, struct ctl *c, json_t *msg)
{
	struct tv_err e = {0};
	struct vm *vm;
	int rc;

	if (forget_kept(d, c, msg))
		return;
	if (autoprotect_waits(d, command_text(msg, "vm", "")) &&
	    autoprotect_hold_waiting(d, command_text(msg, "vm", ""))) {
		command_end(c, 0, "%s", "");
		return;
	}
	vm = command_vm(d, c, msg);
	if (!vm)
		return;
	if (vm->role == SESSION_BACKUP) {
		command_end(c, -EINVAL, "%s is only the backup of %s: give the command on %s",
			    d->conf.host, vm->name, vm->saved.peer.name);
		return;
	}
	/* A first copy may take hours: who waits for it learns that it is over. */
	if (vm->waiter && !vm->waiter_leaves && vm->phase == VM_RUNNING &&
	    !strcmp(vm->now.stats.state, "syncing"))
		vm_answer(vm, -ECANCELED, "protection was ended by 'twinvm unprotect'");
	if (vm->waiter) {
		command_end(c, -EBUSY, "another twinvm command waits for this VM");
		return;
	}
	fo_reprotect_stop(&vm->reprotect);
	autoprotect_hold(vm);
	events_vm(vm, EVENTS_UNPROTECT_ASKED, NULL, "%s is to be protected no more", vm->name);
	if (vm->phase == VM_IDLE) { /* alone: nothing is attached */
		rc = vm_unsave(vm, &e);
		events_vm(vm, EVENTS_UNPROTECTED, NULL, "%s: not protected any more", vm->name);
		command_end(c, rc, "%s", e.text);
		vm_drop(vm);
		return;
	}
	vm->saved.leaving = true;
	vm_save_later(vm);
	command_waits(c, vm, true);
	if (vm->now.rep)
		ctl_send(vm->now.rep, session_message(SESSION_OP_LEAVE, NULL));
}
