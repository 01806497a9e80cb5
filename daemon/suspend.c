/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carries out an operator's suspend and resume (asked.c). Whoever has attached to the VM does it, between
 * two epochs: its replicator. A VM that runs alone, or that twinvm does not know, is spoken to by a
 * process, since a monitor may not answer. Between sessions, and while a replicator has not registered
 * yet, it waits.
 *
 * What an operator wants is on disk with the VM's file: status shows it while nobody is attached.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int suspend_start(struct asked *a, struct tv_err *e)
{
	int rc;

	tv_close_fd(&a->fd);
	a->fd = memfd_create("why", MFD_CLOEXEC);
	rc = a->fd < 0 ? tv_fail(e, -errno, "no descriptor for an answer")
		       : spawn_suspend(a->d, &a->qemu, a->suspend, a->fd, &a->pid, e);
	if (rc)
		a->pid = 0;
	return rc;
}

void suspend_next(struct vm *vm)
{
	struct asked *a = asked_of(vm->d, vm->id);
	struct tv_err e = {0};
	int rc;

	if (!a || a->sent || a->pid)
		return;
	if (vm->phase == VM_RUNNING && vm->now.rep) {
		a->sent = true;
		ctl_send(
			vm->now.rep,
			session_message(a->suspend ? SESSION_OP_SUSPEND : SESSION_OP_RESUME, NULL));
		return;
	}
	if (vm->phase != VM_IDLE || vm->now.awaited)
		return;
	a->qemu = vm->saved.qemu;
	rc = suspend_start(a, &e);
	if (rc)
		asked_answer(a, rc, e.text);
}

void suspend_cut(struct vm *vm)
{
	struct asked *a = asked_of(vm->d, vm->id);

	if (a)
		a->sent = false;
}

void suspend_learn(struct vm *vm, bool suspended)
{
	if (vm->saved.suspended == suspended)
		return;
	vm->saved.suspended = suspended;
	events_vm(vm, suspended ? EVENTS_SUSPENDED : EVENTS_RESUMED, NULL,
		  suspended ? "%s is suspended" : "%s runs again, it was suspended", vm->name);
	vm_save_later(vm);
}

void suspend_answered(struct vm *vm, const struct session_answer *answer)
{
	struct asked *a = asked_of(vm->d, vm->id);

	if (!a || !a->sent)
		return;
	if (answer->ok)
		suspend_learn(vm, a->suspend);
	asked_answer(a, answer->ok ? 0 : TV_E_REFUSED, answer->text);
}

/* Nobody is attached, and what the last session reported of it is old. */
static void carried_out(struct vm *vm, bool suspend)
{
	struct session_stats *s = &vm->now.stats;

	suspend_learn(vm, suspend);
	tv_copy(s->run_state, sizeof(s->run_state), suspend ? "paused" : "running");
	/* As long as it stood still, it could not be protected. */
	if (!suspend && vm->phase == VM_IDLE && vm->reprotect.on)
		reprotect_start(vm);
}

bool suspend_exit(struct daemon *d, pid_t pid, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	char text[sizeof(((struct tv_err *)0)->text)] = "";
	struct asked *a;
	struct vm *vm;

	TAILQ_FOREACH(a, &d->asked, link)
		if (a->pid == pid)
			break;
	if (!a)
		return false;
	vm = a->vm_id[0] ? vm_by_id(d, a->vm_id) : NULL;
	a->pid = 0;
	if (pread(a->fd, text, sizeof(text) - 1, 0) <= 0 && code)
		tv_copy(text, sizeof(text), "the process that was to do it died");
	if (!code && vm)
		carried_out(vm, a->suspend);
	if (code && code != SUSPEND_REFUSED && vm && vm->phase == VM_RUNNING) {
		suspend_next(vm); /* a replicator has its monitor by now */
		return true;
	}
	asked_answer(a, code == SUSPEND_REFUSED ? TV_E_REFUSED : code ? -EIO : 0, text);
	return true;
}
