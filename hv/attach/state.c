/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One epoch's QMP side. One command, where that is possible (pipe.c). Else three, from lines made
 * beforehand: stop, device state, cont; also for an epoch after which the VM is to stay stopped.
 *
 * Between three commands those of other monitors run. What can be known of them: a RESUME or a
 * RESET that comes after the stop was answered, and before the copy was done, is somebody else's,
 * and QEMU sends it before a vCPU runs. So the epoch is whole if there is none of them, looked for
 * after the copy and the save (hv_epoch_end). What cannot be known: a `stop` while the VM stands
 * still is answered and leaves no trace, and our `cont` undoes it; unless their `cont` came before
 * it, then both events show it, and theirs is the last word.
 *
 * The device state goes into a memfd. QEMU gets a descriptor that was opened write-only (it refuses
 * a read-write one for /dev/fdset) and writes at its file position, which both sides share: we set
 * it to 0 before each save, and where it stands afterwards is the size. The file never shrinks, so
 * its memory is allocated once.
 */
#include "hv/attach/attach_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CONFIGURATION_SECTION 0x07

static void make_line(struct hv_line *l, const char *text)
{
	l->bytes = (size_t)snprintf(l->text, sizeof(l->text), "%s\n", text);
}

static int give_fd(struct hv_vm *vm, struct tv_err *e)
{
	json_t *ret = NULL;
	int rc = hv_qmp_cmd_fd(vm->qmp, "add-fd", json_pack("{s:s}", "opaque", HV_PREFIX),
			       vm->write_fd, &ret, HV_CMD_MS, e);

	if (rc)
		return rc;
	vm->fdset = json_integer_value(json_object_get(ret, "fdset-id"));
	json_decref(ret);
	return 0;
}

int hv_state_setup(struct hv_vm *vm, bool three_commands, struct tv_err *e)
{
	char text[192];
	int rc;

	vm->state_fd = memfd_create(HV_PREFIX "-state", MFD_CLOEXEC);
	if (vm->state_fd < 0)
		return tv_fail(e, -errno, "memfd_create: %s", strerror(errno));
	snprintf(text, sizeof(text), "/proc/self/fd/%d", vm->state_fd);
	vm->write_fd = open(text, O_WRONLY | O_CLOEXEC);
	if (vm->write_fd < 0)
		return tv_fail(e, -errno, "cannot reopen the state file: %s", strerror(errno));
	rc = give_fd(vm, e);
	if (rc)
		return rc;
	make_line(&vm->stop, "{\"execute\":\"stop\"}");
	make_line(&vm->cont, "{\"execute\":\"cont\"}");
	snprintf(text, sizeof(text),
		 "{\"execute\":\"xen-save-devices-state\",\"arguments\":{\"filename\":"
		 "\"/dev/fdset/%lld\",\"live\":false}}",
		 (long long)vm->fdset);
	make_line(&vm->save, text);
	return hv_pipe_setup(vm, three_commands, e);
}

void hv_state_teardown(struct hv_vm *vm)
{
	hv_pipe_teardown(vm);
	tv_close_fd(&vm->write_fd);
	tv_close_fd(&vm->state_fd);
}

int hv_pause(struct hv_vm *vm, int timeout_ms)
{
	int rc;

	/* An earlier STOP is not ours; the one that comes now is. */
	rc = hv_qmp_drain(vm->qmp);
	if (rc)
		return rc;
	/* Through libvirt an event after the answer may come before it: those of a moment before the
	 * stop count as well, then. */
	vm->runs = hv_qmp_runs(vm->qmp);
	/* From here on a resume is due, whatever is answered: the stop may still happen. */
	vm->paused = true;
	if (vm->stopped)
		*vm->stopped = 1;
	hv_qmp_mute(vm->qmp, "\"STOP\"");
	rc = hv_qmp_fire(vm->qmp, vm->stop.text, vm->stop.bytes);
	if (!rc)
		rc = hv_qmp_wait(vm->qmp, timeout_ms);
	if (hv_qmp_mute(vm->qmp, NULL) == 0 && !rc) {
		/* It did not run: an operator, or its own end, had stopped it. */
		vm->paused = false;
		if (vm->stopped)
			*vm->stopped = 0;
		return -EALREADY;
	}
	if (!hv_qmp_is_late(vm->qmp))
		vm->runs = hv_qmp_runs(vm->qmp);
	return rc;
}

int hv_state_begin(struct hv_vm *vm)
{
	vm->state_bytes = 0;
	vm->pipe.has_state = false;
	if (lseek(vm->write_fd, 0, SEEK_SET) != 0)
		return -errno;
	return hv_qmp_fire(vm->qmp, vm->save.text, vm->save.bytes);
}

int hv_state_end(struct hv_vm *vm, int timeout_ms, size_t *bytes)
{
	int rc = hv_qmp_wait(vm->qmp, timeout_ms);
	off_t at;

	*bytes = 0;
	if (rc)
		return rc;
	at = lseek(vm->write_fd, 0, SEEK_CUR);
	if (at <= 0)
		return at < 0 ? -errno : TV_E_PROTOCOL;
	*bytes = vm->state_bytes = (size_t)at;
	return 0;
}

/* All events until now have come with the answer to any command (hv_qmp_is_late). */
static int take_in_all(struct hv_vm *vm)
{
	static const char line[] = "{\"execute\":\"query-status\"}\n";
	int rc = hv_qmp_fire(vm->qmp, line, sizeof(line) - 1);

	return rc ? rc : hv_qmp_wait(vm->qmp, HV_CMD_MS);
}

/* Has nobody let the VM run, or changed it, since hv_pause? */
static int prove(struct hv_vm *vm)
{
	int rc = hv_qmp_is_late(vm->qmp) ? take_in_all(vm) : hv_qmp_drain(vm->qmp);
	struct hv_qmp_runs now = hv_qmp_runs(vm->qmp), then = vm->runs;

	if (rc || (now.resumes == then.resumes && now.resets == then.resets))
		return rc;
	/* Theirs is the last word: it runs, or they have stopped it again. */
	if (now.resumes != then.resumes) {
		vm->paused = false;
		if (vm->stopped)
			*vm->stopped = 0;
	}
	return -ESTALE;
}

int hv_epoch_begin(struct hv_vm *vm, bool stay, int timeout_ms)
{
	int rc = -ENOTSUP;

	if (!stay && hv_pipe_usable(vm))
		rc = hv_pipe_begin(vm, timeout_ms);
	if (rc != -ENOTSUP)
		return rc;
	rc = hv_pause(vm, timeout_ms);
	return rc ? rc : hv_state_begin(vm);
}

int hv_still_begin(struct hv_vm *vm, int timeout_ms)
{
	const struct hv_run_state *state;
	json_t *ret = NULL;
	int rc = hv_qmp_cmd(vm->qmp, "query-status", NULL, &ret, timeout_ms, NULL);

	state = hv_run_state_of(json_string_value(json_object_get(ret, "status")));
	json_decref(ret);
	if (rc || state->protection == HV_GOES_ON)
		return rc ? rc : -EAGAIN;
	/* A RESUME from here on is found at the end, as after hv_pause. */
	vm->runs = hv_qmp_runs(vm->qmp);
	vm->still = true;
	return hv_state_begin(vm);
}

int hv_epoch_end(struct hv_vm *vm, int timeout_ms, size_t *bytes)
{
	int rc, r;

	if (vm->pipe.held)
		return hv_pipe_end(vm, timeout_ms, bytes);
	rc = hv_state_end(vm, timeout_ms, bytes);
	r = prove(vm);
	vm->still = false;
	return rc ? rc : r;
}

bool hv_is_paused(const struct hv_vm *vm)
{
	return vm->paused;
}

const char *hv_epoch_way(const struct hv_vm *vm)
{
	return hv_pipe_usable(vm) ? NULL : vm->pipe.why;
}

int hv_resume(struct hv_vm *vm, int timeout_ms)
{
	int rc;

	if (!vm->paused)
		return 0;
	hv_qmp_mute(vm->qmp, "\"RESUME\"");
	rc = hv_qmp_fire(vm->qmp, vm->cont.text, vm->cont.bytes);
	if (!rc)
		rc = hv_qmp_wait(vm->qmp, timeout_ms);
	hv_qmp_mute(vm->qmp, NULL);
	if (rc)
		return rc;
	vm->paused = false;
	if (vm->stopped)
		*vm->stopped = 0;
	return 0;
}

/*
 * "QEVM", version 3, and no configuration section after it (QEMU's migration/savevm.c): what a
 * standby loads that was started without one. Checked here and not by a promotion.
 */
bool hv_state_is_loadable(const uint8_t *state, size_t bytes)
{
	static const uint8_t start[] = {'Q', 'E', 'V', 'M', 0, 0, 0, 3};

	return bytes > sizeof(start) && !memcmp(state, start, sizeof(start)) &&
	       state[sizeof(start)] != CONFIGURATION_SECTION;
}

int hv_state_read(struct hv_vm *vm, void *dst, size_t bytes)
{
	uint8_t *p = dst;
	size_t done = 0;

	if (bytes > vm->state_bytes)
		return -ERANGE;
	if (vm->pipe.has_state) {
		hv_pipe_state(vm, dst, bytes);
		done = bytes;
	}
	while (done < bytes) {
		ssize_t r = pread(vm->state_fd, p + done, bytes - done, (off_t)done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r ? -errno : -EPIPE;
		done += (size_t)r;
	}
	return hv_state_is_loadable(dst, bytes) ? 0 : TV_E_PROTOCOL;
}
