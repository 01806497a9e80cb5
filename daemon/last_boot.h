/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this host died of before it was booted, as far as that has left a trace (last_boot.c). */
#ifndef DAEMON_LAST_BOOT_H
#define DAEMON_LAST_BOOT_H

#include "daemon/daemon.h"

#define LAST_BOOT_MOST 16
/* Where to look: the host's own, for tests others. */
struct last_boot_paths {
	const char *bert; /* the firmware's record of the last boot's error */
	const char *pstore
		[2]; /* folders of what the dying kernel has written; one level of folders in them */
	const char *log; /* the kernel's log of this boot */
	const char *boot_id;
};
struct last_boot {
	char key[160]; /* the same for the same trace: it counts once */
	char text[120];
};
/* How many traces of a death by a hardware fault are there? */
unsigned last_boot_look(const struct last_boot_paths *p, struct last_boot out[LAST_BOOT_MOST]);
/* Looks, and notes what is new in state_dir/last-boot.json: the host is yellow until it is cleared. p:
 * NULL: the host's own. */
void last_boot_start(struct daemon *d, const struct last_boot_paths *p);

#endif
