/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What begins an epoch: the words for it. */
#include "replicator/session/config.h"

#include <errno.h>
#include <string.h>

static const char *const mode_names[] = {"remus", "kemari", "adaptive"};

int pace_mode_parse(const char *text, enum pace_mode *out)
{
	for (size_t i = 0; i < sizeof(mode_names) / sizeof(*mode_names); i++)
		if (!strcmp(text, mode_names[i])) {
			*out = (enum pace_mode)i;
			return 0;
		}
	return -EINVAL;
}

const char *pace_mode_name(enum pace_mode m)
{
	return mode_names[m];
}
