/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run states and events of a QEMU, and what twinvm makes of each: one table (hv/attach/runstate.c),
 * which docs/RUNSTATES.md prints. A part of the door hv.h.
 */
#ifndef HV_RUNSTATE_H
#define HV_RUNSTATE_H

#include <stdbool.h>
#include <stddef.h>

/* name, meaning for the documentation */
#define HV_PROTECTIONS(X)                                                                     \
	X(GOES_ON, "epochs are taken")                                                        \
	X(WAITS, "no epoch is taken until the VM runs again; the session and the last epoch " \
		 "stay")                                                                      \
	X(RUNS_ON, "QEMU has left the VM stopped after refusing a command because of us: "    \
		   "the VM is resumed")                                                       \
	X(ENDS, "the session ends by name; output is held until it is on record")             \
	X(NEVER, "`twinvm protect` refuses it; a VM that is protected never gets there")

#define HV_PROTECTION_ENUM(name, meaning) HV_##name,
enum hv_protection { HV_PROTECTIONS(HV_PROTECTION_ENUM) HV_PROTECTION_COUNT };

struct hv_run_state {
	const char *name; /* in query-status */
	enum hv_protection protection;
	/* After a power cut of the primary, from the last committed epoch. False: the VM runs, or is
	 * to run, elsewhere. */
	bool backup_may_run;
	const char *why;    /* what status says, "" for a VM that runs */
	const char *remedy; /* for protect and for a planned switch, which want a running VM */
	const char *note;   /* for the documentation, "" */
};

/* One that is not in the table, of a later QEMU, waits. Never NULL. */
const struct hv_run_state *hv_run_state_of(const char *name);
/* The whole table; for the documentation and tests. */
const struct hv_run_state *hv_run_states(unsigned *n);

enum hv_event {
	HV_EV_SHUTDOWN_GUEST, /* power-off by the guest, or its reset with -no-reboot */
	HV_EV_SHUTDOWN_ORDER, /* an operator's: `quit` in a monitor, a closed window */
	HV_EV_SHUTDOWN_HOST,  /* a signal, an error, a panic, an unknown reason: not a decision
				 that the VM is not to run any more */
	HV_EV_RESET,
	HV_EV_STOP,
	HV_EV_RESUME,
	HV_EV_PANIC,
	HV_EV_STATE,	    /* the run state may be another one now */
	HV_EV_MEDIA,	    /* a drive was opened or closed: see hv_media_changed */
	HV_EV_POISON,	    /* a memory error in the VM's RAM: the guest meets it next */
	HV_EV_POISON_RESET, /* likewise: the guest is reset for it */
	HV_EV_POISON_QEMU,  /* in QEMU's own memory: QEMU ends */
	HV_EV_LOST, /* there were more events than could be kept: any of them may be missing */
	HV_EV_OTHER,
};
static inline bool hv_event_is_poison(enum hv_event ev)
{
	return ev == HV_EV_POISON || ev == HV_EV_POISON_RESET || ev == HV_EV_POISON_QEMU;
}
struct hv_event_rule {
	const char *name; /* in QMP; a star at its end stands for any letters */
	enum hv_event ev; /* SHUTDOWN: its reason decides, see events.c */
	bool look;	  /* the run state is asked for, and its row counts */
	const char *what; /* for the documentation */
};
/* An event that is not in the table means nothing (HV_EV_OTHER). Never NULL. */
const struct hv_event_rule *hv_event_rule_of(const char *name);
const struct hv_event_rule *hv_event_rules(unsigned *n);

#endif
