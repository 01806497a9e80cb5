/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting twinvm-libvirt, and reading its answer. Linked into twinvmd: no libvirt here. */
#include "lv/lv.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int lv_exit_code(int status)
{
	switch (status) {
	case LV_EXIT_OK:
		return 0;
	case LV_EXIT_USAGE:
		return -EINVAL;
	case LV_EXIT_REFUSED:
		return TV_E_REFUSED;
	case LV_EXIT_GONE:
		return TV_E_GONE;
	case LV_EXIT_NO_DAEMON:
		return -ENOTCONN;
	default:
		return -EIO;
	}
}

int lv_program(char *out, size_t room, struct tv_err *e)
{
	char exe[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (n < 0)
		return tv_fail(e, -errno, "/proc/self/exe: %s", strerror(errno));
	exe[n] = '\0';
	slash = strrchr(exe, '/');
	if (!slash || snprintf(out, room, "%.*s/" LV_PROGRAM, (int)(slash - exe), exe) >= (int)room)
		return tv_fail(e, -ENAMETOOLONG, "the path of this program is too long");
	if (access(out, X_OK))
		return tv_fail(e, -ENOENT,
			       "%s cannot be run (%s): twinvm works with libvirt's domains through "
			       "it; install it beside twinvmd",
			       out, strerror(errno));
	return 0;
}

/* ---- one question ---- */
struct run {
	pid_t pid;
	int fds[3];   /* our ends of its stdin, stdout and stderr; -1: closed */
	size_t given; /* bytes of the input */
	struct tv_buf out, errors;
};

static int start(struct run *r, const char *path, const struct lv_ask *ask)
{
	const char *argv[16] = {LV_PROGRAM};
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	int theirs[3] = {-1, -1, -1}, rc = 0;
	sigset_t none;

	for (unsigned i = 0; ask->args[i]; i++) {
		if (i + 2 >= sizeof(argv) / sizeof(*argv))
			return -E2BIG;
		argv[i + 1] = ask->args[i];
	}
	for (unsigned i = 0; i < 3 && !rc; i++) {
		int pair[2];

		rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ? -errno : 0;
		if (!rc) {
			r->fds[i] = pair[0];
			theirs[i] = pair[1];
		}
	}
	sigemptyset(&none);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&at);
	for (int i = 0; i < 3; i++)
		posix_spawn_file_actions_adddup2(&fa, theirs[i], i);
	posix_spawn_file_actions_addclosefrom_np(&fa, 3);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK);
	if (!rc)
		rc = -posix_spawn(&r->pid, path, &fa, &at, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&at);
	for (unsigned i = 0; i < 3; i++)
		tv_close_fd(&theirs[i]);
	return rc;
}

static int give(struct run *r, const struct lv_ask *ask)
{
	ssize_t n = send(r->fds[0], ask->input + r->given, ask->input_bytes - r->given,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n > 0)
		r->given += (size_t)n;
	/* One that ends without having read all of it has a reason, which is read below. */
	if (r->given == ask->input_bytes || (n < 0 && errno != EAGAIN && errno != EINTR))
		tv_close_fd(&r->fds[0]);
	return 0;
}

static int hear(int *fd, struct tv_buf *to)
{
	char part[16384];
	ssize_t n = recv(*fd, part, sizeof(part), MSG_DONTWAIT);

	if (n > 0)
		return tv_buf_add(to, part, (size_t)n) ? -EFBIG : 0;
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		tv_close_fd(fd);
	return 0;
}

/* Until it has closed both of its ends. */
static int converse(struct run *r, const struct lv_ask *ask)
{
	int64_t until = tv_now_ns() + ask->timeout_ms * TV_NS_PER_MS;
	int rc = 0;

	if (!ask->input_bytes)
		tv_close_fd(&r->fds[0]);
	while (!rc && (r->fds[1] >= 0 || r->fds[2] >= 0)) {
		int64_t left = (until - tv_now_ns()) / TV_NS_PER_MS;
		struct pollfd p[3] = {
			{r->fds[0], POLLOUT, 0}, {r->fds[1], POLLIN, 0}, {r->fds[2], POLLIN, 0}};

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(p, 3, (int)left) < 0)
			continue;
		if (p[0].revents)
			rc = give(r, ask);
		if (!rc && p[1].revents)
			rc = hear(&r->fds[1], &r->out);
		if (!rc && p[2].revents)
			rc = hear(&r->fds[2], &r->errors);
	}
	return rc;
}

/* The last line that it wrote to stderr: its sentence. */
static void last_line(struct tv_buf *errors, char *to, size_t room)
{
	size_t end = errors->bytes, from;

	while (end && errors->data[end - 1] == '\n')
		end--;
	for (from = end; from && errors->data[from - 1] != '\n'; from--)
		;
	tv_copy_n(to, room, end ? (const char *)errors->data + from : "", end - from);
	tv_mend_utf8(to);
}

static int end(struct run *r, const struct lv_ask *ask, int rc, struct tv_err *e)
{
	char line[sizeof(e->text)];
	int status = 0;

	if (rc)
		kill(r->pid, SIGKILL); /* our child, and not waited for yet */
	while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rc == -ETIMEDOUT)
		return tv_fail(e, rc,
			       "libvirt did not answer within %d ms (" LV_PROGRAM " %s): does "
			       "libvirtd hang?",
			       ask->timeout_ms, ask->args[0]);
	if (rc)
		return tv_fail(e, rc, LV_PROGRAM " %s: %s", ask->args[0], tv_strerror(rc));
	last_line(&r->errors, line, sizeof(line));
	if (!WIFEXITED(status))
		return tv_fail(e, -EIO, LV_PROGRAM " %s ended by signal %d", ask->args[0],
			       WTERMSIG(status));
	if (WEXITSTATUS(status))
		return tv_fail(e, lv_exit_code(WEXITSTATUS(status)), "%s",
			       *line ? line : LV_PROGRAM " failed without a reason");
	return 0;
}

int lv_ask(const struct lv_ask *ask, char **out, size_t *out_bytes, struct tv_err *e)
{
	struct run r = {.fds = {-1, -1, -1}};
	char path[PATH_MAX];
	int rc = lv_program(path, sizeof(path), e);

	*out = NULL;
	if (rc)
		return rc;
	tv_buf_init(&r.out, ask->most_bytes + 1);
	tv_buf_init(&r.errors, 64u << 10);
	rc = start(&r, path, ask);
	if (rc)
		tv_fail(e, rc, "cannot start %s: %s", path, tv_strerror(rc));
	else
		rc = end(&r, ask, converse(&r, ask), e);
	for (unsigned i = 0; i < 3; i++)
		tv_close_fd(&r.fds[i]);
	if (!rc && tv_buf_add(&r.out, "", 1))
		rc = tv_fail(e, -EFBIG, LV_PROGRAM " %s: its answer is too long", ask->args[0]);
	if (!rc) {
		*out = (char *)r.out.data;
		if (out_bytes)
			*out_bytes = r.out.bytes - 1;
		r.out.data = NULL;
	}
	tv_buf_dispose(&r.out);
	tv_buf_dispose(&r.errors);
	return rc;
}
