/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers to the command line: one request per connection, lines of progress while the command
 * waits for a VM, and a last line with `done` and rc. One command at a time waits for a VM.
 */
#include "daemon/commands.h"

#include <errno.h>
#include <stdio.h>

/* ---- to the command that waits for a VM ---- */
void vm_progress(struct vm *vm, const char *state, double progress)
{
	if (vm->waiter)
		ctl_send(vm->waiter, json_pack("{ss sf}", "state", state, "progress", progress));
}

void vm_answer_with(struct vm *vm, json_t *msg)
{
	if (!vm->waiter) {
		json_decref(msg);
		return;
	}
	ctl_send(vm->waiter, msg);
	ctl_close_when_sent(vm->waiter);
	vm->waiter = NULL;
}

static json_t *last_line(int rc, const char *text)
{
	return json_pack("{sb si so}", "done", 1, "rc", rc, "error", fields_text(text));
}

void vm_answer(struct vm *vm, int rc, const char *text)
{
	vm_answer_with(vm, last_line(rc, text));
}

/* Closed by the command line: it does not wait any more. */
static void waiter_closed(struct ctl *c, void *arg)
{
	struct daemon *d = arg;
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (vm->waiter == c)
			vm->waiter = NULL;
	ctl_free(c);
}

static void waiter_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	(void)c;
	(void)msg;
	(void)fds;
	(void)n;
	(void)arg;
}

void command_waits(struct ctl *c, struct vm *vm, bool leaves)
{
	static const struct ctl_ops ops = {waiter_message, waiter_closed};

	vm->waiter = c;
	vm->waiter_leaves = leaves;
	ctl_set_arg(c, &ops, vm->d);
}

/* ---- to a command at once ---- */
const char *command_text(json_t *msg, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(msg, key));

	return s ? s : otherwise;
}

void command_end(struct ctl *c, int rc, const char *fmt, ...)
{
	struct tv_err e;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	ctl_send(c, last_line(rc, e.text));
	ctl_close_when_sent(c);
}

struct vm *command_vm(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *what = command_text(msg, "vm", "");
	bool several;
	struct vm *vm = vm_find(d, what, &several);

	if (several)
		command_end(c, TV_E_AMBIGUOUS,
			    "more than one VM on %s has the name '%s': use its id from 'twinvm "
			    "status'",
			    d->conf.host, what);
	else if (!vm)
		command_end(c, -ENOENT, "no VM '%s' is protected by or for %s: see 'twinvm status'",
			    what, d->conf.host);
	return several ? NULL : vm;
}
