/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef REPLICATOR_SINK_SPARE_MEMORY_H
#define REPLICATOR_SINK_SPARE_MEMORY_H

#include "common/common.h"

/* Of this host's memory, in bytes: what is available without swapping, and what of it is to stay so.
 * False: not known. */
bool sink_spare_memory(uint64_t *available, uint64_t *reserve);

#endif
