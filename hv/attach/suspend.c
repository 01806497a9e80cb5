/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An operator's suspend and resume, which come through twinvm: in the monitor of whoever has attached, so
 * never inside an epoch, and with events that other monitors see. What other programs keep of the VM's
 * state (libvirt does) is right afterwards.
 */
#include "hv/attach/attach_int.h"

#include <errno.h>
#include <string.h>

static int look(struct hv_qmp *q, const struct hv_run_state **state, struct tv_err *e)
{
	json_t *ret = NULL;
	int rc = hv_qmp_cmd(q, "query-status", NULL, &ret, HV_CMD_MS, e);

	if (!rc)
		*state = hv_run_state_of(json_string_value(json_object_get(ret, "status")));
	json_decref(ret);
	return rc;
}

/* A `stop` of a VM that waits for its guest, its disks or another host would leave it as it is. */
static int suspend(struct hv_qmp *q, struct tv_err *e)
{
	const struct hv_run_state *state;
	int rc = look(q, &state, e);

	if (!rc && state->protection != HV_GOES_ON && strcmp(state->name, "paused") != 0)
		rc = tv_fail(e, TV_E_REFUSED, "it stands still already: %s", state->why);
	return rc ? rc : hv_qmp_cmd(q, "stop", NULL, NULL, HV_CMD_MS, e);
}

/* QEMU would run a VM that it has migrated away, too. */
static int resume(struct hv_qmp *q, struct tv_err *e)
{
	const struct hv_run_state *state;
	int rc = look(q, &state, e);

	if (!rc && !state->backup_may_run)
		rc = tv_fail(e, TV_E_REFUSED, "%s", state->why[0] ? state->why : state->remedy);
	return rc ? rc : hv_qmp_cmd(q, "cont", NULL, NULL, HV_CMD_MS, e);
}

static void is_ours(struct hv_vm *vm, bool ours)
{
	vm->paused = ours;
	if (vm->stopped)
		*vm->stopped = ours;
}

int hv_suspend(struct hv_vm *vm, struct tv_err *e)
{
	int rc = suspend(vm->qmp, e);

	if (!rc)
		is_ours(vm, false);
	return rc;
}

int hv_unsuspend(struct hv_vm *vm, struct tv_err *e)
{
	int rc = resume(vm->qmp, e);

	if (!rc)
		is_ours(vm, false);
	return rc;
}

int hv_keep_stopped(struct hv_vm *vm, int timeout_ms)
{
	int rc = hv_pause(vm, timeout_ms);

	if (rc == -EALREADY) {
		is_ours(vm, true);
		rc = 0;
	}
	return rc;
}

int hv_suspend_vm(const struct hv_vm_id *id, bool stop, struct tv_err *e)
{
	struct hv_qmp *q;
	int rc = hv_open_vm(id, &q, e);

	if (!rc)
		rc = stop ? suspend(q, e) : resume(q, e);
	hv_qmp_close(q);
	return rc;
}
