/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * This host is in maintenance: it gives its VMs away (moves.h) and takes none, until an operator ends it, or
 * until the next boot where it has begun for a shutdown. Known again after a restart of twinvmd.
 */
#ifndef DAEMON_MAINTENANCE_H
#define DAEMON_MAINTENANCE_H

#include "replicator/session/session.h"
#include <jansson.h>

struct daemon;

struct maintenance {
	int64_t since_s; /* since 1970; 0: the host is not in maintenance */
	bool until_boot;
	char boot[40];	/* of the boot in which it began */
	unsigned moved; /* VMs that have left for it, as far as this daemon has seen */
};

/* ---- maintenance.c ---- */
/* At a daemon's start. boot_id: the kernel's file of that name; NULL: /proc's. */
void maintenance_load(struct daemon *d, const char *boot_id);
bool maintenance_is(const struct daemon *d);
/* Durable when it returns 0. Begun again: only until_boot may change, to false. */
int maintenance_begin(struct daemon *d, bool until_boot, struct tv_err *e) TV_MUST_CHECK;
/* 0 also where there was none. */
int maintenance_end(struct daemon *d, struct tv_err *e) TV_MUST_CHECK;
/* Why a VM is not taken, and what to do. */
void maintenance_refusal(const struct daemon *d, struct tv_err *e);
/* A VM has left for it. */
void maintenance_moved(struct daemon *d);
/* For other hosts: {"since","until_boot","moved"}; NULL: there is none, or no memory. The caller's. */
json_t *maintenance_json(const struct daemon *d);

#endif
