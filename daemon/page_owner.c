/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose a page of memory is. To look takes time for each GiB, and a right: the keeper does it. At most
 * MAX_LOOKS at once: the owner of a page beyond that is not known; QEMU reports an error in its VM besides.
 */
#include "daemon/daemon.h"
#include "daemon/health.h"
#include "hv/hv_standby.h"

#include <string.h>
#include <unistd.h>

#define MAX_LOOKS 8
#define OTHERS_MS 5000 /* for processes that belong to no VM */

static struct look {
	struct hw_fault f;
	page_owner_cb *cb; /* NULL: free */
	/* Of each process that the request names. */
	struct owner_of {
		enum ras_owner owner;
		char id[33];
	} of[KP_MAX_WHO];
} looks[MAX_LOOKS];

static void candidate(struct look *l, struct kp_request *q, pid_t pid, uint64_t start,
		      enum ras_owner owner, const char *id, const char *mapping)
{
	uint32_t n = q->n;

	keeper_who(q, pid, start, mapping);
	if (q->n == n)
		return;
	l->of[n].owner = owner;
	tv_copy(l->of[n].id, sizeof(l->of[n].id), id);
}

/* What its QEMU has not touched yet, only the replicator of a standby has. */
static void candidate_replicator(struct look *l, struct kp_request *q, const struct vm *vm)
{
	static const char *const files[] = HV_STANDBY_RAM_FILES;
	pid_t pid = vm->now.replicator;

	for (size_t i = 0; vm->role == SESSION_BACKUP && i < sizeof(files) / sizeof(*files); i++)
		candidate(l, q, pid, 0, RAS_OWNER_STANDBY, vm->id, files[i]);
	candidate(l, q, pid, 0, RAS_OWNER_SELF, vm->id, "");
}

static void fill(struct daemon *d, struct look *l, struct kp_request *q)
{
	struct vm *vm;

	*q = (struct kp_request){
		.verb = KP_OWNER, .page = l->f.fault.page.n, .others_ms = OTHERS_MS};
	TAILQ_FOREACH(vm, &d->vms, link)
		candidate(l, q, vm->saved.qemu.pid, vm->saved.qemu.start_ticks,
			  vm->role == SESSION_PRIMARY ? RAS_OWNER_VM : RAS_OWNER_STANDBY, vm->id,
			  "");
	TAILQ_FOREACH(vm, &d->vms, link)
		candidate_replicator(l, q, vm);
	candidate(l, q, getpid(), 0, RAS_OWNER_SELF, "", "");
}

static void on_reply(struct daemon *d, const struct kp_reply *r, void *arg)
{
	struct look *l = arg;
	page_owner_cb *cb = l->cb;
	const char *id = "";

	l->cb = NULL;
	l->f.fault.owner = RAS_OWNER_UNKNOWN;
	if (!r->rc && r->who >= 0 && r->who < KP_MAX_WHO) {
		l->f.fault.owner = l->of[r->who].owner;
		id = l->of[r->who].id;
	} else if (!r->rc && r->pid) {
		l->f.fault.owner = RAS_OWNER_PROCESS;
	} else if (!r->rc && (r->page == KP_PAGE_FREE || r->page == KP_PAGE_CLEAN)) {
		l->f.fault.owner = RAS_OWNER_FREE;
	}
	cb(d, &l->f, id, r->command);
}

void page_owner_find(struct daemon *d, const struct hw_fault *f, page_owner_cb *cb)
{
	static struct kp_request q; /* kilobytes */
	struct look *l = looks;

	while (l < looks + MAX_LOOKS && l->cb)
		l++;
	if (l == looks + MAX_LOOKS) {
		cb(d, f, "", "");
		return;
	}
	l->f = *f;
	l->cb = cb;
	fill(d, l, &q);
	if (keeper_ask(&q, on_reply, l)) {
		l->cb = NULL;
		cb(d, f, "", "");
	}
}
