/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A histogram of durations with fixed edges: no allocation, a few comparisons to count. It travels as an
 * array of numbers (messages.h) and ends as a histogram of Prometheus (docs/METRICS.md).
 */
#ifndef REPLICATOR_SESSION_HISTOGRAM_H
#define REPLICATOR_SESSION_HISTOGRAM_H

#include "common/common.h"

#define HISTOGRAM_EDGES 14

struct histogram {
	uint64_t n[HISTOGRAM_EDGES +
		   1]; /* not above edge i and above the one before; the last: above all */
	uint64_t sum_us;
};

/* Upper edges, ascending, in us. */
extern const int64_t
	histogram_epoch_us[HISTOGRAM_EDGES]; /* 1 ms to 5 s: pause, commit, hold, epoch */
extern const int64_t histogram_outage_us[HISTOGRAM_EDGES]; /* 50 ms to 60 s */

/* A duration that is negative counts as 0. */
void histogram_add(struct histogram *h, const int64_t edges_us[HISTOGRAM_EDGES], int64_t ns);

#endif
