/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fence_command: a program of the user's that switches a host off (IPMI, a power strip, a cloud's
 * API). Run on the backup's host against the host that ran the VM.
 *
 * With an arbiter it is run as soon as the arbiter has given the VM to us, before the standby runs,
 * and not waited for: one writer is certain already (the old primary's lease is over, so it
 * releases nothing and stops its VM), and a power switch that takes seconds, or is itself dead,
 * must not keep the VM down. What it adds is that a host which hangs does not stay half alive.
 *
 * Without an arbiter nobody but a person can tell a dead primary from a cut cable. With
 * `fence_required = yes` the program's exit status 0 is that person: "it is off now". Then, and
 * only then, the standby is promoted by itself. It is begun only after reconnect_grace_ns of
 * silence, as it ends whatever else runs on that host. A primary that was cut off has run alone
 * meanwhile, as it may without an arbiter: what it answered in that time is lost.
 *
 * Not run at a planned switch, or when the primary's own replicator says that its QEMU died: that
 * host is well.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static const char *stat_of(const struct vm *vm, const char *key)
{
	const char *s = json_string_value(json_object_get(vm->stats, key));

	return s ? s : "";
}

static struct fo_times times_of(const struct vm *vm)
{
	struct fo_times t;

	fo_times_init(&t, vm->d->conf.heartbeat_ms * TV_NS_PER_MS);
	return t;
}

/* Starts argv[0] with our environment and what it is about. A group of its own, to be ended
 * whole. */
static int start(struct vm *vm, pid_t *pid)
{
	char words[5][200], *argv[] = {vm->d->conf.fence_command, vm->peer_name, NULL};
	const char *path = getenv("PATH");
	char search[512], *env[7] = {words[0], words[1], words[2], words[3], words[4], search};
	posix_spawnattr_t at;
	sigset_t none;
	int r;

	snprintf(words[0], sizeof(words[0]), "TWINVM_VM=%s", vm->name);
	snprintf(words[1], sizeof(words[1]), "TWINVM_VM_ID=%s", vm->id);
	snprintf(words[2], sizeof(words[2]), "TWINVM_HOST=%s", vm->peer_name);
	snprintf(words[3], sizeof(words[3]), "TWINVM_ADDRESS=%s", vm->peer_host);
	snprintf(words[4], sizeof(words[4]), "TWINVM_GENERATION=%llu",
		 (unsigned long long)vm->generation);
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
	struct fo_times t = times_of(vm);
	int rc = start(vm, &vm->fencer);

	if (rc) {
		vm->fencer = 0;
		tv_log(TV_ERROR, "fence_command %s: %s", vm->d->conf.fence_command,
		       tv_strerror(rc));
		if (vm->fence_decides)
			arm(vm, t.reprotect_last_ns);
		return;
	}
	tv_log(TV_WARN, "%s: running fence_command against %s", vm->name, vm->peer_name);
	arm(vm, t.fence_ns);
}

/* The limit of one that runs, or the moment for the next one. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct vm *vm = arg;

	(void)fd;
	(void)what;
	if (vm->fencer > 0) {
		tv_log(TV_ERROR, "fence_command against %s did not end in time: ended",
		       vm->peer_name);
		kill(-vm->fencer, SIGKILL);
	} else if (vm->fence_decides && vm->rep && !strcmp(stat_of(vm, "core"), "WAITING")) {
		run(vm);
	} else {
		vm->fence_decides = vm->fence_begun = false; /* the primary is heard again */
	}
}

static void arm(struct vm *vm, int64_t ns)
{
	struct timeval tv = {ns / TV_NS_PER_S, ns % TV_NS_PER_S / 1000};

	if (!vm->fence_timer)
		vm->fence_timer = evtimer_new(vm->d->base, on_timer, vm);
	event_add(vm->fence_timer, &tv);
}

void fence_command_look(struct vm *vm)
{
	const struct config *c = &vm->d->conf;
	const char *core = stat_of(vm, "core");
	struct fo_times t = times_of(vm);

	if (!c->fence_command[0] || vm->fence_begun)
		return;
	if (!strcmp(core, "PROMOTING") && !json_is_true(json_object_get(vm->stats, "told"))) {
		vm->fence_begun = true;
		run(vm);
	} else if (!strcmp(core, "WAITING") && c->fence_required) {
		vm->fence_begun = vm->fence_decides = true;
		arm(vm, t.reconnect_grace_ns);
	}
}

bool fence_command_exit(struct daemon *d, pid_t pid, int status)
{
	bool off = WIFEXITED(status) && !WEXITSTATUS(status);
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (vm->fencer == pid)
			break;
	if (!vm)
		return false;
	vm->fencer = 0;
	event_del(vm->fence_timer);
	if (off)
		tv_log(TV_WARN, "%s: fence_command says that %s is off", vm->name, vm->peer_name);
	else
		tv_log(TV_ERROR, "%s: fence_command against %s failed (%s %d)", vm->name,
		       vm->peer_name, WIFEXITED(status) ? "exit status" : "signal",
		       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	if (!vm->fence_decides)
		return true;
	if (off && vm->rep)
		ctl_send(vm->rep, json_pack("{ss}", "op", "promote"));
	else
		arm(vm, times_of(vm).reprotect_last_ns);
	return true;
}

void fence_command_drop(struct vm *vm)
{
	if (vm->fencer > 0)
		kill(-vm->fencer, SIGKILL);
	if (vm->fence_timer)
		event_free(vm->fence_timer);
}
