/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: how sessions end
 *
 * A replicator reports its outcome ("done") and exits. One table, below, has what follows from each
 * outcome of each role. A replicator that exits without an outcome died: on the primary, the
 * daemon's copies of the capture sockets are drained (a network may lose frames, but QEMU may not
 * block), a recovery process records that the VM runs alone and releases it, and reprotect.c has it
 * protected again.
 *
 * Whenever a higher generation of a VM that runs here is known, this host's instance is stale,
 * whatever the outcome: it is stopped by a process of its own (fencing.c), what twinvm added is
 * taken out of it, and it is kept for inspection (kept.c). Only then a backup session that waits is
 * admitted.
 */
#include "daemon/away.h"
#include "daemon/sessions.h"
#include "daemon/tally.h"
#include "daemon/daemon.h"
#include "daemon/moves.h"
#include "daemon/verify.h"
#include "daemon/drills.h"
#include "hv/hv_standby.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define RETRY_NS (500 * TV_NS_PER_MS)

/* ---- the table ---- */
#define STANDBY_ENDED                           \
	{                                       \
		.next = NEXT_FORGET, .rc = -EIO \
	}
/* clang-format off */
static const struct session_rule rules[][SESSION_OUTCOME_COUNT + 1] = {
	[SESSION_PRIMARY] = {
		[SESSION_DIED]          = {.next = NEXT_RECOVER},
		[SESSION_FAILED]        = {.next = NEXT_ALONE},
		[SESSION_REFUSED]       = {.next = NEXT_ALONE},
		[SESSION_ALONE]         = {.next = NEXT_ALONE, .lost = true},
		[SESSION_SWITCH_FAILED] = {.next = NEXT_ALONE, .lost = true},
		[SESSION_FENCED]        = {.next = NEXT_ALONE, .stale = true},
		[SESSION_LEFT]          = {.next = NEXT_FORGET, .forget_record = true},
		[SESSION_VM_GONE]       = {.next = NEXT_FORGET, .forget_record = true, .rc = TV_E_GONE},
		[SESSION_TAKEN_OVER]    = {.next = NEXT_FORGET, .rc = TV_E_GONE},
		[SESSION_SWITCHED]      = {.next = NEXT_FORGET, .stale = true, .switched = true},
		/* a backup's outcomes: as if it had failed */
		[SESSION_PROMOTED]      = {.next = NEXT_ALONE},
		[SESSION_DISCARDED]     = {.next = NEXT_ALONE},
	},
	[SESSION_BACKUP] = {
		[SESSION_DIED]          = {.next = NEXT_FORGET, .reap = true, .rc = -EIO},
		[SESSION_PROMOTED]      = {.next = NEXT_PRIMARY},
		[SESSION_FAILED]        = STANDBY_ENDED,
		[SESSION_REFUSED]       = STANDBY_ENDED,
		[SESSION_FENCED]        = STANDBY_ENDED,
		[SESSION_DISCARDED]     = STANDBY_ENDED,
		/* a primary's outcomes: as if it had failed */
		[SESSION_LEFT]          = STANDBY_ENDED,
		[SESSION_ALONE]         = STANDBY_ENDED,
		[SESSION_VM_GONE]       = STANDBY_ENDED,
		[SESSION_TAKEN_OVER]    = STANDBY_ENDED,
		[SESSION_SWITCHED]      = STANDBY_ENDED,
		[SESSION_SWITCH_FAILED] = STANDBY_ENDED,
	},
};
/* clang-format on */

const struct session_rule *session_rule(enum session_role role, unsigned how)
{
	return &rules[role][how < SESSION_DIED ? how : SESSION_DIED];
}

enum session_next session_next(enum session_role role, unsigned how, bool stale, bool lives)
{
	const struct session_rule *r = session_rule(role, how);

	/* After a death it is not known what is left in the VM: the fence looks. */
	if (role == SESSION_PRIMARY && stale && (lives || r->next == NEXT_RECOVER))
		return NEXT_FENCE;
	return r->next;
}

/* ---- the VM runs here, without a backup ---- */
/* Unprotected, as its operator asked for; that is to outlive this daemon. */
static void left(struct vm *vm)
{
	struct tv_err e = {0};
	int rc = vm_unsave(vm, &e);

	vm_answer(vm, rc, e.text);
}

static bool is_refusal(int rc)
{
	return rc == TV_E_REFUSED || rc == TV_E_VERSION || rc == -ENOMEM || rc == -ENOTSUP;
}

/* Of tries in a row only the first one that fails. */
static void note_alone(const struct vm *vm, bool lost, int rc, const char *text)
{
	if (vm->now.done && vm->now.end.outcome == SESSION_SWITCH_FAILED)
		events_vm(vm, EVENTS_SWITCH_FAILED, NULL,
			  "%s: the planned switch to %s was called off: %s", vm->name,
			  vm->saved.peer.name, text);
	if (lost || rc == TV_E_CHANGED)
		events_vm(vm, EVENTS_ALONE, json_pack("{so}", "reason", events_text(text)),
			  "%s runs on here alone: %s", vm->name, text);
	else if (vm->reprotect.tries <= 1)
		events_vm(vm, EVENTS_TRY_FAILED, NULL, "%s is not protected by %s: %s", vm->name,
			  vm->saved.peer.name[0] ? vm->saved.peer.name : vm->saved.peer.address,
			  text);
}

static void runs_alone(struct vm *vm, bool lost, int rc, const char *text)
{
	vm->phase = VM_IDLE;
	elsewhere_forget(vm->d, vm->id);
	if (vm->refused_rc) {
		rc = vm->refused_rc;
		text = vm->refused.text;
	}
	tv_copy(vm->saved.reason, sizeof(vm->saved.reason), text);
	if (!vm->saved.was_protected && !vm->refused_rc)
		events_vm(vm, EVENTS_PROTECT_FAILED, NULL, "%s is not protected: %s", vm->name,
			  text);
	else if (vm->saved.leaving)
		events_vm(vm, EVENTS_UNPROTECTED, NULL, "%s: not protected any more", vm->name);
	else if (!vm->refused_rc)
		note_alone(vm, lost, rc, text);
	if (!vm->saved.was_protected) { /* protect itself failed: as if it had never been given */
		vm_answer(vm, rc ? rc : -EIO, text);
		if (vm->fresh) {
			if (vm->now.end.parted)
				vm_settle_at_arbiter(vm, true);
			vm_drop(vm);
			return;
		}
		/* A VM that runs here since a failover stays known, and tries continue. */
		vm->saved.was_protected = true;
		if (!vm->d->conf.reprotect)
			fo_reprotect_stop(&vm->reprotect);
	}
	if (vm->saved.leaving) {
		left(vm);
		vm_drop(vm);
		return;
	}
	if (!vm->asked.port) /* a command that waits for this very try, or for a switch */
		vm_answer(vm, rc ? rc : -EIO, text);
	/* A VM whose devices have changed gets a new standby at once: that is no lost link. */
	lost = lost && rc != TV_E_CHANGED;
	reprotect_ended(vm, lost	     ? FO_REPROTECT_LOST
			    : is_refusal(rc) ? FO_REPROTECT_REFUSED
					     : FO_REPROTECT_FAILED);
	vm_save_later(vm);
	suspend_next(vm);
}

/* A planned switch whose backup could not start the VM: this host's again, by record. */
static void take_back(struct vm *vm, uint64_t generation)
{
	if (generation <= vm->saved.generation)
		return;
	vm->saved.generation = generation;
	if (vm->highest < generation)
		vm->highest = generation;
	generation_note_later(vm->d, vm->id, generation, vm->d->conf.host, "");
	vm_save_later(vm);
}

/* ---- helper processes have ended ---- */
void vm_fence_done(struct vm *vm, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	char text[400];

	vm->now.child = 0;
	if (code && code != FENCE_GONE && code != FENCE_FROZEN) {
		vm_timer(vm, RETRY_NS);
		return;
	}
	stash_close(vm);
	if (code != FENCE_GONE) {
		snprintf(text, sizeof(text),
			 "another host runs this VM; the copy here was stopped%s and is kept for "
			 "inspection",
			 code == FENCE_FROZEN ? " (its process, as QEMU did not answer)" : "");
		kept_add(vm, text);
		events_vm(vm, EVENTS_FENCED, json_pack("{sI}", "highest", (json_int_t)vm->highest),
			  "%s: %s (pid %d)", vm->name, text, (int)vm->saved.qemu.pid);
		vm_answer(vm, vm->waiter_leaves ? 0 : TV_E_REFUSED, text);
	} else {
		events_vm(vm, EVENTS_VM_ENDED, NULL,
			  "%s has ended here; another host has a higher generation of it",
			  vm->name);
		vm_answer(vm, vm->waiter_leaves ? 0 : TV_E_GONE, "the VM has ended");
	}
	vm_drop(vm);
}

void vm_recovered(struct vm *vm, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;

	vm->now.child = 0;
	if (code == RECOVER_TAKEN_BACK) {
		take_back(vm, vm->saved.generation + 2);
		code = 0;
	}
	if (code == RECOVER_FENCED)
		fencing_note_stale(vm);
	if (vm->highest > vm->saved.generation) {
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
		if (away_begin(vm))
			return;
		events_vm(vm, EVENTS_VM_ENDED, NULL, "%s has ended, and its replicator before",
			  vm->name);
		vm_drop(vm);
		return;
	}
	runs_alone(vm, true, -EIO, "the replicator died; starting over");
}

/* ---- the standby was promoted ---- */
/* As noted before it ran; a note that could not be written changes nothing: it is always one more. */
static uint64_t promoted_generation(const struct vm *vm)
{
	uint64_t noted = promotion_noted(vm->saved.dir);

	return noted ? noted : vm->saved.generation + 1;
}

static void becomes_primary(struct vm *vm)
{
	const struct session_end *end = &vm->now.end;
	struct vm_saved *s = &vm->saved;

	vm->role = SESSION_PRIMARY;
	vm->phase = VM_IDLE;
	s->was_protected = true;
	elsewhere_forget(vm->d, vm->id);
	s->suspended = end->suspended;
	s->generation = promoted_generation(vm);
	if (vm->highest < s->generation)
		vm->highest = s->generation;
	generation_note_later(vm->d, vm->id, s->generation, vm->d->conf.host, "");
	if (!strcmp(events_cause(vm), "planned"))
		drill_back_note(vm);
	events_failover(vm);
	tally_failover(vm, events_cause(vm));
	vm_answer(vm, 0, "");
	snprintf(s->reason, sizeof(s->reason), "failed over from %s; %s", s->peer.name,
		 vm->d->conf.reprotect ? "a new backup is looked for"
				       : "protect it again to another host (reprotect = no)");
	if (end->text[0]) {
		size_t n = strlen(s->reason);

		snprintf(s->reason + n, sizeof(s->reason) - n, "; it had no network: %s",
			 end->text);
	}
	/* The old primary is the first choice: it has the room, and often is back first. */
	s->last = s->peer;
	if (vm->d->conf.reprotect)
		reprotect_start(vm);
	vm_save_later(vm);
	waiting_release(vm); /* its primary is stale now */
}

/*
 * Its replicator has died, or reported its end to a daemon that has died since: was the standby
 * promoted before? Then it is the VM.
 */
static bool promoted_unreported(struct vm *vm)
{
	uint64_t generation = vm->saved.dir[0] ? promotion_noted(vm->saved.dir) : 0;

	if (generation <= vm->saved.generation || !vm_lives(vm))
		return false;
	tv_log(TV_WARN, "the standby of %s was promoted by a replicator that is gone", vm->name);
	vm->now.end = (struct session_end){.outcome = SESSION_PROMOTED, .generation = generation};
	vm->now.done = true;
	return true;
}

/* ---- the entry goes ---- */
static void note_forgotten(const struct vm *vm, const struct session_rule *r)
{
	if (r->switched) /* noted before */
		return;
	if (vm->refused_rc)
		tv_log(TV_INFO, "%s: not protected any more", vm->name);
	else if (r->rc)
		events_vm(vm, EVENTS_VM_ENDED, NULL, "%s: %s", vm->name, vm->now.end.text);
	else
		events_vm(vm, EVENTS_UNPROTECTED, NULL, "%s: not protected any more", vm->name);
}

static void forget_source(struct vm *vm, const struct session_rule *r)
{
	const char *text = r->rc ? vm->now.end.text : "";
	bool comes_back = r->rc && r->forget_record && away_is(vm);

	if (!comes_back)
		note_forgotten(vm, r);
	stash_close(vm);
	if (vm->refused_rc)
		vm_answer(vm, vm->refused_rc, vm->refused.text);
	else if (vm->waiter_leaves)
		left(vm);
	else
		vm_answer(vm, r->rc, text);
	/* A backup that was not reached may ask for the VM later: that it is not to run is on
	 * record then. To no record at all it would ask for ever. */
	if (r->forget_record)
		vm_settle_at_arbiter(vm, vm->now.end.parted && !comes_back);
	/* The record has the answer for a backup that may still ask: a start here asks it first. */
	if (r->forget_record && (vm->now.end.parted || !vm_has_arbiter(vm)))
		elsewhere_forget(vm->d, vm->id);
	if (!comes_back || !away_begin(vm))
		vm_drop(vm);
}

/* An offer that this host has refused, or whose standby could not be made: the VM is the other host's
 * alone, as before, and of its UUID this host may have a domain of its own. */
static bool came_to_nothing(const struct vm *vm)
{
	unsigned how = vm->now.end.outcome;

	return vm->now.first_note && !vm->now.stats.epoch_committed &&
	       (how == SESSION_FAILED || how == SESSION_REFUSED);
}

static void forget_sink(struct vm *vm, const struct session_rule *r)
{
	const struct hv_vm_id *qemu = &vm->saved.qemu;
	const char *why = !vm->now.done	      ? "its replicator died"
			  : vm->now.end.over  ? "its protection was ended"
			  : *vm->now.end.text ? vm->now.end.text
					      : session_outcome_why(vm->now.end.outcome);

	events_vm(vm, r->reap ? EVENTS_REPLICATOR_DIED : EVENTS_STANDBY_ENDED, NULL,
		  "%s: the standby here ends: %s", vm->name, why);
	/* Also where its replicator could not end it. */
	if (qemu->pid && (r->reap || vm_lives(vm))) {
		tv_log(TV_ERROR, "replicator of the standby of %s %s: ending the standby", vm->name,
		       r->reap ? "died" : "left it");
		hv_standby_reap(qemu->pid, qemu->start_ticks, vm->saved.dir);
	}
	if (vm->now.done && (vm->now.end.over || came_to_nothing(vm)))
		elsewhere_forget(vm->d, vm->id);
	vm_answer(vm, r->rc, "the standby has ended");
	vm_drop(vm);
}

/* ---- the end of a session ---- */
static void report_switched(struct vm *vm)
{
	events_switched(vm);
	moves_switched(vm);
	vm_answer_with(vm, json_pack("{sb si so}", "done", 1, "rc", 0, "host",
				     fields_text(vm->saved.peer.name)));
}

static unsigned outcome_of(struct vm *vm)
{
	if (!vm->now.done && vm->role == SESSION_BACKUP && promoted_unreported(vm))
		return SESSION_PROMOTED;
	return vm->now.done ? vm->now.end.outcome : SESSION_DIED;
}

void session_ended(struct vm *vm)
{
	const struct session_rule *r;
	unsigned how;

	if (vm->role == SESSION_BACKUP)
		vm_learn_standby(vm);
	suspend_cut(vm);
	verify_cut(vm);
	how = outcome_of(vm);
	tally_session_ended(vm, how);
	r = session_rule(vm->role, how);
	vm->now.replicator = 0;
	if (vm->role == SESSION_PRIMARY)
		away_learn(vm);
	if (vm->role == SESSION_PRIMARY && vm->now.done)
		take_back(vm, vm->now.end.generation);
	if (r->switched)
		report_switched(vm);
	if (r->stale)
		fencing_note_stale(vm);
	if (r->next == NEXT_RECOVER) {
		events_vm(vm, EVENTS_REPLICATOR_DIED, NULL, "replicator of %s died, cleaning up",
			  vm->name);
		stash_drain(vm);
	}
	switch (session_next(vm->role, how, vm->highest > vm->saved.generation, vm_lives(vm))) {
	case NEXT_RECOVER:
		vm_start_recovery(vm);
		break;
	case NEXT_FENCE:
		fencing_begin(vm);
		break;
	case NEXT_ALONE:
		stash_close(vm);
		runs_alone(vm, r->lost, vm->now.end.rc, vm->now.end.text);
		break;
	case NEXT_FORGET:
		if (vm->role == SESSION_PRIMARY)
			forget_source(vm, r);
		else
			forget_sink(vm, r);
		break;
	case NEXT_PRIMARY:
		becomes_primary(vm);
		break;
	case NEXT_COUNT:
		break;
	}
}
