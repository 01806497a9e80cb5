/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fence_command: the operator's program that powers a host off (IPMI, a power strip, a cloud's
 * API). Run on the backup's host against the host that ran the VM.
 *
 * With an arbiter it is run as soon as the arbiter has given the VM to this host, before the
 * standby runs, and not waited for: one writer is certain already (the old primary's lease is over,
 * so it releases nothing and stops its VM), and a power switch that takes seconds, or is itself
 * dead, must not keep the VM down. What it adds is that a host which hangs does not stay half
 * alive.
 *
 * Without an arbiter only an operator can distinguish a dead primary from a cut cable. With
 * `fence_required = yes` the program's exit status 0 takes the operator's place: the host is off.
 * Then, and only then, the standby is promoted by itself. The program is started only after
 * reconnect_grace_ns of silence, as it ends whatever else runs on that host. A primary that was cut
 * off has run alone meanwhile, as it may without an arbiter: what it answered in that time is lost.
 *
 * It is not run at a planned switch, or when the primary's own replicator reports that its QEMU
 * died: that host works.
 */
#include "daemon/daemon.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* Starts argv[0] with our environment and what it is about. A group of its own, to be ended
 * whole. */
static int start(struct vm *vm, pid_t *pid)
{
	char words[5][200], *argv[] = {vm->d->conf.fence_command, vm->saved.peer.name, NULL};
	const char *path = getenv("PATH");
	char search[512], *env[7] = {words[0], words[1], words[2], words[3], words[4], search};
	posix_spawnattr_t at;
	sigset_t none;
	int r;

	snprintf(words[0], sizeof(words[0]), "TWINVM_VM=%s", vm->name);
	snprintf(words[1], sizeof(words[1]), "TWINVM_VM_ID=%s", vm->id);
	snprintf(words[2], sizeof(words[2]), "TWINVM_HOST=%s", vm->saved.peer.name);
	snprintf(words[3], sizeof(words[3]), "TWINVM_ADDRESS=%s", vm->saved.peer.address);
	snprintf(words[4], sizeof(words[4]), "TWINVM_GENERATION=%llu",
		 (unsigned long long)vm->saved.generation);
	snprintf(search, sizeof(search), "PATH=%s", path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
	posix_spawnattr_init(&at);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
	r = posix_spawn(pid, argv[0], NULL, &at, argv, env);
	posix_spawnattr_destroy(&at);
	return -r;
}

static void arm(struct vm *vm, int64_t ns);

static void run(struct vm *vm)
{
	struct fo_times t = daemon_times(vm->d);
	int rc = start(vm, &vm->fencer.pid);

	if (rc) {
		vm->fencer.pid = 0;
		events_vm(vm, EVENTS_FENCE_FAILED, NULL, "fence_command %s: %s",
			  vm->d->conf.fence_command, tv_strerror(rc));
		if (vm->fencer.decides)
			arm(vm, t.reprotect_last_ns);
		return;
	}
	events_vm(vm, EVENTS_FENCE_BEGUN, NULL, "%s: running fence_command against %s", vm->name,
		  vm->saved.peer.name);
	arm(vm, t.fence_ns);
}

/* The limit of one that runs, or the moment for the next one. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct vm *vm = arg;

	(void)fd;
	(void)what;
	if (vm->fencer.pid > 0) {
		tv_log(TV_ERROR, "fence_command against %s did not end in time: killed",
		       vm->saved.peer.name);
		kill(-vm->fencer.pid, SIGKILL);
	} else if (vm->fencer.decides && vm->now.rep && !strcmp(vm->now.stats.core, "WAITING")) {
		run(vm);
	} else {
		vm->fencer.decides = vm->fencer.begun = false; /* the primary is back */
	}
}

static void arm(struct vm *vm, int64_t ns)
{
	struct timeval tv = tv_timeval(ns);

	if (!vm->fencer.timer)
		vm->fencer.timer = evtimer_new(vm->d->base, on_timer, vm);
	event_add(vm->fencer.timer, &tv);
}

void fence_command_look(struct vm *vm)
{
	const struct config *c = &vm->d->conf;
	const char *core = vm->now.stats.core;
	struct fo_times t = daemon_times(vm->d);

	if (!c->fence_command[0] || vm->fencer.begun)
		return;
	if (!strcmp(core, "PROMOTING") && !vm->now.stats.asked_to_run) {
		vm->fencer.begun = true;
		run(vm);
	} else if (!strcmp(core, "WAITING") && c->fence_required) {
		vm->fencer.begun = vm->fencer.decides = true;
		arm(vm, t.reconnect_grace_ns);
	}
}

bool fence_command_exit(struct daemon *d, pid_t pid, int status)
{
	bool off = WIFEXITED(status) && !WEXITSTATUS(status);
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (vm->fencer.pid == pid)
			break;
	if (!vm)
		return false;
	vm->fencer.pid = 0;
	event_del(vm->fencer.timer);
	if (off)
		events_vm(vm, EVENTS_FENCE_DONE, NULL, "%s: fence_command reports that %s is off",
			  vm->name, vm->saved.peer.name);
	else
		events_vm(vm, EVENTS_FENCE_FAILED, NULL,
			  "%s: fence_command against %s failed (%s %d)", vm->name,
			  vm->saved.peer.name, WIFEXITED(status) ? "exit status" : "signal",
			  WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	if (!vm->fencer.decides)
		return true;
	if (off && vm->now.rep)
		ctl_send(vm->now.rep, session_message(SESSION_OP_PROMOTE, NULL));
	else
		arm(vm, daemon_times(vm->d).reprotect_last_ns);
	return true;
}

void fence_command_drop(struct vm *vm)
{
	if (vm->fencer.pid > 0)
		kill(-vm->fencer.pid, SIGKILL);
	if (vm->fencer.timer)
		event_free(vm->fencer.timer);
}
