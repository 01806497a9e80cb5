/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm status: the VMs, and those of which only a stopped QEMU is here (status.c shows one). */
#include "daemon/autoprotect.h"
#include "daemon/commands.h"

#include <string.h>

static bool first_of(struct daemon *d, const struct kept *k)
{
	struct kept *o;

	TAILQ_FOREACH(o, &d->kept, link)
		if (!strcmp(o->id, k->id))
			return o == k;
	return false;
}

static bool is_wanted(struct daemon *d, const struct vm *vm, const char *what)
{
	bool several;

	return !what || !strcmp(vm->name, what) || !strcmp(vm->id, what) ||
	       vm == vm_find(d, what, &several);
}

/* One entry for a VM that has nothing here but stopped QEMUs. */
static bool is_kept_wanted(struct daemon *d, const struct kept *k, const char *what)
{
	return !vm_by_id(d, k->id) && first_of(d, k) &&
	       (!what || kept_find(d, what) == k || !strcmp(k->id, what));
}

/* One of which nothing else is here. */
static bool is_elsewhere_wanted(struct daemon *d, const struct elsewhere *x, const char *what)
{
	struct kept *k;

	TAILQ_FOREACH(k, &d->kept, link)
		if (!strcmp(k->id, x->id))
			return false;
	return !x->released && !vm_by_id(d, x->id) &&
	       (!what || !strcmp(x->name, what) || !strcmp(x->id, what) || !strcmp(x->uuid, what));
}

json_t *status_json(struct daemon *d, const char *what)
{
	json_t *list = json_array();
	struct elsewhere *x;
	struct kept *k;
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (is_wanted(d, vm, what))
			json_array_append_new(list, vm_status(vm));
	kept_prune(d);
	TAILQ_FOREACH(k, &d->kept, link)
		if (is_kept_wanted(d, k, what))
			json_array_append_new(list, kept_status(d, k));
	TAILQ_FOREACH(x, &d->elsewhere, link)
		if (is_elsewhere_wanted(d, x, what))
			json_array_append_new(list, elsewhere_status(d, x));
	autoprotect_status(d, what, list);
	return list;
}

void command_status(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *what = command_text(msg, "vm", NULL);
	bool several;

	if (what && !vm_find(d, what, &several) && !kept_find(d, what) &&
	    !elsewhere_find(d, what) && !autoprotect_waits(d, what)) {
		command_vm(d, c, msg);
		return;
	}
	ctl_send(c, json_pack("{sb si ss sb sf so}", "done", 1, "rc", 0, "host", d->conf.host,
			      "maintenance", (int)maintenance_is(d), "time",
			      shown_wall_s(tv_now_ns()), "vms", status_json(d, what)));
	ctl_close_when_sent(c);
}
