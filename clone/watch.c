/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What ends a clone before its time, or at it. This is process 1 of its namespace: when it ends, the kernel
 * ends all others there, QEMU and probes, before its end is reported to anybody.
 */
#include "clone/clone_int.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOK_MS 100 /* at the size of images */

static void end(enum clone_exit how, const char *why)
{
	clone_say_last(json_pack("{ss ss}", "op", "ended", "why", why));
	_exit((int)how);
}

static void still_is_over(struct still *s)
{
	struct tv_err e = {0};

	if (still_ended(s, &e)) {
		tv_mend_utf8(e.text);
		end(CLONE_STILL_ENDED, e.text);
	}
}

static void look_at_images(struct clone_watch *w)
{
	uint64_t bytes = 0;
	char why[128];

	for (unsigned i = 0; i < atomic_load(&w->n_images); i++)
		bytes += clone_image_takes(w->images[i]);
	if (bytes <= w->disk_bytes)
		return;
	snprintf(why, sizeof(why), "the clone has written more than %llu MiB to its disks",
		 (unsigned long long)(w->disk_bytes >> 20));
	end(CLONE_DISK_FULL, why);
}

static void *watch(void *arg)
{
	struct clone_watch *w = arg;

	for (;;) {
		struct still *s = atomic_load(&w->still);
		/* Only the end of the daemon's socket counts: it sends no more. */
		int qemu_fd = atomic_load(&w->qemu_fd);
		struct pollfd p[4] = {{.fd = w->daemon_fd, .events = POLLRDHUP},
				      {.fd = w->outer_fd, .events = POLLIN},
				      {.fd = s ? s->fd : -1, .events = POLLIN},
				      {.fd = qemu_fd ? qemu_fd : -1, .events = POLLIN}};

		(void)poll(p, 4, LOOK_MS);
		if (p[0].revents || p[1].revents)
			_exit(CLONE_DAEMON_GONE);
		if (p[2].revents)
			still_is_over(s);
		/* Cut off from its memory it may end first. */
		if (p[3].revents && s)
			still_is_over(s);
		if (p[3].revents)
			end(CLONE_FAILED, "the clone's QEMU has ended");
		if (tv_now_ns() >= w->until_ns)
			end(CLONE_TIME_OVER, "its time is over");
		look_at_images(w);
	}
	return NULL;
}

int clone_watch_start(struct clone_watch *w)
{
	pthread_t thread;
	int r = pthread_create(&thread, NULL, watch, w);

	return r ? -r : pthread_detach(thread);
}
