/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting processes. A standby must outlive whoever started it and leave no zombie there, so it is
 * forked twice and belongs to init. The grandchild waits for a byte before it runs QEMU: by then we
 * hold its pidfd, and no other process can be meant.
 */
#include "hv/host/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct plan { /* all that the grandchild needs, made before the fork */
	const char *path, *cwd;
	char *const *argv;
	int log_fd, null_fd;
	int go[2], answer[2];
};

static void reset_signals(void)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		sigaction(s, &dfl, NULL);
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
}

/* In the grandchild: only what is allowed after a fork in a process with threads. */
static void run(const struct plan *p)
{
	char go;
	int err;

	close(p->go[1]);
	if (tv_read_all(p->go[0], &go, 1))
		_exit(127);
	setsid();
	reset_signals();
	if (dup2(p->null_fd, 0) >= 0 && dup2(p->log_fd, 1) >= 0 && dup2(p->log_fd, 2) >= 0) {
		syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
		if (!p->cwd || chdir(p->cwd))
			(void)!chdir("/");
		execve(p->path, p->argv, environ);
	}
	err = errno;
	(void)!write(p->answer[1], &err, sizeof(err));
	_exit(127);
}

static void fork_twice(const struct plan *p)
{
	pid_t pid = fork();

	if (!pid)
		run(p);
	(void)!write(p->answer[1], &pid, sizeof(pid));
	_exit(0);
}

/* The answer is the pid, and after it only an errno if the program could not be run. */
static int take_answer(struct plan *p, pid_t *pid, int *pidfd)
{
	int err = 0;

	tv_close_fd(&p->answer[1]);
	if (tv_read_all(p->answer[0], pid, sizeof(*pid)) || *pid <= 0)
		return -EAGAIN;
	*pidfd = (int)syscall(SYS_pidfd_open, *pid, 0);
	if (*pidfd < 0)
		return -errno; /* without the byte it ends by itself */
	if (tv_write_all(p->go[1], "g", 1))
		return -EPIPE;
	if (!tv_read_all(p->answer[0], &err, sizeof(err))) {
		tv_close_fd(pidfd);
		return -err;
	}
	return 0;
}

static void close_plan(struct plan *p)
{
	tv_close_fd(&p->log_fd);
	tv_close_fd(&p->null_fd);
	for (unsigned i = 0; i < 2; i++) {
		tv_close_fd(&p->go[i]);
		tv_close_fd(&p->answer[i]);
	}
}

int hv_host_spawn(const char *path, char *const *argv, const char *cwd, const char *log_path,
		  pid_t *pid, int *pidfd, struct tv_err *e)
{
	struct plan p = {
		.path = path, .cwd = cwd, .argv = argv, .go = {-1, -1}, .answer = {-1, -1}};
	pid_t child = -1;
	int rc = 0;

	*pidfd = -1;
	p.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	p.log_fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (p.log_fd < 0)
		rc = tv_fail(e, -errno, "cannot write %s: %s", log_path, strerror(errno));
	else if (p.null_fd < 0 || pipe2(p.go, O_CLOEXEC) || pipe2(p.answer, O_CLOEXEC) ||
		 (child = fork()) < 0)
		rc = tv_fail(e, -errno, "cannot start %s: %s", path, strerror(errno));
	if (!rc && !child)
		fork_twice(&p);
	if (!rc) {
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
		rc = take_answer(&p, pid, pidfd);
		if (rc)
			tv_fail(e, rc, "cannot start %s: %s", path, tv_strerror(rc));
	}
	close_plan(&p);
	return rc;
}
