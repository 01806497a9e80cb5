/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Comparisons of VMs with their backups (verify.c). In the loop only. */
#ifndef DAEMON_VERIFY_H
#define DAEMON_VERIFY_H

#include "daemon/daemon.h"

#define VERIFY_FOUND 32u /* places that differ that are named, at most */

/* Why a comparison cannot begin now; NULL: it can. */
const char *verify_stands_against(const struct vm *vm);
/* Begins one, when nothing stands against it. c: answered at its end, and shown progress; may be NULL.
 * by: "operator", "schedule". */
void verify_begin(struct vm *vm, struct ctl *c, uint64_t rate_bytes_s, bool repair, const char *by);
/* A message of the VM's replicator. */
void verify_answered(struct vm *vm, json_t *msg, const struct session_verified *v);
/* Its session has ended. */
void verify_cut(struct vm *vm);
/* The daemon has started, and its VMs are known: what it had begun before has ended. */
void verify_start(struct daemon *d);

#endif
