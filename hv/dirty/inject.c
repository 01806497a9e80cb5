/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One userfaultfd made inside QEMU by ptrace, because the kernel ties a userfaultfd to the process
 * that calls for it.
 *
 * A short-lived child does it, so that a SIGKILL of the caller at any moment cannot leave QEMU's
 * thread half-changed: the child ignores every signal and finishes. It
 *   1. seizes and interrupts a thread that sits in a system call (the bytes before its instruction
 *      pointer must be the syscall instruction),
 *   2. blocks the thread's signals, so that they stay queued untouched,
 *   3. has it run userfaultfd(2), takes the descriptor with pidfd_getfd(2), has it run close(2):
 *      our copy keeps the userfaultfd alive, and when ours closes the kernel unregisters all,
 *   4. puts registers and signal mask back and detaches; the kernel restarts the interrupted call.
 * If the child itself is killed, the kernel detaches; only in the few microseconds of step 3 would
 * QEMU's thread then see a wrong result. Nothing can close that gap from outside.
 *
 * The caller may have threads, so the child uses plain system calls only.
 */
#include "hv/dirty/dirty_int.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 256
#define ROUNDS 40
#define CATCH_NS (200 * TV_NS_PER_MS) /* for one thread to come to a stop */
#define REPLY_MS 15000		      /* worst case of all rounds */

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

enum step { STEP_NONE, STEP_SEIZE, STEP_CATCH, STEP_USERFAULTFD, STEP_GETFD, STEP_CLOSE };

struct reply {
	int rc;		/* 0 or -errno */
	enum step step; /* where it failed */
};

struct job {
	pid_t tids[MAX_THREADS];
	unsigned n;
	int pidfd, sock;
};

/* The thread that is held, with what has to be put back. */
struct held {
	pid_t tid;
	struct user_regs_struct regs;
	uint64_t mask;
	int sig; /* a SIGSTOP that came meanwhile, to be given on */
};

static void nap(void)
{
	struct timespec t = {.tv_nsec = 200000};

	nanosleep(&t, NULL);
}

/* Waits for the thread's next stop. 1 stopped, 0 gone, -ETIMEDOUT. deadline_ns 0: for ever. */
static int wait_stop(pid_t tid, int *status, int64_t deadline_ns)
{
	for (;;) {
		pid_t r = waitpid(tid, status, __WALL | (deadline_ns ? WNOHANG : 0));

		if (r == tid)
			return WIFSTOPPED(*status) ? 1 : 0;
		if (r < 0 && errno != EINTR)
			return 0;
		if (deadline_ns && tv_now_ns() > deadline_ns)
			return -ETIMEDOUT;
		if (r == 0)
			nap();
	}
}

/* Seizes and brings it to a stop that is ours, passing on every signal that comes before. */
static int catch_thread(pid_t tid)
{
	int64_t deadline_ns = tv_now_ns() + CATCH_NS;
	int status, rc;

	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) || ptrace(PTRACE_INTERRUPT, tid, NULL, NULL))
		return -errno;
	for (;;) {
		rc = wait_stop(tid, &status, deadline_ns);
		if (rc <= 0)
			return rc ? rc : -ESRCH;
		if (status >> 16 == PTRACE_EVENT_STOP)
			break;
		/* About to get a signal: let it, our stop is still due. */
		ptrace(PTRACE_CONT, tid, NULL, (void *)(long)WSTOPSIG(status));
	}
	if (WSTOPSIG(status) == SIGTRAP)
		return 0;
	/* A group-stop: QEMU is held by SIGSTOP. Detaching leaves it so. */
	return -EBUSY;
}

/* Is it stopped inside a system call that was made with the syscall instruction? */
static bool in_syscall(const struct held *h)
{
	long code;

	if ((long long)h->regs.orig_rax < 0)
		return false;
	errno = 0;
	code = ptrace(PTRACE_PEEKTEXT, h->tid, (void *)(h->regs.rip - 2), NULL);
	return !errno && (code & 0xffff) == 0x050f;
}

/* Has the held thread run one system call; its result in *ret. */
static int run_syscall(struct held *h, long nr, long a, long *ret)
{
	struct user_regs_struct r = h->regs;
	int status, rc;

	r.rip -= 2;
	r.rax = (unsigned long long)nr;
	r.orig_rax = (unsigned long long)-1; /* no restart of what was interrupted */
	r.rdi = (unsigned long long)a;
	r.rsi = r.rdx = r.r10 = r.r8 = r.r9 = 0;
	if (ptrace(PTRACE_SETREGS, h->tid, NULL, &r))
		return -errno;
	for (;;) {
		if (ptrace(PTRACE_SINGLESTEP, h->tid, NULL, NULL))
			return -errno;
		rc = wait_stop(h->tid, &status, 0);
		if (rc <= 0)
			return -ESRCH;
		if (status >> 16 == 0 && WSTOPSIG(status) == SIGTRAP)
			break;
		/* SIGSTOP cannot be blocked: keep it for later. A group-stop: ignore it. */
		if (status >> 16 == 0)
			h->sig = WSTOPSIG(status);
	}
	if (ptrace(PTRACE_GETREGS, h->tid, NULL, &r))
		return -errno;
	if (r.rip != h->regs.rip)
		return -EILSEQ;
	*ret = (long)r.rax;
	return 0;
}

static int take_fd(struct held *h, const struct job *job, int *fd, enum step *step)
{
	long theirs = -1, r = -1;
	int rc;

	*step = STEP_USERFAULTFD;
	rc = run_syscall(h, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY, &theirs);
	if (rc || theirs < 0)
		return rc ? rc : (int)theirs;
	*step = STEP_GETFD;
	*fd = (int)syscall(SYS_pidfd_getfd, job->pidfd, (int)theirs, 0);
	rc = *fd < 0 ? -errno : 0;
	/* QEMU's own copy goes whether we got ours or not. */
	if (run_syscall(h, SYS_close, theirs, &r) || r) {
		*step = STEP_CLOSE;
		return rc ? rc : (int)r;
	}
	return rc;
}

/* SIGTRAP stays open: the single step's trap, if blocked, would reset QEMU's handler for it. */
static const uint64_t all_but_trap = ~(UINT64_C(1) << (SIGTRAP - 1));

static int use_thread(pid_t tid, const struct job *job, int *fd, enum step *step)
{
	struct held h = {.tid = tid};
	int rc;

	*step = STEP_SEIZE;
	rc = catch_thread(tid);
	if (rc && rc != -EBUSY)
		return rc; /* not stopped: only our own exit lets go of it */
	if (rc)
		goto detach;
	*step = STEP_CATCH;
	rc = -EAGAIN;
	if (ptrace(PTRACE_GETREGS, tid, NULL, &h.regs) || !in_syscall(&h) ||
	    ptrace(PTRACE_GETSIGMASK, tid, (void *)sizeof(h.mask), &h.mask) ||
	    ptrace(PTRACE_SETSIGMASK, tid, (void *)sizeof(h.mask), (void *)&all_but_trap))
		goto detach;
	rc = take_fd(&h, job, fd, step);
	ptrace(PTRACE_SETREGS, tid, NULL, &h.regs);
	ptrace(PTRACE_SETSIGMASK, tid, (void *)sizeof(h.mask), &h.mask);
detach:
	ptrace(PTRACE_DETACH, tid, NULL, (void *)(long)h.sig);
	return rc;
}

static void send_reply(int sock, const struct reply *rep, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl = {{0}};
	struct iovec iov = {(void *)rep, sizeof(*rep)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		m.msg_control = ctl.buf;
		m.msg_controllen = sizeof(ctl.buf);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	/* If the caller is gone, the userfaultfd goes with us. */
	while (sendmsg(sock, &m, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

/* A thread that ended, or that does not come to a stop, is left out from then on. */
static int try_thread(struct job *job, unsigned i, int *fd, enum step *step)
{
	int rc;

	if (!job->tids[i])
		return -EAGAIN;
	rc = use_thread(job->tids[i], job, fd, step);
	if (rc == -ESRCH || rc == -ETIMEDOUT) {
		job->tids[i] = 0;
		*step = STEP_CATCH;
		return -EAGAIN;
	}
	return rc;
}

static void __attribute__((noreturn)) child(struct job *job)
{
	struct reply rep = {.rc = -EAGAIN, .step = STEP_CATCH};
	int fd = -1;

	setsid(); /* away from the terminal's and the process group's signals */
	for (unsigned round = 0; round < ROUNDS && rep.rc == -EAGAIN; round++) {
		for (unsigned i = 0; i < job->n && rep.rc == -EAGAIN; i++)
			rep.rc = try_thread(job, i, &fd, &rep.step);
		if (rep.rc == -EAGAIN)
			nap();
	}
	send_reply(job->sock, &rep, fd);
	_exit(0);
}

/* The main thread first: it waits in ppoll nearly always, and restarts it without a trace. */
static int list_threads(pid_t pid, struct job *job)
{
	char path[64];
	struct dirent *de;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	if (!d)
		return -errno;
	job->tids[job->n++] = pid;
	while ((de = readdir(d)) && job->n < MAX_THREADS) {
		pid_t tid = (pid_t)atoi(de->d_name);

		if (tid > 0 && tid != pid)
			job->tids[job->n++] = tid;
	}
	closedir(d);
	return 0;
}

static int receive(int sock, struct reply *rep, int *fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl;
	struct iovec iov = {rep, sizeof(*rep)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = ctl.buf,
			   .msg_controllen = sizeof(ctl.buf)};
	struct pollfd p = {.fd = sock, .events = POLLIN};
	ssize_t r;
	int n;

	do {
		n = poll(&p, 1, REPLY_MS);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -errno : -ETIMEDOUT;
	do {
		r = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	} while (r < 0 && errno == EINTR);
	if (r != (ssize_t)sizeof(*rep))
		return r < 0 ? -errno : -EPIPE;
	if (CMSG_FIRSTHDR(&m))
		memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	return 0;
}

static int explain(const struct reply *rep, pid_t pid, struct tv_err *e)
{
	switch (rep->rc == -EBUSY ? STEP_NONE : rep->step) {
	case STEP_NONE:
		return tv_fail(e, -EBUSY, "QEMU (pid %d) is held by SIGSTOP; send it SIGCONT", pid);
	case STEP_SEIZE:
		return tv_fail(
			e, rep->rc,
			"cannot trace QEMU (pid %d): %s; twinvm needs CAP_SYS_PTRACE, and no "
			"debugger may be attached",
			pid, tv_strerror(rep->rc));
	case STEP_CATCH:
		return tv_fail(e, rep->rc, "no thread of QEMU (pid %d) rests in a system call",
			       pid);
	case STEP_USERFAULTFD:
		return tv_fail(e, rep->rc, "userfaultfd inside QEMU (pid %d): %s%s", pid,
			       tv_strerror(rep->rc),
			       rep->rc == -EPERM ? "; a seccomp filter forbids it" : "");
	default:
		return tv_fail(e, rep->rc, "taking over QEMU's userfaultfd (pid %d): %s", pid,
			       tv_strerror(rep->rc));
	}
}

int hv_inject_uffd(pid_t pid, int pidfd, int *fd, struct tv_err *e)
{
	struct reply rep = {.rc = -EIO};
	struct job job = {.pidfd = pidfd};
	sigset_t all, old;
	int socks[2], rc, status;
	pid_t kid;

	*fd = -1;
	rc = list_threads(pid, &job);
	if (rc)
		return tv_fail(e, TV_E_GONE, "QEMU (pid %d) has ended", (int)pid);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks))
		return tv_fail(e, -errno, "socketpair: %s", strerror(errno));
	job.sock = socks[1];
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old); /* inherited by the child, which keeps it so */
	/* Without an exit signal: the caller's SIGCHLD handling does not see it. */
	kid = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, 0);
	if (kid == 0)
		child(&job);
	rc = kid < 0 ? -errno : 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	close(socks[1]);
	if (!rc)
		rc = receive(socks[0], &rep, fd);
	close(socks[0]);
	if (kid > 0)
		while (waitpid(kid, &status, __WCLONE | (rc == -ETIMEDOUT ? WNOHANG : 0)) < 0 &&
		       errno == EINTR)
			;
	if (rc)
		return tv_fail(e, rc, "the helper that traces QEMU failed: %s", tv_strerror(rc));
	if (rep.rc) {
		tv_close_fd(fd);
		return explain(&rep, pid, e);
	}
	return 0;
}
