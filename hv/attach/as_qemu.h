/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a QEMU that gave up rights (-runas, -chroot) can still open. Private to hv/attach. */
#ifndef HV_ATTACH_AS_QEMU_H
#define HV_ATTACH_AS_QEMU_H

#include <stdbool.h>
#include <sys/types.h>

/* Does the command line make QEMU change its user or its root folder? Pure. */
bool hv_changed_user(char *const *argv);
/* Can the process *pid (pid_t *) open this file for reading and writing? A child of this one takes
 * its user, groups and root folder, and tries. True also when that cannot be tried. */
bool hv_can_open(const char *file, void *pid);

/* Opens a file for reading with the rights of that process: only what it could open itself. -errno. */
int hv_open_as(const char *file, pid_t pid);

#endif
