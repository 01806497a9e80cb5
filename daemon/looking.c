/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the arbiter has on record of a VM that another host offers. The sink has looked as well, but it
 * parses what that host sends: what this host believes is read by a process of its own (recover.c:
 * look_main), which is started for each offer and passes the record in a memory file. Meanwhile the
 * sink's connection waits here. An arbiter that does not answer keeps a process, and at most
 * MAX_LOOKING of them.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_LOOKING 32

static void drop(struct looking *l)
{
	TAILQ_REMOVE(&l->d->looking, l, link);
	tv_close_fd(&l->fd);
	free(l);
}

/* Until its offer is judged, a session has only its state to report, which nobody reads. */
static void on_closed(struct ctl *c, void *arg)
{
	struct looking *l = arg;

	ctl_free(c);
	l->c = NULL; /* the process ends by itself */
}

int looking_begin(struct daemon *d, struct ctl *c, const struct session_register *as, looked_cb cb,
		  struct tv_err *e)
{
	static const struct ctl_ops ops = {ctl_deaf_message, on_closed};
	struct looking *l;
	unsigned n = 0;
	int rc;

	TAILQ_FOREACH(l, &d->looking, link)
		n++;
	if (n >= MAX_LOOKING)
		return tv_fail(e, -EBUSY, "%s waits for the arbiter about %u other VMs",
			       d->conf.host, n);
	l = calloc(1, sizeof(*l));
	if (!l)
		abort(); /* as vm_new */
	*l = (struct looking){.d = d, .c = c, .as = *as, .cb = cb};
	l->fd = memfd_create("record", MFD_CLOEXEC);
	rc = l->fd < 0 ? -errno : spawn_look(d, as, l->fd, &l->pid, e);
	TAILQ_INSERT_TAIL(&d->looking, l, link);
	if (rc) {
		drop(l);
		return tv_fail(e, rc, "%s cannot ask the arbiter: %s", d->conf.host,
			       tv_strerror(rc));
	}
	ctl_set_arg(c, &ops, l);
	return 0;
}

/* As looked_cb's rc. */
static int result_of(const struct looking *l, int status, struct fo_record *rec)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;

	if (code == LOOK_NONE)
		return -ENOENT;
	return !code && pread(l->fd, rec, sizeof(*rec), 0) == sizeof(*rec) ? 0 : -EIO;
}

bool looking_exit(struct daemon *d, pid_t pid, int status)
{
	struct fo_record rec = {0};
	struct session_register as;
	struct looking *l;
	struct ctl *c;
	looked_cb cb;
	int rc;

	TAILQ_FOREACH(l, &d->looking, link)
		if (l->pid == pid)
			break;
	if (!l)
		return false;
	rc = result_of(l, status, &rec);
	as = l->as;
	c = l->c;
	cb = l->cb;
	drop(l);
	if (c)
		cb(d, c, &as, rc, &rec);
	return true;
}
