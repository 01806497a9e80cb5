/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page: what a source leaves in run_dir for the process that cleans up after its death. It
 * outlives processes, not the host. It lies beside the VM's run directory, which may be its QEMU's.
 */
#ifndef REPLICATOR_SESSION_PAGE_H
#define REPLICATOR_SESSION_PAGE_H

#include "common/common.h"

/*
 * A file that the source has mapped: it shows whether the VM was paused by the
 * source when that died.
 */
struct cap_page {
	uint64_t magic;
	volatile uint32_t in_pause;
	volatile uint32_t attached;
	volatile uint32_t yielded; /* planned switch: TakeOver is about to be sent */
	volatile uint32_t fenced;  /* another host runs the VM: it is never to run here again */
	volatile uint32_t pauses; /* grows when the VM may be stopped for a moment, and when it runs
				      again: odd numbers are for the first (daemon/hung.c) */
	int32_t pid;		  /* of the source; 0: of an older version */
	uint64_t start_ticks;	  /* when it was started */
};
#define CAP_PAGE_MAGIC UINT64_C(0x656761706d767774) /* "twvmpage" */
#define CAP_PAGE_PATH 300
void cap_page_path(const char *run_dir, const char *vm_id, char out[CAP_PAGE_PATH]);
/* create: makes the file, or empties it. -errno; -EBADMSG: the file is too short to be one. */
int cap_page_map(const char *path, bool create, struct cap_page **out) TV_MUST_CHECK;
void cap_page_unmap(struct cap_page *page);

#endif
