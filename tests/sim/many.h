/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim: many histories in several processes, and what was found in them. */
#ifndef TESTS_SIM_MANY_H
#define TESTS_SIM_MANY_H

#include "tests/sim/sim.h"

/* invariant of a history that ended its process, beside those of check.c */
#define BY_ASSERTION (-1) /* an assertion of the product failed: it aborted */
#define BY_DEATH (-2)	  /* anything else: a mistake of the simulator's, most likely */

struct found {
	uint64_t seed;
	int invariant;
	char message[400];
};
struct many {
	uint64_t first, n;
	unsigned workers;
	bool until_found;
	/* results */
	struct stats total;
	uint64_t violations, deaths; /* deaths: of them, those BY_DEATH */
	struct found one;	     /* the one with the lowest seed; UINT64_MAX: none */
};
/* Prints each violation unless until_found. */
void run_many(struct many *m);

#endif
