/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why a host has its colour: a list of fixed size, and when something leaves it. */
#ifndef RAS_CAUSES_H
#define RAS_CAUSES_H

#include "ras/ras.h"

struct cause {
	struct ras_cause is;
	bool has_page;
	unsigned errors; /* that are not one and the same */
};
struct causes {
	struct cause list[RAS_MAX_CAUSES];
	unsigned n;
	uint64_t forgotten;
};

/* What is to be in the list. */
struct cause_new {
	enum ras_rule rule;
	enum ras_color color;
	bool until_cleared, has_page;
	const char *what, *sentence;
};
/*
 * Puts it in, or joins it with the cause that it belongs to. Returns whether it is new or has become
 * worse. Where no room is left, the least leaves: a colour is never lost, except of the same.
 */
bool causes_put(struct causes *c, const struct cause_new *n, int64_t now_ns);
/* Is the cause still there? Called for each that an operator need not clear, and that has had no news for
 * silence_ns. */
typedef bool cause_still_fn(void *arg, const struct ras_cause *cause);
void causes_expire(struct causes *c, int64_t now_ns, int64_t silence_ns, cause_still_fn *still,
		   void *arg);
/* RAS_GREY: there is no cause. */
enum ras_color causes_color(const struct causes *c);
/* Worst first, then the latest. */
void causes_sort(struct causes *c);

#endif
