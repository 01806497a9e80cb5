/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Notes about a standby for twinvmd: which process it is, and whether it was promoted. They lie
 * beside the standby's run directory, in run_dir, where only root writes. twinvmd acts on processes
 * as root (it ends a standby, attaches to a promoted VM), and which ones it learns here, never from
 * a sink, which parses what a peer sends. Notes outlive processes, not the host.
 *
 * dir: the standby's run directory, DIR; the notes are DIR.standby and DIR.promoted.
 */
#ifndef REPLICATOR_SESSION_NOTES_H
#define REPLICATOR_SESSION_NOTES_H

#include "common/common.h"

struct standby_note {
	pid_t pid;
	uint64_t start_ticks;
	char qmp[108];
};
/* -errno: the note cannot be written. */
int standby_note(const char *dir, const struct standby_note *n) TV_MUST_CHECK;
/* False: there is none, or it is damaged. */
bool standby_noted(const char *dir, struct standby_note *out);

/*
 * The standby was promoted, as this generation: a daemon that finds it without its replicator must
 * not end what may be the only instance of the VM. -errno: the note cannot be written.
 */
int promotion_note(const char *dir, uint64_t generation) TV_MUST_CHECK;
uint64_t promotion_noted(const char *dir); /* 0: there is none */
/*
 * This host's libvirt is about to start a domain with that UUID for twinvm: a standby. Its hook lets this
 * start pass, and no other (daemon/start_hook.c): while this process lives, and until start_note_end.
 * -EINVAL: it is no UUID; -errno: the note cannot be written.
 */
int start_note(const char *run_dir, const char *uuid) TV_MUST_CHECK;
void start_note_end(const char *run_dir, const char *uuid);
bool start_noted(const char *run_dir, const char *uuid);
/*
 * Is there a note of twinvmd's (daemon/elsewhere.c) that the VM with that UUID has run here and may be
 * another host's now? Then its definition in this host's libvirt is that VM's. A peer's word makes no
 * such note.
 */
bool own_noted(const char *state_dir, const char *uuid);
/* Both go. */
void notes_forget(const char *dir);

#endif
