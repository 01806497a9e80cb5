/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the subcommands share: one request to twinvmd and its answers, errors, --json and --help. */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int cli_fail(struct cli *c, int status, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (c->json)
		cli_print(c, json_pack("{ss si}", "error", text, "status", status));
	fprintf(stderr, "twinvm: %s\n", text);
	return status;
}

void cli_print(struct cli *c, json_t *j)
{
	if (c->json) {
		/* A time in s since 1970, to the millisecond, needs 13 digits. */
		json_dumpf(j, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
		putchar('\n');
	}
	json_decref(j);
}

int cli_usage(const struct subcommand *cmd)
{
	fprintf(stderr, "usage: twinvm %s %s\ntry 'twinvm %s --help'\n", cmd->name, cmd->args,
		cmd->name);
	return EXIT_USAGE;
}

int cli_common_option(struct cli *c, const struct subcommand *cmd, int opt)
{
	if (opt == 'J') {
		c->json = true;
		return -1;
	}
	if (opt == 'h') {
		printf("usage: twinvm %s %s\n%s\n", cmd->name, cmd->args, cmd->help);
		return EXIT_OK;
	}
	return cli_usage(cmd);
}

int cli_connect(const char *socket_path, int flags)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(socket_path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, socket_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

/* What the daemon's code means for a script. */
static int exit_status(int rc)
{
	if (!rc)
		return EXIT_OK;
	return rc == TV_E_REFUSED ? EXIT_REFUSED : EXIT_FAILED;
}

/* Sends request (stolen); the connection, or the negative of an exit status: that was reported. */
static int begin_call(struct cli *c, json_t *request)
{
	int fd = cli_connect(c->socket, 0);
	TV_FREE char *text = json_dumps(request, JSON_COMPACT);

	json_decref(request);
	if (fd < 0)
		return -cli_fail(c, EXIT_FAILED,
				 "cannot connect to twinvmd at %s (%s): start it with 'twinvmd "
				 "--config FILE', or give its socket with --socket",
				 c->socket, strerror(-fd));
	if (!text || tv_write_all(fd, text, strlen(text)) || tv_write_all(fd, "\n", 1)) {
		close(fd);
		return -cli_fail(c, EXIT_FAILED, "twinvmd at %s closed the connection", c->socket);
	}
	return fd;
}

/* msg: the last answer; NULL: none came. */
static int end_call(struct cli *c, json_t *msg)
{
	int status;
	const char *why;

	if (!msg)
		return cli_fail(
			c, EXIT_FAILED,
			"lost the connection to twinvmd at %s; when it is back, it continues "
			"what was begun: see 'twinvm status'",
			c->socket);
	status = exit_status((int)json_integer_value(json_object_get(msg, "rc")));
	why = json_string_value(json_object_get(msg, "error"));
	return status ? cli_fail(c, status, "%s", why && *why ? why : "failed") : EXIT_OK;
}

int cli_call(struct cli *c, json_t *request, void (*progress)(struct cli *c, json_t *msg),
	     json_t **last)
{
	int fd = begin_call(c, request);
	json_t *msg = NULL;
	FILE *in;

	*last = NULL;
	if (fd < 0)
		return -fd;
	in = fdopen(fd, "r");
	while ((msg = json_loadf(in, JSON_DISABLE_EOF_CHECK, NULL))) {
		if (json_is_true(json_object_get(msg, "done")))
			break;
		if (progress)
			progress(c, msg);
		json_decref(msg);
	}
	fclose(in);
	*last = msg;
	if (progress && msg && json_integer_value(json_object_get(msg, "rc")))
		progress(c, NULL);
	return end_call(c, msg);
}

/* One piece of the answer; a descriptor that comes with it replaces *fd. */
static ssize_t receive(int conn, char *p, size_t room, int *fd)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {p, room};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	ssize_t r = recvmsg(conn, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *h = r < 0 ? NULL : CMSG_FIRSTHDR(&m);

	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS &&
	    h->cmsg_len == CMSG_LEN(sizeof(int))) {
		tv_close_fd(fd);
		memcpy(fd, CMSG_DATA(h), sizeof(int));
	}
	return r;
}

int cli_call_fd(struct cli *c, json_t *request, int *fd)
{
	char text[4096];
	size_t n = 0;
	ssize_t r = 1;
	int conn = begin_call(c, request), status;
	json_t *msg;

	*fd = -1;
	if (conn < 0)
		return -conn;
	while (r > 0 && n < sizeof(text) && !memchr(text, '\n', n)) {
		r = receive(conn, text + n, sizeof(text) - n, fd);
		if (r < 0 && errno == EINTR)
			r = 1;
		else if (r > 0)
			n += (size_t)r;
	}
	close(conn);
	msg = json_loadb(text, n, JSON_DISABLE_EOF_CHECK, NULL);
	status = end_call(c, msg);
	json_decref(msg);
	if (!status && *fd < 0)
		status = cli_fail(c, EXIT_FAILED, "twinvmd at %s sent no descriptor", c->socket);
	return status;
}

FILE *cli_open(struct cli *c, json_t *request)
{
	int fd = cli_connect(c->socket, 0);
	TV_FREE char *text = json_dumps(request, JSON_COMPACT);
	FILE *in;

	json_decref(request);
	if (fd < 0)
		return NULL;
	if (!text || tv_write_all(fd, text, strlen(text)) || tv_write_all(fd, "\n", 1) ||
	    !(in = fdopen(fd, "r"))) {
		close(fd);
		return NULL;
	}
	return in;
}

json_t *cli_ask(struct cli *c, json_t *request)
{
	FILE *in = cli_open(c, request);
	json_t *msg = in ? json_loadf(in, JSON_DISABLE_EOF_CHECK, NULL) : NULL;

	if (in)
		fclose(in);
	if (json_integer_value(json_object_get(msg, "rc"))) {
		json_decref(msg);
		msg = NULL;
	}
	return msg;
}
