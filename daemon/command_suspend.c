/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm suspend and resume: whose VM it is, and who carries it out (suspend.c). */
#include "daemon/away.h"
#include "daemon/commands.h"

#include <errno.h>

/* Not a VM of twinvm's: one that runs here all the same. */
static void not_known(struct daemon *d, struct ctl *c, const char *what, bool suspend)
{
	struct kept *k = kept_find(d, what);
	struct hv_vm_id qemu;
	struct tv_err e = {0};
	struct asked *a;
	int rc;

	if (k) {
		command_end(
			c, TV_E_REFUSED,
			"%s was stopped here because another host runs it: give the command there",
			k->name);
		return;
	}
	rc = find_qemu(d, what, &qemu, &e);
	if (rc) {
		command_end(c, rc, "%s", e.text);
		return;
	}
	a = asked_add(d, c, &qemu, "", suspend);
	rc = suspend_start(a, &e);
	if (rc)
		asked_answer(a, rc, e.text);
}

static void suspend_or_resume(struct daemon *d, struct ctl *c, json_t *msg, bool suspend)
{
	const char *what = command_text(msg, "vm", "");
	bool several;
	struct vm *vm = vm_find(d, what, &several);

	if (!vm) {
		not_known(d, c, what, suspend);
		return;
	}
	vm = command_vm(d, c, msg);
	if (!vm)
		return;
	if (vm->role == SESSION_BACKUP) {
		command_end(c, -EINVAL, "%s runs on %s: give the command there", vm->name,
			    vm->saved.peer.name);
		return;
	}
	if (vm->phase == VM_FENCING || vm->highest > vm->saved.generation) {
		command_end(c, TV_E_REFUSED,
			    "%s is being stopped here because another host runs it: give the "
			    "command there",
			    vm->name);
		return;
	}
	if (asked_of(d, vm->id)) {
		command_end(c, -EBUSY, "another suspend or resume waits for this VM");
		return;
	}
	asked_add(d, c, &vm->saved.qemu, vm->id, suspend);
	suspend_next(vm);
}

void command_suspend(struct daemon *d, struct ctl *c, json_t *msg)
{
	suspend_or_resume(d, c, msg, true);
}

void command_resume(struct daemon *d, struct ctl *c, json_t *msg)
{
	suspend_or_resume(d, c, msg, false);
}
