/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What sandbox_drop and sandbox_keep are made of. Private to sandbox. */
#ifndef SANDBOX_FILTER_H
#define SANDBOX_FILTER_H

#include "common/common.h"

/* From now on, in this process. No new privileges must be set. keeps: SANDBOX_*. -errno. */
int sandbox_filter(unsigned keeps) TV_MUST_CHECK;
/* While it is root: what no program that it might run could get back. -errno. (drop.c) */
int sandbox_drop_bounds(void) TV_MUST_CHECK;

#endif
