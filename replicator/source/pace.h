/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When the next epoch begins: the three triggers, as pure functions of times. */
#ifndef REPLICATOR_SOURCE_PACE_H
#define REPLICATOR_SOURCE_PACE_H

#include "replicator/session/session.h"

struct pace {
	enum pace_mode mode;
	int64_t epoch_ns;      /* the user's --epoch */
	int64_t pause_ns;      /* running mean of the pause */
	int64_t last_start_ns; /* start of the last pause */
	int64_t last_end_ns;   /* end of it */
};
void pace_captured(struct pace *p, int64_t start_ns, int64_t pause_ns);
/* When the next epoch is due; oldest_held_ns: when the frame arrived that waits longest in the
 * running epoch, 0 when none does. Never before last_end_ns plus the pause budget's gap. */
int64_t pace_due_ns(const struct pace *p, int64_t oldest_held_ns);
/* How long an epoch is while nothing waits, and what sets that: "timer" (the --epoch), "idle" (longer, as
 * nothing waits), or "pause budget". */
int64_t pace_target_ns(const struct pace *p, const char **why);

#endif
