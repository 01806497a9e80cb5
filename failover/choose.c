/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which host should be the next backup. The same hosts in any order give the same answer. */
#include "failover/failover.h"

#include <string.h>

static const char *const names[FO_HEALTHS] = {"green", "unknown", "yellow", "red"};

const char *fo_health_name(enum fo_health h)
{
	return names[h];
}

bool fo_health_of(const char *word, enum fo_health *out)
{
	*out = FO_UNKNOWN;
	for (int i = 0; word && i < FO_HEALTHS; i++)
		if (!strcmp(names[i], word)) {
			*out = (enum fo_health)i;
			return true;
		}
	return false;
}

bool fo_is_well(enum fo_health h)
{
	return h == FO_GREEN || h == FO_UNKNOWN;
}

bool fo_is_better(enum fo_health a, enum fo_health b)
{
	return !fo_is_well(b) && (fo_is_well(a) || a < b);
}

/* Is a the better backup of the two? Both can be one. */
static bool better(const struct fo_host *a, const struct fo_host *b, const char *last_peer)
{
	bool a_last = !strcmp(a->name, last_peer), b_last = !strcmp(b->name, last_peer);

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

		if (!strcmp(h->name, self) || h->free_mib < need_mib || !fo_is_well(h->health))
			continue;
		if (!best || better(h, best, last_peer ? last_peer : ""))
			best = h;
	}
	return best;
}
