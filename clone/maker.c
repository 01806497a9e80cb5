/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The maker: the one process that may make namespaces (CAP_SYS_ADMIN). It only forks: a process for each
 * socket that it is given, which makes its own and gives the right up.
 */
#include "clone/clone_int.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

/* The next socket; -1: the daemon has ended; -2: a message without one. */
static int next_socket(int fd)
{
	union control control = {0};
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.bytes,
			    .msg_controllen = sizeof(control.bytes)};
	ssize_t r = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC);
	struct cmsghdr *cm = r > 0 ? CMSG_FIRSTHDR(&mh) : NULL;
	int out = -2;

	if (r < 0 && errno == EINTR)
		return -2;
	if (r <= 0)
		return -1;
	if (cm && cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_RIGHTS)
		memcpy(&out, CMSG_DATA(cm), sizeof(out));
	return out;
}

int clone_maker_main(int fd)
{
	tv_set_title("twinvmd clones");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN); /* nobody waits for them: they say themselves how they ended */
	for (;;) {
		int conn = next_socket(fd);

		if (conn == -1)
			return 0;
		if (conn < 0)
			continue;
		if (!fork()) {
			signal(SIGCHLD, SIG_DFL);
			close(fd);
			_exit(clone_outer(conn));
		}
		close(conn);
	}
}

int clone_make(int maker_fd, int fd)
{
	union control control = {0};
	char byte = 'c';
	struct iovec iov = {&byte, 1};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.bytes,
			    .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);

	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fd, sizeof(fd));
	return sendmsg(maker_fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? 0 : -errno;
}
