/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this daemon knows of its host's hardware: counts of errors, the last faults, what can be
 * watched here. Fed by the process that watches (daemon/hardware.c); nothing acts on it by itself.
 */
#ifndef DAEMON_HEALTH_H
#define DAEMON_HEALTH_H

#include "hardware/hardware.h"

struct daemon;

#define HEALTH_FAULTS 32 /* kept: the last different ones */

/* A message of the process; what it has that cannot be read is logged once, and left out. */
void health_message(struct daemon *d, const json_t *msg);
/* The process has ended, and why nothing is watched meanwhile. Its counts are kept. */
void health_unwatched(const char *why);
/* An operator has looked: what errors have made of the host is forgotten; counts are kept. */
void health_clear(struct daemon *d);
/* For `twinvm health`: docs/HARDWARE-FAULTS.md. The caller's; NULL: no memory. */
json_t *health_json(const struct daemon *d);
/* "green", "yellow", "red", "unknown"; *why (may be NULL): in words, "" if there is nothing to say. */
const char *health_state(const char **why);

/* ---- children.c ---- */
/* The process that watches the hardware; fd is its end of the daemon's socket. */
int spawn_hardware(struct daemon *d, int fd, pid_t *pid, struct tv_err *e) TV_MUST_CHECK;
/* ---- hardware.c: that process: its life ---- */
void hardware_start(struct daemon *d);
/* False: it was not that process. */
bool hardware_exit(pid_t pid, int status);

#endif
