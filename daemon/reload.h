/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reload.c: the configuration, at the start and again. */
#ifndef DAEMON_RELOAD_H
#define DAEMON_RELOAD_H

#include "daemon/daemon.h"

/* The first reading. Mistakes go to stderr, each in a line; e has how many there are. */
int reload_first(struct daemon *d, const char *path, struct tv_err *e) TV_MUST_CHECK;
/* Reads the file again, and makes an event of what has changed and when that counts. False: it has
 * mistakes, and what was read before stays in use. */
bool reload_read(struct daemon *d);
/* twinvmd --check: 0, or 1 when there are mistakes; nothing is started or changed. */
int reload_check_main(const char *path);

#endif
