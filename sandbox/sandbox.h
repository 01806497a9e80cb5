/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sandbox: how a process that reads what strangers send gives up its rights, for good. The door of
 * this room. The sink uses it (replicator/monitor) and the web server (web/).
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

#endif
