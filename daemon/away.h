/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMs that another program has written to a file or migrated (away.c), and finding a VM's QEMU. */
#ifndef DAEMON_AWAY_H
#define DAEMON_AWAY_H

#include "daemon/daemon.h"

/* The QEMU that a name, UUID or the like stands for, as hv_find: no standby, and none that is kept. */
int find_qemu(struct daemon *d, const char *what, struct hv_vm_id *out,
	      struct tv_err *e) TV_MUST_CHECK;
/* A session has ended: was it because of that? */
void away_learn(struct vm *vm);
/* It is such a VM, and its QEMU has ended: it waits for the next one. */
bool away_is(const struct vm *vm);
/* Its QEMU has ended. True: it is one, and stays; the caller has nothing more to do with it. */
bool away_begin(struct vm *vm);
/* A VM that is away, at its timer. True: it runs here again. */
bool away_look(struct vm *vm);
/* That QEMU is the VM now. */
void away_back(struct vm *vm, const struct hv_vm_id *now);

#endif
