/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Slots: the names of what a standby has on its host (run directory, taps, replica images). Slot 0
 * is the usual one. A VM of which an earlier instance is kept on this host, stopped, gets the next
 * slot that is free: the stopped one still uses the names of its own.
 */
#ifndef REPLICATOR_SESSION_SLOT_H
#define REPLICATOR_SESSION_SLOT_H

#include <stdint.h>

#define SLOTS_MAX 16
struct slot_names {
	char id[40];	     /* of run directory and images: the VM's id, with -N from slot 1 on */
	char tap_prefix[12]; /* no two slots' taps have one name */
};
void slot_names(const char *vm_id, unsigned slot, struct slot_names *out);

#endif
