/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When the captures of the newest epochs ended: which of them holds nothing of an error that happened
 * at a time. Pure.
 */
#ifndef REPLICATOR_SOURCE_ENDS_H
#define REPLICATOR_SOURCE_ENDS_H

#include "replicator/session/session.h"

#define ENDS_EPOCHS (FO_MAX_IN_FLIGHT + 2) /* by epoch number, ring */
struct ends {
	int64_t end_ns[ENDS_EPOCHS];
};
void ends_note(struct ends *x, uint64_t epoch, int64_t end_ns);
/*
 * The newest epoch, at most captured, whose capture ended before at_ns (all by tv_now_ns). Committed
 * ones cannot be taken back: never an older one than committed. At most ENDS_EPOCHS are uncommitted.
 */
uint64_t ends_before(const struct ends *x, uint64_t captured, uint64_t committed, int64_t at_ns);

#endif
