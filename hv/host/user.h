/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The user that standbys run as. Private to hv/host. */
#ifndef HV_HOST_USER_H
#define HV_HOST_USER_H

#include "common/common.h"

#define HV_HOST_GROUPS 64

struct hv_host_user {
	char name[64];
	uid_t uid;
	gid_t gid;
	gid_t groups[HV_HOST_GROUPS]; /* its own; with room for one more */
	unsigned n_groups;
};
/* Never root, and never in root's group. TV_E_REFUSED, -ENOENT: the sentence names host, key and
 * remedy. */
int hv_host_user_find(const char *name, struct hv_host_user *out, struct tv_err *e) TV_MUST_CHECK;
/* Leaves its groups: nothing that a group may open is open to it any more. */
void hv_host_user_apart(struct hv_host_user *u);
/* Adds the group that owns /dev/kvm, if that is what opens it. -ENOTSUP: it cannot be opened. */
int hv_host_user_kvm(struct hv_host_user *u, struct tv_err *e) TV_MUST_CHECK;
/*
 * Becomes that user in this process, for good: groups, user, no capability left in any set, no new
 * privileges, files for its own eyes only. Only system calls: also for a forked child of a process
 * with threads. -errno: some rights are left, and the process must end.
 */
int hv_host_user_become(const struct hv_host_user *u) TV_MUST_CHECK;
/* Could that user open the file so (open(2)'s flags)? 0, or open's -errno. */
int hv_host_user_try(const struct hv_host_user *u, const char *path, int flags) TV_MUST_CHECK;

#endif
