/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The proxy of a monitor, between real sockets: a process that talks as QEMU does, and clients. */
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
static void say(int fd, const char *text)
{
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		_exit(0);
}

/* Reads one object, and a descriptor that comes with it. */
static char *hear(int fd, int *got)
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

/* What QEMU says to a command: its text tells. */
static void answer(int fd, const char *cmd, int *got)
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

static void qemu(int listen_fd)
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

static pid_t start_qemu(void)
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
static int start_proxy(struct tv_err *e)
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

static void end(pid_t *pid, int sig)
{
	if (*pid > 0) {
		kill(*pid, sig);
		waitpid(*pid, NULL, 0);
	}
	*pid = 0;
}

static int setup(void **state)
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

static int teardown(void **state)
{
	char cmd[128];

	(void)state;
	end(&t.proxy, SIGKILL);
	end(&t.qemu, SIGKILL);
	snprintf(cmd, sizeof(cmd), "rm -r %s", t.dir);
	return system(cmd);
}

static int setup_served(void **state)
{
	struct tv_err e = {0};
	int rc = setup(state);

	if (!rc && start_proxy(&e)) {
		print_error("%s\n", e.text);
		rc = -1;
	}
	return rc;
}

static bool is_qemus(void)
{
	struct stat st;

	return !lstat(t.qmp, &st) && st.st_ino == t.theirs.st_ino;
}

/* Nothing else lies in the folder. */
static void only(const char *names)
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
static struct talk a, b;

static void hello(struct talk *c)
{
	struct sockaddr_un u = {.sun_family = AF_UNIX};

	c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	c->n = 0;
	strcpy(u.sun_path, t.qmp);
	assert_int_equal(connect(c->fd, (struct sockaddr *)&u, sizeof(u)), 0);
}

static bool can_read(const struct talk *c, int ms)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	return poll(&p, 1, ms) > 0;
}

/* The next line; NULL at the end. */
static const char *line(struct talk *c)
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

static void tell(struct talk *c, const char *text)
{
	assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void says(struct talk *c, const char *want)
{
	const char *got = line(c);

	assert_non_null(got);
	if (!strstr(got, want))
		fail_msg("no '%s' in: %s", want, got);
}

static void meet(struct talk *c)
{
	hello(c);
	says(c, "{\"QMP\": {\"version\": {\"x\": 1}, \"capabilities\": []}}");
	tell(c, "{\"execute\":\"qmp_capabilities\",\"id\":[1]}");
	says(c, "{\"return\": {}, \"id\": [1]}");
}

static void bye(struct talk *c)
{
	close(c->fd);
}

static void test_answers(void **state)
{
	(void)state;
	meet(&a);
	meet(&b);
	tell(&a, "{\"execute\":\"any\",\"id\":{\"x\":[1.5,null]}}{\"execute\":\"wrong\"}");
	tell(&b, "{\"execute\":\"large\"} {\"id\":\"twice\",\"execute\":\"large\"}");
	assert_string_equal(line(&a), "{\"return\": {}, \"id\": {\"x\":[1.5,null]}}");
	assert_string_equal(line(&a),
			    "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}");
	assert_string_equal(line(&b), "{\"return\": {\"id\": \"7\", \"n\": 18446744073709551615}}");
	says(&b, "{\"id\": \"twice\", \"return\": {\"id\": \"7\"");
	tell(&a, "{\"execute\":\"stale\",\"id\":3}");
	assert_string_equal(line(&a), "{\"return\": {}, \"id\": 3}");
	/* Events come to all, before the answer of who has caused them. */
	tell(&a, "{\"execute\":\"stop\",\"id\":4}");
	says(&a, "\"STOP\"");
	says(&a, "\"id\": 4");
	says(&b, "\"STOP\"");
	bye(&a);
	tell(&b, "{\"execute\":\"any\",\"id\":5}");
	says(&b, "\"id\": 5");
	bye(&b);
}

/* One that says no more, as `echo ... | socat` does, gets its answers. */
static void test_half_closed(void **state)
{
	(void)state;
	hello(&a);
	tell(&a, "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"any\",\"id\":1}");
	shutdown(a.fd, SHUT_WR);
	says(&a, "QMP");
	says(&a, "return");
	says(&a, "\"id\": 1");
	assert_null(line(&a));
	bye(&a);
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *want;
	} bad[] = {
		{"{\"execute\":}", "JSON parse error"},
		{"[]", "JSON parse error"},
		{"{}", "lacks member 'execute'"},
		{"{\"execute\":{},\"id\":9}", "lacks member 'execute'"},
		{"{\"execute\":\"a\",\"execute\":\"b\"}", "JSON parse error"},
		{"{\"exec-oob\":\"a\",\"id\":\"x\"}", "exec-oob"},
		{"{\"execute\":\"qmp_capabilities\"}", "already complete"},
		{"{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"f\"}}", "SCM_RIGHTS"},
		{"{\"execute\":\"a\",\"arguments\":{\"n\":18446744073709551615}}", "too big"},
	};

	(void)state;
	hello(&a);
	says(&a, "QMP");
	tell(&a, "{\"execute\":\"any\",\"id\":1}");
	says(&a, "Expecting capabilities negotiation");
	tell(&a, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}");
	says(&a, "shared");
	tell(&a, "{\"execute\":\"qmp_capabilities\"}");
	says(&a, "return");
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		tell(&a, bad[i].text);
		says(&a, bad[i].want);
	}
	tell(&a, "{\"execute\":\"any\",\"id\":1}");
	says(&a, "\"return\": {}");
	bye(&a);
}

static void tell_fd(struct talk *c, const char *text, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl = {{0}};
	struct iovec iov = {(char *)text, strlen(text)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = ctl.buf,
			   .msg_controllen = sizeof(ctl.buf)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	*h = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(h), &fd, sizeof(int));
	assert_int_equal(sendmsg(c->fd, &m, MSG_NOSIGNAL), strlen(text));
}

static void test_descriptors(void **state)
{
	int mine[2], other[2];
	char got[8] = "";

	(void)state;
	assert_int_equal(pipe(mine), 0);
	assert_int_equal(pipe(other), 0);
	meet(&a);
	meet(&b);
	/* One that no command has taken is nobody else's. */
	tell_fd(&b, "{\"execute\":\"any\"}", other[1]);
	says(&b, "return");
	tell(&a, "{\"execute\":\"getfd\",\"id\":1}");
	says(&a, "SCM_RIGHTS");
	tell_fd(&a, "{\"execute\":\"getfd\",", mine[1]);
	tell(&a, "\"id\":2}");
	says(&a, "\"id\": 2");
	assert_int_equal(read(mine[0], got, sizeof(got)), 2);
	assert_string_equal(got, "fd");
	bye(&a);
	bye(&b);
}

/* Each of these harms itself; one that asks meanwhile is answered. */
static void test_limits(void **state)
{
	static char much[PROXY_COMMAND_BYTES + 4096];
	struct talk *more = calloc(PROXY_OF_ONE + 1, sizeof(*more));
	struct timeval patience = {.tv_sec = 10};
	unsigned i;

	(void)state;
	meet(&b);
	hello(&a);
	setsockopt(a.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	memset(much, 'x', sizeof(much) - 1);
	(void)!send(a.fd, much, sizeof(much) - 1, MSG_NOSIGNAL);
	says(&a, "QMP");
	assert_null(line(&a));
	bye(&a);
	/* It reads nothing: events fill what it may leave unread, commands do not. */
	meet(&a);
	for (i = 0; i < 40000; i++)
		tell(&b, "{\"execute\":\"stop\",\"id\":1}"), says(&b, "STOP"),
			says(&b, "\"id\": 1");
	while (line(&a))
		;
	bye(&a);
	/* The quietest of too many goes. */
	hello(&a);
	for (i = 0; i < PROXY_OF_ONE + 1; i++) {
		tell(&b, "{\"execute\":\"any\",\"id\":2}");
		says(&b, "\"id\": 2");
		hello(&more[i]);
		says(&more[i], "QMP");
	}
	says(&a, "QMP");
	assert_null(line(&a));
	tell(&b, "{\"execute\":\"any\",\"id\":3}");
	says(&b, "\"id\": 3");
	for (i = 0; i < PROXY_OF_ONE + 1; i++)
		bye(&more[i]);
	bye(&a);
	bye(&b);
	free(more);
}

/* ---- its place ---- */
static void test_place(void **state)
{
	struct stat st;
	struct tv_err e;

	(void)state;
	assert_false(is_qemus());
	assert_int_equal(stat(t.qmp, &st), 0);
	assert_int_equal(st.st_mode, t.theirs.st_mode);
	assert_int_equal(st.st_uid, t.theirs.st_uid);
	assert_int_equal(hv_proxy_serves(t.note), t.proxy);
	meet(&a);
	kill(t.proxy, SIGTERM);
	/* Who is connected is served to its end. */
	tell(&a, "{\"execute\":\"any\",\"id\":1}");
	says(&a, "\"id\": 1");
	bye(&a);
	waitpid(t.proxy, NULL, 0);
	t.proxy = 0;
	assert_true(is_qemus());
	only("100.qmp");
	assert_int_equal(hv_proxy_serves(t.note), 0);
	assert_int_equal(hv_proxy_put_back(t.note, &e), 0);
	hello(&a); /* QEMU itself */
	says(&a, "oob");
	bye(&a);
}

static void test_killed(void **state)
{
	struct tv_err e;

	(void)state;
	end(&t.proxy, SIGKILL);
	assert_false(is_qemus());
	assert_int_equal(hv_proxy_serves(t.note), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(hv_proxy_put_back(t.note, &e), 0);
		assert_true(is_qemus());
		only("100.qmp");
	}
	assert_int_equal(start_proxy(&e), 0);
	meet(&a);
	/* Another one does not take the place, and does not give it back. */
	{
		pid_t first = t.proxy;

		bye(&a);
		assert_int_not_equal(start_proxy(&e), 0);
		end(&t.proxy, SIGKILL);
		t.proxy = first;
	}
	meet(&a);
	bye(&a);
	assert_int_equal(hv_proxy_serves(t.note), t.proxy);
}

/* All of the steps at which it may die. */
static void test_half_way(void **state)
{
	char aside[128], kept[128];
	struct tv_err e;

	(void)state;
	snprintf(aside, sizeof(aside), "%s.qemu", t.qmp);
	snprintf(kept, sizeof(kept), "%s.kept", t.qmp);
	/* QEMU's socket has two names, and the place is its own. */
	end(&t.proxy, SIGKILL);
	assert_int_equal(unlink(t.qmp), 0);
	assert_int_equal(link(aside, t.qmp), 0);
	assert_int_equal(hv_proxy_put_back(t.note, &e), 0);
	assert_true(is_qemus());
	only("100.qmp");
	/* The note is empty. */
	assert_int_equal(tv_write_file(t.note, "", 0), 0);
	assert_int_equal(hv_proxy_put_back(t.note, &e), 0);
	only("100.qmp");
	/* Somebody else's socket is in the place by now. */
	assert_int_equal(start_proxy(&e), 0);
	end(&t.proxy, SIGKILL);
	assert_int_equal(rename(t.qmp, kept), 0);
	assert_int_equal(tv_write_file(t.qmp, "new", 3), 0);
	assert_int_equal(hv_proxy_put_back(t.note, &e), 0);
	assert_false(is_qemus());
	only("100.qmp 100.qmp.kept");
}

static void test_qemu_ends(void **state)
{
	(void)state;
	end(&t.qemu, SIGKILL);
	waitpid(t.proxy, NULL, 0);
	t.proxy = 0;
	only("*");
}

/* The end of the connection is not QEMU's end. */
static void test_connection_ends(void **state)
{
	(void)state;
	meet(&a);
	tell(&a, "{\"execute\":\"close\"}");
	assert_null(line(&a));
	waitpid(t.proxy, NULL, 0);
	t.proxy = 0;
	assert_true(is_qemus());
	only("100.qmp");
	bye(&a);
}

static void test_wants(void **state)
{
	struct hv_vm_id vm = t.vm;
	char folders[256];

	(void)state;
	snprintf(folders, sizeof(folders), "/none:/tmp/..%s:/x", t.dir);
	assert_true(hv_proxy_wants(&vm, folders));
	assert_false(hv_proxy_wants(&vm, ""));
	assert_false(hv_proxy_wants(&vm, "/tmp:/"));
	chmod(t.dir, 0777);
	assert_false(hv_proxy_wants(&vm, folders));
	chmod(t.dir, 0700);
	snprintf(vm.qmp_path, sizeof(vm.qmp_path), "%s/none", t.dir);
	assert_false(hv_proxy_wants(&vm, folders));
	strcpy(vm.qmp_path, "fd");
	assert_false(hv_proxy_wants(&vm, folders));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_half_closed, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_place, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_killed, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_half_way, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_qemu_ends, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_connection_ends, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_wants, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
