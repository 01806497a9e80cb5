/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: replicators as the daemon hears them
 *
 * A replicator introduces itself over the control socket (register.c), tells its state, hands over
 * what must outlive it, and says how it ended ("done"); sessions.c goes on from there.
 *
 * The daemon's own death: replicators go on by themselves and introduce themselves to the next
 * daemon. After a start, one that does not come within a moment is taken for dead.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define INTRODUCTION_NS (1500 * TV_NS_PER_MS)

static void not_introduced(struct vm *vm);

/* ---- timer: one per VM; its phase decides what it is for ---- */
static void due(struct vm *vm)
{
	if (vm->awaited) {
		not_introduced(vm);
		return;
	}
	switch (vm->phase) {
	case VM_RECOVERING:
		if (!vm->child)
			vm_start_recovery(vm);
		break;
	case VM_FENCING:
		if (!vm->child)
			vm_start_fence(vm);
		break;
	case VM_RUNNING:
		/* It was asked to stop its VM and has not: the fence process does it instead. */
		if (vm->role == VM_PRIMARY && vm->highest > vm->generation && vm->replicator > 0)
			kill(vm->replicator, SIGKILL);
		break;
	case VM_IDLE:
		if (vm->role == VM_PRIMARY)
			reprotect_try(vm);
		break;
	}
}

/* ---- processes ---- */
void supervise_child_exit(struct daemon *d, pid_t pid, int status)
{
	struct vm *vm;

	if (fence_command_exit(d, pid, status))
		return;
	for (unsigned i = 0; i < d->n_strangers; i++)
		if (d->strangers[i].pid == pid) {
			d->strangers[i] = d->strangers[--d->n_strangers];
			break;
		}
	TAILQ_FOREACH(vm, &d->vms, link)
		if (vm->child == pid)
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
	vm->child = 0;
	/* With a connection its end is told there, after everything it had said was read. */
	if (!vm->rep && vm->replicator == pid)
		session_ended(vm);
}

int supervise_accept(struct daemon *d, int fd, struct tv_err *e)
{
	struct stranger s = {0};
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);
	int rc;

	/* Peers that have not said who they are may take a bounded number of processes. */
	if (d->n_strangers == sizeof(d->strangers) / sizeof(*d->strangers))
		return tv_fail(e, -EAGAIN,
			       "too many connections that have not introduced themselves");
	if (getpeername(fd, (struct sockaddr *)&a, &n) ||
	    getnameinfo((struct sockaddr *)&a, n, s.address, sizeof(s.address), NULL, 0,
			NI_NUMERICHOST))
		s.address[0] = 0;
	rc = spawn_sink(d, fd, &s.pid, e);
	if (!rc)
		d->strangers[d->n_strangers++] = s;
	return rc;
}

/* ---- messages of replicators ---- */
static void rep_closed(struct ctl *c, void *arg)
{
	struct vm *vm = arg;

	ctl_free(c);
	if (vm->rep != c)
		return;
	vm->rep = NULL;
	/* It does not talk to us any more: either it has ended, or it must. */
	if (vm->replicator > 0 && !vm->done)
		kill(vm->replicator, SIGKILL);
	session_ended(vm);
}

static void on_protected(struct vm *vm, json_t *msg)
{
	const char *peer = json_string_value(json_object_get(msg, "peer"));

	vm->was_protected = true;
	vm->fresh = false;
	vm->reason[0] = 0;
	if (peer) /* `protect --to HOST:PORT` knows it from now on */
		snprintf(vm->peer_name, sizeof(vm->peer_name), "%s", peer);
	reprotect_protected(vm);
	tv_log(TV_INFO, "%s is protected by %s", vm->name, vm->peer_name);
	vm_save(vm);
	if (!vm->waiter_leaves)
		vm_answer_with(vm,
			       json_pack("{sb si s{ss ss ss}}", "done", 1, "rc", 0, "vm", "name",
					 vm->name, "id", vm->id, "peer", vm->peer_name));
}

static void on_stats(struct vm *vm, json_t *msg, bool done)
{
	/* The last counters stay readable after the end. */
	if (!vm->stats)
		vm->stats = json_object();
	json_object_update(vm->stats, msg);
	vm->stats_ns = tv_now_ns();
	vm->done = done;
	if (vm->role == VM_BACKUP && !done)
		fence_command_look(vm);
	if (!done)
		vm_progress(vm, json_string_value(json_object_get(msg, "state")),
			    json_number_value(json_object_get(msg, "progress")));
}

static void on_standby(struct vm *vm, json_t *msg)
{
	vm->qemu.pid = (pid_t)json_integer_value(json_object_get(msg, "standby_pid"));
	vm->qemu.start_ticks = (uint64_t)json_integer_value(json_object_get(msg, "standby_start"));
	snprintf(vm->qemu.qmp_path, sizeof(vm->qemu.qmp_path), "%s",
		 json_string_value(json_object_get(msg, "qmp")));
	vm_save(vm);
}

static void rep_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	const char *op = json_string_value(json_object_get(msg, "op"));
	struct vm *vm = arg;

	if (op && !strcmp(op, "stash") && n) {
		stash_take(vm, fds, n);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	if (!op || vm->rep != c)
		return;
	if (!strcmp(op, "stats") || !strcmp(op, "done"))
		on_stats(vm, msg, !strcmp(op, "done"));
	else if (!strcmp(op, "protected"))
		on_protected(vm, msg);
	else if (!strcmp(op, "register")) /* a backup's standby has got its pid */
		on_standby(vm, msg);
	else if ((!strcmp(op, "promote-answer") || !strcmp(op, "switch-answer")) &&
		 !json_is_true(json_object_get(msg, "ok")))
		vm_answer(vm, TV_E_REFUSED, json_string_value(json_object_get(msg, "text")));
}

const struct ctl_ops supervise_rep_ops = {rep_message, rep_closed};

/* ---- after a start ---- */
static void not_introduced(struct vm *vm)
{
	vm->awaited = false;
	if (vm->rep || vm->phase != VM_IDLE)
		return;
	if (vm->role == VM_BACKUP) {
		session_ended(vm);
	} else if (!vm_lives(vm)) {
		tv_log(TV_INFO, "%s has ended: forgotten", vm->name);
		vm_drop(vm);
	} else if (vm->highest > vm->generation) {
		fencing_yield(vm);
	} else if (vm->reprotect.on) {
		tv_log(TV_WARN,
		       "%s was protected and has no replicator: cleaning up and starting over",
		       vm->name);
		vm_start_recovery(vm);
	}
}

void supervise_loaded(struct daemon *d)
{
	struct vm *vm;

	d->due = due;
	TAILQ_FOREACH(vm, &d->vms, link) {
		if (vm->reprotect.on)
			reprotect_start(vm);
		vm->awaited = true;
		vm_timer(vm, INTRODUCTION_NS);
	}
}
