/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of events.h. */
#include "daemon/events.h"

#include <string.h>

static const struct events_kind_info kinds[] = {
#define ROW(name, word, priority, acked, id, subject, meaning) \
	[EVENTS_##name] = {word, EVENTS_##priority, acked, id, subject, meaning},
	EVENTS_KINDS(ROW)
#undef ROW
};

const struct events_kind_info *events_kind_info(enum events_kind kind)
{
	return &kinds[kind];
}

enum events_kind events_kind_of(const char *word)
{
	int i = 0;

	while (i < EVENTS_KIND_COUNT && strcmp(kinds[i].word, word) != 0)
		i++;
	return (enum events_kind)i;
}
