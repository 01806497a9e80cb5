/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which system calls a process without rights may make. Private to sandbox. */
#ifndef SANDBOX_FILTER_H
#define SANDBOX_FILTER_H

#include "common/common.h"

/* From now on, in this process. No new privileges must be set. keeps: SANDBOX_*. -errno. */
int sandbox_filter(unsigned keeps) TV_MUST_CHECK;

#endif
