/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers to the command line: lines of progress while a command waits for a VM, and the last one. */
#include "daemon/daemon.h"

void vm_progress(struct vm *vm, const char *state, double progress)
{
	if (vm->waiter)
		ctl_send(vm->waiter,
			 json_pack("{ss sf}", "state", state ? state : "", "progress", progress));
}

void vm_answer_with(struct vm *vm, json_t *msg)
{
	if (!vm->waiter) {
		json_decref(msg);
		return;
	}
	ctl_send(vm->waiter, msg);
	ctl_close_when_sent(vm->waiter);
	vm->waiter = NULL;
}

void vm_answer(struct vm *vm, int rc, const char *text)
{
	vm_answer_with(vm, json_pack("{sb si ss}", "done", 1, "rc", rc, "error", text ? text : ""));
}
