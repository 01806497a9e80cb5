/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See histogram.h. */
#include "replicator/session/histogram.h"

#define MS(ms) (INT64_C(1000) * (ms))

const int64_t histogram_epoch_us[HISTOGRAM_EDGES] = {MS(1),   MS(2),	MS(3),	  MS(5),   MS(10),
						     MS(20),  MS(30),	MS(50),	  MS(100), MS(200),
						     MS(500), MS(1000), MS(2000), MS(5000)};
const int64_t histogram_outage_us[HISTOGRAM_EDGES] = {
	MS(50),	  MS(100),  MS(200),  MS(300),	MS(400),   MS(500),   MS(700),
	MS(1000), MS(2000), MS(3000), MS(5000), MS(10000), MS(30000), MS(60000)};

void histogram_add(struct histogram *h, const int64_t edges_us[HISTOGRAM_EDGES], int64_t ns)
{
	int64_t us = ns > 0 ? ns / 1000 : 0;
	unsigned i = 0;

	while (i < HISTOGRAM_EDGES && us > edges_us[i])
		i++;
	h->n[i]++;
	h->sum_us += (uint64_t)us;
}
