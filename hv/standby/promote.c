/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Promotion: the taps go up, the device state goes in through a socket pair, QEMU runs.
 *
 * The state is the primary's xen-save-devices-state file as it is: the standby was started with
 * send-configuration=off and suppress-vmdesc=on, so that this is a whole migration stream. It may
 * be larger than any socket buffer, and QEMU only reads after migrate-incoming: it is written
 * without blocking, next to listening for QEMU's events. What fits is sent beforehand, because the
 * VM stands still here.
 *
 * This may be the last copy of the VM, so a failure costs a QEMU and never the memory: main RAM is
 * a file of twinvm, and what lies in QEMU's own memory is copied before it loads.
 *
 * A standby that has lost a page is not promoted: the guest would continue with another page's contents
 * and nobody would know. It is looked for up to the order to load. From there on the memory is the VM's:
 * its QEMU learns of a lost page from the kernel and gives the guest its machine check, as on any host.
 */
#include "hv/standby/standby_int.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define STATE_LIMIT_BYTES (64u << 20)
#define BUFFER_BYTES (1 << 20)
#define FREEZE_MS 100
#define LOOK_MS 5
#define FD_NAME HV_PREFIX "-state"

/* 0x07 (QEMU_VM_CONFIGURATION) and the machine's name after the stream's head, 0x06
 * (QEMU_VM_VMDESCRIPTION) and nothing at its end. */
#define HEAD_BYTES 8
#define SECTION_CONFIGURATION 0x07
static const uint8_t no_vmdesc[] = {0x06, 0, 0, 0, 0};

struct load {
	struct hv_standby *sb;
	int fd; /* our end; -1 when all is sent */
	struct iovec parts[3];
	unsigned part;
	uint8_t head[HEAD_BYTES + 5 + 256];
	int64_t deadline;
};

static int ms_left(const struct load *l)
{
	int64_t left = (l->deadline - tv_now_ns() + TV_NS_PER_MS - 1) / TV_NS_PER_MS;

	return left > 0 ? (int)left : 0;
}

/*
 * The stream as its QEMU expects it. A domain of libvirt has not the options by which a state comes
 * without its configuration section and its description of the fields: they are put in.
 */
static int make_stream(struct load *l, const uint8_t *state, size_t bytes)
{
	const char *machine = json_string_value(json_object_get(l->sb->desc, "machine"));
	size_t n = machine ? strlen(machine) : 0;

	if (!l->sb->vm.domain) {
		l->parts[0] = (struct iovec){(void *)state, bytes};
		return 0;
	}
	if (!n || n > 255 || bytes <= HEAD_BYTES)
		return -EINVAL;
	memcpy(l->head, state, HEAD_BYTES);
	memcpy(l->head + HEAD_BYTES, (const uint8_t[]){SECTION_CONFIGURATION, 0, 0, 0, (uint8_t)n},
	       5);
	memcpy(l->head + HEAD_BYTES + 5, machine, n);
	l->parts[0] = (struct iovec){l->head, HEAD_BYTES + 5 + n};
	l->parts[1] = (struct iovec){(void *)(state + HEAD_BYTES), bytes - HEAD_BYTES};
	l->parts[2] = (struct iovec){(void *)no_vmdesc, sizeof(no_vmdesc)};
	return 0;
}

/* Sends what fits. The end of the stream is the closed socket. */
static int send_more(struct load *l)
{
	while (l->part < 3) {
		struct iovec *v = &l->parts[l->part];
		ssize_t r;

		if (!v->iov_len) {
			l->part++;
			continue;
		}
		r = send(l->fd, v->iov_base, v->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 0;
		if (r < 0)
			return -errno;
		v->iov_base = (char *)v->iov_base + r;
		v->iov_len -= (size_t)r;
	}
	tv_close_fd(&l->fd);
	return 0;
}

static int give_socket(struct load *l, struct tv_err *e)
{
	int fds[2], bytes = BUFFER_BYTES, rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return tv_fail(e, -errno, "no socket for the device state: %s", strerror(errno));
	l->fd = fds[0];
	/* Only a wish: without it the state goes in smaller pieces. Without rights it is what the
	 * host's limit gives, twice 208 KiB by default. */
	if (setsockopt(l->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)))
		(void)!setsockopt(l->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	rc = hv_qmp_cmd_fd(l->sb->qmp, "getfd", json_pack("{s:s}", "fdname", FD_NAME), fds[1], NULL,
			   ms_left(l), e);
	tv_close_fd(&fds[1]);
	return rc;
}

/* 1 it runs, 0 nothing new, or negative. */
static int saw_resume(struct hv_standby *sb)
{
	for (;;) {
		json_t *ev = NULL;
		const char *name;
		int rc = hv_qmp_next_event(sb->qmp, &ev);
		bool resume;

		if (rc <= 0)
			return rc;
		name = json_string_value(json_object_get(ev, "event"));
		resume = name && !strcmp(name, "RESUME");
		json_decref(ev);
		if (resume)
			return 1;
	}
}

/*
 * A VM that stays stopped has no event when its state is loaded: its run state is asked for. In
 * INMIGRATE QEMU's main loop answers while the state comes in.
 */
static int is_loaded(struct load *l)
{
	json_t *ret = NULL;
	int rc = hv_qmp_cmd(l->sb->qmp, "query-status", NULL, &ret, ms_left(l), NULL);
	const char *status = json_string_value(json_object_get(ret, "status"));

	if (!rc)
		rc = status && !strcmp(status, "paused");
	json_decref(ret);
	return rc;
}

/*
 * Returns 0 when the VM runs, or stands loaded. A broken socket is no news: QEMU reads no further
 * than the stream's end, and if the load failed the reason comes with QEMU's own end.
 */
static int pump(struct load *l)
{
	for (;;) {
		struct pollfd p[3] = {
			{.fd = hv_qmp_fd(l->sb->qmp), .events = POLLIN},
			{.fd = l->sb->vm.pidfd, .events = POLLIN},
			{.fd = l->fd, .events = POLLOUT},
		};
		int rc = l->sb->stays ? is_loaded(l) : saw_resume(l->sb);
		int wait_ms = l->sb->stays && ms_left(l) > LOOK_MS ? LOOK_MS : ms_left(l);

		if (rc)
			return rc > 0 ? 0 : rc;
		if (!ms_left(l))
			return -ETIMEDOUT;
		if (poll(p, 3, wait_ms) < 0 && errno != EINTR)
			return -errno;
		if (p[1].revents)
			return TV_E_GONE;
		if (p[2].revents && send_more(l))
			tv_close_fd(&l->fd);
	}
}

/*
 * The load has not ended in its time. QEMU reports a resume before a CPU runs: frozen without such a
 * report, the VM has not run, and its QEMU can be ended without harm.
 */
static int give_up(struct hv_standby *sb, int rc)
{
	(void)!sb->host->signal(sb->host_arg, SIGSTOP);
	if (poll(&(struct pollfd){.fd = hv_qmp_fd(sb->qmp), .events = POLLIN}, 1, FREEZE_MS) > 0 &&
	    saw_resume(sb) > 0) {
		(void)!sb->host->signal(sb->host_arg, SIGCONT);
		return 0;
	}
	(void)!hv_standby_end(sb);
	sb->ran = saw_resume(sb) > 0;
	return rc;
}

/* Why a load failed, in QEMU's words. */
static void add_reason(struct hv_standby *sb, struct tv_err *e, int rc)
{
	char words[400];
	json_t *ret = NULL;
	const char *why = NULL;

	if (rc != TV_E_GONE && rc != -ETIMEDOUT &&
	    !hv_qmp_cmd(sb->qmp, "query-migrate", NULL, &ret, 500, NULL))
		why = json_string_value(json_object_get(ret, "error-desc"));
	/* It closes its monitor before it has ended. */
	if (rc == TV_E_GONE)
		hv_pidfd_ended(sb->vm.pidfd, 1000);
	hv_standby_last_words(sb->vm.log_fd, words, sizeof(words));
	if (!why && words[0])
		why = words;
	tv_fail(e, rc, "the standby did not take over the VM's state (%s): %s",
		rc == -ETIMEDOUT ? "not in the time it had" : tv_strerror(rc),
		why ? why : "QEMU gave no reason");
	json_decref(ret);
}

/* QEMU was started with -S, and libvirt's word for it is that it is paused: this only notes that it
 * is to run once it has loaded. */
static int let_run(struct load *l, struct tv_err *e)
{
	return l->sb->vm.domain ? hv_qmp_cmd(l->sb->qmp, "cont", NULL, NULL, ms_left(l), e) : 0;
}

static int load_state(struct load *l, struct tv_err *e)
{
	int rc = give_socket(l, e);

	if (!rc)
		rc = let_run(l, e);

	if (!rc && (rc = send_more(l)))
		tv_fail(e, rc, "cannot hand the device state to QEMU: %s", tv_strerror(rc));
	if (rc)
		return rc;
	l->sb->spent = true;
	/* In INMIGRATE it only says what follows. */
	if (l->sb->stays && (rc = hv_qmp_cmd(l->sb->qmp, "stop", NULL, NULL, ms_left(l), e)))
		return rc;
	if (tv_fault("standby_load"))
		(void)!hv_standby_end(l->sb);
	if (hv_standby_lost(e))
		return TV_E_POISON;
	rc = hv_qmp_cmd(l->sb->qmp, "migrate-incoming", json_pack("{s:s}", "uri", "fd:" FD_NAME),
			NULL, ms_left(l), e);
	if (rc && rc != TV_E_MONITOR && rc != -ETIMEDOUT)
		return rc;
	if (!rc)
		rc = pump(l);
	/* Nobody but us knows a standby's monitor: it closes because QEMU ends. */
	if (rc == TV_E_MONITOR)
		rc = TV_E_GONE;
	if (rc && rc != TV_E_GONE)
		rc = give_up(l->sb, rc);
	if (rc)
		add_reason(l->sb, e, rc);
	return rc;
}

void hv_standby_stay(struct hv_standby *sb, bool stopped)
{
	sb->stays = stopped;
}

int hv_standby_promote(struct hv_standby *sb, const void *state, size_t bytes, int timeout_ms,
		       struct tv_err *e)
{
	struct load l = {.sb = sb, .fd = -1};
	int rc;

	if (!bytes || bytes > STATE_LIMIT_BYTES)
		return tv_fail(e, -EINVAL, "a device state of %zu bytes cannot be right", bytes);
	if (sb->ran)
		return tv_fail(e, -ESTALE, "the VM ran here for a moment, and then its QEMU ended");
	rc = hv_standby_keep(sb, e);
	if (!rc && sb->spent)
		rc = hv_standby_restart(sb, e);
	if (hv_standby_lost(e))
		return TV_E_POISON;
	if (rc)
		return rc;
	l.deadline = tv_now_ns() + timeout_ms * TV_NS_PER_MS;
	rc = make_stream(&l, state, bytes);
	if (rc)
		return tv_fail(e, rc, "a device state of %zu bytes of a machine without a name",
			       bytes);
	if (sb->host->taps(sb->host_arg, &sb->taps_why))
		tv_log(TV_ERROR, "%s: its network is missing: %s", sb->name, sb->taps_why.text);
	rc = load_state(&l, e);
	tv_close_fd(&l.fd);
	return rc;
}
