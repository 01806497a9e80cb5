/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts processes: replicators, and short-lived helpers for what may block. */
#include "daemon/clones.h"
#include "daemon/daemon.h"
#include "daemon/passing.h"
#include "daemon/drills.h"
#include "daemon/health.h"
#include "daemon/ready.h"
#include "daemon/roster.h"
#include "hv/proxy/proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RETRY_NS (500 * TV_NS_PER_MS)

extern char **environ;

/* Starts this program with these arguments; fds, NULL or two of them, become its 3 and 4. */
static int spawn_as(const char *const *argv, const int *fds, pid_t *pid, struct tv_err *e)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none;
	int r;

	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&at);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&at, &none);
	/* A session of its own: a signal to the daemon's group is not meant for replicators. */
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
	for (int i = 0; fds && i < 2; i++)
		posix_spawn_file_actions_adddup2(&fa, fds[i], 3 + i);
	r = posix_spawn(pid, "/proc/self/exe", &fa, &at, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&at);
	return r ? tv_fail(e, -r, "cannot start %s: %s", argv[1], strerror(r)) : 0;
}

static int spawn(const char *kind, const char *job, const int *fds, pid_t *pid, struct tv_err *e)
{
	const char *const argv[] = {"twinvmd", "replicate", kind, job, NULL};

	return spawn_as(argv, fds, pid, e);
}

void vm_job(const struct vm *vm, struct job *out)
{
	const struct vm_saved *s = &vm->saved;
	struct fo_own own;

	generation_read(vm->d, vm->id, &own);
	*out = (struct job){.conf = vm->d->conf,
			    .vm_pid = s->qemu.pid,
			    .vm_start_ticks = s->qemu.start_ticks,
			    .peer = s->peer,
			    .epoch_ms = s->epoch_ms,
			    .by_operator = vm->by_operator,
			    .generation = s->generation,
			    .had_record = s->was_protected && vm_has_arbiter(vm)};
	tv_copy(out->vm_id, sizeof(out->vm_id), vm->id);
	tv_copy(out->vm_name, sizeof(out->vm_name), vm->name);
	tv_copy(out->vm_qmp, sizeof(out->vm_qmp), s->qemu.qmp_path);
	tv_copy(out->mode, sizeof(out->mode), s->mode);
	tv_copy(out->arbiter, sizeof(out->arbiter), s->arbiter);
	tv_copy(out->session, sizeof(out->session), s->session);
	tv_copy(out->last_backup, sizeof(out->last_backup), own.backup);
}

static char *job_of(const struct vm *vm)
{
	struct job j;

	vm_job(vm, &j);
	return job_to_text(&j);
}

/*
 * Where the VM's tools need the only monitor that it has. *report is the pipe's end to be waited at
 * (hv_proxy_await), -1: there is no need to, as one serves already or there is to be none.
 */
static int start_proxy(struct vm *vm, int *report, struct tv_err *e)
{
	TV_FREE char *job = job_of(vm);
	int fds[2], rc;
	pid_t pid;

	*report = -1;
	if (proxies_has(vm->d, vm->id) ||
	    !hv_proxy_wants(&vm->saved.qemu, vm->d->conf.share_monitors))
		return 0;
	if (!job || pipe2(fds, O_CLOEXEC))
		return tv_fail(e, -ENOMEM, "no pipe for the proxy of the monitor");
	rc = spawn("proxy", job, (int[]){fds[1], fds[1]}, &pid, e);
	close(fds[1]);
	if (rc) {
		close(fds[0]);
		return rc;
	}
	proxies_add(vm->d, vm->id, pid);
	*report = fds[0];
	return 0;
}

static int spawn_source(struct vm *vm, int report, struct tv_err *e)
{
	TV_FREE char *text = NULL;
	struct job j;

	vm_job(vm, &j);
	j.waits_for_proxy = report >= 0;
	text = job_to_text(&j);
	if (!text)
		return tv_fail(e, -ENOMEM, "no memory");
	return spawn("source", text, report < 0 ? NULL : (int[]){report, report}, &vm->now.child,
		     e);
}

int vm_start_source(struct vm *vm, struct tv_err *e)
{
	TV_CLOSE int report = -1;
	int rc;

	hv_vm_uuid(vm->saved.qemu.pid, vm->saved.uuid);
	tv_random_hex(vm->saved.session, 16);
	vm->now = (struct vm_session){.awaited = vm->now.awaited};
	json_decref(vm->disks);
	vm->disks = NULL;
	/* The session is on disk before anything can be recorded in its name, or protected. */
	rc = vm_save(vm, e);
	if (!rc)
		rc = elsewhere_note(vm, false, e);
	if (!rc)
		rc = start_proxy(vm, &report, e);
	if (!rc)
		rc = spawn_source(vm, report, e);
	if (rc) {
		elsewhere_forget(vm->d, vm->id);
		return rc;
	}
	vm->phase = VM_RUNNING;
	vm->now.stats_ns = tv_now_ns();
	vm->now.replicator = vm->now.child;
	return 0;
}

int spawn_sink(struct daemon *d, int fd, int latch, pid_t *pid, struct tv_err *e)
{
	const int fds[2] = {fd, latch};
	struct job j = {.conf = d->conf};
	TV_FREE char *text = job_to_text(&j);

	return text ? spawn("sink", text, fds, pid, e) : tv_fail(e, -ENOMEM, "no memory");
}

int spawn_look(struct daemon *d, const struct session_register *as, int fd, pid_t *pid,
	       struct tv_err *e)
{
	const int fds[2] = {fd, fd};
	struct job j = {.conf = d->conf};
	TV_FREE char *text = NULL;

	tv_copy(j.vm_id, sizeof(j.vm_id), as->vm_id);
	tv_copy(j.vm_name, sizeof(j.vm_name), as->name);
	tv_copy(j.arbiter, sizeof(j.arbiter), as->arbiter);
	text = job_to_text(&j);
	return text ? spawn("look", text, fds, pid, e) : tv_fail(e, -ENOMEM, "no memory");
}

/* No replicator: it is of no session, and lives as long as the daemon. */
int spawn_watch(struct daemon *d, int fd, pid_t *pid, struct tv_err *e)
{
	const int fds[2] = {fd, fd};
	struct job j = {.conf = d->conf};
	TV_FREE char *text = job_to_text(&j);
	const char *const argv[] = {"twinvmd", "watch", text, NULL};

	return text ? spawn_as(argv, fds, pid, e) : tv_fail(e, -ENOMEM, "no memory");
}

int spawn_pass(struct daemon *d, const struct fo_candidate *peer, int fd, pid_t *pid,
	       struct tv_err *e)
{
	const int fds[2] = {fd, fd};
	struct job j = {.conf = d->conf, .peer = *peer};
	TV_FREE char *text = job_to_text(&j);
	const char *const argv[] = {"twinvmd", "pass", text, NULL};

	return text ? spawn_as(argv, fds, pid, e) : tv_fail(e, -ENOMEM, "no memory");
}

int spawn_may_start(struct daemon *d, const struct elsewhere *x, int fd, pid_t *pid,
		    struct tv_err *e)
{
	const int fds[2] = {fd, fd};
	struct job j = {.conf = d->conf, .generation = x->generation, .had_record = true};
	TV_FREE char *text = NULL;

	tv_copy(j.vm_id, sizeof(j.vm_id), x->id);
	tv_copy(j.vm_name, sizeof(j.vm_name), x->name);
	tv_copy(j.arbiter, sizeof(j.arbiter), x->arbiter);
	tv_copy(j.session, sizeof(j.session), x->session);
	tv_copy(j.peer.name, sizeof(j.peer.name), x->host);
	text = job_to_text(&j);
	return text ? spawn("may-start", text, fds, pid, e) : tv_fail(e, -ENOMEM, "no memory");
}

int spawn_suspend(struct daemon *d, const struct hv_vm_id *qemu, bool suspend, int fd, pid_t *pid,
		  struct tv_err *e)
{
	const int fds[2] = {fd, fd};
	struct job j = {.conf = d->conf, .vm_pid = qemu->pid, .vm_start_ticks = qemu->start_ticks};
	TV_FREE char *text = NULL;

	tv_copy(j.vm_name, sizeof(j.vm_name), qemu->name);
	tv_copy(j.vm_qmp, sizeof(j.vm_qmp), qemu->qmp_path);
	text = job_to_text(&j);
	return text ? spawn(suspend ? "suspend" : "resume", text, fds, pid, e)
		    : tv_fail(e, -ENOMEM, "no memory");
}

int spawn_web(struct daemon *d, int fd, pid_t *pid, struct tv_err *e)
{
	const int fds[2] = {fd, fd};
	struct job j = {.conf = d->conf};
	TV_FREE char *text = job_to_text(&j);
	const char *const argv[] = {"twinvmd", "web", text, NULL};

	return text ? spawn_as(argv, fds, pid, e) : tv_fail(e, -ENOMEM, "no memory");
}

int spawn_cluster(struct daemon *d, const char *op, int fd, pid_t *pid, struct tv_err *e)
{
	struct job j = {.conf = d->conf};
	TV_FREE char *text = job_to_text(&j);
	const char *const argv[] = {"twinvmd", "cluster", op, text, NULL};

	return text ? spawn_as(argv, (int[]){fd, fd}, pid, e) : tv_fail(e, -ENOMEM, "no memory");
}

int spawn_keeper(const int fds[2], pid_t *pid, struct tv_err *e)
{
	const char *const argv[] = {"twinvmd", "keeper", NULL};

	return spawn_as(argv, fds, pid, e);
}

int spawn_clones(int fd, pid_t *pid, struct tv_err *e)
{
	const int fds[2] = {fd, fd};
	const char *const argv[] = {"twinvmd", "clones", NULL};

	return spawn_as(argv, fds, pid, e);
}

int spawn_pinger(const char *bridge, const char *address, int fd, pid_t *pid, struct tv_err *e)
{
	const char *const argv[] = {"twinvmd", "pinger", bridge, address, NULL};

	return spawn_as(argv, (int[]){fd, fd}, pid, e);
}

int spawn_hardware(struct daemon *d, int fd, pid_t *pid, struct tv_err *e)
{
	const int fds[2] = {fd, fd};
	struct job j = {.conf = d->conf};
	TV_FREE char *text = job_to_text(&j);
	const char *const argv[] = {"twinvmd", "hardware", text, NULL};

	return text ? spawn_as(argv, fds, pid, e) : tv_fail(e, -ENOMEM, "no memory");
}

int spawn_ready(struct vm *vm, bool ask_fence, int fd, pid_t *pid, struct tv_err *e)
{
	TV_FREE char *job = job_of(vm);

	return job ? spawn(ask_fence ? "ready-fence" : "ready", job, (int[]){fd, fd}, pid, e)
		   : tv_fail(e, -ENOMEM, "no memory");
}

static void helper(struct vm *vm, const char *kind, enum vm_phase phase)
{
	TV_FREE char *job = job_of(vm);
	struct tv_err e = {0};

	vm->phase = phase;
	if (!job || spawn(kind, job, NULL, &vm->now.child, &e)) {
		tv_log(TV_ERROR, "%s: %s; it is tried again", vm->name, e.text);
		vm->now.child = 0;
		vm_timer(vm, RETRY_NS);
	}
}

void vm_start_recovery(struct vm *vm)
{
	helper(vm, "recover", VM_RECOVERING);
}

void vm_start_fence(struct vm *vm)
{
	helper(vm, "fence", VM_FENCING);
}

/*
 * May hang with the directory's server, so a process of its own does it. The record of a VM that
 * has changed hosts stays: it is what stops an old primary that was asleep.
 */
void vm_settle_at_arbiter(struct vm *vm, bool remove)
{
	TV_FREE char *job = job_of(vm);
	struct tv_err e = {0};
	pid_t pid;

	if (strcmp(vm->saved.arbiter, "none") != 0 && job &&
	    spawn(remove && vm->saved.generation == 1 ? "forget" : "settle", job, NULL, &pid, &e))
		tv_log(TV_WARN, "%s: %s", vm->name, e.text);
}
