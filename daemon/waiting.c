/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backup sessions that wait: a primary offers a VM whose older session, or whose own instance here,
 * has not ended yet. There is at most one per VM, the newest. When the VM's entry is dropped, or
 * has become a primary's, the connection is marked and d->admit is activated: the loop admits it
 * (register.c) in its next turn, so that the end of one session is complete before the next begins.
 */
#include "daemon/daemon.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct ctl *take(struct waiting *w)
{
	struct ctl *c = w->c;

	TAILQ_REMOVE(&w->d->waiting, w, link);
	free(w);
	return c;
}

/* Until it is admitted, a session has only its state to report, which nobody reads. It gave up while it waited. */
static void on_closed(struct ctl *c, void *arg)
{
	take(arg);
	ctl_free(c);
}

struct ctl *waiting_add(struct vm *vm, struct ctl *c, const struct session_register *as)
{
	static const struct ctl_ops ops = {ctl_deaf_message, on_closed};
	struct ctl *older = NULL;
	struct waiting *w;

	TAILQ_FOREACH(w, &vm->d->waiting, link)
		if (w->behind == vm)
			break;
	if (w)
		older = take(w);
	w = calloc(1, sizeof(*w));
	if (!w)
		abort(); /* as vm_new */
	*w = (struct waiting){.d = vm->d, .behind = vm, .c = c, .as = *as};
	TAILQ_INSERT_TAIL(&vm->d->waiting, w, link);
	ctl_set_arg(c, &ops, w);
	return older;
}

void waiting_release(struct vm *vm)
{
	struct waiting *w;

	TAILQ_FOREACH(w, &vm->d->waiting, link) {
		if (w->behind != vm)
			continue;
		w->behind = NULL;
		event_active(vm->d->admit, EV_READ, 0);
	}
}

struct ctl *waiting_next(struct daemon *d, struct session_register *as)
{
	struct waiting *w;

	TAILQ_FOREACH(w, &d->waiting, link)
		if (!w->behind) {
			*as = w->as;
			return take(w);
		}
	return NULL;
}

struct ctl *waiting_take(struct daemon *d, const char *vm_id)
{
	struct waiting *w;

	TAILQ_FOREACH(w, &d->waiting, link)
		if (!w->behind && !strcmp(w->as.vm_id, vm_id))
			return take(w);
	return NULL;
}
