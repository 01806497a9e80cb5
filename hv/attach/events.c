/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What QEMU's events mean, above all who ends the VM; and its run state. The table of both is in
 * runstate.c. */
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

/*
 * qapi/run-state.json: MemoryFailureAction. `inject` and `reset` are the guest's next moments, `fatal`
 * is QEMU's end; `ignore` is an error that hurts nothing of the guest (of QEMU's own memory, not used;
 * or the second word on one that the guest has got). An action of a later QEMU is not ignored.
 */
static enum hv_event memory_failure_of(json_t *data)
{
	const char *action = json_string_value(json_object_get(data, "action"));

	if (!action)
		return HV_EV_POISON;
	if (!strcmp(action, "fatal"))
		return HV_EV_POISON_QEMU;
	if (!strcmp(action, "reset"))
		return HV_EV_POISON_RESET;
	return !strcmp(action, "ignore") ? HV_EV_OTHER : HV_EV_POISON;
}

enum hv_event hv_event_of(const char *name, json_t *ev)
{
	if (!strcmp(name, "SHUTDOWN"))
		return shutdown_of(json_object_get(ev, "data"));
	if (!strcmp(name, "MEMORY_FAILURE"))
		return memory_failure_of(json_object_get(ev, "data"));
	return hv_event_rule_of(name)->ev;
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

int hv_look(struct hv_vm *vm, const struct hv_run_state **state)
{
	json_t *ret = NULL;
	int rc = hv_qmp_cmd(vm->qmp, "query-status", NULL, &ret, HV_CMD_MS, NULL);

	if (!rc)
		*state = hv_run_state_of(json_string_value(json_object_get(ret, "status")));
	json_decref(ret);
	return rc;
}

/*
 * A refused `loadvm` leaves the VM stopped (migration/savevm.c: load_snapshot looks at every disk
 * before it touches one, and hmp_loadvm resumes only after a success). A mirror's target is a
 * writable node without snapshots: while there is one, no disk and no memory has been changed.
 * Elsewhere the snapshot may be half loaded, and is its operator's.
 */
int hv_run_on(struct hv_vm *vm)
{
	int rc;

	if (!vm->mirrors)
		return 0;
	rc = hv_qmp_cmd(vm->qmp, "cont", NULL, NULL, HV_CMD_MS, NULL);
	return rc ? rc : 1;
}
