/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * May a manager of this host start a VM? libvirt's hook asks (start_hook.c), with the UUID of the
 * domain, before every start: an operator's, an autostart after a boot, a restore, a migration that comes
 * in. A VM that twinvm does not know may. One that another host runs, or may run, may not:
 *
 *   it runs here, under twinvm    no
 *   this host is its backup       no
 *   another host may have it      with an arbiter: a process has it recorded that this host runs it
 *                                 alone (recover.c: may_start_main). Where the record names another
 *                                 host, or cannot be asked: no. Without an arbiter: no
 *   the definition was made here  by twinvm, for the standby of a VM that never was promoted here: no
 *
 * So no host can promote it any more when it starts here. Whoever asks does not wait for long; the
 * process may, at its arbiter.
 */
#include "daemon/commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ASKING 32

static void on_closed(struct ctl *c, void *arg)
{
	struct may_start *m = arg;

	ctl_free(c);
	m->c = NULL;
}

/* Status shows the last refusal while the other host has the VM. */
static void refuse(struct daemon *d, struct ctl *c, const char *vm_id, const char *why)
{
	struct elsewhere *x = elsewhere_of(d, vm_id);

	if (x)
		tv_copy(x->refused, sizeof(x->refused), why);
	events_add(d, EVENTS_START_REFUSED,
		   &(struct events_about){.vm_id = vm_id, .vm = x ? x->name : NULL}, NULL,
		   "a start is refused: %s", why);
	if (c)
		command_end(c, TV_E_REFUSED, "%s", why);
}

/* True: it is known, and was answered: no. */
static bool is_here(struct daemon *d, struct ctl *c, const char *uuid)
{
	struct tv_err e;
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (!strcmp(vm->saved.uuid, uuid))
			break;
	if (!vm)
		return false;
	if (vm->role == SESSION_BACKUP)
		tv_fail(&e, 0,
			"%s runs on %s (generation %llu), and %s is its backup; 'twinvm failover "
			"%s' on %s brings it here",
			vm->name, vm->saved.peer.name, (unsigned long long)vm->saved.generation,
			d->conf.host, vm->name, vm->saved.peer.name);
	else if (vm_lives(vm))
		tv_fail(&e, 0, "%s runs on %s already (pid %d)", vm->name, d->conf.host,
			(int)vm->saved.qemu.pid);
	else if (vm->phase != VM_IDLE || vm->now.awaited)
		tv_fail(&e, 0, "%s has just ended on %s: it is not known yet what follows",
			vm->name, d->conf.host);
	else
		return false;
	refuse(d, c, vm->id, e.text);
	return true;
}

static int ask(struct daemon *d, struct ctl *c, const struct elsewhere *x, struct tv_err *e)
{
	static const struct ctl_ops ops = {ctl_deaf_message, on_closed};
	struct may_start *m;
	unsigned n = 0;
	int rc;

	TAILQ_FOREACH(m, &d->may_start, link)
		n++;
	if (n >= MAX_ASKING)
		return tv_fail(e, -EBUSY, "%s waits for the arbiter about %u other VMs",
			       d->conf.host, n);
	m = calloc(1, sizeof(*m));
	if (!m)
		abort(); /* as vm_new */
	*m = (struct may_start){.d = d, .c = c, .fd = memfd_create("why", MFD_CLOEXEC)};
	tv_copy(m->id, sizeof(m->id), x->id);
	rc = m->fd < 0 ? -errno : spawn_may_start(d, x, m->fd, &m->pid, e);
	if (rc) {
		tv_close_fd(&m->fd);
		free(m);
		return rc;
	}
	TAILQ_INSERT_TAIL(&d->may_start, m, link);
	ctl_set_arg(c, &ops, m);
	return 0;
}

static bool is_left(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *mark = command_text(msg, "mark", "");
	struct fo_own own = {0};
	struct tv_err e;

	generation_read(d, mark, &own);
	if (!elsewhere_is_left(mark, command_text(msg, "name", ""), elsewhere_of(d, mark), &own,
			       d->conf.host, &e))
		return false;
	refuse(d, c, mark, e.text);
	return true;
}

void command_may_start(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *uuid = command_text(msg, "uuid", "");
	struct elsewhere *x;
	struct tv_err e = {0};

	if (!elsewhere_is_uuid(uuid)) {
		command_end(c, -EINVAL, "'%.40s' is no UUID", uuid);
		return;
	}
	if (is_here(d, c, uuid))
		return;
	x = elsewhere_find(d, uuid);
	if (!x && is_left(d, c, msg))
		return;
	if (!x) {
		command_end(c, 0, "%s", "");
	} else if (!x->arbiter[0] || !strcmp(x->arbiter, "none")) {
		elsewhere_why(x, d->conf.host, &e);
		refuse(d, c, x->id, e.text);
	} else if (ask(d, c, x, &e)) {
		refuse(d, c, x->id, e.text);
	}
}

bool may_start_exit(struct daemon *d, pid_t pid, int status)
{
	char why[sizeof(((struct tv_err *)0)->text)] = "";
	struct may_start *m;

	TAILQ_FOREACH(m, &d->may_start, link)
		if (m->pid == pid)
			break;
	if (!m)
		return false;
	TAILQ_REMOVE(&d->may_start, m, link);
	if (WIFEXITED(status) && !WEXITSTATUS(status)) {
		/* On record, so no other host can get it. Protection has ended with its process. */
		elsewhere_forget(d, m->id);
		if (m->c)
			command_end(m->c, 0, "%s", "");
	} else {
		if (pread(m->fd, why, sizeof(why) - 1, 0) <= 0)
			tv_copy(why, sizeof(why), "the process that asks the arbiter died");
		refuse(d, m->c, m->id, why);
	}
	tv_close_fd(&m->fd);
	free(m);
	return true;
}
