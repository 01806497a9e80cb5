/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Faults on their way to the daemon. A storm is one message a second: faults that are the same are
 * put together, and of different ones those beyond HW_DIFFERENT are counted only (but never one that
 * touches a page and is not corrected before one that is). Private to hardware/.
 */
#ifndef HARDWARE_GATHER_H
#define HARDWARE_GATHER_H

#include "hardware/hardware.h"

#define HW_DIFFERENT 32
#define HW_SECOND_NS TV_NS_PER_S
/* Messages at once, of errors that are not corrected; then one a second. */
#define HW_URGENT 16

struct hw_gather {
	struct hw_fault waiting[HW_DIFFERENT];
	unsigned n;
	uint64_t more; /* errors that found no place: counted in the next message */
	uint64_t total[RAS_SEVERITY_COUNT]; /* errors since the start, all of them */
	int64_t second_ns;		    /* when this second began */
	unsigned sent;			    /* messages in it */
};
/* now_ns, at_ns: by tv_now_ns; when it happened, as far as is known. */
void hw_gather_add(struct hw_gather *g, const struct ras_fault *f, int64_t at_ns);
/* Is a message due? */
bool hw_gather_due(const struct hw_gather *g, int64_t now_ns);
/* The message with all that waits; nothing waits any more. The caller's; NULL: no memory. */
json_t *hw_gather_take(struct hw_gather *g, int64_t now_ns);

#endif
