/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's copies of a VM's capture and injection sockets: what must outlive a replicator. */
#include "daemon/daemon.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_drain(evutil_socket_t fd, short what, void *arg)
{
	char waste[65536];
	struct vm *vm = arg;

	(void)what;
	if (recv(fd, waste, sizeof(waste), MSG_DONTWAIT) != 0)
		return;
	for (unsigned i = 0; i < vm->stash.n; i++) /* QEMU's end is closed */
		if (vm->stash.fds[i] == fd && vm->stash.drain[i])
			event_del(vm->stash.drain[i]);
}

void stash_drain(struct vm *vm)
{
	for (unsigned i = 0; i < vm->stash.n; i += 2) { /* capture, inject, capture, inject... */
		if (vm->stash.drain[i])
			continue;
		vm->stash.drain[i] = event_new(vm->d->base, vm->stash.fds[i], EV_READ | EV_PERSIST,
					       on_drain, vm);
		event_add(vm->stash.drain[i], NULL);
	}
}

void stash_close(struct vm *vm)
{
	for (unsigned i = 0; i < vm->stash.n; i++) {
		if (vm->stash.drain[i])
			event_free(vm->stash.drain[i]);
		vm->stash.drain[i] = NULL;
		close(vm->stash.fds[i]);
	}
	vm->stash.n = 0;
}

void stash_take(struct vm *vm, const int *fds, unsigned n)
{
	stash_close(vm);
	memcpy(vm->stash.fds, fds, n * sizeof(*fds));
	vm->stash.n = n;
}
