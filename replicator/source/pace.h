/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When the next epoch begins: the three triggers, as pure functions of times and of what QEMU has
 * used of the host's CPUs. The rules are in docs/PACING.md.
 */
#ifndef REPLICATOR_SOURCE_PACE_H
#define REPLICATOR_SOURCE_PACE_H

#include "replicator/session/session.h"

#define PACE_BUDGET 10 /* percent */

struct pace {
	enum pace_mode mode;
	int64_t epoch_ns;      /* the user's --epoch */
	int budget;	       /* percent of a busy VM's time that its pauses may take */
	bool hurried;	       /* the host is weak: less is to be lost */
	int64_t pause_ns;      /* running mean of the pause */
	int64_t last_start_ns; /* start of the last pause */
	int64_t last_end_ns;   /* end of it */
	/* pace_look's, since the last pause */
	int64_t from_ns, from_cpu_ns; /* the first look; from_ns 0: there was none */
	int64_t seen_ns, seen_cpu_ns; /* the newest one */
	int64_t work_ns;	      /* that one CPU has worked for the VM */
	double busy;		      /* share of the time of one CPU, 0 to 1 */
	bool rests;		      /* of late it did next to nothing */
};

/* What an epoch is waited for by. */
struct pace_waits {
	int64_t held_ns; /* when the frame or disk write came that waits longest; 0: none */
	bool wanted;	 /* twinvm itself wants epochs soon, to compare the VM with its backup */
};

void pace_captured(struct pace *p, int64_t start_ns, int64_t pause_ns);
/* QEMU's CPU time as of now; negative: not known, and the VM counts as busy. */
void pace_look(struct pace *p, int64_t now_ns, int64_t cpu_ns);
/* It does not rest: one of its threads runs, or waits for a CPU. */
void pace_runs(struct pace *p);
/* When the next epoch is due, as of the last look. Never before the VM ran for as long as the mode
 * leaves to it. */
int64_t pace_due_ns(const struct pace *p, struct pace_waits w);
/* When to look again before that, as the VM may rest by then; INT64_MAX: no need. */
int64_t pace_look_again_ns(const struct pace *p, struct pace_waits w);
/* How long an epoch is while nothing waits, and what sets that: "timer" (the --epoch), "idle" (a
 * second, as the VM does little), "work" (shorter, as it does much), or "pause budget". */
int64_t pace_target_ns(const struct pace *p, const char **why);

#endif
