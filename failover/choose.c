/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which host should be the next backup. The same hosts in any order give the same answer. */
#include "failover/failover.h"

#include <string.h>

const char *fo_health_name(enum fo_health h)
{
	return h == FO_GREEN ? "green" : h == FO_YELLOW ? "yellow" : "red";
}

/* Is a the better backup of the two? Both can be one. */
static bool better(const struct fo_host *a, const struct fo_host *b, const char *last_peer)
{
	bool a_last = !strcmp(a->name, last_peer), b_last = !strcmp(b->name, last_peer);

	if (a->health != b->health)
		return a->health < b->health;
	if (a_last != b_last)
		return a_last;
	if (a->free_mib != b->free_mib)
		return a->free_mib > b->free_mib;
	return strcmp(a->name, b->name) < 0;
}

const struct fo_host *fo_choose_backup(const struct fo_host *hosts, unsigned n, const char *self,
				       const char *last_peer, uint64_t need_mib)
{
	const struct fo_host *best = NULL;

	for (unsigned i = 0; i < n; i++) {
		const struct fo_host *h = &hosts[i];

		if (!strcmp(h->name, self) || h->free_mib < need_mib ||
		    (h->health != FO_GREEN && h->health != FO_YELLOW))
			continue;
		if (!best || better(h, best, last_peer ? last_peer : ""))
			best = h;
	}
	return best;
}
