/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replicators as the daemon sees them: they register, and report their end. */
#ifndef DAEMON_SESSION_KIT_H
#define DAEMON_SESSION_KIT_H

#include "daemon_kit.h"

KIT struct session_register offer(uint64_t generation, const char *session)
{
	struct session_register r = {.role = SESSION_BACKUP,
				     .vm_id = ID,
				     .name = "vm1",
				     .peer = "hostA",
				     .mode = "remus",
				     .arbiter = "none",
				     .epoch_ms = 50,
				     .peer_port = 7890,
				     .generation = generation};

	strcpy(r.session, session);
	return r;
}

KIT void send_register(struct end *e, const struct session_register *r)
{
	struct session_register of_it = *r;

	of_it.pid = e->pid;
	ctl_send(e->there, session_message(SESSION_OP_REGISTER, &of_it));
	kit_settle();
}

KIT void send_end(struct end *e, enum session_outcome outcome, int rc, const char *text)
{
	struct session_end end = {.outcome = outcome, .rc = rc};

	strcpy(end.text, text);
	ctl_send(e->there, session_message(SESSION_OP_DONE, &end));
	kit_settle();
	ctl_free(e->there);
	e->there = NULL;
	kit_settle();
}

/* A helper's exit, as SIGCHLD brings it. */
KIT void reap(struct vm *vm)
{
	pid_t pid = vm->now.child;
	int status;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	supervise_child_exit(&d, pid, status);
}

KIT struct vm *protected_vm(struct end *e)
{
	struct session_register r = {.role = SESSION_PRIMARY, .vm_id = ID, .session = "s1"};
	struct session_stats stats = {.state = "protected"};
	struct vm *vm = kit_vm(SESSION_PRIMARY);

	strcpy(vm->saved.session, "s1");
	kit_connect(e);
	send_register(e, &r);
	assert_true(vm->phase == VM_RUNNING && vm->now.rep == e->here);
	ctl_send(e->there, session_message(SESSION_OP_STATS, &stats));
	kit_settle();
	assert_string_equal(vm->now.stats.state, "protected");
	return vm;
}

#endif
