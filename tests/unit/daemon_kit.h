/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of daemon/ share: a daemon with folders of its own and a loop, but without sockets
 * that listen; and the other end of a control connection, which keeps the messages it received.
 */
#ifndef DAEMON_KIT_H
#define DAEMON_KIT_H

#include "daemon/commands.h"
#include "daemon/daemon.h"
#include "daemon/rehearsals.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KIT __attribute__((unused)) static
#define ID "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"

static struct daemon d;

KIT void kit_path(char *out, size_t room, const char *below)
{
	snprintf(out, room, "%s/%s", d.conf.state_dir, below);
}

static void on_admit(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	register_waiting(arg);
}

KIT int kit_set_up(void **state)
{
	static const char *const folders[] = {"vms",	   "kept",	 "generations",
					      "elsewhere", "rehearsals", "run"};
	char path[300];

	(void)state;
	d = (struct daemon){.conf = {.host = "hostB",
				     .arbiter = "none",
				     .mode = "adaptive",
				     .heartbeat_ms = 100,
				     .epoch_ms = 25,
				     .reprotect = true}};
	strcpy(d.conf.state_dir, "/tmp/twinvm-daemon-XXXXXX");
	TAILQ_INIT(&d.vms);
	TAILQ_INIT(&d.kept);
	TAILQ_INIT(&d.waiting);
	TAILQ_INIT(&d.looking);
	TAILQ_INIT(&d.asked);
	TAILQ_INIT(&d.elsewhere);
	TAILQ_INIT(&d.may_start);
	TAILQ_INIT(&d.callers);
	if (!mkdtemp(d.conf.state_dir))
		return -1;
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		kit_path(path, sizeof(path), folders[i]);
		if (tv_mkdirs(path))
			return -1;
	}
	kit_path(d.conf.run_dir, sizeof(d.conf.run_dir), "run");
	kit_path(d.conf.path, sizeof(d.conf.path), "twinvmd.conf");
	d.base = event_base_new();
	d.admit = event_new(d.base, -1, 0, on_admit, &d);
	supervise_loaded(&d); /* with no VM yet: sets what a timer does */
	return d.base && d.admit ? 0 : -1;
}

/* Until everything that was sent has arrived, and what follows from it is done. */
KIT void kit_settle(void)
{
	for (int i = 0; i < 20; i++)
		event_base_loop(d.base, EVLOOP_NONBLOCK);
}

KIT int kit_tear_down(void **state)
{
	char command[300];
	struct vm *vm;

	(void)state;
	while ((vm = TAILQ_FIRST(&d.vms)))
		vm_drop(vm);
	while (TAILQ_FIRST(&d.kept))
		kept_forget(&d, TAILQ_FIRST(&d.kept)->id);
	kit_settle(); /* connections that were hung up are closed */
	rehearsals_stop(&d);
	event_free(d.admit);
	event_base_free(d.base);
	snprintf(command, sizeof(command), "rm -rf %s", d.conf.state_dir);
	return system(command);
}

/* A process that lives as long as the test, in the place of a QEMU. */
KIT struct hv_vm_id kit_qemu(void)
{
	struct hv_vm_id id = {.pid = getpid(), .start_ticks = tv_pid_start_ticks(getpid())};

	strcpy(id.name, "vm1");
	strcpy(id.qmp_path, "/run/vm1.qmp");
	return id;
}

KIT struct vm *kit_vm(enum session_role role)
{
	struct vm *vm = vm_new(&d, ID, "vm1", role);

	vm->saved.qemu = kit_qemu();
	vm->saved.peer = (struct fo_candidate){"hostA", "10.0.0.1", 7890};
	vm->saved.was_protected = true;
	return vm;
}

/* ---- the other end of a control connection ---- */
struct end {
	struct ctl *here, *there; /* the daemon's, the other process's */
	json_t *got;		  /* array of what it received */
	bool closed;
	pid_t pid; /* the other process, of which only this is left */
	int fd;	   /* the last descriptor that came alone, its owner's to close; -1 */
};

static void end_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	struct end *e = arg;

	(void)c;
	if (n == 1) {
		tv_close_fd(&e->fd);
		e->fd = fds[0];
	} else {
		for (unsigned i = 0; i < n; i++)
			close(fds[i]);
	}
	json_array_append(e->got, msg);
}

static void end_closed(struct ctl *c, void *arg)
{
	struct end *e = arg;

	ctl_free(c);
	e->there = NULL;
	e->closed = true;
}

static void kit_first(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	(void)fds;
	assert_int_equal(n, 0);
	if (session_op_of(msg) == SESSION_OP_REGISTER)
		register_replicator(arg, c, msg);
	else
		command_run(arg, c, msg);
}

static void kit_first_closed(struct ctl *c, void *arg)
{
	(void)arg;
	ctl_free(c);
}

/* A pair of sockets made by another process of that user: its pid, which stays taken until it is
 * waited for. */
KIT pid_t kit_socketpair(uid_t uid, int sv[2])
{
	char room[CMSG_SPACE(2 * sizeof(int))] = {0}, byte = 0;
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = room,
			   .msg_controllen = sizeof(room)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	siginfo_t ended;
	int way[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, way), 0);
	pid = fork();
	if (!pid) {
		if (setresuid(uid, uid, uid) ||
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
			_exit(1);
		*c = (struct cmsghdr){CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(c), sv, 2 * sizeof(int));
		_exit(sendmsg(way[1], &m, 0) != 1);
	}
	close(way[1]);
	assert_int_equal(recvmsg(way[0], &m, MSG_CMSG_CLOEXEC), 1);
	memcpy(sv, CMSG_DATA(CMSG_FIRSTHDR(&m)), 2 * sizeof(int));
	close(way[0]);
	assert_int_equal(waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT), 0);
	return pid;
}

/* A connection to the daemon: what is sent to `there` arrives as it does in serve.c. */
KIT void kit_connect_as(struct end *e, uid_t uid)
{
	static const struct ctl_ops here = {kit_first, kit_first_closed};
	static const struct ctl_ops there = {end_message, end_closed};
	int sv[2];

	*e = (struct end){.got = json_array(), .fd = -1};
	e->pid = kit_socketpair(uid, sv);
	assert_int_equal(ctl_new(d.base, sv[0], &here, &d, &e->here), 0);
	assert_int_equal(ctl_new(d.base, sv[1], &there, e, &e->there), 0);
}

KIT void kit_connect(struct end *e)
{
	kit_connect_as(e, geteuid());
}

KIT void kit_hang_up(struct end *e)
{
	waitpid(e->pid, NULL, 0);
	if (e->there)
		ctl_free(e->there);
	e->there = NULL;
	json_decref(e->got);
	e->got = NULL;
}

KIT json_t *kit_last(const struct end *e)
{
	return json_array_get(e->got, json_array_size(e->got) - 1);
}

/* The newest message is of that kind. */
KIT void kit_expect(const struct end *e, enum session_op op)
{
	const char *word = json_string_value(json_object_get(kit_last(e), "op"));

	assert_non_null(word);
	assert_string_equal(word, session_op_info(op)->word);
}

#endif
