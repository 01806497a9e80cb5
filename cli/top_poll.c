/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm top: a question to twinvmd and its answer, without waiting: one that hangs must be seen. */
#include "cli/cli.h"
#include "cli/top.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_ANSWER (64u << 20)
#define READ_BYTES (64u << 10)

void top_poll_end(struct top_poll *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	tv_buf_dispose(&p->got);
}

static json_t *request(const char *events_of)
{
	if (!events_of)
		return json_pack("{ss}", "op", "status");
	return json_pack("{ss ss si sb}", "op", "events", "vm", events_of, "limit", TOP_EVENTS,
			 "newest", 1);
}

int top_ask(struct top_poll *p, const char *socket_path, const char *events_of, double now_s)
{
	json_t *o = request(events_of);
	TV_FREE char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	TV_FREE char *line = NULL;
	int fd, rc = 0;

	json_decref(o);
	if (!text || asprintf(&line, "%s\n", text) < 0)
		return -ENOMEM;
	fd = cli_connect(socket_path, SOCK_NONBLOCK);
	if (fd < 0)
		return fd;
	/* A fresh socket has room for a short line. */
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line))
		rc = -EPIPE;
	if (rc) {
		close(fd);
		return rc;
	}
	p->fd = fd;
	p->since_s = now_s;
	p->events = events_of != NULL;
	tv_copy(p->vm_id, sizeof(p->vm_id), events_of);
	tv_buf_init(&p->got, MAX_ANSWER);
	return 0;
}

int top_read(struct top_poll *p, json_t **answer)
{
	for (;;) {
		ssize_t n;
		int rc = tv_buf_reserve(&p->got, READ_BYTES);

		if (rc)
			return rc;
		n = recv(p->fd, p->got.data + p->got.bytes, READ_BYTES, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		p->got.bytes += (size_t)n;
	}
	*answer = json_loadb((const char *)p->got.data, p->got.bytes, JSON_DISABLE_EOF_CHECK, NULL);
	return json_is_object(*answer) ? 1 : -EPROTO;
}
