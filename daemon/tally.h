/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is counted for metrics (docs/METRICS.md). */
#ifndef DAEMON_TALLY_H
#define DAEMON_TALLY_H

#include "daemon/daemon.h"

/* What the session that runs has counted since it began. */
void tally_counts(struct vm *vm, const struct session_counts *counts);
/* how: an outcome, or SESSION_DIED. */
void tally_session_ended(struct vm *vm, unsigned how);
/* The VM runs here now; cause: events_cause. */
void tally_failover(struct vm *vm, const char *cause);
/* All of it; NULL: no memory. */
json_t *tally_json(const struct vm *vm);
/* CPU time, memory and descriptors of this process. */
json_t *tally_process(const struct daemon *d);

#endif
