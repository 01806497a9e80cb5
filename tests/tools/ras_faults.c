/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ras_faults: prints docs/HARDWARE-FAULTS.md from ras/'s table of faults and its lists. */
#include "failover/failover.h"
#include "ras/ras.h"

#include <stdio.h>

#define EVENT(name, event, what) {event, what},
static const struct {
	const char *event, *what;
} events[] = {RAS_SOURCES(EVENT)};

static void print_events(void)
{
	puts("## What is read\n\n| event | what it reports |\n|---|---|");
	for (unsigned i = 0; i < RAS_SRC_COUNT; i++)
		printf("| `%s` | %s |\n", events[i].event, events[i].what);
	puts("\nOf a machine check the bits that Intel's and AMD's manuals define for all models are "
	     "read; what\nis model-specific is reported as unknown. A page is named only by an address "
	     "of the system: the\naddress of a memory controller of AMD's scalable MCA is none. A "
	     "deferred error is not corrected.\nA record without valid bit, or of a wrong length, is "
	     "refused and counted.\n\n## Severities\n");
	for (unsigned i = 0; i < RAS_SEVERITY_COUNT; i++)
		printf("- %s\n", ras_severity_text((enum ras_severity)i));
}

static void print_policy(void)
{
	struct ras_policy p, others;

	ras_policy_default(&p, true);
	ras_policy_default(&others, false);
	puts("\n## Thresholds\n\nErrors are counted in leaky buckets: an error leaks out a window "
	     "after it came.\n\n| part | yellow | red | window |\n|---|---|---|---|");
	printf("| page | %u (Intel), %u (others) | | %lld h |\n", p.page_yellow, others.page_yellow,
	       (long long)(p.window_ns / TV_NS_PER_S / 3600));
	printf("| DIMM | %u, or %u weak pages | %u, or %u pages taken | %lld h |\n", p.dimm_yellow,
	       p.dimm_pages_yellow, p.dimm_red, p.dimm_pages_red,
	       (long long)(p.window_ns / TV_NS_PER_S / 3600));
	printf("| core | %u | | %lld h |\n", p.core_yellow,
	       (long long)(p.window_ns / TV_NS_PER_S / 3600));
	printf("| package | %u | %u | %lld h |\n", p.package_yellow, p.package_red,
	       (long long)(p.window_ns / TV_NS_PER_S / 3600));
	printf("| device | %u | | %lld h |\n", p.device_yellow,
	       (long long)(p.device_window_ns / TV_NS_PER_S / 3600));
	printf("| all, corrected | | %u a second for %u s | |\n", p.storm_per_s, p.storm_s);
	puts("\nYellow leaves at half of the threshold and after a window without news, red when an "
	     "operator has\nlooked. The machine check and the driver report one memory error each: "
	     "the larger count is taken,\nnever the sum.");
}

static void print_moves(void)
{
	printf("\n"
	       "## Moves\n"
	       "\n"
	       "Each host shows the others its state, with the reason. Yellow or red: it is not chosen as a backup\n"
	       "by itself, and takes no VM that another host has chosen it for. An operator may name one that is\n"
	       "yellow (`protect --to` warns), not one that is red. Unknown is no reproach: it may be a backup.\n"
	       "\n"
	       "Red: all VMs leave, the higher `priority.NAME` first, one after another. Yellow: the VM whose page\n"
	       "is weak (row 2), those that are bound to a weak core (row 8), and for rows 5, 9 and 24 those of\n"
	       "priority %d and more, the default. A move is a planned switch: nothing is lost, and a VM without a\n"
	       "backup waits for one. It is made only to a host that is better (green or unknown, yellow, red), once\n"
	       "an hour at most for each VM, whichever host moves it; a switch that was called off is tried again\n"
	       "after %d s. For row 18, a VM whose switch has not ended after %d s is handed over at N. Corrected\n"
	       "errors never lead to that. `health_action = warn`: only the events `health-move`, with what would be\n"
	       "done. A VM does not come back by itself. As long as a VM whose own page or core is weak is\n"
	       "still here, its epochs are a quarter as long. `twinvm health` shows each VM that is to leave, and\n"
	       "what it waits for (`moves` with `--json`).\n",
	       FO_PRIORITY_DEFAULT, FO_MOVE_RETRY_S, FO_MOVE_DEADLINE_S);
}

static void print_faults(void)
{
	static const char *const noticed[] = {"a record", "a count", "others"};

	puts("\n## Faults\n\nHand over at N: stop the VM, drop held output, take no last epoch; the "
	     "backup continues from its\nlast committed epoch N. *Noticed by*: one record, a count of "
	     "records, or others: another part of\ntwinvm, or nothing yet. *Planned* is what twinvm "
	     "is to do, *today* what is done of it beside the\ncolour that `twinvm health` shows. "
	     "Whose page it is the keeper looks up in the page\ntables of the processes here, for errors "
	     "that lost data and pages that are weak. Without it\n(`owners` is false) rows 10 to 12, "
	     "17, 19 and 20 are judged as 32, row 2 as 3, and a VM is handed\nover by QEMU's report, or "
	     "as a page cannot be read.\n\n"
	     "| # | fault | recognised by | noticed by | health | planned | today |\n"
	     "|---|---|---|---|---|---|---|");
	for (int i = 1; i < RAS_RULE_COUNT; i++) {
		const struct ras_row *r = ras_row((enum ras_rule)i);

		printf("| %d | %s | %s | %s | %s | %s | %s |\n", i, r->fault, r->seen_by,
		       noticed[r->noticed], r->verdict, r->planned, r->today);
	}
}

static void print_retired(void)
{
	puts("\n## Taken out of service\n\nWhose a page of memory is, and taking parts out of service, "
	     "needs CAP_SYS_ADMIN, which one small\nprocess of twinvmd's has, the keeper "
	     "([SECURITY.md](SECURITY.md)). `owners` in `twinvm health\n--json`: can it be seen whose a "
	     "page is; `keeper`: does that process live, and what can it take out\nof service; "
	     "`retired`: what is out of service, and what waits.\n");
	puts("A page whose errors are corrected is soft-offlined: the kernel moves what is in it, and so "
	     "reads it.\nNever that of a VM with a backup: the VM is moved first. A kernel before 6.11 "
	     "panics if the page\nbecomes uncorrectable in that moment: there only a page is taken that "
	     "is free, or an unchanged part\nof a file. A page that has lost data is hard-offlined, "
	     "unread, when it is free. What the kernel\nrefuses is tried again for some two hours. After "
	     "8 pages of a DIMM it is the DIMM that fails.\n");
	puts("A core is taken out with its siblings: never CPU 0, never the last of a NUMA node, not "
	     "while more\ncores than it are weak (it may be what they share), and not if fewer CPUs "
	     "would be left than VMs and\nstandbys here have. A VM with a backup that is bound to it "
	     "is moved first. To which CPUs threads of\nVMs were bound is noted, and restored when "
	     "`twinvm health --undo` brings the CPUs back. A page comes\nback with the next boot. "
	     "`state_dir/retired.json` has what is out of service in this life of the\nhost. Decided in "
	     "`daemon/retire_rules.c`, done in `keeper/`, which checks by itself.");
}

int main(void)
{
	puts("# Hardware faults\n"
	     "\n"
	     "Printed by `build/tools/ras_faults` from the tables of `ras/`. `twinvm health` shows what the kernel\n"
	     "and the firmware report about this host's hardware, and how it is judged. What acts on it: a page of\n"
	     "a protected VM that has lost data, by the kernel's report, by QEMU's, or as it cannot be read: the\n"
	     "VM continues on its backup from an epoch before ([RECOVERY.md](RECOVERY.md)). A host that is yellow\n"
	     "or red is no backup by itself, and VMs are moved off it: [Moves](#moves). A host that dies of a\n"
	     "fault is a host that dies: its VMs fail over as after a power cut.\n"
	     "\n"
	     "## Who reads it\n"
	     "\n"
	     "A process of twinvmd's (`hardware/`) reads the kernel's trace by an instance of its own, `twinvm`,\n"
	     "and what drivers count in sysfs. What a host lacks is shown with the reason, and does no harm:\n"
	     "without tracefs, machine checks or a driver of a memory controller its state is `unknown`. twinvm\n"
	     "mounts nothing: tracefs is to be mounted at `/sys/kernel/tracing` (as systemd does), and debugfs for\n"
	     "`extlog_mem_event`.\n"
	     "\n"
	     "`twinvm health [--json]`: `state` (`green`, `yellow`, `red`, `unknown`) and `reason`; `causes`, each\n"
	     "with `rule`, the number in the table of faults; `sources`, and why one is not there (`why`,\n"
	     "`trace`); `errors` by severity since twinvmd was started; `faults`, the last 32 different ones; what\n"
	     "the kernel counts: `edac`, `aer` (PCI Express), `corrupted_kib` (memory taken out), and what was\n"
	     "`lost`, `malformed`, or in `broken_pages` of the trace. Where an event is missing, or some were\n"
	     "lost, errors that only these counters know count for the host, too. `twinvm health --clear`: the\n"
	     "hardware was looked at. Causes and buckets are empty then, counts are kept. Causes, buckets and\n"
	     "moves outlive a restart of twinvmd (`state_dir/health.json`). Errors that are the same are put\n"
	     "together, so that a storm is a message a second; none is left out of a count.\n");
	print_events();
	print_policy();
	print_moves();
	print_retired();
	print_faults();
	puts("\n## Out of reach\n\nAn error that no part of the hardware notices (more bits than ECC "
	     "sees, a core that computes\nwrongly) is copied to the backup like any other change: both "
	     "copies then hold the same wrong value,\nand `twinvm verify` finds no difference.\n\nThe "
	     "decoder was tried on records of public tables and constructed ones, and on no server "
	     "whose\nhardware fails.");
	return 0;
}
