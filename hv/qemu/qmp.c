/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP client: commands, answers and events of an open connection (qmp_open.c opens it). Every
 * command carries an id, made of this connection's and its own number, and only the answer with
 * that id counts: QEMU sends the answer to a dead client's last command to the next client, and an
 * answer may arrive after its command has timed out. Events that arrive in between go, as text,
 * into a fixed queue.
 */
#include "hv/qemu/qmp_int.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/socket.h>

#define IN_LIMIT_BYTES (64u << 20)

/* Through libvirt a command may wait for another client's job on the domain, and for a libvirtd that
 * hangs: QEMU owes nothing before that is over. */
#define NOT_QEMUS_NS (45 * TV_NS_PER_S)

int64_t hv_qmp_asked_ns(const struct hv_qmp *q)
{
	int64_t ns = atomic_load(&q->asked_ns);

	if (!ns || !q->late)
		return ns;
	ns += NOT_QEMUS_NS;
	return ns < tv_now_ns() ? ns : 0;
}

int hv_qmp_fd(const struct hv_qmp *q)
{
	return q->fd;
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

/* Reads what is there. 1 something came, 0 nothing waits, or negative. */
static int fill(struct hv_qmp *q, bool may_grow)
{
	ssize_t r;

	if (q->gone)
		return TV_E_MONITOR;
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
		return TV_E_MONITOR;
	}
	q->in_bytes += (size_t)r;
	return 1;
}

void hv_qmp_consume(struct hv_qmp *q, size_t n)
{
	q->in_bytes -= n;
	memmove(q->in, q->in + n, q->in_bytes);
}

int hv_qmp_next_answer(struct hv_qmp *q, bool may_grow, int64_t deadline_ns, size_t *n,
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
				hv_qmp_keep_event(q, *n);
			hv_qmp_consume(q, *n);
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
		int rc = hv_qmp_next_answer(q, may_grow, deadline_ns, n, kind);

		if (rc)
			return rc;
		hv_qmp_frame_kind(q->in, *n, &id, &id_bytes);
		if (id_bytes == want && !memcmp(id, q->id, want)) {
			q->id[0] = '\0';
			atomic_store(&q->asked_ns, 0);
			return 0;
		}
		hv_qmp_consume(q, *n);
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
		return TV_E_MONITOR;
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
			return TV_E_MONITOR;
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
	atomic_store(&q->asked_ns, tv_now_ns());
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

/*
 * QEMU prints what it has as uint64_t (the default of a bridge's pref64-reserve is all ones), and
 * jansson has int64_t: the same bits are put in the number's place. QEMU reads them back as they
 * were, as it takes a negative number for an unsigned one. Of 19 digits there is no room for that,
 * nor are there such defaults: the largest that there is.
 */
static void fit_numbers(char *p, size_t n)
{
	bool in_string = false;

	for (size_t i = 0, k; i<n; i = k> i ? k : i + 1) {
		uint64_t v = 0;

		k = i;
		if (p[i] == '\\' && in_string)
			k = i + 2;
		else if (p[i] == '"')
			in_string = !in_string;
		else if (!in_string && p[i] >= '1' && p[i] <= '9')
			for (; k < n && p[k] >= '0' && p[k] <= '9'; k++)
				v = 10 * v + (uint64_t)(p[k] - '0');
		if (v > INT64_MAX && k - i <= 20 && (!i || !strchr("-.", p[i - 1]))) {
			char text[32];
			int len = snprintf(text, sizeof(text), "%-20lld",
					   k - i == 20 ? (long long)v : (long long)INT64_MAX);

			memcpy(p + i, text, (size_t)len < k - i ? (size_t)len : k - i);
		}
	}
}

static json_t *parse(char *text, size_t n)
{
	json_t *j = json_loadb(text, n, JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, NULL);

	if (j)
		return j;
	fit_numbers(text, n);
	return json_loadb(text, n, JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, NULL);
}

static int answer_return(struct hv_qmp *q, size_t n, const char *name, json_t **ret,
			 struct tv_err *e)
{
	json_t *j;

	if (!ret)
		return 0;
	j = parse(q->in, n);
	*ret = json_incref(json_object_get(j, "return"));
	json_decref(j);
	if (!*ret)
		return tv_fail(e, TV_E_PROTOCOL, "QEMU's answer to %s is not JSON", name);
	return 0;
}

int hv_qmp_cmd_fd(struct hv_qmp *q, const char *name, json_t *args, int fd, json_t **ret,
		  int timeout_ms, struct tv_err *e)
{
	int64_t until = hv_qmp_deadline(timeout_ms);
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
	hv_qmp_consume(q, n);
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
	return send_cmd(q, line, n, -1, hv_qmp_deadline(1000));
}

int hv_qmp_wait(struct hv_qmp *q, int timeout_ms)
{
	enum hv_qmp_kind kind = HV_QMP_OTHER;
	size_t n;
	int rc = last_answer(q, false, hv_qmp_deadline(timeout_ms), &n, &kind);

	q->error[0] = '\0';
	if (rc)
		return rc;
	if (kind != HV_QMP_RETURN) {
		size_t k = n < sizeof(q->error) ? n : sizeof(q->error) - 1;

		memcpy(q->error, q->in, k);
		q->error[k] = '\0';
	}
	hv_qmp_consume(q, n);
	return kind == HV_QMP_RETURN ? 0 : TV_E_QMP;
}

const char *hv_qmp_last_error(const struct hv_qmp *q)
{
	return q->error;
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
		hv_qmp_keep_event(q, n);
	hv_qmp_consume(q, n);
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
			*ev = json_pack("{s:s, s:{s:i}}", "event", HV_QMP_EVENTS_LOST, "data",
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
