/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMs that are protected as soon as they run: `autoprotect = yes` in [vm NAME]. */
#ifndef DAEMON_AUTOPROTECT_H
#define DAEMON_AUTOPROTECT_H

#include "daemon/daemon.h"

/* From now on they are looked for. */
void autoprotect_start(struct daemon *d);
/* An operator has ended the protection of the VM: not again before it is started anew. */
void autoprotect_hold(const struct vm *vm);
/* The same of one that runs and waits for its protection; false: there is no such VM. */
bool autoprotect_hold_waiting(struct daemon *d, const char *name);
/* Adds those that run and are not protected; what: NULL: all, else of that name. */
void autoprotect_status(struct daemon *d, const char *what, json_t *list);
/* Is there one of that name? */
bool autoprotect_waits(const struct daemon *d, const char *name);

/* (status.c) A VM that runs here, and why it is not protected. */
json_t *unprotected_status(struct daemon *d, const char *name, const struct hv_vm_id *qemu,
			   const char *why);

#endif
