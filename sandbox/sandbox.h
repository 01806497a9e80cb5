/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sandbox: how a process that reads what strangers send gives up its rights, for good. The door of
 * this room. The sink uses it (replicator/monitor), the web server (web/), and for all rights but some the
 * keeper (keeper/).
 */
#ifndef SANDBOX_SANDBOX_H
#define SANDBOX_SANDBOX_H

#include "common/common.h"

/* What a process keeps. */
#define SANDBOX_PRIORITY 1u /* to raise the priority of its threads (heartbeats) */
#define SANDBOX_SERVES 2u   /* to wait for connections */

/*
 * Gives up all rights of this process: user and groups, capabilities, new privileges, core files,
 * and the system calls that it has no use for. Before there are other threads. -errno: the process
 * may still have rights and must end.
 */
int sandbox_drop(uid_t uid, gid_t gid, unsigned keeps) TV_MUST_CHECK;

/*
 * Stays root, with these capabilities and no other: no new privileges, no core files, and no system calls
 * but to use what is open, to read files, to have memory, and to end. In a process of one thread, which has
 * all capabilities. -errno: the process may still have rights and must end.
 */
int sandbox_keep(const int *keeps, size_t n) TV_MUST_CHECK;
/* Gives up one capability for good, in this thread and in all that it starts from now on: CAP_SETPCAP is
 * needed. -errno. */
int sandbox_give_up(int cap) TV_MUST_CHECK;

#endif
