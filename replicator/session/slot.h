/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of what a standby has on its host: run directory, taps, replica images. Place 0 is the
 * usual one; the next ones are for a VM whose earlier instance is kept here, stopped, with the
 * names of a place that must stay its own.
 */
#ifndef REPLICATOR_SESSION_SLOT_H
#define REPLICATOR_SESSION_SLOT_H

#include <stdint.h>

#define PLACES 16
struct place_names {
	char id[40];	     /* of run directory and images: the VM's id, with -N from place 1 on */
	char tap_prefix[12]; /* no two places' taps have one name */
};
void place_names(const char *vm_id, unsigned place, struct place_names *out);

/*
 * A note in the standby's run directory that it was told to run, as which generation: whoever finds
 * the standby without its replicator must not end what may be the only instance of the VM. It
 * outlives processes, not the host (there it would name nothing). 0: there is none.
 */
void promotion_note(const char *dir, uint64_t generation);
uint64_t promotion_noted(const char *dir);
void promotion_forget(const char *dir);

#endif
