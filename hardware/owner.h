/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose a page of this host's memory is: by the page tables of the processes that may have it
 * (/proc/PID/pagemap), also when the kernel has taken it away. For a process of its own with rights
 * (hw_owner_main): it takes some ms for each GiB of memory. A door of this room.
 */
#ifndef HARDWARE_OWNER_H
#define HARDWARE_OWNER_H

#include "ras/ras.h"
#include <jansson.h>

/*
 * twinvmd page-owner JOB: writes what hw_owner_look returns to fd, a line. job: {"page":"0x...",
 * "candidates":[{"pid":N,"start":TICKS,"owner":OWNER_ID,"id":TEXT}], "others_ms":N}; start is as in
 * /proc/PID/stat; a candidate with a "mapping" is one only by mappings whose line has that text. Returns its exit status.
 */
int hw_owner_main(const char *job_text, int fd);
/*
 * {"owner_id": one of enum ras_owner, "id": of the candidate or "", "pid": N, "command": TEXT}. Candidates
 * first, then other processes, for others_ms at most. -EINVAL: a malformed job.
 */
int hw_owner_look(const json_t *job, json_t **out) TV_MUST_CHECK;

/* Does the kernel show numbers of pages to this process? Without CAP_SYS_ADMIN it does not: nobody is then
 * found to be the owner. */
bool hw_sees_pages(void);

/* Does an entry of a pagemap (Documentation/admin-guide/mm/pagemap.rst) stand for that page? */
bool hw_entry_is(uint64_t entry, struct ras_pfn page);

#endif
