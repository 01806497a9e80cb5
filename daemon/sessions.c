/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: how sessions end
 *
 * A replicator that ends says how ("done"). One that ends without a word died: then the daemon's
 * copies of the capture sockets are drained (what comes out is thrown away: a network may lose
 * frames, but QEMU may not block), a recovery process records that the VM runs alone and lets it
 * go, and keeping.c has it protected again.
 *
 * Whenever a higher generation of a VM that runs here was heard of, ours is the stale one, whatever
 * else its session's end says: it is stopped by a process of its own ("fence"), what is ours is
 * taken out of it, and it is kept for inspection (kept.c). Only then a backup session that waits
 * begins.
 */
#include "daemon/daemon.h"
#include "hv/hv_standby.h"
#include "replicator/session/session.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define RETRY_NS (500 * TV_NS_PER_MS)

/* ---- on the primary ---- */
static bool is_refusal(int rc)
{
	return rc == TV_E_REFUSED || rc == TV_E_VERSION || rc == -ENOMEM || rc == -ENOTSUP;
}

/* The VM runs on and has no backup. */
static void after_loss(struct vm *vm, bool was_attached, int rc, const char *text)
{
	vm->phase = VM_IDLE;
	snprintf(vm->reason, sizeof(vm->reason), "%s", text);
	if (!vm->was_protected) { /* protect itself failed: as if it had never been given */
		vm_answer(vm, rc ? rc : -EIO, text);
		if (vm->fresh) {
			vm_forget_at_arbiter(vm);
			vm_drop(vm);
			return;
		}
		/* A VM that runs here since a failover stays known, and is kept trying for. */
		vm->was_protected = true;
		if (!vm->d->conf.reprotect)
			fo_reprotect_stop(&vm->reprotect);
	}
	if (vm->waiter && vm->waiter_leaves) {
		vm_answer(vm, 0, "");
		vm_forget_at_arbiter(vm);
		vm_drop(vm);
		return;
	}
	if (!vm->asked.port) /* a command that waits for this very try, or for a switch */
		vm_answer(vm, rc ? rc : -EIO, text);
	reprotect_ended(vm, was_attached     ? FO_REPROTECT_LOST
			    : is_refusal(rc) ? FO_REPROTECT_REFUSED
					     : FO_REPROTECT_FAILED);
	vm_save(vm);
}

void vm_fence_done(struct vm *vm, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	char text[400];

	vm->child = 0;
	if (code && code != FENCE_GONE && code != FENCE_FROZEN) {
		vm_timer(vm, RETRY_NS);
		return;
	}
	stash_close(vm);
	if (code != FENCE_GONE) {
		snprintf(text, sizeof(text),
			 "another host runs this VM; our copy was stopped%s and is kept for "
			 "inspection",
			 code == FENCE_FROZEN ? " (its process, as QEMU did not answer)" : "");
		kept_add(vm, text);
		tv_log(TV_WARN, "%s: %s (pid %d)", vm->name, text, (int)vm->qemu.pid);
		vm_answer(vm, vm->waiter_leaves ? 0 : TV_E_REFUSED, text);
	} else {
		vm_answer(vm, vm->waiter_leaves ? 0 : TV_E_GONE, "the VM has ended");
	}
	vm_drop(vm);
}

void vm_recovered(struct vm *vm, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;

	vm->child = 0;
	if (code == RECOVER_FENCED)
		fencing_note_stale(vm);
	if (vm->highest > vm->generation) {
		fencing_begin(vm);
		return;
	}
	if (code) {
		vm_timer(vm, RETRY_NS);
		return;
	}
	stash_close(vm);
	if (!vm_lives(vm)) {
		vm_answer(vm, TV_E_GONE, "the VM has ended");
		vm_drop(vm);
		return;
	}
	after_loss(vm, true, -EIO, "the replicator died; starting over");
}

/* The VM has left this host, or is no longer ours to care for. */
static void source_left(struct vm *vm, const char *outcome, const char *text)
{
	bool left = !strcmp(outcome, "left");

	tv_log(TV_INFO, "%s: %s", vm->name, left ? "not protected any more" : text);
	vm_answer(vm, left || vm->waiter_leaves ? 0 : TV_E_GONE, left ? "" : text);
	if (left || !strcmp(outcome, "vm-gone"))
		vm_forget_at_arbiter(vm);
	vm_drop(vm);
}

/* By plan: the backup runs the VM, and ours was told to end. */
static void source_switched(struct vm *vm)
{
	tv_log(TV_INFO, "%s runs on %s now", vm->name, vm->peer_name);
	vm_answer_with(vm, json_pack("{sb si ss}", "done", 1, "rc", 0, "host", vm->peer_name));
	fencing_note_stale(vm);
	if (vm_lives(vm)) { /* it must not stay beside its successor as if it were one */
		fencing_begin(vm);
		return;
	}
	stash_close(vm);
	vm_drop(vm);
}

static void source_ended(struct vm *vm)
{
	const char *outcome = json_string_value(json_object_get(vm->stats, "outcome"));
	const char *text = json_string_value(json_object_get(vm->stats, "text"));
	int rc = (int)json_integer_value(json_object_get(vm->stats, "rc"));

	vm->replicator = 0;
	text = text ? text : "";
	if (!vm->done || !outcome) {
		tv_log(TV_ERROR, "replicator of %s died, cleaning up", vm->name);
		stash_drain(vm);
		if (vm->highest > vm->generation)
			fencing_begin(vm);
		else
			vm_start_recovery(vm);
		return;
	}
	if (!strcmp(outcome, "switched")) {
		source_switched(vm);
		return;
	}
	if (!strcmp(outcome, "fenced"))
		fencing_note_stale(vm);
	if (vm->highest > vm->generation && vm_lives(vm)) {
		fencing_begin(vm);
		return;
	}
	stash_close(vm);
	if (!strcmp(outcome, "left") || !strcmp(outcome, "vm-gone") ||
	    !strcmp(outcome, "taken-over"))
		source_left(vm, outcome, text);
	else
		after_loss(vm, !strcmp(outcome, "alone") || !strcmp(outcome, "switch-failed"), rc,
			   text);
}

/* ---- on the backup ---- */
static void promoted(struct vm *vm)
{
	json_t *s = vm->stats;

	vm->role = VM_PRIMARY;
	vm->phase = VM_IDLE;
	vm->was_protected = true;
	vm->generation = (uint64_t)json_integer_value(json_object_get(s, "generation"));
	if (vm->highest < vm->generation)
		vm->highest = vm->generation;
	if (generation_note(vm->d, vm->id, vm->generation))
		tv_log(TV_ERROR, "%s: its generation is not on disk", vm->name);
	vm->qemu.pid = (pid_t)json_integer_value(json_object_get(s, "pid"));
	vm->qemu.start_ticks = (uint64_t)json_integer_value(json_object_get(s, "start_ticks"));
	snprintf(vm->qemu.qmp_path, sizeof(vm->qemu.qmp_path), "%s",
		 json_string_value(json_object_get(s, "qmp")));
	tv_log(TV_WARN, "%s failed over from %s: it runs here now, alone (generation %llu)",
	       vm->name, vm->peer_name, (unsigned long long)vm->generation);
	json_object_del(vm->stats, "outcome");
	vm_answer(vm, 0, "");
	snprintf(vm->reason, sizeof(vm->reason), "failed over from %s; %s", vm->peer_name,
		 vm->d->conf.reprotect ? "a new backup is looked for"
				       : "protect it again to another host (reprotect = no)");
	/* The old primary is the first choice: it has the room, and often is back first. */
	snprintf(vm->last.name, sizeof(vm->last.name), "%s", vm->peer_name);
	snprintf(vm->last.address, sizeof(vm->last.address), "%s", vm->peer_host);
	vm->last.port = vm->peer_port;
	if (vm->d->conf.reprotect)
		reprotect_start(vm);
	vm_save(vm);
}

/*
 * Its replicator has died, or said its last word to a daemon that had: was the standby told to run
 * before? Then it is the VM.
 */
static bool promoted_unsaid(struct vm *vm)
{
	uint64_t generation = vm->dir[0] ? promotion_noted(vm->dir) : 0;

	if (generation <= vm->generation || !vm_lives(vm))
		return false;
	if (!vm->stats)
		vm->stats = json_object();
	json_object_update_new(vm->stats,
			       json_pack("{ss sI si sI ss}", "outcome", "promoted", "generation",
					 (json_int_t)generation, "pid", (int)vm->qemu.pid,
					 "start_ticks", (json_int_t)vm->qemu.start_ticks, "qmp",
					 vm->qemu.qmp_path));
	vm->done = true;
	return true;
}

static void sink_ended(struct vm *vm)
{
	const char *outcome;

	vm->replicator = 0;
	if (!vm->done && promoted_unsaid(vm))
		tv_log(TV_WARN, "the standby of %s was told to run by a replicator that is gone",
		       vm->name);
	outcome = json_string_value(json_object_get(vm->stats, "outcome"));
	if (vm->done && outcome && !strcmp(outcome, "promoted")) {
		promoted(vm);
		waiting_release(vm); /* its primary is stale now */
		return;
	}
	if (!vm->done && vm->qemu.pid) {
		tv_log(TV_ERROR, "replicator of the standby of %s died: ending the standby",
		       vm->name);
		hv_standby_reap(vm->qemu.pid, vm->qemu.start_ticks, vm->dir);
	}
	vm_answer(vm, -EIO, "the standby has ended");
	vm_drop(vm);
}

void session_ended(struct vm *vm)
{
	if (vm->role == VM_PRIMARY)
		source_ended(vm);
	else
		sink_ended(vm);
}
