/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which row of the table of faults is it? Of one record, without what has been counted. */
#ifndef RAS_JUDGE_H
#define RAS_JUDGE_H

#include "ras/ras.h"

/* Is it only counted? Corrected, and of no unknown kind. */
bool judge_is_counted(const struct ras_fault *f);
/* The row of a fault that is not; RAS_RULE_NONE: no error. */
enum ras_rule judge_rule(const struct ras_fault *f);
/* The colour of that row for this record alone: some depend on what the record says. */
enum ras_color judge_color(enum ras_rule rule, const struct ras_fault *f);
/* Rows that a failed page of memory can be: several records of one page are one of them. */
bool judge_is_page(enum ras_rule rule);
/* Of two of these rows for the same page, the one that says more. */
enum ras_rule judge_join(enum ras_rule old, enum ras_rule now);
/* Rows of which the second one within a day is as bad as it gets. */
bool judge_second_is_red(enum ras_rule rule);

#endif
