/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What QEMU's events mean; above all, who ends the VM. */
#include "hv/attach/attach_int.h"

#include <string.h>

/*
 * The causes of QEMU 7.2 to 11 (qapi/run-state.json: ShutdownCause). Only what the guest or an
 * operator decided is an end for good. A signal is how an init system ends the processes of a host
 * that goes down, and also what `virsh destroy` sends: nothing in it distinguishes the two. A cause
 * that is not in the list, of a later QEMU, counts as the host's: then the VM continues elsewhere.
 */
static const struct {
	const char *cause;
	enum hv_event ev;
} causes[] = {
	{"guest-shutdown", HV_EV_SHUTDOWN_GUEST},
	{"guest-reset", HV_EV_SHUTDOWN_GUEST}, /* with -no-reboot */
	{"host-qmp-quit", HV_EV_SHUTDOWN_ORDER},
	{"host-ui", HV_EV_SHUTDOWN_ORDER},
	{"host-qmp-system-reset", HV_EV_SHUTDOWN_ORDER}, /* with -no-reboot */
	{"host-signal", HV_EV_SHUTDOWN_HOST},
	{"host-error", HV_EV_SHUTDOWN_HOST},
	{"guest-panic",
	 HV_EV_SHUTDOWN_HOST}, /* a crash is no decision: its last epoch runs again */
	{"none", HV_EV_SHUTDOWN_HOST},
	{"subsystem-reset", HV_EV_SHUTDOWN_HOST}, /* this one and the next: never in a SHUTDOWN */
	{"snapshot-load", HV_EV_SHUTDOWN_HOST},
};

static enum hv_event shutdown_of(json_t *data)
{
	const char *cause = json_string_value(json_object_get(data, "reason"));

	for (size_t i = 0; cause && i < sizeof(causes) / sizeof(*causes); i++)
		if (!strcmp(causes[i].cause, cause))
			return causes[i].ev;
	tv_log(TV_WARN, "QEMU shuts down with the unknown reason '%.40s': taken for its host's",
	       cause ? cause : "");
	return HV_EV_SHUTDOWN_HOST;
}

enum hv_event hv_event_of(const char *name, json_t *ev)
{
	static const struct {
		const char *name;
		enum hv_event ev;
	} known[] = {
		{"RESET", HV_EV_RESET},		  {"STOP", HV_EV_STOP},
		{"RESUME", HV_EV_RESUME},	  {"GUEST_PANICKED", HV_EV_PANIC},
		{HV_QMP_EVENTS_LOST, HV_EV_LOST},
	};

	if (!strcmp(name, "SHUTDOWN"))
		return shutdown_of(json_object_get(ev, "data"));
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(known[i].name, name))
			return known[i].ev;
	return HV_EV_OTHER;
}

int hv_events(struct hv_vm *vm, void (*cb)(enum hv_event ev, const char *name, void *arg),
	      void *arg)
{
	json_t *ev;
	int rc;

	while ((rc = hv_qmp_next_event(vm->qmp, &ev)) > 0) {
		const char *name = json_string_value(json_object_get(ev, "event"));

		if (name) {
			hv_disks_event(vm, name, ev);
			cb(hv_event_of(name, ev), name, arg);
		}
		json_decref(ev);
	}
	return rc;
}
