/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One VM's own control group, with limits of memory and processes. Private to hv/host. */
#ifndef HV_HOST_CGROUP_H
#define HV_HOST_CGROUP_H

#include "common/common.h"

#define HV_HOST_CGROUPS 2 /* with version 1 memory and processes have a hierarchy each */

struct hv_host_cgroup {
	char paths[HV_HOST_CGROUPS][256];
	unsigned n; /* 0: none, nothing is limited */
};
/*
 * Makes the group NAME, below one of twinvm's own where the hierarchy is mounted, and sets its
 * limits. mountinfo: /proc/self/mountinfo. -EOPNOTSUPP: no hierarchy here can be written or limits
 * memory. Groups of VMs that have ended are removed.
 */
int hv_host_cgroup_new(const char *mountinfo, const char *name, uint64_t memory_bytes,
		       unsigned processes, struct hv_host_cgroup *out) TV_MUST_CHECK;
/* Puts a process into it. */
int hv_host_cgroup_add(const struct hv_host_cgroup *g, pid_t pid) TV_MUST_CHECK;
/* Removes the group of that name wherever it is; while a process is in it, it stays. */
void hv_host_cgroup_remove(const char *mountinfo, const char *name);
/* Is there one of that name? */
bool hv_host_cgroup_there(const char *mountinfo, const char *name);

#endif
