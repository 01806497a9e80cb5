/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting processes. A standby must outlive whoever started it and leave no zombie there, so it is
 * forked twice and belongs to init. The grandchild waits for a byte before it runs QEMU: by then we
 * hold its pidfd, and no other process can be meant.
 */
#include "hv/host/spawn.h"
#include "hv/host/cage.h"
#include "hv/host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_FD 3
#define MAX_FDS 128
#define AWAY_FD 256 /* where descriptors are while their numbers are being given out */

extern char **environ;

struct plan { /* all that the grandchild needs, made before the fork */
	const struct hv_host_spawn *s;
	int log_fd, null_fd;
	int go[2], answer[2];
};
/* Why a grandchild ended before it became the program. */
struct failure {
	int err;
	enum { IN_FILES, IN_USER, IN_CAGE, IN_EXEC } step;
};
static const char *const steps[] = {
	[IN_FILES] = "its descriptors",
	[IN_USER] = "its user",
	[IN_CAGE] = "what it may open (Landlock)",
	[IN_EXEC] = "the program",
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

static int move_away(int *fd)
{
	*fd = fcntl(*fd, F_DUPFD_CLOEXEC, AWAY_FD);
	return *fd < 0 ? -errno : 0;
}

/* 0, 1, 2 and those that go along, from 3 on; all others are closed by the exec. */
static int arrange_files(const struct plan *p, int *answer, int *cage)
{
	int away[MAX_FDS], rc = p->s->n_fds > MAX_FDS ? -EMFILE : move_away(answer);

	if (!rc && *cage >= 0)
		rc = move_away(cage);
	for (unsigned i = 0; i < p->s->n_fds && !rc; i++) {
		away[i] = p->s->fds[i];
		rc = away[i] < 0 ? 0 : move_away(&away[i]);
	}
	if (!rc && (dup2(p->null_fd, 0) < 0 || dup2(p->log_fd, 1) < 0 || dup2(p->log_fd, 2) < 0))
		rc = -errno;
	for (unsigned i = 0; i < p->s->n_fds && !rc; i++) {
		if (away[i] < 0)
			close(FIRST_FD + (int)i);
		else
			rc = dup2(away[i], FIRST_FD + (int)i) < 0 ? -errno : 0;
	}
	if (!rc && syscall(SYS_close_range, FIRST_FD + p->s->n_fds, ~0u, CLOSE_RANGE_CLOEXEC))
		rc = -errno;
	return rc;
}

/* Writing more fails: the signal would end the program. */
static void limit_files(uint64_t bytes)
{
	struct rlimit limit = {bytes, bytes};

	signal(SIGXFSZ, SIG_IGN);
	(void)setrlimit(RLIMIT_FSIZE, &limit);
}

/* In the grandchild: only what is allowed after a fork in a process with threads. */
static void run(const struct plan *p)
{
	static const struct rlimit no_limit = {RLIM_INFINITY, RLIM_INFINITY};
	int answer = p->answer[1], cage = p->s->cage_fd;
	struct failure f = {0};
	char go;

	close(p->go[1]);
	if (tv_read_all(p->go[0], &go, 1))
		_exit(127);
	setsid();
	hv_host_first_victim(getpid());
	reset_signals();
	(void)!chdir("/");
	(void)setrlimit(RLIMIT_MEMLOCK, &no_limit); /* for -overcommit mem-lock=on */
	if (p->s->file_bytes)
		limit_files(p->s->file_bytes);
	f.step = IN_FILES;
	f.err = arrange_files(p, &answer, &cage);
	if (!f.err) {
		f.step = IN_USER;
		f.err = hv_host_user_become(p->s->user);
	}
	if (!f.err && cage >= 0) {
		f.step = IN_CAGE;
		f.err = hv_host_cage_enter(cage);
	}
	if (!f.err) {
		execve(p->s->path, p->s->argv, environ);
		f = (struct failure){-errno, IN_EXEC};
	}
	(void)!write(answer, &f, sizeof(f));
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

static int start_failed(const struct plan *p, int rc, const char *what, struct tv_err *e)
{
	return tv_fail(e, rc, "cannot start %s as user %s%s%s: %s", p->s->path, p->s->user->name,
		       what ? ": " : "", what ? what : "", tv_strerror(rc));
}

/* The answer is the pid, and after it only a failure if the program could not be run. */
static int take_answer(struct plan *p, pid_t *pid, int *pidfd, struct tv_err *e)
{
	struct failure f;
	int rc;

	tv_close_fd(&p->answer[1]);
	if (tv_read_all(p->answer[0], pid, sizeof(*pid)) || *pid <= 0)
		return start_failed(p, -EAGAIN, NULL, e);
	*pidfd = (int)syscall(SYS_pidfd_open, *pid, 0);
	if (*pidfd < 0)
		return start_failed(p, -errno, NULL, e); /* without the byte it ends by itself */
	if (p->s->cgroup && (rc = hv_host_cgroup_add(p->s->cgroup, *pid)))
		tv_log(TV_WARN, "standby (pid %d): no limits of memory and processes: %s",
		       (int)*pid, tv_strerror(rc));
	rc = tv_write_all(p->go[1], "g", 1);
	if (rc || !tv_read_all(p->answer[0], &f, sizeof(f))) {
		tv_close_fd(pidfd);
		return start_failed(p, rc ? rc : f.err, rc ? NULL : steps[f.step], e);
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

int hv_host_spawn(const struct hv_host_spawn *s, pid_t *pid, int *pidfd, struct tv_err *e)
{
	struct plan p = {.s = s, .go = {-1, -1}, .answer = {-1, -1}};
	pid_t child = -1;
	int rc = 0;

	*pidfd = -1;
	p.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	p.log_fd = open(s->log_path,
			O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (p.log_fd < 0)
		rc = tv_fail(e, -errno, "cannot write %s: %s", s->log_path, strerror(errno));
	else if (p.null_fd < 0 || pipe2(p.go, O_CLOEXEC) || pipe2(p.answer, O_CLOEXEC) ||
		 (child = fork()) < 0)
		rc = start_failed(&p, -errno, NULL, e);
	if (!rc && !child)
		fork_twice(&p);
	if (!rc) {
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
		rc = take_answer(&p, pid, pidfd, e);
	}
	close_plan(&p);
	return rc;
}
