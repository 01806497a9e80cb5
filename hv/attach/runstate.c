/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of run states and events (qapi/run-state.json and others, QEMU 7.2 to 11).
 *
 * A VM that stands still waits with its protection: it changes nothing and says nothing, so the last
 * committed epoch, and what the guest did until it was stopped, stay what they are. The output of
 * the epoch that was running is held until the next one is committed.
 *
 * May the backup run it? A power cut of the primary leaves the last committed epoch, which was taken
 * from a running VM, before whatever stopped it. It is whole, so the backup runs it; but not where
 * the VM runs elsewhere or was switched off. Nor does the backup take over by itself from a primary
 * that lives: a disk that is full or a guest that has crashed is its operator's to look at, and the
 * same epoch would most often end in the same place; `twinvm failover --force` on the backup, with
 * the primary's host off, is the way to that epoch.
 */
#include "hv/hv_runstate.h"

#include <string.h>

#define CONT "resume it first (monitor command 'cont')"
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const struct hv_run_state states[] = {
	{"running", HV_GOES_ON, true, "", "", ""},
	{"paused", HV_WAITS, true,
	 "the VM is paused by an operator or another program, and not by twinvm: it stays so until "
	 "they resume it",
	 CONT, "a monitor's `stop`, `virsh suspend`, a debugger"},
	{"suspended", HV_WAITS, true, "the VM sleeps: its guest has suspended it to memory",
	 "wake it first (monitor command 'system_wakeup')",
	 "a power cut: the guest goes to sleep again on the backup, as it was about to"},
	{"io-error", HV_WAITS, true,
	 "QEMU stopped the VM because a disk of it cannot be read or written here: mend that "
	 "storage, then resume the VM (monitor command 'cont')",
	 "mend the storage of its disks, then resume it (monitor command 'cont')",
	 "after a power cut the backup repeats the guest's request, on its own storage"},
	{"internal-error", HV_WAITS, true,
	 "QEMU stopped the VM because of an internal error: reset it (monitor command "
	 "'system_reset') or end it",
	 "reset it first (monitor commands 'system_reset' and 'cont')",
	 "after a power cut the backup runs the epoch before the error"},
	{"guest-panicked", HV_WAITS, true,
	 "the guest's kernel has crashed, and QEMU stopped the VM",
	 "reset it first (monitor commands 'system_reset' and 'cont')",
	 "a crash is no decision: after a power cut the last epoch runs again"},
	{"watchdog", HV_WAITS, true, "the guest's watchdog has expired, and QEMU stopped the VM",
	 "look at the guest, and resume or reset it (monitor command 'cont' or 'system_reset')",
	 ""},
	{"shutdown", HV_WAITS, false, "the VM is switched off, and its QEMU keeps its process",
	 "switch it on first (monitor commands 'system_reset' and 'cont')",
	 "-no-shutdown; see RECOVERY.md"},
	{"finish-migrate", HV_ENDS, false,
	 "another program is migrating the VM to another host: protection has ended",
	 "wait for the end of the migration",
	 "a migration that fails resumes the VM: it is protected "
	 "again by itself"},
	{"postmigrate", HV_ENDS, false,
	 "another program has migrated the VM to another host, or has written it to a file: it does "
	 "not run here any more, and protection has ended",
	 "protect it where it runs now; if it runs nowhere, resume it here (monitor command 'cont')",
	 "a standby would be a second copy: it is removed, and the record names no backup. libvirt "
	 "leaves a VM so after `virsh dump` when it took one of our pauses for the VM's own"},
	{"restore-vm", HV_RUNS_ON, true, "a snapshot is being loaded into the VM (loadvm)",
	 "resume it or reset it first (monitor command 'cont' or 'system_reset')",
	 "QEMU refuses `loadvm` while a disk is mirrored, before it changes anything, and leaves the "
	 "VM stopped"},
	{"save-vm", HV_WAITS, true, "a snapshot of the VM is being saved (savevm)",
	 "wait for the end of the snapshot", ""},
	{"debug", HV_WAITS, true, "a debugger has stopped the VM", CONT, "gdbstub"},
	{"prelaunch", HV_WAITS, true,
	 "the VM has not been started, or was reset while it stood still",
	 "start it first (monitor command 'cont')", "-S"},
	{"inmigrate", HV_NEVER, false, "the VM waits for a migration to this host",
	 "wait for the end of the migration", ""},
	{"preconfig", HV_NEVER, false, "the machine is still being configured",
	 "let it start first (monitor command 'x-exit-preconfig')", "--preconfig"},
	{"colo", HV_NEVER, false, "the VM is the secondary of a COLO pair", "end COLO first", ""},
};

/* A state of a later QEMU: nothing is taken of it, and nothing is lost. */
static const struct hv_run_state unknown = {
	"", HV_WAITS, true, "the VM is in a run state that this twinvm does not know", CONT, ""};

static const struct hv_event_rule events[] = {
	{"STOP", HV_EV_STOP, true, "somebody else's, as our own are left out"},
	{"RESUME", HV_EV_RESUME, true, "a power-off or an end that was reported before is over"},
	{"SUSPEND", HV_EV_STATE, true, "the guest sleeps; QEMU sends no STOP"},
	{"SUSPEND_DISK", HV_EV_STATE, true, "the guest hibernates; its power-off follows"},
	{"WAKEUP", HV_EV_STATE, true,
	 "`system_wakeup`, or the guest's own alarm; QEMU sends no RESUME"},
	{"POWERDOWN", HV_EV_OTHER, false, "the power button was pressed: the guest decides"},
	{"RESET", HV_EV_RESET, true, "the epoch after it holds the VM as it begins again"},
	{"SHUTDOWN", HV_EV_OTHER, true, "its reason decides who ends the VM, see RECOVERY.md"},
	{"GUEST_PANICKED", HV_EV_PANIC, true, "the action of QEMU's -action panic= follows"},
	{"GUEST_CRASHLOADED", HV_EV_STATE, true, "the guest writes its own dump, and runs"},
	{"WATCHDOG", HV_EV_STATE, true, "the action of -action watchdog= follows"},
	{"MIGRATION", HV_EV_STATE, true, "sent only where a manager has asked QEMU for it"},
	{"MIGRATION_PASS", HV_EV_OTHER, false, "the VM runs"},
	{"BLOCK_IO_ERROR", HV_EV_STATE, true,
	 "its action says whether the VM is stopped: io-error"},
	{"BLOCK_JOB_*", HV_EV_OTHER, false, "of our mirrors: one that fails ends the session"},
	{"JOB_STATUS_CHANGE", HV_EV_OTHER, false, "likewise"},
	{"DEVICE_DELETED", HV_EV_OTHER, false, "the set of devices is compared with each epoch"},
	{"DEVICE_TRAY_MOVED", HV_EV_MEDIA, false, "what is in the drives is compared"},
	{"MEMORY_FAILURE", HV_EV_POISON, false,
	 "a memory error: the backup continues from the last epoch before it; with the action "
	 "`ignore` nothing of the VM is hurt"},
	{"COLO_EXIT", HV_EV_STATE, true, ""},
	{"TWINVM_EVENTS_LOST", HV_EV_LOST, true, "our own: more came than could be kept"},
};
static const struct hv_event_rule other = {"*", HV_EV_OTHER, false, "no meaning"};

const struct hv_run_state *hv_run_state_of(const char *name)
{
	for (size_t i = 0; name && i < COUNT(states); i++)
		if (!strcmp(states[i].name, name))
			return &states[i];
	return &unknown;
}

const struct hv_run_state *hv_run_states(unsigned *n)
{
	*n = COUNT(states);
	return states;
}

static bool fits(const char *pattern, const char *name)
{
	size_t n = strlen(pattern);

	return pattern[n - 1] == '*' ? !strncmp(pattern, name, n - 1) : !strcmp(pattern, name);
}

const struct hv_event_rule *hv_event_rule_of(const char *name)
{
	for (size_t i = 0; i < COUNT(events); i++)
		if (fits(events[i].name, name))
			return &events[i];
	return &other;
}

const struct hv_event_rule *hv_event_rules(unsigned *n)
{
	*n = COUNT(events);
	return events;
}
