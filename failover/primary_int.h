/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What primary.c decides with, for primary_link.c; private to failover/. */
#ifndef FAILOVER_PRIMARY_INT_H
#define FAILOVER_PRIMARY_INT_H

#include "failover/failover.h"

/* Is there a question that it asks until it has an answer, and which? */
bool fo_p_asks_in(enum fo_primary_state s, enum fo_question *q);
bool fo_p_lease_runs(const struct fo_primary *p, int64_t now_ns);
/* What holds between any two calls. */
void fo_p_check(const struct fo_primary *p);
void fo_p_tell(struct fo_primary *p, enum fo_msg_kind kind, uint64_t epoch);
/* Releases what is committed, if the lease and the record allow it. */
void fo_p_try_release(struct fo_primary *p, int64_t now_ns);
void fo_p_ask(struct fo_primary *p, enum fo_question q);
void fo_p_event(struct fo_primary *p, int64_t now_ns, enum fo_primary_event ev);

#endif
