/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `twinvm suspend` and `resume` that are not answered yet: one for each VM. An operator's word is not lost
 * when the session that has it ends: it stays here until it is carried out (suspend.c), or until it is
 * answered why not, whether or not somebody still waits for the answer.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_closed(struct ctl *c, void *arg)
{
	struct asked *a = arg;

	ctl_free(c);
	a->c = NULL;
}

struct asked *asked_add(struct daemon *d, struct ctl *c, const struct hv_vm_id *qemu,
			const char *vm_id, bool suspend)
{
	static const struct ctl_ops ops = {ctl_deaf_message, on_closed};
	struct asked *a = calloc(1, sizeof(*a));

	if (!a)
		abort(); /* as vm_new */
	*a = (struct asked){.d = d, .c = c, .qemu = *qemu, .suspend = suspend, .fd = -1};
	tv_copy(a->vm_id, sizeof(a->vm_id), vm_id);
	TAILQ_INSERT_TAIL(&d->asked, a, link);
	ctl_set_arg(c, &ops, a);
	return a;
}

struct asked *asked_of(struct daemon *d, const char *vm_id)
{
	struct asked *a;

	TAILQ_FOREACH(a, &d->asked, link)
		if (!strcmp(a->vm_id, vm_id))
			return a;
	return NULL;
}

void asked_answer(struct asked *a, int rc, const char *text)
{
	if (a->c) {
		ctl_set_arg(a->c, &ctl_deaf, NULL);
		ctl_send(a->c,
			 json_pack("{sb si so}", "done", 1, "rc", rc, "error", fields_text(text)));
		ctl_close_when_sent(a->c);
	}
	TAILQ_REMOVE(&a->d->asked, a, link);
	tv_close_fd(&a->fd);
	free(a);
}

void asked_drop(const struct vm *vm, bool lives)
{
	struct asked *a = asked_of(vm->d, vm->id);
	struct tv_err e;

	if (!a)
		return;
	if (a->pid) { /* its process ends by itself: suspend_exit */
		a->vm_id[0] = '\0';
		return;
	}
	if (vm->highest > vm->saved.generation)
		tv_fail(&e, TV_E_REFUSED, "another host runs %s", vm->name);
	else if (!lives)
		tv_fail(&e, TV_E_GONE, "%s has ended", vm->name);
	else
		tv_fail(&e, -EAGAIN, "the protection of %s ended meanwhile: give the command again",
			vm->name);
	asked_answer(a, vm->highest > vm->saved.generation ? TV_E_REFUSED : -EAGAIN, e.text);
}
