/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: a VM gets a backup again without a command
 *
 * Whoever runs a VM alone (its backup died, or it was promoted) tries to have it protected again
 * until it is, for ever. First the host it had last, SAME_HOST_TRIES times: most losses are a
 * daemon that restarts or a cable that comes back, and that host has the room and perhaps the
 * disks. Then in turns: every other host once, the last one again between any two of them, so that
 * neither a backup that stays dead nor a candidate that refuses keeps the VM unprotected.
 *
 *   try        1       2       3       4       5        6      7        8 ...
 *   host       last    last    last    last    other 1  last   other 2  last ...
 *   wait       0.3 s   0.6     1.2     2.4     4.8      5      5        5    (H = 100 ms)
 *
 * A link that is lost again and again costs a copy of the VM each time, so the wait after a loss
 * doubles as well, from 3H to 50H, with every loss since the VM was last protected for
 * reprotect_calm_ns without one.
 *
 * A try costs the VM nothing until the other host has answered (the connection comes before the
 * attachment). The reason of a refusal hardly changes within seconds (no room, no such machine
 * type): after several in a row the waits grow to reprotect_refused_ns.
 */
#include "failover/failover.h"
#include "failover/mutant.h"

#include <stdio.h>
#include <string.h>

#define SAME_HOST_TRIES 4

void fo_reprotect_start(struct fo_reprotect *k, const struct fo_times *t, const char *last,
			int64_t now_ns)
{
	FO_ASSERT(t->reprotect_first_ns > 0 && t->reprotect_first_ns <= t->reprotect_last_ns &&
		  t->reprotect_last_ns <= t->reprotect_refused_ns);
	*k = (struct fo_reprotect){.on = true,
				   .due_ns = now_ns,
				   .first_ns = t->reprotect_first_ns,
				   .last_ns = t->reprotect_last_ns,
				   .refused_ns = t->reprotect_refused_ns,
				   .calm_ns = t->reprotect_calm_ns};
	snprintf(k->last, sizeof(k->last), "%s", last);
}

void fo_reprotect_stop(struct fo_reprotect *k)
{
	k->on = false;
}

void fo_reprotect_protected(struct fo_reprotect *k, const char *name, int64_t now_ns)
{
	snprintf(k->last, sizeof(k->last), "%s", name);
	k->tries = k->refusals = 0;
	k->due_ns = INT64_MAX;
	k->protected_ns = now_ns;
}

static int64_t doubled(int64_t ns, unsigned times, int64_t limit_ns)
{
	while (times-- && ns < limit_ns)
		ns *= 2;
	return ns < limit_ns ? ns : limit_ns;
}

static void count_loss(struct fo_reprotect *k, int64_t now_ns)
{
	if (now_ns - k->protected_ns >= k->calm_ns)
		k->losses = 0;
	if (!k->losses++)
		k->since_ns = now_ns;
}

void fo_reprotect_ended(struct fo_reprotect *k, enum fo_reprotect_end how, int64_t now_ns)
{
	unsigned failed = k->tries ? k->tries - 1 : 0, lost;

	if (how == FO_REPROTECT_LOST)
		count_loss(k, now_ns);
	lost = k->losses ? k->losses - 1 : 0;
	k->refusals = how == FO_REPROTECT_REFUSED ? k->refusals + 1 : 0;
	k->due_ns = now_ns +
		    (k->refusals ? doubled(k->first_ns, k->refusals + 1, k->refused_ns)
				 : doubled(k->first_ns, failed > lost ? failed : lost, k->last_ns));
}

int64_t fo_reprotect_due(const struct fo_reprotect *k)
{
	return k->on ? k->due_ns : INT64_MAX;
}

static int find(const struct fo_candidate *hosts, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (*name && !strcmp(hosts[i].name, name))
			return (int)i;
	return -1;
}

/* The nth of those that are not `last`; -1 without any. */
static int other(unsigned n, int last, unsigned nth)
{
	unsigned others = n - (last >= 0);

	if (!others)
		return -1;
	nth %= others;
	return last >= 0 && nth >= (unsigned)last ? (int)nth + 1 : (int)nth;
}

int fo_reprotect_choose(struct fo_reprotect *k, const struct fo_candidate *hosts, unsigned n,
			int64_t now_ns)
{
	int last = find(hosts, n, k->last), chosen = last;
	bool others_turn =
		last < 0 || (k->tries >= SAME_HOST_TRIES && (k->tries - SAME_HOST_TRIES) % 2 == 0);

	FO_ASSERT(k->on && k->due_ns != INT64_MAX); /* one try at a time */
	if (others_turn) {
		int o = other(n, last, k->turn);

		if (o >= 0) {
			chosen = o;
			k->turn++;
		}
	}
	k->tries++;
	k->due_ns = chosen >= 0 ? INT64_MAX : now_ns + k->last_ns;
	FO_ASSERT(chosen < (int)n && (chosen >= 0 || last < 0));
	return chosen;
}
