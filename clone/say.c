/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The socket to the daemon: lines of JSON, the first of them with a descriptor. */
#include "clone/clone_int.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ORDER_BYTES (64u << 10)

static int daemon_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void clone_say(json_t *j)
{
	TV_FREE char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	TV_FREE char *line = NULL;

	json_decref(j);
	if (!text || asprintf(&line, "%s\n", text) < 0)
		return;
	pthread_mutex_lock(&lock);
	/* Without a daemon this process ends: clone_watch sees that. */
	if (daemon_fd >= 0)
		(void)!tv_write_all(daemon_fd, line, strlen(line));
	pthread_mutex_unlock(&lock);
}

void clone_say_last(json_t *j)
{
	TV_FREE char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	TV_FREE char *line = NULL;

	json_decref(j);
	if (!text || asprintf(&line, "%s\n", text) < 0 || pthread_mutex_trylock(&lock))
		return;
	(void)!send(daemon_fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
	pthread_mutex_unlock(&lock);
}

static void take_fd(struct msghdr *mh, int *fd)
{
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(mh); cm; cm = CMSG_NXTHDR(mh, cm))
		if (cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_RIGHTS && *fd < 0)
			memcpy(fd, CMSG_DATA(cm), sizeof(*fd));
}

int clone_listen(int fd, json_t **order, int *still_fd, struct tv_err *e)
{
	TV_FREE char *text = calloc(1, ORDER_BYTES + 1);
	size_t n = 0;

	*order = NULL;
	*still_fd = -1;
	daemon_fd = fd;
	while (text && n < ORDER_BYTES && !memchr(text, '\n', n)) {
		union {
			char bytes[CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} control = {0};
		struct iovec iov = {text + n, ORDER_BYTES - n};
		struct msghdr mh = {.msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = control.bytes,
				    .msg_controllen = sizeof(control.bytes)};
		ssize_t r = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return tv_fail(e, TV_E_GONE, "twinvmd has ended before it gave an order");
		take_fd(&mh, still_fd);
		n += (size_t)r;
	}
	*order = text ? json_loadb(text, n, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
	if (*order && *still_fd >= 0)
		return 0;
	json_decref(*order);
	*order = NULL;
	tv_close_fd(still_fd);
	return tv_fail(e, TV_E_PROTOCOL, "the order of twinvmd cannot be read");
}
