/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hv_runstates: prints docs/RUNSTATES.md from hv's table of run states and events. */
#include "hv/hv_runstate.h"

#include <stdio.h>

#define MEANING(name, meaning) meaning,
#define WORD(name, meaning) #name,
static const char *const meanings[] = {HV_PROTECTIONS(MEANING)};
static const char *const words[] = {HV_PROTECTIONS(WORD)};

static void print_states(void)
{
	unsigned n;
	const struct hv_run_state *s = hv_run_states(&n);

	puts("| run state | protection | the backup, after a power cut | `status` says | to protect "
	     "or switch it | |\n|---|---|---|---|---|---|");
	for (unsigned i = 0; i < n; i++)
		printf("| `%s` | %s | %s | %s | %s | %s |\n", s[i].name, words[s[i].protection],
		       s[i].protection == HV_NEVER ? ""
		       : s[i].backup_may_run	   ? "runs it"
						   : "does not",
		       s[i].why, s[i].remedy, s[i].note);
}

static void print_events(void)
{
	unsigned n;
	const struct hv_event_rule *e = hv_event_rules(&n);

	puts("| event | the run state is asked for | |\n|---|---|---|");
	for (unsigned i = 0; i < n; i++)
		printf("| `%s` | %s | %s |\n", e[i].name, e[i].look ? "yes" : "", e[i].what);
}

int main(void)
{
	puts("# Run states and events of a protected VM\n\n"
	     "Printed by `build/tools/hv_runstates` from the table in `hv/attach/runstate.c`. What "
	     "QEMU reports\nas its run state (`query-status`) decides what protection does. `twinvm "
	     "status --json` shows it as\n`run_state`, and `reason` says why the VM stands still. "
	     "The backup never takes over from a primary\nthat lives because of a run state; the "
	     "end of QEMU's process is another matter\n([RECOVERY.md](RECOVERY.md)).\n");
	for (unsigned i = 0; i < HV_PROTECTION_COUNT; i++)
		printf("- %s: %s.\n", words[i], meanings[i]);
	puts("\n## Run states\n");
	print_states();
	puts("\nA run state that is not here, of a later QEMU, WAITS.\n\n## Events\n\nAn event only "
	     "says when to look; the run state counts. A VM that stands still is looked at five\n"
	     "times a second as well, since QEMU does not report every change.\n");
	print_events();
	return 0;
}
