/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asks a sink for a still: see freeze.h. */
#include "daemon/freeze.h"

#include <errno.h>
#include <sys/socket.h>

static void tell(struct vm *vm, int rc, const char *why, int fd)
{
	struct vm_freeze f = vm->freeze;

	vm->freeze = (struct vm_freeze){0};
	if (f.cb)
		f.cb(f.arg, rc, why, fd);
	else
		tv_close_fd(&fd); /* which ends the still */
}

int freeze_ask(struct vm *vm, const struct freeze_want *want, freeze_cb *cb, void *arg,
	       struct tv_err *e)
{
	struct session_freeze order = {.extra_bytes = want->extra_bytes,
				       .disk_bytes = want->disk_bytes,
				       .for_s = want->for_s ? want->for_s : FREEZE_FOR_S};

	if (vm->role == SESSION_PRIMARY)
		return tv_fail(e, TV_E_REFUSED,
			       "%s runs here, and its committed epochs are on %s: give the command "
			       "there",
			       vm->name,
			       vm->saved.peer.name[0] ? vm->saved.peer.name : "its backup's host");
	if (!vm->now.rep || vm->phase != VM_RUNNING)
		return tv_fail(e, TV_E_REFUSED, "%s is not protected now: there is no session",
			       vm->name);
	if (order.for_s < 0 || order.for_s > FREEZE_MAX_S)
		return tv_fail(e, -EINVAL, "an epoch is held still for %d s at most", FREEZE_MAX_S);
	if (vm->freeze.cb)
		return tv_fail(e, -EBUSY, "another command asks for an epoch of %s", vm->name);
	vm->freeze = (struct vm_freeze){cb, arg};
	ctl_send(vm->now.rep, session_message(SESSION_OP_FREEZE, &order));
	return 0;
}

/* A sink may have been taken over: the socket is to be one of two ends of its own kind. */
static bool is_socket(int fd)
{
	int domain = 0, type = 0;
	socklen_t n = sizeof(domain), m = sizeof(type);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) &&
	       !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &m) && domain == AF_UNIX &&
	       type == SOCK_SEQPACKET;
}

void freeze_answered(struct vm *vm, const struct session_frozen *answer, int fd)
{
	if (!answer->rc && is_socket(fd)) {
		tell(vm, 0, "", fd);
		return;
	}
	tv_close_fd(&fd);
	if (answer->rc)
		tell(vm, answer->rc, answer->text, -1);
	else
		tell(vm, TV_E_PROTOCOL, "the backup's replicator has answered without a socket",
		     -1);
}

void freeze_lost(struct vm *vm)
{
	if (vm->freeze.cb)
		tell(vm, TV_E_GONE, "the session on this host has ended", -1);
}

void freeze_forget(struct daemon *d, void *arg)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (vm->freeze.arg == arg)
			vm->freeze.cb = NULL;
}
