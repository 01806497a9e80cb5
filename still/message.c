/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages on a still's socket, sent. */
#include "still/maker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int still_pair(int *maker, int *holder)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return -errno;
	if (fcntl(fds[0], F_SETFL, O_NONBLOCK)) {
		int rc = -errno;

		close(fds[0]);
		close(fds[1]);
		return rc;
	}
	*maker = fds[0];
	*holder = fds[1];
	return 0;
}

int still_put(int fd, json_t *msg, const int *fds, unsigned n)
{
	TV_FREE char *text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;
	union {
		char room[CMSG_SPACE(sizeof(int) * STILL_MESSAGE_FDS)];
		struct cmsghdr align;
	} c = {0};
	struct iovec v = {.iov_base = text, .iov_len = text ? strlen(text) : 0};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
	struct cmsghdr *cm;
	ssize_t r;

	json_decref(msg);
	if (!text)
		return -ENOMEM;
	tv_assert(n <= STILL_MESSAGE_FDS && v.iov_len <= STILL_MESSAGE_BYTES);
	if (n) {
		h.msg_control = c.room;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		cm = CMSG_FIRSTHDR(&h);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(cm), fds, sizeof(int) * n);
	}
	do
		r = sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}
