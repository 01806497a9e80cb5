/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: replicators and their ends
 *
 * A replicator introduces itself over the control socket, tells its state, hands over what must
 * outlive it, and says how it ended ("done"). One that ends without a word died: then the daemon's
 * copies of the capture sockets are drained (what comes out is thrown away: a network may lose
 * frames, but QEMU may not block), a recovery process records that the VM runs alone and lets it
 * go, and a new replicator starts over.
 *
 * The daemon's own death: replicators go on by themselves and introduce themselves to the next
 * daemon. After a start, one that does not come within a moment is taken for dead.
 */
#include "daemon/capture.h"
#include "daemon/daemon.h"
#include "daemon/job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define RETRY_FIRST_NS (300 * TV_NS_PER_MS)
#define RETRY_LAST_NS (5 * TV_NS_PER_S)
#define INTRODUCTION_NS (1500 * TV_NS_PER_MS)
#define MAX_PENDING_SINKS 32

extern char **environ;

static void recover(struct vm *vm);

/* Starts ourselves as `replicate KIND JOB`; conn_fd >= 0 becomes its fd 3. */
static int spawn(const char *kind, const char *job, int conn_fd, pid_t *pid, struct tv_err *e)
{
	char *argv[] = {"twinvmd", "replicate", (char *)kind, (char *)job, NULL};
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
	if (conn_fd >= 0)
		posix_spawn_file_actions_adddup2(&fa, conn_fd, 3);
	r = posix_spawn(pid, "/proc/self/exe", &fa, &at, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&at);
	return r ? tv_fail(e, -r, "cannot start a replicator: %s", strerror(r)) : 0;
}

static char *job_of(const struct vm *vm)
{
	struct job j = {.conf = vm->d->conf};

	snprintf(j.vm_id, sizeof(j.vm_id), "%s", vm->id);
	snprintf(j.vm_name, sizeof(j.vm_name), "%s", vm->name);
	j.vm_pid = vm->qemu.pid;
	j.vm_start_ticks = vm->qemu.start_ticks;
	snprintf(j.vm_qmp, sizeof(j.vm_qmp), "%s", vm->qemu.qmp_path);
	snprintf(j.peer_name, sizeof(j.peer_name), "%s", vm->peer_name);
	snprintf(j.peer_host, sizeof(j.peer_host), "%s", vm->peer_host);
	j.peer_port = vm->peer_port;
	snprintf(j.mode, sizeof(j.mode), "%s", vm->mode);
	j.epoch_ms = vm->epoch_ms;
	snprintf(j.arbiter, sizeof(j.arbiter), "%s", vm->arbiter);
	j.generation = vm->generation;
	snprintf(j.session, sizeof(j.session), "%s", vm->session);
	return job_to_text(&j);
}

void vm_tell(struct vm *vm, json_t *msg, bool final)
{
	if (!vm->waiter) {
		json_decref(msg);
		return;
	}
	ctl_send(vm->waiter, msg);
	if (!final)
		return;
	ctl_close_when_sent(vm->waiter);
	vm->waiter = NULL;
}

static void tell_end(struct vm *vm, int rc, const char *text)
{
	vm_tell(vm, json_pack("{sb si ss}", "done", 1, "rc", rc, "error", text), true);
}

int vm_start_source(struct vm *vm, struct tv_err *e)
{
	TV_FREE char *job = NULL;
	int rc;

	tv_random_hex(vm->session, 16);
	job = job_of(vm);
	vm->done = false;
	json_decref(vm->stats);
	vm->stats = NULL;
	rc = job ? spawn("source", job, -1, &vm->child, e) : tv_fail(e, -ENOMEM, "no memory");
	if (rc)
		return rc;
	vm->phase = VM_RUNNING;
	vm->replicator = vm->child;
	vm_save(vm); /* the session is known before anything can be recorded in its name */
	return 0;
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct vm *vm = arg;
	struct tv_err e = {0};

	(void)fd;
	(void)what;
	if (vm->phase == VM_RECOVERING) {
		recover(vm);
		return;
	}
	if (vm->phase != VM_IDLE || !vm->wanted)
		return;
	if (tv_pid_start_ticks(vm->qemu.pid) != vm->qemu.start_ticks) {
		tv_log(TV_INFO, "%s has ended while it ran alone: forgotten", vm->name);
		vm_drop(vm);
		return;
	}
	if (vm_start_source(vm, &e))
		tv_log(TV_ERROR, "%s: %s", vm->name, e.text);
}

static void retry_later(struct vm *vm)
{
	int64_t ns = RETRY_FIRST_NS << (vm->failures < 4 ? vm->failures : 4);
	struct timeval tv;

	vm->failures++;
	if (ns > RETRY_LAST_NS)
		ns = RETRY_LAST_NS;
	tv = (struct timeval){ns / TV_NS_PER_S, ns % TV_NS_PER_S / 1000};
	if (!vm->retry)
		vm->retry = evtimer_new(vm->d->base, on_retry, vm);
	event_add(vm->retry, &tv);
}

/* ---- what a dead replicator leaves ---- */
static void on_drain(evutil_socket_t fd, short what, void *arg)
{
	char waste[65536];
	struct vm *vm = arg;

	(void)what;
	if (recv(fd, waste, sizeof(waste), MSG_DONTWAIT) != 0)
		return;
	for (unsigned i = 0; i < vm->stash_n; i++) /* QEMU's end is closed */
		if (vm->stash[i] == fd && vm->drain[i])
			event_del(vm->drain[i]);
}

static void stash_drain(struct vm *vm)
{
	for (unsigned i = 0; i < vm->stash_n; i += 2) { /* capture, inject, capture, inject... */
		if (vm->drain[i])
			continue;
		vm->drain[i] =
			event_new(vm->d->base, vm->stash[i], EV_READ | EV_PERSIST, on_drain, vm);
		event_add(vm->drain[i], NULL);
	}
}

static void stash_close(struct vm *vm)
{
	for (unsigned i = 0; i < vm->stash_n; i++) {
		if (vm->drain[i])
			event_free(vm->drain[i]);
		vm->drain[i] = NULL;
		close(vm->stash[i]);
	}
	vm->stash_n = 0;
}

static void recover(struct vm *vm)
{
	TV_FREE char *job = job_of(vm);
	struct tv_err e = {0};

	vm->phase = VM_RECOVERING;
	if (!job || spawn("recover", job, -1, &vm->child, &e)) {
		tv_log(TV_ERROR, "%s: %s; trying again", vm->name, e.text);
		vm->child = 0;
		retry_later(vm);
	}
}

static void forget_at_arbiter(struct vm *vm)
{
	/* Done by the recovery's own kind of process? It is one unlink: a hang here would hold up
	 * all VMs, so a detached child does it. */
	TV_FREE char *job = job_of(vm);
	struct tv_err e = {0};
	pid_t pid;

	if (strcmp(vm->arbiter, "none") != 0 && job && spawn("forget", job, -1, &pid, &e))
		tv_log(TV_WARN, "%s: %s", vm->name, e.text);
}

static void after_loss(struct vm *vm, int rc, const char *text)
{
	vm->phase = VM_IDLE;
	snprintf(vm->reason, sizeof(vm->reason), "%s", text);
	if (!vm->was_protected) { /* protect itself failed: as if it had never been given */
		tell_end(vm, rc ? rc : -EIO, text);
		vm->wanted = false;
		if (vm->fresh) {
			forget_at_arbiter(vm);
			vm_drop(vm);
		} else { /* a VM that failed over to here stays known, and so does its record */
			vm->was_protected = true;
			vm_save(vm);
		}
		return;
	}
	if (vm->waiter && vm->waiter_leaves) {
		tell_end(vm, 0, "");
		forget_at_arbiter(vm);
		vm_drop(vm);
		return;
	}
	vm_save(vm);
	if (vm->wanted)
		retry_later(vm);
}

static void recovered(struct vm *vm, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;

	vm->child = 0;
	if (code == RECOVER_FENCED) {
		vm->phase = VM_FENCED;
		vm->wanted = false;
		stash_close(vm);
		snprintf(vm->reason, sizeof(vm->reason),
			 "another host runs this VM; our copy was stopped and kept for inspection");
		tell_end(vm, TV_E_REFUSED, vm->reason);
		vm_save(vm);
		return;
	}
	if (code) {
		retry_later(vm);
		return;
	}
	stash_close(vm);
	if (tv_pid_start_ticks(vm->qemu.pid) != vm->qemu.start_ticks) {
		tell_end(vm, TV_E_GONE, "the VM has ended");
		vm_drop(vm);
		return;
	}
	after_loss(vm, -EIO, "the replicator died; starting over");
}

/* ---- how sessions end ---- */
static void source_ended(struct vm *vm)
{
	const char *outcome = json_string_value(json_object_get(vm->stats, "outcome"));
	const char *text = json_string_value(json_object_get(vm->stats, "text"));
	int rc = (int)json_integer_value(json_object_get(vm->stats, "rc"));

	vm->replicator = 0;
	if (!vm->done || !outcome) {
		tv_log(TV_ERROR, "replicator of %s died, cleaning up", vm->name);
		stash_drain(vm);
		recover(vm);
		return;
	}
	stash_close(vm);
	text = text ? text : "";
	if (!strcmp(outcome, "left") || !strcmp(outcome, "vm-gone") ||
	    !strcmp(outcome, "taken-over")) {
		bool left = !strcmp(outcome, "left");

		tv_log(TV_INFO, "%s: %s", vm->name, left ? "not protected any more" : text);
		tell_end(vm, left ? 0 : vm->waiter_leaves ? 0 : TV_E_GONE, left ? "" : text);
		if (strcmp(outcome, "taken-over") != 0)
			forget_at_arbiter(vm);
		vm_drop(vm);
	} else if (!strcmp(outcome, "fenced")) {
		vm->phase = VM_FENCED;
		vm->wanted = false;
		snprintf(vm->reason, sizeof(vm->reason),
			 "%s; our copy was stopped and kept for inspection", text);
		tell_end(vm, TV_E_REFUSED, vm->reason);
		vm_save(vm);
	} else {
		after_loss(vm, rc, text);
	}
}

static void sink_ended(struct vm *vm)
{
	const char *outcome = json_string_value(json_object_get(vm->stats, "outcome"));
	struct ctl *next = vm->next_sink;

	vm->replicator = 0;
	vm->next_sink = NULL;
	if (vm->done && outcome && !strcmp(outcome, "promoted")) {
		json_t *s = vm->stats;

		vm->role = VM_PRIMARY;
		vm->phase = VM_IDLE;
		vm->was_protected = true;
		vm->wanted = false; /* a new backup is chosen by a person for now */
		vm->generation = (uint64_t)json_integer_value(json_object_get(s, "generation"));
		vm->qemu.pid = (pid_t)json_integer_value(json_object_get(s, "pid"));
		vm->qemu.start_ticks =
			(uint64_t)json_integer_value(json_object_get(s, "start_ticks"));
		snprintf(vm->qemu.qmp_path, sizeof(vm->qemu.qmp_path), "%s",
			 json_string_value(json_object_get(s, "qmp")));
		snprintf(vm->reason, sizeof(vm->reason),
			 "failed over from %s; protect it again to another host", vm->peer_name);
		tv_log(TV_WARN, "%s failed over from %s: it runs here now, alone (generation %llu)",
		       vm->name, vm->peer_name, (unsigned long long)vm->generation);
		json_object_del(vm->stats, "outcome");
		tell_end(vm, 0, "");
		vm_save(vm);
		if (next)
			ctl_send(next, json_pack("{ss ss}", "op", "refuse", "text",
						 "this host runs the VM itself"));
		return;
	}
	if (!vm->done && vm->qemu.pid) {
		tv_log(TV_ERROR, "replicator of the standby of %s died: ending the standby",
		       vm->name);
		hv_standby_reap(vm->qemu.pid, vm->qemu.start_ticks, vm->dir);
	}
	tell_end(vm, -EIO, "the standby has ended");
	if (!next) {
		vm_drop(vm);
		return;
	}
	/* The newer session goes on in the entry of the old one. */
	vm->qemu = (struct hv_vm_id){0};
	vm->rep = next;
	vm->phase = VM_RUNNING;
	vm->done = false;
	json_decref(vm->stats);
	vm->stats = NULL;
	ctl_send(next, json_pack("{ss}", "op", "go"));
}

static void session_ended(struct vm *vm)
{
	if (vm->role == VM_PRIMARY)
		source_ended(vm);
	else
		sink_ended(vm);
}

void supervise_child_exit(struct daemon *d, pid_t pid, int status)
{
	struct vm *vm;

	for (unsigned i = 0; i < d->pending_sinks; i++)
		if (d->pending[i] == pid) {
			d->pending[i] = d->pending[--d->pending_sinks];
			break;
		}
	TAILQ_FOREACH(vm, &d->vms, link)
	if (vm->child == pid)
		break;
	if (!vm)
		return;
	if (vm->phase == VM_RECOVERING) {
		recovered(vm, status);
		return;
	}
	vm->child = 0;
	/* With a connection its end is told there, after everything it had said was read. */
	if (!vm->rep && vm->replicator == pid)
		session_ended(vm);
}

/* ---- messages of replicators ---- */
static void rep_closed(struct ctl *c, void *arg)
{
	struct vm *vm = arg;

	ctl_free(c);
	if (vm->next_sink == c) { /* the newer session gave up while it waited */
		vm->next_sink = NULL;
		return;
	}
	if (vm->rep != c)
		return;
	vm->rep = NULL;
	/* It does not talk to us any more: either it has ended, or it must. */
	if (vm->replicator > 0 && !vm->done)
		kill(vm->replicator, SIGKILL);
	session_ended(vm);
}

static void take_stash(struct vm *vm, const int *fds, unsigned n)
{
	stash_close(vm);
	memcpy(vm->stash, fds, n * sizeof(*fds));
	vm->stash_n = n;
}

static void on_protected(struct vm *vm)
{
	vm->was_protected = true;
	vm->fresh = false;
	vm->failures = 0;
	vm->reason[0] = 0;
	tv_log(TV_INFO, "%s is protected by %s", vm->name, vm->peer_name);
	vm_save(vm);
	if (!vm->waiter_leaves)
		vm_tell(vm,
			json_pack("{sb si s{ss ss ss}}", "done", 1, "rc", 0, "vm", "name", vm->name,
				  "id", vm->id, "peer", vm->peer_name),
			true);
}

static void rep_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	const char *op = json_string_value(json_object_get(msg, "op"));
	struct vm *vm = arg;

	if (op && !strcmp(op, "stash") && n) {
		take_stash(vm, fds, n);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	if (!op || vm->rep != c)
		return;
	if (!strcmp(op, "stats") || !strcmp(op, "done")) {
		/* The last counters stay readable after the end. */
		if (!vm->stats)
			vm->stats = json_object();
		json_object_update(vm->stats, msg);
		vm->done = !strcmp(op, "done");
		if (!vm->done)
			vm_tell(vm,
				json_pack("{sO? sO?}", "progress", json_object_get(msg, "progress"),
					  "state", json_object_get(msg, "state")),
				false);
	} else if (!strcmp(op, "protected")) {
		on_protected(vm);
	} else if (!strcmp(op, "register")) { /* a backup's standby has got its pid */
		vm->qemu.pid = (pid_t)json_integer_value(json_object_get(msg, "standby_pid"));
		vm->qemu.start_ticks =
			(uint64_t)json_integer_value(json_object_get(msg, "standby_start"));
		snprintf(vm->qemu.qmp_path, sizeof(vm->qemu.qmp_path), "%s",
			 json_string_value(json_object_get(msg, "qmp")));
		vm_save(vm);
	} else if (!strcmp(op, "promote-answer")) {
		if (!json_is_true(json_object_get(msg, "ok")))
			tell_end(vm, TV_E_REFUSED, json_string_value(json_object_get(msg, "text")));
	}
}

static const struct ctl_ops rep_ops = {rep_message, rep_closed};

static void register_backup(struct daemon *d, struct ctl *c, json_t *msg, const char *id)
{
	struct vm *vm = vm_by_id(d, id);
	const char *name, *dir, *peer, *session, *arbiter;
	pid_t pid;

	if (json_unpack(msg, "{ss ss ss ss ss si}", "name", &name, "dir", &dir, "peer", &peer,
			"session", &session, "arbiter", &arbiter, "pid", &pid)) {
		ctl_close_when_sent(c);
		return;
	}
	if (vm && vm->role == VM_PRIMARY) {
		if (tv_pid_start_ticks(vm->qemu.pid) == vm->qemu.start_ticks &&
		    vm->phase != VM_FENCED) {
			ctl_send(c, json_pack("{ss ss}", "op", "refuse", "text",
					      "this host runs the VM itself"));
			return;
		}
		/* What an earlier life of this host left; it takes the run directory with it. */
		vm_drop(vm);
		vm = NULL;
		if (tv_mkdirs(dir))
			tv_log(TV_WARN, "cannot make %s", dir);
	}
	if (vm && vm->rep && strcmp(vm->session, session) != 0) {
		if (vm->next_sink)
			ctl_send(vm->next_sink,
				 json_pack("{ss ss}", "op", "refuse", "text", "replaced"));
		vm->next_sink = c;
		ctl_set_arg(c, &rep_ops, vm);
		ctl_send(vm->rep, json_pack("{ss}", "op", "discard"));
	} else {
		bool adopted = vm && !strcmp(vm->session, session);

		if (!vm)
			vm = vm_new(d, id, name, VM_BACKUP);
		else if (!adopted &&
			 vm->qemu.pid) /* the standby of a session that died with the last daemon */
			hv_standby_reap(vm->qemu.pid, vm->qemu.start_ticks, vm->dir);
		ctl_set_arg(c, &rep_ops, vm);
		vm->rep = c;
		vm->phase = VM_RUNNING;
		vm->done = false;
		if (!adopted)
			vm->qemu = (struct hv_vm_id){0};
		ctl_send(c, json_pack("{ss}", "op", "go"));
	}
	vm->replicator = pid;
	vm->child = 0;
	for (unsigned i = 0; i < d->pending_sinks; i++)
		if (d->pending[i] == pid)
			d->pending[i] = d->pending[--d->pending_sinks];
	snprintf(vm->dir, sizeof(vm->dir), "%s", dir);
	snprintf(vm->peer_name, sizeof(vm->peer_name), "%s", peer);
	snprintf(vm->session, sizeof(vm->session), "%s", session);
	snprintf(vm->arbiter, sizeof(vm->arbiter), "%s", arbiter);
	vm->generation = (uint64_t)json_integer_value(json_object_get(msg, "generation"));
	vm_save(vm);
}

void supervise_register(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *role = json_string_value(json_object_get(msg, "role"));
	const char *id = json_string_value(json_object_get(msg, "vm_id"));
	const char *session = json_string_value(json_object_get(msg, "session"));
	struct vm *vm;

	if (!role || !id || strlen(id) != 32 || !session) {
		ctl_close_when_sent(c);
		return;
	}
	if (!strcmp(role, "backup")) {
		register_backup(d, c, msg, id);
		return;
	}
	vm = vm_by_id(d, id);
	if (!vm || vm->role != VM_PRIMARY || vm->rep || strcmp(vm->session, session) != 0) {
		/* Not one that we know: it must let its VM go. */
		ctl_send(c, json_pack("{ss}", "op", "leave"));
		return;
	}
	vm->rep = c;
	vm->replicator = (pid_t)json_integer_value(json_object_get(msg, "pid"));
	vm->phase = VM_RUNNING;
	vm->done = false;
	ctl_set_arg(c, &rep_ops, vm);
}

int supervise_accept(struct daemon *d, int fd, struct tv_err *e)
{
	struct job j = {.conf = d->conf, .peer_port = 1};
	TV_FREE char *text = NULL;
	pid_t pid;
	int rc;

	/* Peers that have not said who they are may take a bounded number of processes. */
	if (d->pending_sinks == MAX_PENDING_SINKS)
		return tv_fail(e, -EAGAIN,
			       "too many connections that have not introduced themselves");
	text = job_to_text(&j);
	rc = text ? spawn("sink", text, fd, &pid, e) : tv_fail(e, -ENOMEM, "no memory");
	if (!rc)
		d->pending[d->pending_sinks++] = pid;
	return rc;
}

/* ---- after a start ---- */
static void not_introduced(evutil_socket_t fd, short what, void *arg)
{
	struct vm *vm = arg;

	(void)fd;
	(void)what;
	event_free(vm->retry);
	vm->retry = NULL;
	if (vm->rep || vm->phase != VM_IDLE)
		return;
	if (vm->role == VM_BACKUP) {
		if (vm->qemu.pid)
			hv_standby_reap(vm->qemu.pid, vm->qemu.start_ticks, vm->dir);
		vm_drop(vm);
	} else if (tv_pid_start_ticks(vm->qemu.pid) != vm->qemu.start_ticks) {
		tv_log(TV_INFO, "%s has ended: forgotten", vm->name);
		vm_drop(vm);
	} else if (vm->wanted) {
		tv_log(TV_WARN,
		       "%s was protected and has no replicator: cleaning up and starting over",
		       vm->name);
		recover(vm);
	}
}

void supervise_loaded(struct daemon *d)
{
	struct timeval tv = {INTRODUCTION_NS / TV_NS_PER_S, INTRODUCTION_NS % TV_NS_PER_S / 1000};
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
	{
		vm->retry = evtimer_new(d->base, not_introduced, vm);
		event_add(vm->retry, &tv);
	}
}
