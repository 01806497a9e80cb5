/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes docs/FAILOVER.md: the decision tables as diagrams, from the tables themselves. */
#include "failover/failover.h"

#include <stdio.h>

typedef const char *name_fn(int v);
static const char *p_state(int v)
{
	return fo_primary_state_name((enum fo_primary_state)v);
}
static const char *p_event(int v)
{
	return fo_primary_event_name((enum fo_primary_event)v);
}
static const char *b_state(int v)
{
	return fo_backup_state_name((enum fo_backup_state)v);
}
static const char *b_event(int v)
{
	return fo_backup_event_name((enum fo_backup_event)v);
}
static struct fo_step p_step(int s, int e, bool arbiter)
{
	return fo_primary_step((enum fo_primary_state)s, (enum fo_primary_event)e, arbiter);
}
static struct fo_step b_step(int s, int e, bool arbiter)
{
	return fo_backup_step((enum fo_backup_state)s, (enum fo_backup_event)e, arbiter);
}

static void edge(struct fo_step st, int from, int event, name_fn *state, name_fn *ev)
{
	bool first = true;

	if (st.next == from && !st.actions)
		return;
	printf("    %s --> %s: %s", state(from), state(st.next), ev(event));
	for (int a = 0; a < FO_ACTION_COUNT; a++)
		if (st.actions & 1u << a) {
			printf("%s%s", first ? " / " : ", ", fo_action_name((enum fo_action)a));
			first = false;
		}
	printf("\n");
}

static void diagram(int states, int events, name_fn *state, name_fn *ev,
		    struct fo_step (*step)(int s, int e, bool arbiter))
{
	printf("```mermaid\nstateDiagram-v2\n    [*] --> %s\n", state(0));
	for (int s = 0; s < states; s++)
		for (int e = 0; e < events; e++)
			edge(step(s, e, true), s, e, state, ev);
	printf("```\n\nWithout an arbiter these differ:\n\n");
	for (int s = 0; s < states; s++)
		for (int e = 0; e < events; e++) {
			struct fo_step with = step(s, e, true), none = step(s, e, false);

			if (with.next == none.next && with.actions == none.actions)
				continue;
			printf("- %s, %s: to %s", state(s), ev(e), state(none.next));
			for (int a = 0; a < FO_ACTION_COUNT; a++)
				if (none.actions & 1u << a)
					printf(", %s", fo_action_name((enum fo_action)a));
			printf("\n");
		}
	printf("\n");
}

#define LIST(title, n, name, why)                                 \
	do {                                                      \
		printf("| %s | |\n|---|---|\n", title);           \
		for (int i = 0; i < (n); i++)                     \
			printf("| %s | %s |\n", name(i), why(i)); \
		printf("\n");                                     \
	} while (0)

int main(void)
{
	printf("# Who runs the VM: the decision tables\n\n"
	       "Written by `make docs` from `failover/core.c`; `tests/local/07-docs.sh` compares.\n"
	       "Each arrow is marked EVENT / ACTIONS; an event without an arrow changes nothing.\n"
	       "Times: `failover/timeouts.c`. The engines that feed the events and carry out the\n"
	       "actions: `failover/primary.c`, `failover/backup.c`.\n\n## Primary\n\n");
	diagram(FO_P_COUNT, FO_PE_COUNT, p_state, p_event, p_step);
	LIST("state", FO_P_COUNT, fo_primary_state_name, fo_primary_state_why);
	LIST("event", FO_PE_COUNT, fo_primary_event_name, fo_primary_event_why);
	printf("## Backup\n\n");
	diagram(FO_B_COUNT, FO_BE_COUNT, b_state, b_event, b_step);
	LIST("state", FO_B_COUNT, fo_backup_state_name, fo_backup_state_why);
	LIST("event", FO_BE_COUNT, fo_backup_event_name, fo_backup_event_why);
	printf("## Actions\n\n");
	LIST("action", FO_ACTION_COUNT, fo_action_name, fo_action_why);
	return 0;
}
