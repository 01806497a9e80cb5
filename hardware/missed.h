/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors that the kernel has counted and that no event has reported: the counters in sysfs are what is left when events
 * were lost, or where there are none. Private to hardware/.
 */
#ifndef HARDWARE_MISSED_H
#define HARDWARE_MISSED_H

#include "hardware/hardware.h"

#define HW_MISSED_PARTS 128

/* What the kernel counts of one DIMM or device; a counter that there is not is 0. */
enum hw_counter { HW_CORRECTED, HW_UNCORRECTED, HW_FATAL, HW_COUNTERS };
struct hw_part {
	enum ras_source source; /* whose events tell of it: RAS_SRC_MC, RAS_SRC_AER */
	char where[RAS_TEXT_ROOM];
	uint64_t counted[HW_COUNTERS]; /* as of the last look */
	bool known;		       /* it has been looked at before */
};
struct hw_missed {
	struct hw_part parts[HW_MISSED_PARTS];
	unsigned n;
	uint64_t reported[RAS_SRC_COUNT][HW_COUNTERS]; /* errors by events, since the last look */
};

/* An event has reported of it. */
void hw_missed_event(struct hw_missed *m, const struct ras_fault *f);
/*
 * counters: of hw_counters. From the second look at a part on, errors that are counted beyond what events of
 * its source have reported are given to each, a fault for each part and severity; but not of a source whose events are
 * complete (not lost, and there): bit 1 << source of complete.
 */
typedef void hw_missed_fn(void *arg, const struct ras_fault *f);
void hw_missed_look(struct hw_missed *m, const json_t *counters, unsigned complete,
		    hw_missed_fn *each, void *arg);

#endif
