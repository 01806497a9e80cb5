/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The capture thread: what it reports to the loop. */
#include "replicator/source/capture_int.h"

#include <stdlib.h>

void cap_emit(struct cap *c, const struct cap_event *ev)
{
	int rc = ev->kind == CAP_EV_PROGRESS ? tv_box_put(&c->events, ev)
					     : tv_box_put_wait(&c->events, ev);

	if (rc) /* PROGRESS only, or cap_free was called: nobody is interested */
		free(ev->text);
}

void cap_poison(struct cap *c, enum hv_event what, const struct tv_err *why)
{
	struct cap_event ev = {.kind = CAP_EV_VM, .vm_event = what, .unreadable = why != NULL};

	if (c->poisoned)
		return;
	c->poisoned = true;
	if (why)
		ev.e = *why;
	else
		tv_fail(&ev.e, TV_E_POISON, "QEMU reports a memory error");
	cap_emit(c, &ev);
}

void cap_on_vm_event(enum hv_event what, const char *name, void *arg)
{
	struct cap *c = arg;
	struct cap_event ev = {.kind = CAP_EV_VM, .vm_event = what};

	c->look = c->look || hv_event_rule_of(name)->look;
	if (what == HV_EV_SHUTDOWN_GUEST || what == HV_EV_SHUTDOWN_ORDER ||
	    what == HV_EV_SHUTDOWN_HOST)
		c->ending = true;
	else if (what == HV_EV_RESET || what == HV_EV_RESUME)
		c->ending = false;
	if (what == HV_EV_MEDIA || what == HV_EV_LOST)
		c->look_media = true;
	if (hv_event_is_poison(what))
		cap_poison(c, what, NULL);
	else if (what != HV_EV_OTHER && what != HV_EV_MEDIA)
		cap_emit(c, &ev);
}

void cap_vm_gone(struct cap *c)
{
	struct cap_event ev = {.kind = CAP_EV_VM_GONE};

	if (c->gone)
		return;
	c->gone = true;
	cap_emit(c, &ev);
}

/* A call failed: because the VM's process is ending? Its last events (a shutdown, say) are read
 * first. */
static bool died(struct cap *c)
{
	if (!c->vm || c->gone)
		return c->gone;
	(void)!hv_events(c->vm, cap_on_vm_event, c);
	if (!hv_ended(c->vm, c->ending))
		return false;
	cap_vm_gone(c);
	return true;
}

void cap_fail(struct cap *c, int rc, const struct tv_err *e, const char *what)
{
	struct cap_event ev = {.kind = CAP_EV_FAILED, .rc = rc};

	if (died(c))
		return;
	if (e && e->text[0] && rc == TV_E_CHANGED)
		ev.e = *e;
	else if (e && e->text[0])
		tv_fail(&ev.e, rc, "%s: %s", what, e->text);
	else
		tv_fail(&ev.e, rc, "%s: %s", what, tv_strerror(rc));
	cap_emit(c, &ev);
}

void cap_cut(struct cap *c, int rc)
{
	if (c->cut || c->gone)
		return;
	c->cut = true;
	cap_fail(c, rc, NULL, "the VM runs on, but its monitor failed");
}
