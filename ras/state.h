/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a struct ras_health is: for health.c, and keep.c, which brings it over a restart. */
#ifndef RAS_STATE_H
#define RAS_STATE_H

#include "ras/bucket.h"
#include "ras/causes.h"

enum table { PAGES, DIMMS, CORES, PACKAGES, DEVICES, TABLES };

struct ras_health {
	struct ras_policy policy;
	struct bucket_table table[TABLES];
	struct causes causes;
	struct ras_totals totals;
	bool watched;
	int64_t now_ns; /* the latest time that anybody has named */
	/* Corrected errors of one second; seconds before it, one after another, that were full. */
	int64_t second;
	uint64_t in_second;
	uint32_t full_seconds;
};

#endif
