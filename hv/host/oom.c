/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whom the kernel ends when a host is short of memory (proc(5), oom_score_adj): a copy, before a VM
 * that runs. A copy is two processes, its QEMU and the sink: the memory of the guest is a file that
 * both hold, and it is free only when neither does.
 */
#include "hv/host/host_int.h"
#include "hv/qemu/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_VICTIM "900"

static int write_score(const char *path, const char *text)
{
	TV_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

void hv_host_first_victim(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	(void)!write_score(path, FIRST_VICTIM);
}

void hv_host_spare(pid_t pid, int adj)
{
	char path[64], text[16];
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	snprintf(text, sizeof(text), "%d", adj);
	rc = write_score(path, text);
	/* Less than this process began with needs a right that it may not have. */
	if (rc && rc != -ENOENT && adj)
		rc = write_score(path, "0");
	if (rc && rc != -ENOENT)
		tv_log(TV_WARN, "process %d stays a first victim when memory is short: %s: %s",
		       (int)pid, path, tv_strerror(rc));
}

int hv_host_score(void)
{
	TV_CLOSE int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
	char text[16] = "";

	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 ? atoi(text) : 0;
}

void hv_host_promoted(const struct hv_host *h)
{
	if (h->pidfd >= 0 && !hv_pidfd_ended(h->pidfd, 0))
		hv_host_spare(h->pid, h->oom_score_adj);
}
