/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One epoch in one command.
 *
 * xen-save-devices-state on a running VM stops it, writes its devices' state and resumes it, all in
 * one turn of QEMU's main loop (migration/savevm.c: qmp_xen_save_devices_state). The state goes
 * into a pipe that is full: QEMU waits in write, the VM stands, and no other monitor's command can
 * come between, since the loop that would run it is in ours. We set the barrier, copy what is
 * dirty, and then read: QEMU writes the rest, resumes the VM and answers.
 *
 * When does the VM stand? Not at the STOP event, which is sent before the disks are drained. QEMU
 * opens the pipe after vm_stop has returned, and inotify reports that. Where there is no inotify
 * (its instances are limited for each user) the pipe is empty, holds one page, and its first bytes
 * say the same; a state that fits into it would not keep QEMU waiting, and does not count.
 *
 * If we die, the pipe has no reader: QEMU's write fails with EPIPE, the command fails, and the VM
 * runs on. So nobody has to resume it. If we hang, QEMU waits, until the daemon kills us
 * (daemon/hung.c). Whoever gives up an epoch here closes the reading end first.
 *
 * Whose are STOP and RESUME? The command sends its own pair right before its answer, if the VM ran
 * when it began. No pair: it did not run, and nothing counts. A STOP without a RESUME after it:
 * somebody else stopped the VM after the command was sent and before it began. QEMU then leaves it
 * stopped, the epoch is whole all the same, and the event is kept as theirs. What others say while
 * the command runs, QEMU does after it: their word is the last one.
 *
 * Through libvirt or a proxy (hv_qmp_is_late) our STOP need not be here when the pipe is opened. The
 * opening itself says that the VM stands; that it ran before is what the last event says that came
 * before the command. If somebody's `stop` has overtaken that event, their STOP comes before the
 * answer and reads as above: the VM stood, and the epoch is whole.
 *
 * The name: QEMU opens a file, and a descriptor of an fd set would be truncated first, which a pipe
 * refuses. /proc/self/fd/N opens the same pipe anew. The mode lets any user open it, as QEMU may
 * not be ours; only who has the right to look into /proc/PID/fd gets there. A QEMU that cannot (a
 * root folder without /proc, a sandbox) refuses the command and resumes the VM, and is asked for
 * three commands from then on (state.c).
 */
#include "hv/attach/attach_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FULL_BYTES 4096u /* the smallest pipe */
#define GROWN_BYTES (1 << 20)
#define FIRST_ROOM (2u << 20)
#define MOST_ROOM (1u << 30)
#define SPARE_BYTES (256u << 10)

/* A watch that has reported an open of the pipe by its name, or -1. */
static int look_at(int read_fd, int write_fd)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), opened;
	char path[64], ev[512];
	bool seen = false;

	if (fd < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", read_fd);
	if (inotify_add_watch(fd, path, IN_OPEN) >= 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", write_fd);
		opened = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		seen = opened >= 0 && read(fd, ev, sizeof(ev)) > 0;
		tv_close_fd(&opened);
	}
	if (!seen)
		tv_close_fd(&fd);
	return fd;
}

static int give_pipe(struct hv_vm *vm, struct tv_err *e)
{
	struct hv_pipe *p = &vm->pipe;
	json_t *ret = NULL;
	char path[64];
	int fd, rc;

	/* Opened anew: QEMU makes what it is given blocking, and ours is not to be. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", p->write_fd);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		hv_pipe_give_up(vm, strerror(errno));
		return 0;
	}
	rc = hv_qmp_cmd_fd(vm->qmp, "add-fd", json_pack("{s:s}", "opaque", HV_PREFIX), fd, &ret,
			   HV_CMD_MS, e);
	tv_close_fd(&fd);
	if (rc)
		return rc;
	p->save.bytes = (size_t)snprintf(
		p->save.text, sizeof(p->save.text),
		"{\"execute\":\"xen-save-devices-state\",\"arguments\":{\"filename\":"
		"\"/proc/self/fd/%lld\",\"live\":false}}\n",
		(long long)json_integer_value(json_object_get(ret, "fd")));
	json_decref(ret);
	return 0;
}

static const char *make_pipe(struct hv_pipe *p)
{
	int fds[2], room;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK))
		return "no pipe";
	p->read_fd = fds[0];
	p->write_fd = fds[1];
	if (fchmod(p->write_fd, 0622))
		return "no access to a pipe for QEMU";
	room = fcntl(p->write_fd, F_SETPIPE_SZ, FULL_BYTES);
	p->buf = mmap(NULL, FIRST_ROOM, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p->buf == MAP_FAILED)
		p->buf = NULL;
	if (room < 0 || !p->buf)
		return "no room for a pipe";
	p->room_bytes = (size_t)room;
	p->buf_room = FIRST_ROOM;
	p->look_fd = look_at(p->read_fd, p->write_fd);
	return NULL;
}

int hv_pipe_setup(struct hv_vm *vm, bool forbidden, struct tv_err *e)
{
	const char *why = forbidden ? "this host's twinvmd was started with TWINVM_THREE_COMMANDS"
				    : make_pipe(&vm->pipe);

	if (why) {
		hv_pipe_give_up(vm, why);
		return 0;
	}
	return give_pipe(vm, e);
}

void hv_pipe_teardown(struct hv_vm *vm)
{
	hv_pipe_give_up(vm, "detached");
	if (vm->pipe.buf)
		munmap(vm->pipe.buf, vm->pipe.buf_room);
	vm->pipe.buf = NULL;
}

bool hv_pipe_usable(const struct hv_vm *vm)
{
	return vm->pipe.read_fd >= 0;
}

void hv_pipe_give_up(struct hv_vm *vm, const char *why)
{
	struct hv_pipe *p = &vm->pipe;

	tv_close_fd(&p->read_fd);
	tv_close_fd(&p->write_fd);
	tv_close_fd(&p->look_fd);
	p->held = false;
	if (!*p->why)
		tv_copy(p->why, sizeof(p->why), why);
}

/* Small and, if an open is reported, full: before the command, while the VM runs. */
static int fill_up(struct hv_pipe *p)
{
	static const char zero[FULL_BYTES];
	char ev[512];
	ssize_t r;

	/* It was emptied by the last epoch; fewer pages are always to be had. */
	if (fcntl(p->read_fd, F_SETPIPE_SZ, (int)p->room_bytes) < 0)
		return -errno;
	while (p->look_fd >= 0 && read(p->look_fd, ev, sizeof(ev)) > 0)
		;
	p->prefix_bytes = p->buf_bytes = 0;
	while (p->look_fd >= 0 && (r = write(p->write_fd, zero, sizeof(zero))) > 0)
		p->prefix_bytes += (size_t)r;
	return p->look_fd < 0 || errno == EAGAIN ? 0 : -errno;
}

/* Waits until one of two is readable: bit 0 fd, bit 1 QMP; or negative. */
static int await(struct hv_vm *vm, int fd, int64_t deadline_ns)
{
	struct pollfd p[2] = {{fd, POLLIN, 0}, {hv_qmp_fd(vm->qmp), POLLIN, 0}};

	for (;;) {
		int64_t left = deadline_ns - tv_now_ns();
		int r = poll(p, 2, left <= 0 ? 0 : (int)((left + TV_NS_PER_MS - 1) / TV_NS_PER_MS));

		if (r > 0)
			return (p[0].revents ? 1 : 0) | (p[1].revents ? 2 : 0);
		if (r == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/* 1: QEMU has answered, *rc. 0: not yet. Negative: it will not. */
static int answered(struct hv_vm *vm, int *rc)
{
	*rc = hv_qmp_wait(vm->qmp, 0);
	if (*rc == -ETIMEDOUT)
		return 0;
	return *rc == 0 || *rc == TV_E_QMP ? 1 : *rc;
}

/* Until QEMU waits in the pipe. -ENOTSUP: it does not, and has answered. */
static int await_open(struct hv_vm *vm, int64_t deadline_ns)
{
	struct hv_pipe *p = &vm->pipe;
	int ready, done, rc;

	do {
		ready = await(vm, p->look_fd >= 0 ? p->look_fd : p->read_fd, deadline_ns);
		if (ready < 0)
			return ready;
		/* Also takes in the STOP event, which was sent before the pipe was opened. */
		done = answered(vm, &rc);
		if (done)
			return done < 0 ? done : -ENOTSUP;
	} while (!(ready & 1));
	return 0;
}

/* It stands, and ran; the STOP event cannot be here yet: hv_pipe_end looks for it. */
static bool comes_later(const struct hv_vm *vm)
{
	return hv_qmp_is_late(vm->qmp) && !hv_qmp_runs(vm->qmp).stop_last;
}

int hv_pipe_begin(struct hv_vm *vm, int timeout_ms)
{
	struct hv_pipe *p = &vm->pipe;
	size_t bytes;
	int rc = hv_qmp_drain(vm->qmp);

	if (!rc)
		rc = fill_up(p);
	if (rc)
		return rc;
	hv_qmp_pair_begin(vm->qmp);
	p->held = true;
	rc = hv_qmp_fire(vm->qmp, p->save.text, p->save.bytes);
	if (!rc)
		rc = await_open(vm, hv_qmp_deadline(timeout_ms));
	if (rc) {
		hv_qmp_pair_end(vm->qmp);
		hv_pipe_give_up(vm, rc != -ENOTSUP ? tv_strerror(rc)
				    : hv_qmp_last_error(vm->qmp)[0]
					    ? hv_qmp_last_error(vm->qmp)
					    : "its state is too small, and there is no inotify");
		return rc;
	}
	if (hv_qmp_pair(vm->qmp) == HV_QMP_STOPPED || comes_later(vm))
		return 0;
	/* It did not run when the command began. Or it did, and the event is late: once more. */
	rc = hv_pipe_end(vm, timeout_ms, &bytes);
	return rc ? rc : -EAGAIN;
}

/* Makes room for more than any state had until now: seldom, and without waiting. */
static int more_room(struct hv_pipe *p)
{
	uint8_t *buf;

	if (p->buf_room >= MOST_ROOM)
		return -EFBIG;
	buf = mremap(p->buf, p->buf_room, 2 * p->buf_room, MREMAP_MAYMOVE);
	if (buf == MAP_FAILED)
		return -ENOMEM;
	p->buf = buf;
	p->buf_room *= 2;
	return 0;
}

/* What is in the pipe now. */
static int take(struct hv_pipe *p)
{
	for (;;) {
		ssize_t r;
		int rc = p->buf_bytes == p->buf_room ? more_room(p) : 0;

		if (rc)
			return rc;
		r = read(p->read_fd, p->buf + p->buf_bytes, p->buf_room - p->buf_bytes);
		if (r > 0)
			p->buf_bytes += (size_t)r;
		else if (r == 0 || errno == EAGAIN)
			return 0;
		else if (errno != EINTR)
			return -errno;
	}
}

/* Until QEMU has answered; *rc is its answer. */
static int read_out(struct hv_vm *vm, int64_t deadline_ns, int *rc)
{
	int done = 0, ready, r;

	/* The rest at once, not page by page. Where that is refused, page by page. */
	if (fcntl(vm->pipe.read_fd, F_SETPIPE_SZ, GROWN_BYTES) < 0)
		errno = 0;
	for (;;) {
		r = take(&vm->pipe);
		if (r || done)
			return r;
		ready = await(vm, vm->pipe.read_fd, deadline_ns);
		if (ready < 0)
			return ready;
		if (ready & 2)
			done = answered(vm, rc);
		if (done < 0)
			return done;
	}
}

int hv_pipe_end(struct hv_vm *vm, int timeout_ms, size_t *bytes)
{
	struct hv_pipe *p = &vm->pipe;
	enum hv_qmp_pair pair;
	bool late = comes_later(vm);
	int rc = 0, r;

	*bytes = 0;
	if (!p->held)
		return -EINVAL;
	r = read_out(vm, hv_qmp_deadline(timeout_ms), &rc);
	pair = hv_qmp_pair_end(vm->qmp);
	p->held = false;
	rc = r ? r : rc;
	if (rc) {
		hv_pipe_give_up(vm, tv_strerror(rc));
		return rc;
	}
	/* Where events are late, hv_pipe_begin took it for running, and the epoch has its barrier. */
	if (pair == HV_QMP_NONE)
		return late ? -ESTALE : -EALREADY;
	/* It was read before QEMU had to wait for us. */
	if (p->buf_bytes <= (p->prefix_bytes ? p->prefix_bytes : p->room_bytes)) {
		hv_pipe_give_up(vm, "its state is too small, and there is no inotify");
		return -ESTALE;
	}
	*bytes = p->buf_bytes - p->prefix_bytes;
	vm->state_bytes = *bytes;
	p->has_state = true;
	return 0;
}

void hv_pipe_state(struct hv_vm *vm, void *dst, size_t bytes)
{
	struct hv_pipe *p = &vm->pipe;

	memcpy(dst, p->buf + p->prefix_bytes, bytes);
	/* Here, where the VM runs, and not in a pause. */
	if (p->buf_room - p->buf_bytes < SPARE_BYTES && more_room(p))
		return; /* then it is tried where it is needed */
}
