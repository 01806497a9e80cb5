/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes the table of kinds of docs/EVENTS.md, or docs/twinvm.catalog, from the table that twinvmd uses.
 * usage: event_tables kinds|catalog */
#include "daemon/events.h"

#include <stdio.h>
#include <string.h>

static const char *priority_name(enum events_priority p)
{
	switch (p) {
	case EVENTS_CRIT:
		return "critical";
	case EVENTS_ERR:
		return "error";
	case EVENTS_WARN:
		return "warning";
	case EVENTS_NOTICE:
		return "notice";
	case EVENTS_INFO:
		break;
	}
	return "info";
}

static void kinds(void)
{
	printf("| kind | priority | what happened | what it means | MESSAGE_ID |\n|---|---|---|---|---|\n");
	for (int i = 0; i < EVENTS_KIND_COUNT; i++) {
		const struct events_kind_info *k = events_kind_info((enum events_kind)i);

		printf("| `%s` | %s | %s | %s%s | %s |\n", k->word, priority_name(k->priority),
		       k->subject, k->meaning,
		       k->acknowledged ? " Acknowledged with `twinvm events --ack`." : "",
		       k->message_id);
	}
	printf("\n");
}

/* As journalctl --update-catalog reads it. */
static void catalog(void)
{
	printf("# Made by `make docs` from the table in daemon/events.h.\n");
	for (int i = 0; i < EVENTS_KIND_COUNT; i++) {
		const struct events_kind_info *k = events_kind_info((enum events_kind)i);

		printf("\n-- %s\nSubject: %s\nDefined-By: twinvm\n"
		       "Support: file:///usr/share/doc/twinvm/EVENTS.md\n\n"
		       "@MESSAGE@\n",
		       k->message_id, k->subject);
		if (k->meaning[0])
			printf("\n%s\n", k->meaning);
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "kinds"))
		kinds();
	else if (argc == 2 && !strcmp(argv[1], "catalog"))
		catalog();
	else
		return 2;
	return 0;
}
