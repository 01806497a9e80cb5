/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much memory a host can spare. */
#include "replicator/sink/spare_memory.h"

#include <stdlib.h>
#include <string.h>

#define RESERVE_SHARE 32 /* of the host's memory */
#define RESERVE_MAX_BYTES (UINT64_C(1) << 30)

static uint64_t meminfo(const char *text, const char *key)
{
	const char *p = strstr(text, key);

	return p ? strtoull(p + strlen(key), NULL, 10) << 10 : 0;
}

bool sink_spare_memory(uint64_t *available, uint64_t *reserve)
{
	TV_FREE char *text = NULL;

	if (tv_read_file("/proc/meminfo", 16384, &text, NULL))
		return false;
	*available = meminfo(text, "MemAvailable:");
	*reserve = meminfo(text, "MemTotal:") / RESERVE_SHARE;
	if (*reserve > RESERVE_MAX_BYTES)
		*reserve = RESERVE_MAX_BYTES;
	if (tv_fault("still_memory"))
		*available = 0;
	return true;
}
