/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose a page of memory is. To look takes time for each GiB, so a process does it (hardware/owner.h),
 * and ends. At most MAX_LOOKS at once: the owner of a page beyond that is not known; QEMU
 * reports an error in its VM besides.
 */
#include "daemon/daemon.h"
#include "daemon/health.h"
#include "hv/hv_standby.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_LOOKS 8
#define OTHERS_MS 5000 /* for processes that belong to no VM */

static struct look {
	struct daemon *d;
	pid_t pid;     /* 0: it has ended */
	struct ctl *c; /* NULL: closed */
	struct hw_fault f;
	page_owner_cb *cb; /* NULL: it was called */
} looks[MAX_LOOKS];

static void answer(struct look *l, enum ras_owner owner, const char *id, const char *command)
{
	page_owner_cb *cb = l->cb;

	l->cb = NULL;
	l->f.fault.owner = owner;
	if (cb)
		cb(l->d, &l->f, id, command);
}

static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	json_int_t owner = json_integer_value(json_object_get(msg, "owner_id"));
	const char *id = json_string_value(json_object_get(msg, "id"));
	const char *command = json_string_value(json_object_get(msg, "command"));

	(void)c;
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	if (owner > RAS_OWNER_UNKNOWN && owner < RAS_OWNER_COUNT)
		answer(arg, (enum ras_owner)owner, id ? id : "", command ? command : "");
}

static void on_closed(struct ctl *c, void *arg)
{
	struct look *l = arg;

	ctl_free(c);
	l->c = NULL;
	answer(l, RAS_OWNER_UNKNOWN, "", "");
}

static void candidate(json_t *list, pid_t pid, uint64_t start, enum ras_owner owner, const char *id,
		      const char *mapping)
{
	if (pid > 0)
		json_array_append_new(list, json_pack("{si sI si ss ss}", "pid", (int)pid, "start",
						      (json_int_t)start, "owner", (int)owner, "id",
						      id, "mapping", mapping));
}

/* What its QEMU has not touched yet, only the replicator of a standby has. */
static void candidate_replicator(json_t *list, const struct vm *vm)
{
	static const char *const files[] = HV_STANDBY_RAM_FILES;

	for (size_t i = 0; vm->role == SESSION_BACKUP && i < sizeof(files) / sizeof(*files); i++)
		candidate(list, vm->now.replicator, 0, RAS_OWNER_STANDBY, vm->id, files[i]);
	candidate(list, vm->now.replicator, 0, RAS_OWNER_SELF, vm->id, "");
}

static char *job_of(struct daemon *d, const struct hw_fault *f)
{
	json_t *list = json_array(), *o;
	struct vm *vm;
	char page[24], *text;

	TAILQ_FOREACH(vm, &d->vms, link)
		candidate(list, vm->saved.qemu.pid, vm->saved.qemu.start_ticks,
			  vm->role == SESSION_PRIMARY ? RAS_OWNER_VM : RAS_OWNER_STANDBY, vm->id,
			  "");
	TAILQ_FOREACH(vm, &d->vms, link)
		candidate_replicator(list, vm);
	candidate(list, getpid(), 0, RAS_OWNER_SELF, "", "");
	snprintf(page, sizeof(page), "0x%llx", (unsigned long long)f->fault.page.n);
	o = json_pack("{ss so si}", "page", page, "candidates", list, "others_ms", OTHERS_MS);
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

static int begin(struct look *l, struct tv_err *e)
{
	static const struct ctl_ops ops = {on_message, on_closed};
	TV_FREE char *job = job_of(l->d, &l->f);
	int fds[2], rc;

	if (!job || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return tv_fail(e, -ENOMEM, "no memory to look whose a page is");
	rc = spawn_page_owner(job, fds[1], &l->pid, e);
	close(fds[1]);
	if (rc) {
		close(fds[0]);
		return rc;
	}
	return ctl_new(l->d->base, fds[0], &ops, l, &l->c)
		       ? tv_fail(e, -ENOMEM, "no memory to look whose a page is")
		       : 0;
}

void page_owner_find(struct daemon *d, const struct hw_fault *f, page_owner_cb *cb)
{
	struct tv_err e = {0};
	struct look *l = looks;
	int rc;

	while (l < looks + MAX_LOOKS && (l->pid || l->c))
		l++;
	if (l == looks + MAX_LOOKS) {
		cb(d, f, "", "");
		return;
	}
	*l = (struct look){.d = d, .f = *f, .cb = cb};
	rc = begin(l, &e);
	if (rc) {
		tv_log(TV_ERROR, "%s", e.text);
		answer(l, RAS_OWNER_UNKNOWN, "", "");
	}
}

bool page_owner_exit(pid_t pid)
{
	for (unsigned i = 0; i < MAX_LOOKS; i++)
		if (pid && looks[i].pid == pid) {
			looks[i].pid = 0;
			return true;
		}
	return false;
}
