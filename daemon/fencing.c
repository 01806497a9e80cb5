/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * This host's instance of a VM that another host runs with a higher generation: it is stale, and is
 * stopped. That it is stale is on disk first, so that a daemon that starts after this one does not
 * let it run on. Its replicator, which holds its output, is asked to stop it and to end; a process
 * of its own (recover.c: fence_main) then makes sure that it stays stopped. sessions.c continues
 * when that exits: the QEMU is kept for inspection (kept.c).
 */
#include "daemon/daemon.h"

/* A replicator that does not end in this time after it was asked to stop its VM is killed. */
#define YIELD_LIMIT_NS (3 * TV_NS_PER_S)

void fencing_note_stale(struct vm *vm)
{
	if (vm->highest <= vm->saved.generation)
		vm->highest = vm->saved.generation + 1;
	generation_note_later(vm->d, vm->id, vm->highest, vm->saved.peer.name, "");
	(void)!elsewhere_note(vm, true, NULL);
}

void fencing_begin(struct vm *vm)
{
	fo_reprotect_stop(&vm->reprotect);
	(void)!elsewhere_note(vm, true, NULL);
	vm_save_later(vm);
	stash_drain(vm);
	vm_start_fence(vm);
}

void fencing_yield(struct vm *vm)
{
	struct session_text why = {"another host offers a higher generation of this VM"};

	events_vm(vm, EVENTS_STALE, json_pack("{sI}", "highest", (json_int_t)vm->highest),
		  "%s runs on another host with generation %llu: the one here (%llu) is stopped",
		  vm->name, (unsigned long long)vm->highest,
		  (unsigned long long)vm->saved.generation);
	fo_reprotect_stop(&vm->reprotect);
	if (vm->phase == VM_IDLE) {
		fencing_begin(vm);
	} else if (vm->phase == VM_RUNNING) {
		if (vm->now.rep)
			ctl_send(vm->now.rep, session_message(SESSION_OP_FENCE, &why));
		vm_timer(vm, YIELD_LIMIT_NS);
	}
	/* Otherwise a helper process is handling this VM: vm_recovered() or vm_fence_done()
	 * continues when it exits. */
}
