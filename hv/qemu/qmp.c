/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP client. Every command carries an id of this connection and its number, and only the answer
 * with that id counts: QEMU gives the answer to a dead client's last command to the next client,
 * and an answer may come after we gave up on it. Events that come meanwhile go, as text, into a
 * fixed queue.
 */
#include "hv/qemu/qmp.h"
#include "hv/qemu/qmp_frame.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define IN_START_BYTES (256u << 10)
#define IN_LIMIT_BYTES (64u << 20)
#define EVENTS_BYTES (64u << 10)

struct hv_qmp {
	int fd;
	bool gone;	  /* end of file or a broken stream: nothing more will come */
	char session[20]; /* random, the front part of every id */
	uint32_t number;  /* of the last command */
	char id[32];	  /* what the last command carries, "" when it was answered */
	unsigned lost;	  /* events that did not fit and were not told yet */
	char *in;	  /* what was read and not consumed */
	size_t in_bytes, in_room;
	struct hv_qmp_frame frame;
	const char *mute; /* events that contain it are dropped */
	unsigned muted;
	char error[256]; /* the last refusal, as JSON text */
	char *events;	 /* whole objects, one behind the other */
	size_t event_bytes;
};

int hv_qmp_fd(const struct hv_qmp *q)
{
	return q->fd;
}

void hv_qmp_close(struct hv_qmp *q)
{
	if (!q)
		return;
	tv_close_fd(&q->fd);
	free(q->in);
	free(q->events);
	free(q);
}

static int wait_fd(int fd, short what, int64_t deadline_ns)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = what};
		int64_t left = deadline_ns - tv_now_ns();
		int r;

		r = poll(&p, 1, left <= 0 ? 0 : (int)((left + TV_NS_PER_MS - 1) / TV_NS_PER_MS));
		if (r > 0)
			return 0;
		if (r == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int64_t deadline(int timeout_ms)
{
	return tv_now_ns() + (int64_t)timeout_ms * TV_NS_PER_MS;
}

/* Reads what is there. 1 something came, 0 nothing waits, or negative. */
static int fill(struct hv_qmp *q, bool may_grow)
{
	ssize_t r;

	if (q->gone)
		return TV_E_GONE;
	if (q->in_bytes == q->in_room) {
		char *p;

		if (!may_grow || q->in_room >= IN_LIMIT_BYTES)
			return -ENOBUFS;
		p = realloc(q->in, q->in_room * 2);
		if (!p)
			return -ENOMEM;
		q->in = p;
		q->in_room *= 2;
	}
	do {
		r = recv(q->fd, q->in + q->in_bytes, q->in_room - q->in_bytes, MSG_DONTWAIT);
	} while (r < 0 && errno == EINTR);
	if (r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (r <= 0) {
		q->gone = true;
		return TV_E_GONE;
	}
	q->in_bytes += (size_t)r;
	return 1;
}

static void consume(struct hv_qmp *q, size_t n)
{
	q->in_bytes -= n;
	memmove(q->in, q->in + n, q->in_bytes);
}

static void keep_event(struct hv_qmp *q, size_t n)
{
	if (q->mute && memmem(q->in, n, q->mute, strlen(q->mute))) {
		q->muted++;
		return;
	}
	if (q->event_bytes + n > EVENTS_BYTES) {
		q->lost++;
		return;
	}
	memcpy(q->events + q->event_bytes, q->in, n);
	q->event_bytes += n;
}

/*
 * Brings the next answer (or greeting) to the front of q->in, putting events aside; *n is its
 * length. The caller consumes it.
 */
static int next_answer(struct hv_qmp *q, bool may_grow, int64_t deadline_ns, size_t *n,
		       enum hv_qmp_kind *kind)
{
	int rc;

	for (;;) {
		*n = hv_qmp_frame_end(&q->frame, q->in, q->in_bytes);
		if (*n) {
			*kind = hv_qmp_frame_kind(q->in, *n, NULL, NULL);
			if (*kind == HV_QMP_RETURN || *kind == HV_QMP_ERROR ||
			    *kind == HV_QMP_GREETING)
				return 0;
			if (*kind == HV_QMP_EVENT)
				keep_event(q, *n);
			consume(q, *n);
			continue;
		}
		rc = fill(q, may_grow);
		if (rc < 0)
			return rc;
		if (rc == 0) {
			rc = wait_fd(q->fd, POLLIN, deadline_ns);
			if (rc)
				return rc;
		}
	}
}

/* Waits for the answer to the last command; it stays at the front of q->in. */
static int last_answer(struct hv_qmp *q, bool may_grow, int64_t deadline_ns, size_t *n,
		       enum hv_qmp_kind *kind)
{
	size_t want = strlen(q->id);

	if (!want)
		return -EINVAL;
	for (;;) {
		const char *id = NULL;
		size_t id_bytes = 0;
		int rc = next_answer(q, may_grow, deadline_ns, n, kind);

		if (rc)
			return rc;
		hv_qmp_frame_kind(q->in, *n, &id, &id_bytes);
		if (id_bytes == want && !memcmp(id, q->id, want)) {
			q->id[0] = '\0';
			return 0;
		}
		consume(q, *n);
	}
}

static int send_text(struct hv_qmp *q, const char *text, size_t n, int fd, int64_t deadline_ns)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl;
	size_t done = 0;

	if (q->gone)
		return TV_E_GONE;
	while (done < n) {
		struct iovec iov = {(char *)text + done, n - done};
		struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t r;

		if (fd >= 0 && done == 0) {
			memset(&ctl, 0, sizeof(ctl));
			m.msg_control = ctl.buf;
			m.msg_controllen = sizeof(ctl.buf);
			struct cmsghdr *c = CMSG_FIRSTHDR(&m);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(sizeof(int));
			memcpy(CMSG_DATA(c), &fd, sizeof(int));
		}
		r = sendmsg(q->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r >= 0) {
			done += (size_t)r;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK) {
			int rc = wait_fd(q->fd, POLLOUT, deadline_ns);

			/* Half a command would garble every later one. */
			if (rc && done)
				q->gone = true;
			if (rc)
				return rc;
			continue;
		}
		if (errno == EPIPE || errno == ECONNRESET) {
			q->gone = true;
			return TV_E_GONE;
		}
		return -errno;
	}
	return 0;
}

/* Sends the command "{..." with an id put in. */
static int send_cmd(struct hv_qmp *q, const char *line, size_t n, int fd, int64_t deadline_ns)
{
	char text[512];
	size_t head;
	int rc;

	q->number++;
	snprintf(q->id, sizeof(q->id), "%s%" PRIx32, q->session, q->number);
	head = (size_t)snprintf(text, sizeof(text), "{\"id\":\"%s\",", q->id);
	line++;
	n--;
	/* In one piece if it fits, so that QEMU wakes up once. */
	if (head + n <= sizeof(text)) {
		memcpy(text + head, line, n);
		return send_text(q, text, head + n, fd, deadline_ns);
	}
	rc = send_text(q, text, head, fd, deadline_ns);
	return rc ? rc : send_text(q, line, n, -1, deadline_ns);
}

static int answer_error(struct hv_qmp *q, size_t n, const char *name, struct tv_err *e)
{
	json_t *j = json_loadb(q->in, n, JSON_DISABLE_EOF_CHECK, NULL);
	const char *desc = json_string_value(json_object_get(json_object_get(j, "error"), "desc"));

	tv_fail(e, TV_E_QMP, "QEMU refused %s: %s", name, desc ? desc : "no reason given");
	json_decref(j);
	return TV_E_QMP;
}

static int answer_return(struct hv_qmp *q, size_t n, const char *name, json_t **ret,
			 struct tv_err *e)
{
	json_t *j;

	if (!ret)
		return 0;
	j = json_loadb(q->in, n, JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, NULL);
	*ret = json_incref(json_object_get(j, "return"));
	json_decref(j);
	if (!*ret)
		return tv_fail(e, TV_E_PROTOCOL, "QEMU's answer to %s is not JSON", name);
	return 0;
}

int hv_qmp_cmd_fd(struct hv_qmp *q, const char *name, json_t *args, int fd, json_t **ret,
		  int timeout_ms, struct tv_err *e)
{
	int64_t until = deadline(timeout_ms);
	json_t *cmd = json_pack("{s:s}", "execute", name);
	TV_FREE char *text = NULL;
	enum hv_qmp_kind kind = HV_QMP_OTHER;
	size_t n;
	int rc;

	if (ret)
		*ret = NULL;
	if (args)
		json_object_set_new(cmd, "arguments", args);
	text = json_dumps(cmd, JSON_COMPACT);
	json_decref(cmd);
	if (!text)
		return tv_fail(e, -ENOMEM, "no memory for the command %s", name);
	rc = send_cmd(q, text, strlen(text), fd, until);
	if (!rc)
		rc = send_text(q, "\n", 1, -1, until);
	if (rc)
		return tv_fail(e, rc, "cannot send %s to QEMU: %s", name, tv_strerror(rc));
	rc = last_answer(q, true, until, &n, &kind);
	if (rc == -ETIMEDOUT)
		return tv_fail(e, rc, "QEMU did not answer %s within %d ms", name, timeout_ms);
	if (rc)
		return tv_fail(e, rc, "waiting for QEMU's answer to %s: %s", name, tv_strerror(rc));
	rc = kind == HV_QMP_ERROR ? answer_error(q, n, name, e) : answer_return(q, n, name, ret, e);
	consume(q, n);
	return rc;
}

int hv_qmp_cmd(struct hv_qmp *q, const char *name, json_t *args, json_t **ret, int timeout_ms,
	       struct tv_err *e)
{
	return hv_qmp_cmd_fd(q, name, args, -1, ret, timeout_ms, e);
}

int hv_qmp_hmp(struct hv_qmp *q, const char *line, char **text, int timeout_ms, struct tv_err *e)
{
	json_t *ret = NULL;
	int rc;

	*text = NULL;
	rc = hv_qmp_cmd(q, "human-monitor-command", json_pack("{s:s}", "command-line", line), &ret,
			timeout_ms, e);
	if (rc)
		return rc;
	if (!json_is_string(ret))
		rc = tv_fail(e, TV_E_PROTOCOL, "QEMU's answer to '%s' is not text", line);
	else if (!(*text = strdup(json_string_value(ret))))
		rc = tv_fail(e, -ENOMEM, "no memory for the answer to '%s'", line);
	json_decref(ret);
	return rc;
}

int hv_qmp_fire(struct hv_qmp *q, const char *line, size_t n)
{
	return send_cmd(q, line, n, -1, deadline(1000));
}

int hv_qmp_wait(struct hv_qmp *q, int timeout_ms)
{
	enum hv_qmp_kind kind = HV_QMP_OTHER;
	size_t n;
	int rc = last_answer(q, false, deadline(timeout_ms), &n, &kind);

	q->error[0] = '\0';
	if (rc)
		return rc;
	if (kind != HV_QMP_RETURN) {
		size_t k = n < sizeof(q->error) ? n : sizeof(q->error) - 1;

		memcpy(q->error, q->in, k);
		q->error[k] = '\0';
	}
	consume(q, n);
	return kind == HV_QMP_RETURN ? 0 : TV_E_QMP;
}

const char *hv_qmp_last_error(const struct hv_qmp *q)
{
	return q->error;
}

unsigned hv_qmp_mute(struct hv_qmp *q, const char *name)
{
	unsigned n = q->muted;

	q->mute = name;
	q->muted = 0;
	return n;
}

/* Takes one whole object off the front of q->in that nobody waits for; false when there is none. */
static bool put_aside(struct hv_qmp *q)
{
	size_t n = hv_qmp_frame_end(&q->frame, q->in, q->in_bytes);
	enum hv_qmp_kind kind;

	if (!n)
		return false;
	kind = hv_qmp_frame_kind(q->in, n, NULL, NULL);
	/* An answer here belongs to a command that nobody waits for any more. */
	if (kind == HV_QMP_EVENT)
		keep_event(q, n);
	consume(q, n);
	return true;
}

int hv_qmp_drain(struct hv_qmp *q)
{
	int rc;

	do {
		while (put_aside(q))
			;
		rc = fill(q, false);
	} while (rc > 0);
	return rc;
}

static int take_event(struct hv_qmp *q, json_t **ev)
{
	struct hv_qmp_frame f = {0};
	size_t n = hv_qmp_frame_end(&f, q->events, q->event_bytes);

	*ev = n ? json_loadb(q->events, n, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
	q->event_bytes -= n;
	memmove(q->events, q->events + n, q->event_bytes);
	return *ev ? 1 : TV_E_PROTOCOL;
}

int hv_qmp_next_event(struct hv_qmp *q, json_t **ev)
{
	*ev = NULL;
	while (!q->event_bytes) {
		int rc;

		if (put_aside(q))
			continue;
		if (q->lost) {
			*ev = json_pack("{s:s, s:{s:i}}", "event", "TWINVM_EVENTS_LOST", "data",
					"count", (int)q->lost);
			q->lost = 0;
			return *ev ? 1 : -ENOMEM;
		}
		rc = fill(q, true);
		if (rc <= 0)
			return rc;
	}
	return take_event(q, ev);
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
	int64_t until = deadline(timeout_ms);
	size_t n = 0;
	int rc;

	/* The answer to a dead client's command may come first. */
	do {
		consume(q, n);
		rc = next_answer(q, true, until, &n, &kind);
	} while (!rc && kind != HV_QMP_GREETING);
	if (rc == -ETIMEDOUT)
		return tv_fail(e, -EBUSY,
			       "%s does not greet within %d ms: another client holds it, and QMP "
			       "serves one at a time; close that one, or start QEMU with a second "
			       "-qmp socket",
			       path, timeout_ms);
	if (rc)
		return tv_fail(e, rc, "reading QMP's greeting from %s: %s", path, tv_strerror(rc));
	consume(q, n);
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
	q->events = malloc(EVENTS_BYTES);
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

int hv_qmp_open(const char *path, int timeout_ms, struct hv_qmp **out, struct tv_err *e)
{
	int fd = connect_path(path, e);

	*out = NULL;
	return fd < 0 ? fd : hv_qmp_open_fd(fd, path, timeout_ms, out, e);
}
