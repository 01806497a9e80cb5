/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When soft-dirty bits of shared memory can be believed, and that they still can. softshared.c has
 * the argument. root is "" or, in tests, a made-up folder. Private to hv/. */
#ifndef HV_DIRTY_SOFTSHARED_H
#define HV_DIRTY_SOFTSHARED_H

#include "common/common.h"

#define HV_VMSTAT_ROOM (64u << 10)

/* osrelease "6.1.0-56-amd64" is 601; 0: unknown. */
unsigned hv_soft_kernel_number(const char *osrelease);

struct hv_shared_facts { /* of this host */
	unsigned kernel; /* 601: Linux 6.1 */
	bool swap;	 /* some is active */
	char huge[16]; /* the word chosen in shmem_enabled; "deny" in a kernel without huge pages */
	uint64_t huge_pages;   /* of all shared memory of this host */
	uint64_t anon_scanned; /* pages of processes and of shared memory that reclaim ever took
				* up */
};
struct hv_shared_block {
	const char *name;
	bool locked;  /* mlock: reclaim leaves it alone */
	bool unnamed; /* on the kernel's own tmpfs (memfd), which has no mount options */
};

/* vmstat: the text of /proc/vmstat. False when it lacks one of the two. */
bool hv_shared_vmstat(const char *vmstat, uint64_t *huge_pages, uint64_t *anon_scanned);
int hv_shared_facts(const char *root, struct hv_shared_facts *out, struct tv_err *e) TV_MUST_CHECK;
/* 0, or TV_E_REFUSED with one sentence that says what to do. */
int hv_shared_judge(const struct hv_shared_facts *f, const struct hv_shared_block *b,
		    struct tv_err *e) TV_MUST_CHECK;
/* Has the mapping that starts at addr the flag "lo"? smaps: the text of /proc/PID/smaps. */
bool hv_shared_is_locked(const char *smaps, uint64_t addr);
/* Is fd's file on the kernel's own tmpfs? */
bool hv_shared_is_unnamed(int fd);

struct hv_shared_watch { /* all zero: nothing is watched, which is fine */
	bool on, reclaim;
	int vmstat_fd, huge_fd, inotify_fd;
	uint64_t anon_scanned;
	char huge[16]; /* as in the facts */
	char *text;
};
/* Takes facts as they are now; from here on hv_shared_watch_ok sees what changed. reclaim: is
 * reclaim to be watched (no: all is locked)? */
int hv_shared_watch_start(struct hv_shared_watch *w, const char *root, bool reclaim,
			  struct hv_shared_facts *out, struct tv_err *e) TV_MUST_CHECK;
/* HOT. 0; TV_E_UNTRACKED: bits may have been lost since the start. Stays so. */
int hv_shared_watch_ok(struct hv_shared_watch *w) TV_MUST_CHECK;
void hv_shared_watch_stop(struct hv_shared_watch *w);

#endif
