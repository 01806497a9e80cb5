/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which system calls a sink may make. Private to replicator/monitor. */
#ifndef REPLICATOR_MONITOR_FILTER_H
#define REPLICATOR_MONITOR_FILTER_H

#include "common/common.h"

/* From now on, in this process. No new privileges must be set. -errno. */
int mon_filter(void) TV_MUST_CHECK;

#endif
