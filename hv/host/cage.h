/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What keeps one VM's QEMU from the files, the memory and the processes of another, which has the
 * same user: Landlock. Private to hv/host.
 */
#ifndef HV_HOST_CAGE_H
#define HV_HOST_CAGE_H

#include "common/common.h"

struct hv_host_cage {
	const char *closed[4];	 /* folders of which nothing may be opened; NULL: none */
	const char *const *open; /* but for these files and folders below them */
	unsigned n_open;
};
/* Makes the rules: a descriptor. -EOPNOTSUPP: this kernel has no Landlock. */
int hv_host_cage_new(const struct hv_host_cage *c) TV_MUST_CHECK;
/* From now on, in this process and its children. No new privileges must be set. A system call. */
int hv_host_cage_enter(int fd) TV_MUST_CHECK;

#endif
