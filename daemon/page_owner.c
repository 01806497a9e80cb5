/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose a page of memory is. To look takes time for each GiB, and a right: the keeper does it. At most
 * MAX_LOOKS at once: the owner of a page beyond that is not known; QEMU reports an error in its VM besides.
 */
#include "daemon/daemon.h"
#include "daemon/health.h"
#include "hv/hv_standby.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MAX_LOOKS 8
#define OTHERS_MS 5000 /* for processes that belong to no VM */

static struct look {
	struct ras_pfn page;
	page_owner_cb *cb; /* NULL: free */
	void *arg;
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

static void fill(struct daemon *d, struct look *l, uint32_t others_ms, struct kp_request *q)
{
	struct vm *vm;

	*q = (struct kp_request){.verb = KP_OWNER, .page = l->page.n, .others_ms = others_ms};
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
	struct page_owner o = {.page = l->page,
			       .looked = !r->rc,
			       .state = r->page < KP_PAGES ? (enum kp_page)r->page
							   : KP_PAGE_UNKNOWN};
	page_owner_cb *cb = l->cb;

	l->cb = NULL;
	if (!r->rc && r->who >= 0 && r->who < KP_MAX_WHO) {
		o.owner = l->of[r->who].owner;
		tv_copy(o.id, sizeof(o.id), l->of[r->who].id);
	} else if (!r->rc && r->pid) {
		o.owner = RAS_OWNER_PROCESS;
	} else if (!r->rc && (o.state == KP_PAGE_FREE || o.state == KP_PAGE_CLEAN)) {
		o.owner = RAS_OWNER_FREE;
	}
	tv_copy(o.command, sizeof(o.command), r->command);
	cb(d, &o, l->arg);
}

int page_owner_ask(struct daemon *d, struct ras_pfn page, bool others, page_owner_cb *cb, void *arg)
{
	static struct kp_request q; /* kilobytes */
	struct look *l = looks;
	int rc;

	while (l < looks + MAX_LOOKS && l->cb)
		l++;
	if (l == looks + MAX_LOOKS)
		return -EBUSY;
	l->page = page;
	l->cb = cb;
	l->arg = arg;
	fill(d, l, others ? OTHERS_MS : 0, &q);
	rc = keeper_ask(&q, on_reply, l);
	if (rc)
		l->cb = NULL;
	return rc;
}

/* ---- of faults ---- */
#define MAX_KNOWN 32
#define MAX_WEAK_LOOKS 2 /* the others are for pages that have lost data: a VM waits for that */
#define KNOWN_NS (60 * TV_NS_PER_S)

static struct asked_fault {
	struct hw_fault f;
	page_fault_cb *cb; /* NULL: free */
} waits[MAX_LOOKS];

/* Of pages whose errors are corrected: in a storm they come each second, and a look takes time. */
static struct known {
	struct page_owner o;
	int64_t at_ns; /* 0: free */
} known[MAX_KNOWN];

static const struct page_owner *known_of(struct ras_pfn page)
{
	for (unsigned i = 0; i < MAX_KNOWN; i++)
		if (known[i].at_ns && known[i].o.page.n == page.n &&
		    tv_now_ns() - known[i].at_ns < KNOWN_NS)
			return &known[i].o;
	return NULL;
}

static void remember(const struct page_owner *o)
{
	struct known *k = known;

	for (unsigned i = 0; i < MAX_KNOWN; i++) {
		if (known[i].at_ns && known[i].o.page.n == o->page.n) {
			k = &known[i];
			break;
		}
		if (known[i].at_ns < k->at_ns)
			k = &known[i];
	}
	*k = (struct known){*o, tv_now_ns()};
}

static void call(struct daemon *d, struct hw_fault *f, const struct page_owner *o,
		 page_fault_cb *cb)
{
	f->fault.owner = o ? o->owner : RAS_OWNER_UNKNOWN;
	cb(d, f, o);
}

static void on_found(struct daemon *d, const struct page_owner *o, void *arg)
{
	struct asked_fault *w = arg;
	page_fault_cb *cb = w->cb;

	w->cb = NULL;
	if (o->looked)
		remember(o);
	call(d, &w->f, o, cb);
}

void page_owner_find(struct daemon *d, const struct hw_fault *f, page_fault_cb *cb)
{
	const struct page_owner *o =
		f->fault.severity == RAS_CORRECTED ? known_of(f->fault.page) : NULL;
	struct hw_fault copy = *f;
	struct asked_fault *w = waits;

	bool lost = f->fault.severity != RAS_CORRECTED;
	struct asked_fault *end = waits + (lost ? MAX_LOOKS : MAX_WEAK_LOOKS);

	while (w < end && w->cb)
		w++;
	if (o || w == end) {
		call(d, &copy, o, cb);
		return;
	}
	*w = (struct asked_fault){*f, cb};
	if (page_owner_ask(d, f->fault.page, lost, on_found, w)) {
		w->cb = NULL;
		call(d, &copy, NULL, cb);
	}
}
