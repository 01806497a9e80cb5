/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of faults: what can fail, how it is recognised, what it makes of the host, and what
 * twinvm is to do about it. docs/HARDWARE-FAULTS.md is printed from it. "Hand over at N": stop the
 * VM, drop held output, take no last epoch; the backup continues from its last committed epoch N.
 */
#include "ras/ras.h"

#define HAND_OVER "stop commits and the VM, hand over at N, then take the page out of service"
#define MOVED "planned switches, by priority"
#define LEAVE "move all VMs away one after another; no backup here until it is cleared"

#define BY_QEMU "handed over when QEMU reports it; the page stays in service"
#define BY_KERNEL \
	"handed over, by this report or QEMU's; the page counts as taken, or is hard-offlined when it is free"

#define BY_COUNT RAS_BY_COUNT
#define BY_RECORD RAS_BY_RECORD
#define BY_OTHERS RAS_BY_OTHERS
#define ROW(name, fault, seen_by, noticed, color, until_cleared, verdict, planned, today) \
	[RAS_RULE_##name] = {RAS_RULE_##name, fault,   seen_by, noticed, color,           \
			     until_cleared,   verdict, planned, today}

static const struct ras_row rows[RAS_RULE_COUNT] = {
	ROW(ONE_CORRECTED, "one corrected error", "mce_record, mc_event, extlog_mem_event",
	    BY_RECORD, RAS_GREY, false, "none: a counter", "nothing", "counted"),
	ROW(VM_PAGE_WEAK, "corrected errors of one page, in a VM",
	    "2 in 24 h (Intel) or 10 (others), by page", BY_COUNT, RAS_YELLOW, false, "yellow",
	    "shorten epochs, planned switch of that VM, then soft-offline the page, protect again",
	    "shorter epochs, planned switch of that VM; the page is soft-offlined when it has left"),
	ROW(PAGE_WEAK, "corrected errors of one page, in no VM", "likewise", BY_COUNT, RAS_YELLOW,
	    false, "yellow for 24 h", "soft-offline the page at once",
	    "done; before Linux 6.11 only if it is free, or an unchanged part of a file"),
	ROW(PAGE_TAKEN, "the kernel has taken a page by itself",
	    "HardwareCorrupted of /proc/meminfo, beside pages that are known", BY_OTHERS,
	    RAS_YELLOW, false, "yellow for 24 h", "count the page as taken", "an event"),
	ROW(DIMM_WEAK, "a DIMM or channel is weak", "10 errors in 24 h, or 3 of its pages are weak",
	    BY_COUNT, RAS_YELLOW, false, "yellow",
	    "planned switch of the most important VMs; no hunt for single pages",
	    MOVED ": 50 and more"),
	ROW(DIMM_FAILS, "a DIMM fails", "50 errors in 24 h, or more than 8 pages taken", BY_COUNT,
	    RAS_RED, true, "red", LEAVE, MOVED),
	ROW(STORM, "a storm of corrected errors", "100 a second for 5 s", BY_COUNT, RAS_RED, true,
	    "red", LEAVE "; one event a second", MOVED),
	ROW(CORE_WEAK, "corrected errors of a core: its caches, TLBs, inside", "3 in 24 h",
	    BY_COUNT, RAS_YELLOW, false, "yellow",
	    "switch VMs that are pinned there; take the core and its siblings out of service",
	    "planned switch of VMs that are bound to it; then it is taken out, with its siblings"),
	ROW(PACKAGE_WEAK, "corrected errors of a last-level cache, bus or interconnect",
	    "3 in 24 h; 10 in 24 h", BY_COUNT, RAS_YELLOW, false, "yellow; red at 10",
	    "switch; no CPU is taken out", MOVED "; yellow: 50 and more"),
	ROW(VM_DEFERRED, "uncorrected and unused, in a VM's page",
	    "mce_record (UCNA, deferred), memory_failure_event", BY_RECORD, RAS_RED, true, "red",
	    HAND_OVER, BY_KERNEL),
	ROW(VM_OPTIONAL, "uncorrected, action optional, in a VM's page",
	    "memory_failure_event, mce_record, QEMU's MEMORY_FAILURE", BY_RECORD, RAS_RED, true,
	    "red", HAND_OVER, BY_KERNEL),
	ROW(VM_REQUIRED, "uncorrected, action required, in a VM's page", "likewise", BY_RECORD,
	    RAS_RED, true, "red", HAND_OVER, BY_KERNEL),
	ROW(HARVEST_FAULT, "a page of the VM cannot be read", "EFAULT while an epoch is taken",
	    BY_OTHERS, RAS_RED, true, "red", HAND_OVER, "handed over; the page stays in service"),
	ROW(GUEST_RESET, "QEMU resets the guest because of a memory failure",
	    "MEMORY_FAILURE, action reset", BY_OTHERS, RAS_RED, true, "red",
	    HAND_OVER "; the reset is never committed", BY_QEMU),
	ROW(QEMU_DIED, "QEMU has died of a memory failure",
	    "MEMORY_FAILURE, recipient hypervisor; killed by SIGBUS", BY_OTHERS, RAS_RED, true,
	    "red", "failover of that VM",
	    "failover, as of every QEMU that dies; a colour when QEMU reports it"),
	ROW(FREE_PAGE, "memory failure in a free or clean page",
	    "memory_failure_event, result Recovered", BY_RECORD, RAS_YELLOW, false, "yellow",
	    "count; the page is gone already", "counted as taken"),
	ROW(OTHER_PROCESS, "memory failure in another process", "memory_failure_event", BY_RECORD,
	    RAS_YELLOW, false, "yellow; red at the second", "report the process", "reported"),
	ROW(KERNEL_PAGE, "memory failure in a page of the kernel",
	    "memory_failure_event, result Ignored or Failed", BY_RECORD, RAS_RED, true, "red",
	    "move all VMs away at once, those that cannot be in time are handed over at N",
	    MOVED "; a VM whose switch hangs is handed over"),
	ROW(STANDBY_PAGE, "memory failure in a standby's memory",
	    "memory_failure_event, SIGBUS while an epoch is applied", BY_RECORD, RAS_YELLOW, false,
	    "yellow", "end the session with the reason, make a new standby",
	    "the session ends when it is known, the VM runs alone by record; a standby with a lost "
	    "page is not promoted; the next one has other memory, on a host that is well"),
	ROW(OWN_PAGE, "memory failure in a process of twinvm", "memory_failure_event, SIGBUS",
	    BY_RECORD, RAS_RED, true, "red", "the process dies and is started again, or failover",
	    "as of every process of twinvm that dies; the log names SIGBUS"),
	ROW(HOST_DIED, "fatal error, the host panics", "a fatal record; else its peer: silence",
	    BY_RECORD, RAS_RED, true, "red", "failover by the peer's verdict",
	    "failover, as of every host that dies"),
	ROW(HOST_RETURNED, "a host is back that has died of a machine check",
	    "BERT, pstore (also where systemd puts it), the boot's log", BY_OTHERS, RAS_YELLOW,
	    true, "yellow until cleared", "no backup by itself", "done; each death counts once"),
	ROW(DEVICE_CORRECTED, "corrected errors of a PCI Express device",
	    "10 in 1 h, aer_event; aer_dev_correctable in sysfs", BY_COUNT, RAS_YELLOW, false,
	    "yellow", "report the device and what uses it",
	    "the device is reported; by its counters where there is no event"),
	ROW(DEVICE_ERROR, "uncorrected, non-fatal error of a device", "aer_event", BY_RECORD,
	    RAS_YELLOW, false, "yellow; red if replication or a VM's disk uses it",
	    "report; planned switch", MOVED ": 50 and more"),
	ROW(DEVICE_FAILS, "a device fails, or passes on wrong data",
	    "aer_event: fatal, poisoned packet, link lost by surprise", BY_RECORD, RAS_RED, true,
	    "red", "planned switch; if the disk is gone, hand over at N", MOVED),
	ROW(FIRMWARE_RECORD, "a record of the firmware",
	    "mce_record of bank 255, non_standard_event", BY_RECORD, RAS_YELLOW, false,
	    "corrected: counted as of a DIMM; unknown: yellow; uncorrected: red",
	    "name the section's type, show its first bytes", "done"),
	ROW(MALFORMED, "a record without valid bit, or of a wrong length",
	    "the reader, the decoder", BY_OTHERS, RAS_GREY, false, "none: a counter", "refuse it",
	    "done"),
	ROW(EVENTS_LOST, "the kernel has lost events", "the page of trace data", BY_OTHERS,
	    RAS_YELLOW, false, "yellow", "report; read the counters in sysfs instead",
	    "an event; what only the counters of EDAC and AER know is counted"),
	ROW(NO_SOURCE, "no machine checks, EDAC or tracefs here", "nothing to read", BY_OTHERS,
	    RAS_GREY, false, "unknown", "everything else works; it may be a backup", "done"),
	ROW(BOTH_HOSTS, "both hosts are yellow or red", "the peer's heartbeat", BY_OTHERS, RAS_GREY,
	    false, "each its own",
	    "a VM stays unless the other host is better; at most one such move in an hour", "done"),
	ROW(DRY_RUN, "dry run", "configuration", BY_OTHERS, RAS_GREY, false, "none",
	    "the same events, with what would be done", "done: `health_action = warn`"),
	ROW(OWNER_UNKNOWN, "uncorrected, and it is not known whose memory or part it is",
	    "mce_record, mc_event, extlog_mem_event, memory_failure_event", BY_RECORD, RAS_YELLOW,
	    false, "yellow; red at the second", "report", "reported"),
};

const struct ras_row *ras_row(enum ras_rule rule)
{
	return rule > RAS_RULE_NONE && rule < RAS_RULE_COUNT ? &rows[rule] : NULL;
}

void ras_policy_default(struct ras_policy *p, bool intel)
{
	*p = (struct ras_policy){
		.page_yellow = intel ? 2 : 10,
		.dimm_yellow = 10,
		.dimm_red = 50,
		.dimm_pages_yellow = 3,
		.dimm_pages_red = 9,
		.core_yellow = 3,
		.package_yellow = 3,
		.package_red = 10,
		.device_yellow = 10,
		.storm_per_s = 100,
		.storm_s = 5,
		.window_ns = 24 * 3600 * TV_NS_PER_S,
		.device_window_ns = 3600 * TV_NS_PER_S,
	};
}
