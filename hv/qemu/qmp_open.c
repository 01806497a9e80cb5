/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening a QMP connection (socket, greeting, capabilities), and closing it. */
#include "hv/qemu/qmp_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define IN_START_BYTES (256u << 10)

void hv_qmp_close(struct hv_qmp *q)
{
	if (!q)
		return;
	tv_close_fd(&q->fd);
	free(q->in);
	free(q->events);
	free(q);
}

static int connect_path(const char *path, struct tv_err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd, rc;

	if (strlen(path) >= sizeof(a.sun_path))
		return tv_fail(e, -ENAMETOOLONG, "the QMP socket's path is too long: %s", path);
	memcpy(a.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return tv_fail(e, -errno, "socket: %s", strerror(errno));
	if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	rc = -errno;
	close(fd);
	/* A full backlog: others wait for the socket already. */
	if (rc == -EAGAIN)
		rc = -EBUSY;
	return tv_fail(e, rc, "cannot connect to the QMP socket %s: %s", path, tv_strerror(rc));
}

static int handshake(struct hv_qmp *q, const char *path, int timeout_ms, struct tv_err *e)
{
	enum hv_qmp_kind kind = HV_QMP_OTHER;
	int64_t until = hv_qmp_deadline(timeout_ms);
	size_t n = 0;
	int rc;

	/* The answer to a dead client's command may come first. */
	do {
		hv_qmp_consume(q, n);
		rc = hv_qmp_next_answer(q, true, until, &n, &kind);
	} while (!rc && kind != HV_QMP_GREETING);
	if (rc == -ETIMEDOUT)
		return tv_fail(e, -EBUSY,
			       "no greeting from %s within %d ms: another client uses it, and QMP "
			       "serves one at a time; close that one, or start QEMU with a second "
			       "-qmp socket",
			       path, timeout_ms);
	if (rc)
		return tv_fail(e, rc, "reading QMP's greeting from %s: %s", path, tv_strerror(rc));
	hv_qmp_consume(q, n);
	return hv_qmp_cmd(q, "qmp_capabilities", NULL, NULL, timeout_ms, e);
}

int hv_qmp_open_fd(int fd, const char *name, int timeout_ms, struct hv_qmp **out, struct tv_err *e)
{
	struct hv_qmp *q = calloc(1, sizeof(*q));
	int rc = -ENOMEM;

	*out = NULL;
	if (!q) {
		close(fd);
		return tv_fail(e, rc, "no memory for a QMP connection");
	}
	q->fd = fd;
	tv_random_hex(q->session, 8);
	strcat(q->session, "-");
	q->in_room = IN_START_BYTES;
	q->in = malloc(q->in_room);
	q->events = malloc(HV_QMP_EVENTS_BYTES);
	if (q->in && q->events)
		rc = handshake(q, name, timeout_ms, e);
	else
		tv_fail(e, rc, "no memory for a QMP connection");
	if (rc)
		hv_qmp_close(q);
	else
		*out = q;
	return rc;
}

/*
 * Is it this process that we are connected to? The kernel notes who called listen(): QEMU itself,
 * after -daemonize has forked, or whoever handed it the socket, which only root may have done. A
 * local user may have put a socket of its own in the place of one that a QEMU left behind.
 */
static int check_peer(int fd, const char *path, pid_t pid, struct tv_err *e)
{
	struct ucred c;
	socklen_t n = sizeof(c);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n))
		return tv_fail(e, -errno, "who answers at %s: %s", path, strerror(errno));
	if (c.pid == pid || !c.uid)
		return 0;
	return tv_fail(
		e, TV_E_REFUSED,
		"the QMP socket %s is served by process %d of user %u, not by the VM (pid %d)",
		path, (int)c.pid, (unsigned)c.uid, (int)pid);
}

int hv_qmp_connect(const char *path, pid_t pid, struct tv_err *e)
{
	int fd = connect_path(path, e), rc;

	if (fd >= 0 && pid && (rc = check_peer(fd, path, pid, e))) {
		close(fd);
		return rc;
	}
	return fd;
}

int hv_qmp_come_late(struct hv_qmp *q, struct tv_err *e)
{
	json_t *ret = NULL;
	int rc = hv_qmp_cmd(q, "query-status", NULL, &ret, HV_CMD_MS, e);

	q->late = true;
	/* An event that has come meanwhile may be later than the answer. */
	if (!rc && !q->runs.stops && !q->runs.resumes)
		q->runs.stop_last = !json_is_true(json_object_get(ret, "running"));
	json_decref(ret);
	return rc;
}

int hv_qmp_notice_proxy(struct hv_qmp *q, pid_t pid, struct tv_err *e)
{
	struct ucred c = {.pid = pid};
	socklen_t n = sizeof(c);

	if (getsockopt(q->fd, SOL_SOCKET, SO_PEERCRED, &c, &n) || c.pid == pid)
		return 0;
	return hv_qmp_come_late(q, e);
}

int hv_qmp_open(const char *path, pid_t pid, int timeout_ms, struct hv_qmp **out, struct tv_err *e)
{
	int fd = hv_qmp_connect(path, pid, e);

	*out = NULL;
	return fd < 0 ? fd : hv_qmp_open_fd(fd, path, timeout_ms, out, e);
}
