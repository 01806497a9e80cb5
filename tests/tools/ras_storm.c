/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * usage: ras_storm [RECORDS]: what a storm of machine checks costs the process that reads them: raw pages of trace data up to
 * messages for the daemon. The share is of a core, at 5,000 records a second.
 */
#include "tests/unit/hardware_storm_kit.h"

#include <stdlib.h>

int main(int argc, char **argv)
{
	struct storm s = {.records = argc > 1 ? (unsigned)atoi(argv[1]) : 500000};
	double us;

	s.records -= s.records % STORM_A_PAGE;
	if (!s.records || !storm_run(&s) || s.faults != s.records) {
		fprintf(stderr, "ras_storm: %llu of %u records were read\n",
			(unsigned long long)s.faults, s.records);
		return 1;
	}
	us = (double)s.cpu_ns / 1e3 / s.records;
	printf("%u records, %llu messages: %.2f us of CPU each, %.2f %% of a core at 5000/s\n",
	       s.records, (unsigned long long)s.messages, us, us * 5000 / 1e4);
	return 0;
}
