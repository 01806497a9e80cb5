/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: messages and ends of replicators
 *
 * A replicator registers over the control socket (register.c), reports its state, hands over what
 * must outlive it, and reports its outcome ("done"); sessions.c decides what follows.
 *
 * If the daemon dies, replicators keep running and register with the next daemon. After a daemon's
 * start, a replicator that does not register within a moment is taken for dead, and ended if it is not.
 */
#include "daemon/freeze.h"
#include "daemon/away.h"
#include "daemon/daemon.h"
#include "daemon/health.h"
#include "daemon/ready.h"
#include "daemon/tally.h"
#include "daemon/verify.h"
#include "trace/trace.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define REGISTER_NS (1500 * TV_NS_PER_MS)

static void not_registered(struct vm *vm);

/* ---- timer: one per VM; its phase decides what it is for ---- */
static void due(struct vm *vm)
{
	if (vm->now.awaited) {
		not_registered(vm);
		return;
	}
	switch (vm->phase) {
	case VM_RECOVERING:
		if (!vm->now.child)
			vm_start_recovery(vm);
		break;
	case VM_FENCING:
		if (!vm->now.child)
			vm_start_fence(vm);
		break;
	case VM_RUNNING:
		/* It was asked to stop its VM and has not: the fence process does it instead. */
		if (vm->role == SESSION_PRIMARY && vm->highest > vm->saved.generation &&
		    vm->now.replicator > 0)
			kill(vm->now.replicator, SIGKILL);
		break;
	case VM_IDLE:
		if (vm->role == SESSION_PRIMARY)
			reprotect_try(vm);
		break;
	}
}

/* ---- processes ---- */
void supervise_child_exit(struct daemon *d, pid_t pid, int status)
{
	struct vm *vm;

	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS)
		tv_log(TV_ERROR,
		       "process %d of twinvmd was ended by SIGBUS: this host has lost a page of its "
		       "memory, or a file that it had mapped was cut",
		       (int)pid);
	if (fence_command_exit(d, pid, status) || looking_exit(d, pid, status) ||
	    suspend_exit(d, pid, status) || may_start_exit(d, pid, status) ||
	    ready_exit(d, pid, status))
		return;
	door_child_exit(d, pid);
	TAILQ_FOREACH(vm, &d->vms, link)
		if (vm->now.child == pid)
			break;
	if (!vm)
		return;
	if (vm->phase == VM_RECOVERING) {
		vm_recovered(vm, status);
		return;
	}
	if (vm->phase == VM_FENCING) {
		vm_fence_done(vm, status);
		return;
	}
	vm->now.child = 0;
	/* With a connection its end is found there, after everything that it sent was read. */
	if (!vm->now.rep && vm->now.replicator == pid)
		session_ended(vm);
}

/* ---- messages of replicators ---- */
static void rep_closed(struct ctl *c, void *arg)
{
	struct vm *vm = arg;

	ctl_free(c);
	if (vm->now.rep != c)
		return;
	vm->now.rep = NULL;
	freeze_lost(vm);
	/* Without a connection it has ended, or must. */
	if (vm->now.replicator > 0 && !vm->now.done)
		kill(vm->now.replicator, SIGKILL);
	session_ended(vm);
}

/* False, and logged once a session, when the two are of versions that do not fit. */
static bool read_body(struct vm *vm, enum session_op op, const json_t *msg, void *body,
		      size_t body_bytes)
{
	struct tv_err e = {0};

	if (!session_body(op, msg, body, body_bytes, &e))
		return true;
	if (!vm->now.malformed)
		tv_log(TV_ERROR, "%s: malformed message from its replicator: %s", vm->name, e.text);
	vm->now.malformed = true;
	return false;
}

/*
 * A protection that the next daemon would not know of has not succeeded: it ends again. (One that
 * begins again by itself is known from before.)
 */
static void refuse_protection(struct vm *vm, int rc, const struct tv_err *e)
{
	vm->saved.was_protected = false;
	vm->refused_rc = rc;
	vm->refused = *e;
	fo_reprotect_stop(&vm->reprotect);
	events_vm(vm, EVENTS_PROTECT_FAILED, NULL, "%s: protection is ended again: %s", vm->name,
		  e->text);
	ctl_send(vm->now.rep, session_message(SESSION_OP_LEAVE, NULL));
}

static void on_protected(struct vm *vm, const json_t *msg)
{
	struct vm_saved *s = &vm->saved;
	struct session_peer body;
	struct tv_err e;
	int rc = 0;

	s->was_protected = true;
	s->away = false;
	s->reason[0] = 0;
	/* `protect --to HOST:PORT` learns the name here. */
	if (read_body(vm, SESSION_OP_PROTECTED, msg, &body, sizeof(body)))
		tv_copy(s->peer.name, sizeof(s->peer.name), body.peer);
	generation_note_later(vm->d, vm->id, s->generation, vm->d->conf.host,
			      vm_has_arbiter(vm) ? "" : s->peer.name);
	reprotect_protected(vm);
	kept_protected(vm->d, vm->id, s->generation);
	if (vm->fresh)
		rc = vm_save(vm, &e);
	else
		vm_save_later(vm);
	if (rc) {
		refuse_protection(vm, rc, &e);
		return;
	}
	vm->fresh = false;
	events_vm(vm, EVENTS_PROTECTED, NULL, "%s is protected by %s", vm->name, s->peer.name);
	if (!vm->waiter_leaves)
		vm_answer_with(vm, json_pack("{sb si s{so ss so}}", "done", 1, "rc", 0, "vm",
					     "name", fields_text(vm->name), "id", vm->id, "peer",
					     fields_text(s->peer.name)));
}

static void on_stats(struct vm *vm, const json_t *msg)
{
	struct session_stats stats;

	vm->now.stats_ns = tv_now_ns();
	if (!read_body(vm, SESSION_OP_STATS, msg, &stats, sizeof(stats)))
		return;
	events_stats(vm, &stats);
	vm->now.stats = stats;
	/* Before it has attached to the VM, it does not know. */
	if (vm->role == SESSION_PRIMARY && (stats.suspended || stats.qemu[0]))
		suspend_learn(vm, stats.suspended);
	if (vm->role == SESSION_BACKUP) {
		fence_command_look(vm);
		if (!strcmp(stats.core, fo_backup_state_name(FO_B_STANDBY)))
			kept_protected(vm->d, vm->id, vm->saved.generation);
	}
	if (vm->now.promoting && !strcmp(stats.core, fo_backup_state_name(FO_B_KEPT))) {
		vm->now.promoting = false;
		vm_answer(vm, -EIO, stats.reason);
	}
	shown_note(vm);
	vm_progress(vm, stats.state, stats.progress);
}

static void on_counts(struct vm *vm, const json_t *msg)
{
	struct session_counts counts;

	if (read_body(vm, SESSION_OP_COUNTS, msg, &counts, sizeof(counts)))
		tally_counts(vm, &counts);
}

/* What others named is shown to people: plain text. */
static void on_disks(struct vm *vm, const json_t *msg)
{
	json_t *disks = session_disks_take(msg), *one;
	size_t i;

	json_array_foreach(disks, i, one) {
		json_object_set_new(one, "name",
				    events_text(json_string_value(json_object_get(one, "name"))));
		json_object_set_new(one, "file",
				    events_text(json_string_value(json_object_get(one, "file"))));
	}
	json_decref(vm->disks);
	vm->disks = disks;
}

/* One that cannot be read counts as none: the session died, and is cleaned up after. */
static void on_done(struct vm *vm, const json_t *msg)
{
	vm->now.done = read_body(vm, SESSION_OP_DONE, msg, &vm->now.end, sizeof(vm->now.end));
}

/* A sink that its peer has taken over can make this host yellow by it, and no more. */
static void on_hardware(struct vm *vm, const json_t *msg)
{
	static const enum ras_rule rules[SESSION_MEMORY_COUNT] = {
		[SESSION_MEMORY_VM] = RAS_RULE_VM_REQUIRED,
		[SESSION_MEMORY_PAGE] = RAS_RULE_HARVEST_FAULT,
		[SESSION_MEMORY_RESET] = RAS_RULE_GUEST_RESET,
		[SESSION_MEMORY_QEMU] = RAS_RULE_QEMU_DIED,
		[SESSION_MEMORY_STANDBY] = RAS_RULE_STANDBY_PAGE,
	};
	struct session_hardware h;

	if (!read_body(vm, SESSION_OP_HARDWARE, msg, &h, sizeof(h)) || !rules[h.what] ||
	    (vm->role == SESSION_BACKUP) != (h.what == SESSION_MEMORY_STANDBY))
		return;
	health_notice(vm->d, rules[h.what], vm, h.text);
}

/* The backup's standby has its process: which one is on the note. */
static void on_standby(struct vm *vm)
{
	vm_learn_standby(vm);
	vm_save_later(vm);
}

static void on_answer(struct vm *vm, enum session_op op, const json_t *msg)
{
	struct session_answer body;

	if (!read_body(vm, op, msg, &body, sizeof(body)))
		return;
	if (!body.ok)
		vm_answer(vm, TV_E_REFUSED, body.text);
	vm->now.promoting = body.ok && op == SESSION_OP_PROMOTE_ANSWER;
}

static void on_frozen(struct vm *vm, const json_t *msg, int fd)
{
	struct session_frozen body;

	if (read_body(vm, SESSION_OP_FROZEN, msg, &body, sizeof(body)))
		freeze_answered(vm, &body, fd);
	else
		tv_close_fd(&fd);
}

static void on_suspend_answer(struct vm *vm, const json_t *msg)
{
	struct session_answer body;

	if (read_body(vm, SESSION_OP_SUSPEND_ANSWER, msg, &body, sizeof(body)))
		suspend_answered(vm, &body);
}

static void on_verified(struct vm *vm, json_t *msg)
{
	struct session_verified body;

	if (read_body(vm, SESSION_OP_VERIFIED, msg, &body, sizeof(body)))
		verify_answered(vm, msg, &body);
}

/* The same one again of a replicator that has connected anew. */
static void take_trace(struct vm *vm, int fd)
{
	struct stat old, now;

	if (vm->trace_fd >= 0 && !fstat(vm->trace_fd, &old) && !fstat(fd, &now) &&
	    old.st_ino == now.st_ino && old.st_dev == now.st_dev) {
		close(fd);
		return;
	}
	tv_close_fd(&vm->former_trace_fd);
	vm->former_trace_fd = vm->trace_fd;
	vm->trace_fd = fd;
}

static void rep_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	enum session_op op = session_op_of(msg);
	struct vm *vm = arg;

	if (op == SESSION_OP_STASH && n) {
		stash_take(vm, fds, n);
		return;
	}
	/* A sink may have been taken over: this process would open what it passed. */
	if (op == SESSION_OP_TRACE && n == 1 && vm->now.rep == c && trace_fd_ok(fds[0])) {
		take_trace(vm, fds[0]);
		return;
	}
	if (op == SESSION_OP_FROZEN && n <= 1 && vm->now.rep == c) {
		on_frozen(vm, msg, n ? fds[0] : -1);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	if (vm->now.rep != c)
		return;
	switch (op) {
	case SESSION_OP_STATS:
		on_stats(vm, msg);
		break;
	case SESSION_OP_COUNTS:
		on_counts(vm, msg);
		break;
	case SESSION_OP_DISKS:
		on_disks(vm, msg);
		break;
	case SESSION_OP_HARDWARE:
		on_hardware(vm, msg);
		break;
	case SESSION_OP_DONE:
		on_done(vm, msg);
		break;
	case SESSION_OP_PROTECTED:
		on_protected(vm, msg);
		break;
	case SESSION_OP_REGISTER:
		on_standby(vm);
		break;
	case SESSION_OP_SUSPEND_ANSWER:
		on_suspend_answer(vm, msg);
		break;
	case SESSION_OP_VERIFIED:
		on_verified(vm, msg);
		break;
	case SESSION_OP_PROMOTE_ANSWER:
	case SESSION_OP_SWITCH_ANSWER:
		on_answer(vm, op, msg);
		break;
	default:
		break;
	}
}

const struct ctl_ops supervise_rep_ops = {rep_message, rep_closed};

/* ---- after a start ---- */
/* Its replicator has left something in it, or a note that it must not run. */
static bool needs_recovery(const struct vm *vm)
{
	char path[CAP_PAGE_PATH];
	struct cap_page *page;
	bool needs;

	cap_page_path(vm->d->conf.run_dir, vm->id, path);
	if (cap_page_map(path, false, &page))
		return false;
	needs = page->attached || page->fenced;
	cap_page_unmap(page);
	return needs;
}

static void not_registered(struct vm *vm)
{
	vm->now.awaited = false;
	if (vm->now.rep || vm->phase != VM_IDLE)
		return;
	if (vm->role == SESSION_PRIMARY) /* nothing else that this does may be done beside it */
		hung_end_unregistered(vm);
	if (vm->role == SESSION_BACKUP) {
		session_ended(vm);
	} else if (away_begin(vm)) {
		/* looked for from time to time */
	} else if (!vm_lives(vm)) {
		events_vm(vm, EVENTS_VM_ENDED, NULL, "%s has ended: forgotten", vm->name);
		vm_drop(vm);
	} else if (vm->highest > vm->saved.generation) {
		fencing_yield(vm);
	} else if (vm->reprotect.on || vm->saved.leaving || needs_recovery(vm)) {
		events_vm(vm, EVENTS_REPLICATOR_DIED, NULL,
			  "%s has no replicator: cleaning up and %s", vm->name,
			  vm->saved.leaving  ? "forgetting it, as it was being unprotected"
			  : vm->reprotect.on ? "starting over"
					     : "leaving it alone");
		vm_start_recovery(vm);
	} else {
		suspend_next(vm);
	}
}

void supervise_loaded(struct daemon *d)
{
	struct vm *vm;

	d->due = due;
	TAILQ_FOREACH(vm, &d->vms, link) {
		if (vm->reprotect.on)
			reprotect_start(vm);
		vm->now.awaited = true;
		vm_timer(vm, REGISTER_NS);
	}
}
