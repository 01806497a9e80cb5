/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of doctor/ share. Private to doctor/. */
#ifndef DOCTOR_DOCTOR_INT_H
#define DOCTOR_DOCTOR_INT_H

#include "doctor/doctor.h"
#include "replicator/session/session.h"

/* ---- report.c ---- */
enum doctor_level { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_PROBLEM };
void doctor_add(json_t *checks, const char *name, enum doctor_level level, const char *fmt, ...)
	TV_PRINTF(4, 5);

/* ---- owner.c ---- */
/*
 * Does a name belong to a VM that twinvmd knows? facts: its answer. id: the VM's id, with -N for a
 * slot (slot.h), as in a file's name; or, with by_device, the front part of a device's name.
 */
bool doctor_is_known(json_t *facts, const char *id);
bool doctor_is_known_device(json_t *facts, const char *name);
bool doctor_is_known_vm(json_t *facts, const char *vm_id);
/* The first process that has the file (or one in the folder) open or on its command line; 0: none.
 * command: its name. */
pid_t doctor_user_of(const char *path, char command[32]);

/* ---- scan.c ---- */
/* All that carries a VM's id on this host, as the items of doctor_examine, with `id` and without
 * what owner.c knows. */
json_t *doctor_scan(const struct config *c);

/* ---- peer.c ---- */
void doctor_check_peers(const struct config *c, const char *only, json_t *checks);

/* ---- hardware.c ---- */
/* facts: twinvmd's answer, NULL: it does not run. */
void doctor_check_hardware(json_t *facts, json_t *checks);

/* ---- check.c, host.c ---- */
void doctor_check_config(const struct config *c, json_t *checks);
void doctor_check_host(const struct config *c, json_t *checks);

#endif
