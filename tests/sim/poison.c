/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim: memory errors in the primary's VM, and what may be committed after one. */
#include "tests/sim/sim.h"

/* A backup may continue from an epoch of before: then none of after is committed. */
static bool matters_in(enum fo_primary_state s)
{
	return s == FO_P_PAIRING || s == FO_P_PROTECTED || s == FO_P_SUSPENDED ||
	       s == FO_P_REPAIRING || s == FO_P_SWITCHING;
}

static void seen(void *arg, uint64_t n)
{
	struct source *s = arg;
	uint64_t good = s->e.epoch_captured;

	(void)n;
	if (s->leaving || s->e.ended || !s->vm->p.alive)
		return;
	/* The sign may be older than the end of the newest capture. */
	if (good > s->e.epoch_committed && chance(300))
		good--;
	note(s->h, "FAULT a memory error in the VM, after epoch %llu", (unsigned long long)good);
	if (matters_in(s->e.state) && !s->session->spoiled) {
		s->session->spoiled = true;
		s->session->good = good > s->e.epoch_sent ? good : s->e.epoch_sent;
		sim.stats.spoiled++;
	}
	fo_primary_poisoned(&s->e, turn_now(&s->p), good);
	source_schedule(s);
}

void memory_error(void)
{
	struct source *s = sim.owner->source;

	if (s && s->p.alive && !s->leaving)
		after(between(0, 5 * MS), &s->p, seen, s, 0);
}

void check_commit(const struct session *x, uint64_t epoch)
{
	if (x->spoiled && epoch > x->good)
		violation(14, "%s commits epoch %llu; a memory error was seen after epoch %llu",
			  x->backup->name, (unsigned long long)epoch, (unsigned long long)x->good);
}
