/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Probes, one at a time. A built-in one is tried again until its time is over: a guest that has just been
 * resumed answers when its CPUs have been scheduled. A command is run once, its exit status counts; it has
 * a session of its own, which is killed when its time is over.
 */
#include "clone/clone_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define AGAIN_MS 20
#define TRY_MS 2000 /* one connection: a lost SYN is not waited for */
#define AGENT_TRY_MS 5000
#define ANSWER_BYTES 512
#define SCREEN_BYTES (64u << 20)

static int ms_left(int64_t until_ns)
{
	int64_t left = (until_ns - tv_now_ns()) / TV_NS_PER_MS;

	return left > 0 ? (int)left : 0;
}

/* ---- built in ---- */
static int finish_connect(int fd, int64_t until_ns)
{
	int err = 0;
	socklen_t n = sizeof(err);

	if (poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, ms_left(until_ns)) <= 0)
		return -ETIMEDOUT;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) ? -errno : -err;
}

static int connect_tcp(const char *host, uint16_t port, int64_t until_ns)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd, rc;

	if (inet_pton(AF_INET, host, &a.sin_addr) != 1)
		return -EDESTADDRREQ;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	rc = connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	if (rc == -EINPROGRESS)
		rc = finish_connect(fd, until_ns);
	if (rc)
		close(fd);
	return rc ? rc : fd;
}

/* Sends the question and waits until the answer has `enough`, or ends. Bytes, or negative. */
static int ask(int fd, const char *question, const char *enough, char *answer, size_t room,
	       int64_t until_ns)
{
	size_t n = 0;

	if (send(fd, question, strlen(question), MSG_NOSIGNAL) != (ssize_t)strlen(question))
		return -errno;
	for (answer[0] = '\0'; n + 1 < room && !strstr(answer, enough);) {
		ssize_t r;

		if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, ms_left(until_ns)) <= 0)
			return -ETIMEDOUT;
		r = recv(fd, answer + n, room - 1 - n, 0);
		if (r < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (r <= 0)
			break;
		n += (size_t)r;
		answer[n] = '\0';
	}
	return (int)n;
}

static int try_tcp(const struct clone_probe *p, const struct clone_env *env, int64_t until_ns,
		   char *says, size_t room)
{
	int fd = connect_tcp(env->guest, p->port, until_ns);

	if (fd >= 0)
		close(fd);
	snprintf(says, room, "port %u: %s", p->port,
		 fd < 0 ? tv_strerror(fd) : "a connection is accepted");
	return fd < 0 ? fd : 0;
}

static int try_redis(const struct clone_probe *p, const struct clone_env *env, int64_t until_ns,
		     char *says, size_t room)
{
	char answer[ANSWER_BYTES] = "";
	int fd = connect_tcp(env->guest, p->port, until_ns);
	int n = fd < 0 ? fd : ask(fd, "PING\r\n", "\n", answer, sizeof(answer), until_ns);

	if (fd >= 0)
		close(fd);
	answer[strcspn(answer, "\r\n")] = '\0';
	snprintf(says, room, "port %u: %s", p->port, n < 0 ? tv_strerror(n) : answer);
	return n < 0 ? n : strcmp(answer, "+PONG") ? -EBADMSG : 0;
}

static int try_http(const struct clone_probe *p, const struct clone_env *env, int64_t until_ns,
		    char *says, size_t room)
{
	char question[1024], answer[ANSWER_BYTES] = "";
	int fd = connect_tcp(env->guest, p->port, until_ns), n, status = 0;

	snprintf(question, sizeof(question),
		 "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: twinvm-test\r\nConnection: "
		 "close\r\n\r\n",
		 p->path, p->host);
	n = fd < 0 ? fd : ask(fd, question, "\n", answer, sizeof(answer), until_ns);
	if (fd >= 0)
		close(fd);
	answer[strcspn(answer, "\r\n")] = '\0';
	snprintf(says, room, "%s: %s", p->text, n < 0 ? tv_strerror(n) : answer);
	if (n < 0)
		return n;
	return sscanf(answer, "HTTP/%*u.%*u %d", &status) == 1 && status >= 200 && status < 400
		       ? 0
		       : -EBADMSG;
}

static int connect_unix(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd, rc;

	if (!*path || !tv_copy(a.sun_path, sizeof(a.sun_path), path))
		return -EDESTADDRREQ;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	rc = connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	if (rc)
		close(fd);
	return rc ? rc : fd;
}

/* A number of this moment: an answer to another question of the VM's life before is no answer. */
static int try_agent(const struct clone_probe *p, const struct clone_env *env, int64_t until_ns,
		     char *says, size_t room)
{
	char question[128], want[32], answer[ANSWER_BYTES] = "";
	unsigned id = (unsigned)(tv_now_ns() / 1000) & 0x7fffffff;
	int fd = connect_unix(env->agent), n;

	(void)p;
	snprintf(question, sizeof(question),
		 "{\"execute\":\"guest-sync\",\"arguments\":{\"id\":%u}}\n", id);
	snprintf(want, sizeof(want), "%u}", id);
	n = fd < 0 ? fd : ask(fd, question, want, answer, sizeof(answer), until_ns);
	if (fd >= 0)
		close(fd);
	if (!*env->agent)
		snprintf(says, room, "the VM has no channel org.qemu.guest_agent.0");
	else if (n < 0)
		snprintf(says, room, "the guest's agent does not answer: %s", tv_strerror(n));
	else
		snprintf(says, room, "the guest's agent answers");
	return n < 0 ? n : strstr(answer, want) ? 0 : -EBADMSG;
}

/* QEMU writes it where it may, and this process, which trusts nothing of that folder, copies the bytes. */
static int save_screen(const char *from, const char *to)
{
	TV_CLOSE int in = open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	TV_FREE char *bytes = NULL;
	char part[340];
	struct stat st;
	int rc;

	if (in < 0 || fstat(in, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > SCREEN_BYTES)
		return -EINVAL;
	bytes = malloc((size_t)st.st_size);
	rc = bytes ? tv_read_all(in, bytes, (size_t)st.st_size) : -ENOMEM;
	snprintf(part, sizeof(part), "%s.part", to);
	if (!rc)
		rc = tv_write_file(part, bytes, (size_t)st.st_size);
	if (!rc && rename(part, to))
		rc = -errno;
	return rc;
}

static int try_screen(const struct clone_probe *p, const struct clone_env *env, int64_t until_ns,
		      char *says, size_t room)
{
	static const char *const formats[] = {"png", "ppm"}; /* older QEMUs have no png */
	char from[400], to[320];
	struct tv_err e = {0};
	int rc = -1;

	(void)p;
	for (unsigned i = 0; i < 2 && rc; i++) {
		json_t *ret;

		snprintf(from, sizeof(from), "%s/" HV_HOST_FOLDER_NAME "/screen.%s", env->dir,
			 formats[i]);
		rc = hv_standby_ask(env->sb, "screendump",
				    i ? json_pack("{ss}", "filename", from)
				      : json_pack("{ss ss}", "filename", from, "format", "png"),
				    &ret, ms_left(until_ns) + 1, &e);
		json_decref(ret);
		snprintf(to, sizeof(to), "%s.%s", env->screen, formats[i]);
	}
	if (!rc && (rc = save_screen(from, to)))
		tv_fail(&e, rc, "cannot save %s: %s", to, tv_strerror(rc));
	snprintf(says, room, "%s", rc ? e.text : to);
	return rc;
}

typedef int probe_try(const struct clone_probe *p, const struct clone_env *env, int64_t until_ns,
		      char *says, size_t room);

static void run_built_in(probe_try *try, const struct clone_probe *p, const struct clone_env *env,
			 int64_t until_ns, int try_ms, struct clone_result *out)
{
	for (;;) {
		int64_t limit_ns = tv_now_ns() + try_ms * TV_NS_PER_MS;

		out->passed = !try(p, env, limit_ns < until_ns ? limit_ns : until_ns, out->output,
				   sizeof(out->output));
		if (out->passed || ms_left(until_ns) <= AGAIN_MS)
			return;
		(void)poll(NULL, 0, AGAIN_MS);
	}
}

/* ---- commands ---- */
static void put_env(char **env, unsigned *n, const char *key, const char *value)
{
	if (asprintf(&env[*n], "%s=%s", key, value) < 0)
		abort(); /* no memory */
	++*n;
}

#define ENV_WORDS 12
static void make_env(const struct clone_env *c, char *env[ENV_WORDS])
{
	const char *path = getenv("PATH");
	char number[24];
	unsigned n = 0;

	put_env(env, &n, "PATH", path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
	put_env(env, &n, "TWINVM_TEST", "1");
	put_env(env, &n, "TWINVM_VM", c->order->vm);
	put_env(env, &n, "TWINVM_VM_ID", c->order->vm_id);
	put_env(env, &n, "TWINVM_HOST", c->host);
	put_env(env, &n, "TWINVM_PEER", c->order->peer);
	put_env(env, &n, "TWINVM_GUEST", c->guest);
	snprintf(number, sizeof(number), "%llu", (unsigned long long)c->generation);
	put_env(env, &n, "TWINVM_GENERATION", number);
	snprintf(number, sizeof(number), "%llu", (unsigned long long)c->epoch);
	put_env(env, &n, "TWINVM_EPOCH", number);
	env[n] = NULL;
}

static void become(const char *text, char **env, int out)
{
	char *const argv[] = {(char *)"sh", (char *)"-c", (char *)text, NULL};
	sigset_t none;
	int in = open("/dev/null", O_RDONLY);

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (in >= 0 && dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(out, 2) >= 0)
		execve("/bin/sh", argv, env);
	_exit(127);
}

/* What comes from it is read to its end, and its beginning kept. True: it has ended, or closed that. */
static bool read_output(int fd, int64_t until_ns, struct clone_result *out)
{
	char rest[4096];
	size_t n = 0;

	for (;;) {
		size_t room = CLONE_OUTPUT_BYTES - n;
		ssize_t r;

		if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, ms_left(until_ns)) <= 0)
			return false;
		r = read(fd, room ? out->output + n : rest, room ? room : sizeof(rest));
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return true;
		n += room ? (size_t)r : 0;
		out->output[n] = '\0';
		if (!ms_left(until_ns)) /* it prints without an end */
			return false;
	}
}

static bool await_end(pid_t pid, int64_t until_ns, int *status)
{
	TV_CLOSE int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0 || poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, ms_left(until_ns)) <= 0)
		return false;
	return waitpid(pid, status, 0) == pid;
}

static void run_command(const char *text, const struct clone_env *env, int64_t until_ns,
			struct clone_result *out)
{
	char *words[ENV_WORDS];
	int fds[2], status = 0;
	pid_t pid = -1;

	make_env(env, words);
	if (!pipe2(fds, O_CLOEXEC)) {
		pid = fork();
		if (!pid)
			become(text, words, fds[1]);
		close(fds[1]);
	}
	for (unsigned i = 0; words[i]; i++)
		free(words[i]);
	if (pid < 0) {
		snprintf(out->output, sizeof(out->output), "cannot be run: %s", strerror(errno));
		return;
	}
	if (read_output(fds[0], until_ns, out) && await_end(pid, until_ns, &status)) {
		out->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		out->passed = !out->status;
	} else {
		char printed[sizeof(out->output)];

		memcpy(printed, out->output, sizeof(printed));
		snprintf(out->output, sizeof(out->output), "not done in its time: killed%s%s",
			 *printed ? "; it printed: " : "", printed);
	}
	kill(-pid, SIGKILL); /* what it has started and left */
	(void)waitpid(pid, NULL, WNOHANG);
	close(fds[0]);
}

static void run_named(const struct clone_probe *p, const struct clone_env *env, int64_t until_ns,
		      struct clone_result *out)
{
	const char *name = p->text + strlen("named:"), *text = config_probe(env->conf, name);

	if (text)
		run_command(text, env, until_ns, out);
	else
		snprintf(out->output, sizeof(out->output), "no probe.%.40s in %s", name,
			 env->conf->path);
}

void clone_probe_run(const struct clone_probe *p, const struct clone_env *env,
		     struct clone_result *out)
{
	static const struct {
		probe_try *try;
		int try_ms;
	} built_in[] = {[CLONE_TCP] = {try_tcp, TRY_MS},
			[CLONE_HTTP] = {try_http, TRY_MS},
			[CLONE_REDIS] = {try_redis, TRY_MS},
			[CLONE_AGENT] = {try_agent, AGENT_TRY_MS},
			[CLONE_SCREEN] = {try_screen, TRY_MS}};
	int64_t began_ns = tv_now_ns();
	int64_t until_ns = began_ns + env->order->probe_s * TV_NS_PER_S;

	*out = (struct clone_result){.status = -1};
	if (p->kind == CLONE_COMMAND)
		run_command(p->text, env, until_ns, out);
	else if (p->kind == CLONE_NAMED)
		run_named(p, env, until_ns, out);
	else if (!*env->guest && p->kind != CLONE_AGENT && p->kind != CLONE_SCREEN)
		snprintf(out->output, sizeof(out->output),
			 "the guest has not shown its address: give it with --guest");
	else
		run_built_in(built_in[p->kind].try, p, env, until_ns, built_in[p->kind].try_ms,
			     out);
	out->ms = (double)((tv_now_ns() - began_ns) / 1000) / 1e3;
	tv_mend_utf8(out->output);
}
