/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A proxy of a monitor between real sockets: a process that talks as QEMU does, and clients. */
#ifndef TESTS_UNIT_HV_PROXY_KIT_H
#define TESTS_UNIT_HV_PROXY_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hv/proxy/proxy.h"
#include "hv/proxy/proxy_int.h"

static struct {
	char dir[64], qmp[108], note[HV_PROXY_PATH];
	pid_t qemu, proxy;
	struct hv_vm_id vm;
	struct stat theirs;
} t;

/* ---- QEMU ---- */
static inline void say(int fd, const char *text)
{
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		_exit(0);
}

/* Reads one object, and a descriptor that comes with it. */
static inline char *hear(int fd, int *got)
{
	static char buf[4 << 20];
	struct hv_qmp_frame f = {0};
	size_t n = 0;

	for (;;) {
		char ctl[CMSG_SPACE(sizeof(int))];
		struct iovec iov = {buf + n, 1};
		struct msghdr m = {.msg_iov = &iov,
				   .msg_iovlen = 1,
				   .msg_control = ctl,
				   .msg_controllen = sizeof(ctl)};

		if (recvmsg(fd, &m, 0) <= 0)
			_exit(0);
		if (CMSG_FIRSTHDR(&m))
			memcpy(got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
		if (hv_qmp_frame_end(&f, buf, ++n)) {
			buf[n] = '\0';
			return buf;
		}
	}
}

/* What QEMU says to a command, by its name. */
static inline void answer(int fd, const char *cmd, int *got)
{
	json_t *j = json_loads(cmd, JSON_REJECT_DUPLICATES, NULL);
	const char *name = json_string_value(json_object_get(j, "execute"));
	const char *id = json_string_value(json_object_get(j, "id"));
	char text[512];

	if (!name || !id)
		_exit(1);
	snprintf(text, sizeof(text), "{\"return\": {}, \"id\": \"%s\"}\r\n", id);
	if (!strcmp(name, "query-version"))
		snprintf(text, sizeof(text), "{\"return\": {\"x\": 1}, \"id\": \"%s\"}\r\n", id);
	if (!strcmp(name, "large")) /* more than the parser holds, and the id first */
		snprintf(text, sizeof(text),
			 "{\"id\": \"%s\", \"return\": {\"id\": \"7\", \"n\": "
			 "18446744073709551615}}\r\n",
			 id);
	if (!strcmp(name, "wrong"))
		snprintf(text, sizeof(text),
			 "{\"id\": \"%s\", \"error\": {\"class\": \"GenericError\", \"desc\": "
			 "\"no\"}}\r\n",
			 id);
	if (!strcmp(name, "stop"))
		say(fd, "{\"timestamp\": {}, \"event\": \"STOP\"}\r\n");
	if (!strcmp(name, "getfd")) {
		if (*got < 0 || write(*got, "fd", 2) != 2)
			_exit(1);
		tv_close_fd(got);
	}
	if (!strcmp(name, "close"))
		shutdown(fd, SHUT_RDWR);
	if (!strcmp(name, "stale"))
		say(fd, "{\"return\": \"of another\", \"id\": \"old-1\"}\r\n");
	say(fd, text);
	json_decref(j);
}

static inline void qemu(int listen_fd)
{
	for (;;) {
		int got = -1, fd = accept(listen_fd, NULL, NULL);

		say(fd, "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n");
		if (fork()) {
			/* One at a time; the next one when this one has gone. */
			int status;

			close(fd);
			wait(&status);
			if (WEXITSTATUS(status))
				_exit(1);
			continue;
		}
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			answer(fd, hear(fd, &got), &got);
	}
}

static inline pid_t start_qemu(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fds[2];
	char ready;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		strcpy(a.sun_path, t.qmp);
		if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || chmod(t.qmp, 0640) ||
		    listen(fd, 8) || write(fds[1], "r", 1) != 1)
			_exit(1);
		qemu(fd);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &ready, 1), 1);
	close(fds[0]);
	return pid;
}

/* ---- the proxy ---- */
static inline int start_proxy(struct tv_err *e)
{
	int fds[2], rc;

	assert_int_equal(pipe(fds), 0);
	t.proxy = fork();
	if (!t.proxy) {
		close(fds[0]);
		signal(SIGPIPE, SIG_IGN);
		_exit(hv_proxy_run(&t.vm, t.note, fds[1]));
	}
	close(fds[1]);
	rc = hv_proxy_await(fds[0], 10000, e);
	close(fds[0]);
	return rc;
}

static inline void end(pid_t *pid, int sig)
{
	if (*pid > 0) {
		kill(*pid, sig);
		waitpid(*pid, NULL, 0);
	}
	*pid = 0;
}

static inline int setup(void **state)
{
	(void)state;
	strcpy(t.dir, "/tmp/twinvm-test-proxy.XXXXXX");
	if (!mkdtemp(t.dir))
		return -1;
	snprintf(t.qmp, sizeof(t.qmp), "%s/100.qmp", t.dir);
	hv_proxy_note(t.dir, "0123456789abcdef0123456789abcdef", t.note);
	t.qemu = start_qemu();
	t.vm = (struct hv_vm_id){.pid = t.qemu, .start_ticks = tv_pid_start_ticks(t.qemu)};
	strcpy(t.vm.qmp_path, t.qmp);
	return stat(t.qmp, &t.theirs);
}

static inline int teardown(void **state)
{
	char cmd[128];

	(void)state;
	end(&t.proxy, SIGKILL);
	end(&t.qemu, SIGKILL);
	snprintf(cmd, sizeof(cmd), "rm -r %s", t.dir);
	return system(cmd);
}

static inline int setup_served(void **state)
{
	struct tv_err e = {0};
	int rc = setup(state);

	if (!rc && start_proxy(&e)) {
		print_error("%s\n", e.text);
		rc = -1;
	}
	return rc;
}

static inline bool is_qemus(void)
{
	struct stat st;

	return !lstat(t.qmp, &st) && st.st_ino == t.theirs.st_ino;
}

/* Nothing else lies in the folder. */
static inline void only(const char *names)
{
	char cmd[256], got[256] = "";
	FILE *f;

	snprintf(cmd, sizeof(cmd), "cd %s && echo *", t.dir);
	f = popen(cmd, "r");
	assert_non_null(fgets(got, sizeof(got), f));
	pclose(f);
	got[strcspn(got, "\n")] = '\0';
	assert_string_equal(got, names);
}

/* ---- clients ---- */
struct talk {
	int fd;
	char buf[1 << 20];
	size_t n;
};

static inline void hello(struct talk *c)
{
	struct sockaddr_un u = {.sun_family = AF_UNIX};

	c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	c->n = 0;
	strcpy(u.sun_path, t.qmp);
	assert_int_equal(connect(c->fd, (struct sockaddr *)&u, sizeof(u)), 0);
}

static inline bool can_read(const struct talk *c, int ms)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	return poll(&p, 1, ms) > 0;
}

/* The next line; NULL at the end. */
static inline const char *line(struct talk *c)
{
	static char out[sizeof(c->buf)];
	char *end;

	while (!(end = memmem(c->buf, c->n, "\r\n", 2))) {
		ssize_t r;

		if (!can_read(c, 10000))
			fail_msg("nothing comes");
		r = recv(c->fd, c->buf + c->n, sizeof(c->buf) - c->n, 0);
		if (r <= 0)
			return NULL;
		c->n += (size_t)r;
	}
	memcpy(out, c->buf, (size_t)(end - c->buf));
	out[end - c->buf] = '\0';
	c->n -= (size_t)(end + 2 - c->buf);
	memmove(c->buf, end + 2, c->n);
	return out;
}

static inline void tell(struct talk *c, const char *text)
{
	assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static inline void says(struct talk *c, const char *want)
{
	const char *got = line(c);

	assert_non_null(got);
	if (!strstr(got, want))
		fail_msg("no '%s' in: %s", want, got);
}

static inline void meet(struct talk *c)
{
	hello(c);
	says(c, "{\"QMP\": {\"version\": {\"x\": 1}, \"capabilities\": []}}");
	tell(c, "{\"execute\":\"qmp_capabilities\",\"id\":[1]}");
	says(c, "{\"return\": {}, \"id\": [1]}");
}

static inline void bye(struct talk *c)
{
	close(c->fd);
}

#endif
