/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMs leave this host as its hardware fails: what is decided (failover/moves.h) is carried out. */
#ifndef DAEMON_MOVES_H
#define DAEMON_MOVES_H

#include "hardware/hardware.h"

struct daemon;
struct vm;

/* ---- moves.c ---- */
void moves_start(struct daemon *d);
/* Decides now; once a second it does so by itself. */
void moves_look(struct daemon *d);
/* The backup of a VM that ran here runs it, by a planned switch. */
void moves_switched(const struct vm *vm);
/* An operator has looked at the hardware: no earlier move counts. */
void moves_clear(void);
/* For `twinvm health`: each VM here with what is decided, and the moves of the last hour. A new object. */
json_t *moves_json(struct daemon *d);
/* The moves of the last hour, for other hosts: [{"id","time"}]. */
json_t *moves_recent(void);
/* What a restart needs, and back; what cannot be read of it is left out. */
json_t *moves_keep(void);
void moves_restore(const json_t *kept);

/* ---- weak.c: parts of this host that are weak, and which VMs use them ---- */
/* A page of that VM is weak, so health.c has found. */
void weak_page_note(const char *vm_id, const char *page);
/* Is the cause's page that VM's? */
bool weak_page_is(const char *vm_id, const char *page);
/* As moves_keep and moves_restore. */
json_t *weak_keep(void);
void weak_restore(const json_t *kept);
/* Is a thread of the process bound to some CPUs, of which that one is one, or a sibling of its core? */
bool weak_core_binds(pid_t pid, unsigned cpu);

#endif
