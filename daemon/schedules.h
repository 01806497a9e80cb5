/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rehearsals by the configuration's schedules, and the reminder of those that are due (docs/REHEARSAL.md). */
#ifndef DAEMON_SCHEDULES_H
#define DAEMON_SCHEDULES_H

#include "daemon/daemon.h"

void schedules_start(struct daemon *d);
/* What is due at that time (s since 1970) is begun, and reminders are set; for tests. */
void schedules_look(struct daemon *d, time_t now);
/* Of this VM the next one that this host would begin, and when; false: none. */
bool schedules_next(const struct vm *vm, time_t now, const struct schedule **which, time_t *when);

#endif
