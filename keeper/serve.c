/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keeper's two processes: what they hold, and the requests that they take. */
#include "keeper/sys.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

/* ---- what is held open ---- */
static int put(int fd, const char *text)
{
	size_t n = strlen(text);
	ssize_t r = pwrite(fd, text, n, 0);

	return r == (ssize_t)n ? 0 : r < 0 ? -errno : -EIO;
}

static int open_at(const struct kp_sys *s, int flags, const char *path)
{
	char full[320];

	snprintf(full, sizeof(full), "%s%s", s->root, path);
	return open(full, flags | O_CLOEXEC);
}

/* Each CPU's file stays open. */
static void more_files(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur >= KP_MAX_CPUS + 64)
		return;
	l.rlim_cur = l.rlim_max < KP_MAX_CPUS + 64 ? l.rlim_max : KP_MAX_CPUS + 64;
	if (setrlimit(RLIMIT_NOFILE, &l))
		tv_log(TV_DEBUG, "no limit for files: %s", strerror(errno));
}

void kp_sys_open(struct kp_sys *s, const char *root, bool acts)
{
	struct utsname u;
	char path[80];

	memset(s, 0, sizeof(*s));
	tv_copy(s->root, sizeof(s->root), root);
	s->put = put;
	s->copy_recovers = !uname(&u) && kp_copy_recovers(u.release);
	s->flags_fd = open_at(s, O_RDONLY, "/proc/kpageflags");
	s->soft_fd = s->hard_fd = -1;
	for (unsigned i = 0; i < KP_MAX_CPUS; i++)
		s->online_fd[i] = -1;
	if (!acts)
		return;
	more_files();
	s->soft_fd = open_at(s, O_WRONLY, "/sys/devices/system/memory/soft_offline_page");
	s->hard_fd = open_at(s, O_WRONLY, "/sys/devices/system/memory/hard_offline_page");
	for (unsigned i = 1; i < KP_MAX_CPUS; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", i);
		s->online_fd[i] = open_at(s, O_WRONLY, path);
	}
}

void kp_sys_close(struct kp_sys *s)
{
	tv_close_fd(&s->flags_fd);
	tv_close_fd(&s->soft_fd);
	tv_close_fd(&s->hard_fd);
	for (unsigned i = 0; i < KP_MAX_CPUS; i++)
		tv_close_fd(&s->online_fd[i]);
}

/* ---- requests ---- */
bool kp_is_request(const struct kp_request *q, size_t bytes)
{
	if (bytes != sizeof(*q) || q->verb >= KP_VERBS || q->n > KP_MAX_WHO ||
	    q->others_ms > KP_OTHERS_MOST_MS || q->page > UINT64_MAX >> (TV_PAGE_SHIFT + 8) ||
	    q->cpu >= KP_MAX_CPUS || q->floor > KP_MAX_CPUS)
		return false;
	for (uint32_t i = 0; i < q->n; i++)
		if (q->who[i].pid <= 0 || !memchr(q->who[i].mapping, 0, sizeof(q->who[i].mapping)))
			return false;
	return true;
}

static void hello(const struct kp_sys *s, struct kp_reply *r)
{
	r->sees = kp_sees_pages();
	r->takes_pages = s->soft_fd >= 0 && s->flags_fd >= 0;
	r->copy_recovers = s->copy_recovers;
	for (unsigned i = 0; i < KP_MAX_CPUS && !r->stops_cpus; i++)
		r->stops_cpus = s->online_fd[i] >= 0;
}

void kp_answer(const struct kp_sys *s, const struct kp_request *q, struct kp_reply *r)
{
	switch ((enum kp_verb)q->verb) {
	case KP_HELLO:
		hello(s, r);
		break;
	case KP_OWNER:
		kp_owner(q, r);
		r->page = kp_page_of(s, q->page);
		break;
	case KP_SOFT:
	case KP_HARD:
		kp_take_page(s, q, r);
		break;
	default:
		kp_cpu(s, q, r);
	}
}

/* Until the other end is closed. What is no request ends it: twinvmd sends no such thing. */
static int serve(const struct kp_sys *s, int fd)
{
	static struct kp_request q;
	struct kp_reply r;
	ssize_t n;

	while ((n = recv(fd, &q, sizeof(q), MSG_TRUNC)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ECONNRESET ? 0 : 1;
		if (!kp_is_request(&q, (size_t)n)) {
			tv_log(TV_ERROR, "the keeper was sent what is no request, and ends");
			return 1;
		}
		memset(&r, 0, sizeof(r));
		r.verb = q.verb;
		r.id = q.id;
		kp_answer(s, &q, &r);
		if (send(fd, &r, sizeof(r), MSG_NOSIGNAL) != sizeof(r))
			return 0;
	}
	return 0;
}

static int run(int fd, const char *root, bool acts)
{
	static const int keeps[] = {CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH};
	static struct kp_sys s;
	int rc;

	kp_sys_open(&s, root, acts);
	rc = sandbox_keep(keeps, sizeof(keeps) / sizeof(*keeps));
	if (rc) {
		tv_log(TV_ERROR, "the keeper cannot give up its other rights: %s", tv_strerror(rc));
		return 1;
	}
	return serve(&s, fd);
}

int kp_main(int act_fd, int look_fd, const char *root)
{
	pid_t parent = getpid(), pid;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	pid = fork();
	if (pid < 0)
		return 1;
	if (pid) {
		close(look_fd);
		return run(act_fd, root, true);
	}
	close(act_fd);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		_exit(1);
	_exit(run(look_fd, root, false));
}
