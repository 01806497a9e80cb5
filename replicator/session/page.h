/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a replicator leaves in its VM's run directory for the process that cleans up after its death:
 * the page (primary), and the note of a promotion (backup). Both outlive processes, not the host.
 */
#ifndef REPLICATOR_SESSION_PAGE_H
#define REPLICATOR_SESSION_PAGE_H

#include "common/common.h"

/*
 * A file of the run directory that the source has mapped: it shows whether the VM was paused by the
 * source when that died.
 */
struct cap_page {
	uint64_t magic;
	volatile uint32_t in_pause;
	volatile uint32_t attached;
	volatile uint32_t yielded; /* planned switch: TakeOver is about to be sent */
};
#define CAP_PAGE_MAGIC UINT64_C(0x656761706d767774) /* "twvmpage" */
/* create: makes the file, or empties it. -errno; -EBADMSG: the file is too short to be one. */
int cap_page_map(const char *path, bool create, struct cap_page **out) TV_MUST_CHECK;
void cap_page_unmap(struct cap_page *page);

/*
 * A note in the standby's run directory that the standby was promoted, and as which generation: a
 * daemon that finds it without its replicator must not end what may be the only instance of the VM.
 * A note that cannot be written is logged.
 */
void promotion_note(const char *dir, uint64_t generation);
uint64_t promotion_noted(const char *dir); /* 0: there is none */
void promotion_forget(const char *dir);

#endif
