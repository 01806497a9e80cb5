/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done to a VM that nobody is attached to, and its end. */
#include "hv/attach/attach_int.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int hv_open_vm(const struct hv_vm_id *id, struct hv_qmp **out, struct tv_err *e)
{
	*out = NULL;
	if (tv_pid_start_ticks(id->pid) != id->start_ticks)
		return tv_fail(e, TV_E_GONE, "the VM %s (pid %d) has ended", id->name,
			       (int)id->pid);
	return hv_qmp_open_any(id->qmp_path, id->pid, HV_CMD_MS, out, e);
}

/* QMP stop of a VM that nobody is attached to: it was fenced and must not run beside its
 * successor. */
int hv_stop_vm(const struct hv_vm_id *id, struct tv_err *e)
{
	struct hv_qmp *q;
	int rc = hv_open_vm(id, &q, e);

	if (!rc)
		rc = hv_qmp_cmd(q, "stop", NULL, NULL, HV_CMD_MS, e);
	hv_qmp_close(q);
	return rc;
}

int hv_vm_runs(const struct hv_vm_id *id, struct tv_err *e)
{
	json_t *ret = NULL;
	struct hv_qmp *q;
	int rc = hv_open_vm(id, &q, e);

	if (!rc)
		rc = hv_qmp_cmd(q, "query-status", NULL, &ret, HV_CMD_MS, e);
	if (!rc)
		rc = json_is_true(json_object_get(ret, "running"));
	json_decref(ret);
	hv_qmp_close(q);
	return rc;
}

int hv_quit(struct hv_vm *vm, int timeout_ms, struct tv_err *e)
{
	struct pollfd p = {vm->pidfd, POLLIN, 0};
	int rc = hv_qmp_cmd(vm->qmp, "quit", NULL, NULL, HV_CMD_MS, e);

	if (rc && rc != TV_E_MONITOR)
		return rc;
	if (poll(&p, 1, timeout_ms) <= 0)
		return tv_fail(e, -ETIMEDOUT, "QEMU (pid %d) did not quit in time",
			       (int)vm->id.pid);
	return 0;
}

#define DYING_MS 200	     /* between the first sign of an end and the end of QEMU's process */
#define LAST_WRITES_MS 10000 /* one that shuts down may have much to write */

/* 0: there is no such process any more. */
static char state_of(pid_t pid, unsigned long *flags)
{
	TV_FREE char *text = NULL;
	char path[64], state = 0, *p;

	*flags = 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (tv_read_file(path, 4096, &text, NULL) || !(p = strrchr(text, ')')) ||
	    sscanf(p + 1, " %c %*d %*d %*d %*d %*d %lu", &state, flags) != 2)
		return 0;
	return state;
}

/*
 * It is on its way out of the kernel and runs no more of its own code: a process with much memory
 * takes seconds for that, in which its sockets are closed already. PF_EXITING (linux/sched.h) in the
 * flags of /proc/PID/stat, the seventh field after the state.
 */
static bool is_exiting(pid_t pid)
{
	unsigned long flags;
	char state = state_of(pid, &flags);

	return !state || state == 'Z' || state == 'X' || flags & 4;
}

bool hv_ended(const struct hv_vm *vm, bool ending)
{
	if (hv_pidfd_ended(vm->pidfd, DYING_MS))
		return true;
	if (is_exiting(vm->id.pid))
		return true;
	return ending && hv_pidfd_ended(vm->pidfd, LAST_WRITES_MS);
}

int hv_kill(const struct hv_vm *vm)
{
	return syscall(SYS_pidfd_send_signal, vm->pidfd, SIGKILL, NULL, 0) ? -errno : 0;
}

int64_t hv_asked_ns(const struct hv_vm *vm)
{
	return hv_qmp_asked_ns(vm->qmp);
}

const char *hv_stuck(const struct hv_vm *vm)
{
	unsigned long flags;

	switch (state_of(vm->id.pid, &flags)) {
	case 'T':
	case 't':
		return "its process is stopped by a signal or a debugger; SIGCONT lets it run";
	case 'D':
		return "its process waits in the kernel for a device or for storage";
	default:
		return "";
	}
}
