/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a replicator leaves in its VM's run directory for whoever cleans up after its death: the
 * page (primary), and the note of a promotion (backup). Both survive processes, not the host.
 */
#ifndef REPLICATOR_SESSION_PAGE_H
#define REPLICATOR_SESSION_PAGE_H

#include "common/common.h"

/*
 * Lives in a file of the run directory, mapped by the replicator: whoever cleans up after it
 * reads there whether the replicator had paused the VM when it died.
 */
struct cap_page {
	uint64_t magic;
	volatile uint32_t in_pause;
	volatile uint32_t attached;
	volatile uint32_t yielded; /* planned switch: TakeOver is about to be sent */
};
#define CAP_PAGE_MAGIC UINT64_C(0x656761706d767774) /* "twvmpage" */
int cap_page_map(const char *path, bool create, struct cap_page **out) TV_MUST_CHECK;
void cap_page_unmap(struct cap_page *page);

/*
 * A note in the standby's run directory that the standby was promoted, and as which generation:
 * whoever finds it without its replicator must not end what may be the only instance of the VM.
 * It outlives processes, not the host (there it would name nothing). 0: there is none.
 */
void promotion_note(const char *dir, uint64_t generation);
uint64_t promotion_noted(const char *dir);
void promotion_forget(const char *dir);

#endif
