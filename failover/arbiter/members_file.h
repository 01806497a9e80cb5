/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hosts as files in a shared directory; private to failover/arbiter. */
#ifndef FAILOVER_ARBITER_MEMBERS_FILE_H
#define FAILOVER_ARBITER_MEMBERS_FILE_H

#include "failover/failover.h"

/* Zero-initialise it; belongs to one arbiter handle. */
struct fo_members {
	uint64_t beat; /* of the last announcement through this handle, 0: none */
	unsigned n;
	struct fo_seen {
		char name[64];
		uint64_t beat;
		int64_t changed_ns; /* when beat was seen to change, by our clock; 0: never yet */
		bool there;	    /* in the listing under way */
	} seen[FO_MAX_HOSTS];
};
/* folder: the arbiter's. Writes folder/hosts/NAME. */
int fo_members_announce(struct fo_members *m, const char *folder, const struct fo_host *h,
			struct tv_err *e) TV_MUST_CHECK;
/* The number of hosts whose beat changed within member_ns before now_ns, or a negative code. */
int fo_members_list(struct fo_members *m, const char *folder, int64_t now_ns, int64_t member_ns,
		    struct fo_host *out, unsigned n, struct tv_err *e) TV_MUST_CHECK;

#endif
