/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a QEMU uses of the host's CPUs: that of its vCPUs, and what its other threads do for them (a
 * frame on its way, a disk's write). Cheap, and asks QEMU nothing.
 */
#ifndef REPLICATOR_SOURCE_GUEST_CPU_H
#define REPLICATOR_SOURCE_GUEST_CPU_H

#include "common/common.h"

/* CPU time of all of its threads until now, in ns, to the nanosecond also of those that run; one
 * system call. Negative: there is no such process. */
int64_t guest_cpu_ns(pid_t pid) TV_MUST_CHECK;
/* Does one of its threads run at this moment, or wait for a CPU? A host that is short of CPUs makes
 * a busy VM look like one that rests, by CPU time alone. Some microseconds for each thread; true when
 * that is not known. */
bool guest_cpu_runs(pid_t pid) TV_MUST_CHECK;

#endif
