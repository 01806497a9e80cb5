/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The standby's QEMU as a process: started, connected to and ended through hv/host. */
#include "hv/standby/standby_int.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define START_MS 30000
#define RETRY_MS 5
#define KILL_MS 10000
#define LAST_LINES 3
#define LAST_BYTES 8192

void hv_standby_last_words(int log_fd, char *out, size_t room)
{
	char text[LAST_BYTES + 1], *lines[LAST_LINES], *save = NULL;
	off_t end = lseek(log_fd, 0, SEEK_END);
	unsigned n = 0, first;
	size_t used = 0;
	ssize_t r;

	*out = '\0';
	r = pread(log_fd, text, LAST_BYTES, end > LAST_BYTES ? end - LAST_BYTES : 0);
	if (r <= 0)
		return;
	text[r] = '\0';
	for (char *l = strtok_r(text, "\r\n", &save); l; l = strtok_r(NULL, "\r\n", &save))
		lines[n++ % LAST_LINES] = l;
	first = n > LAST_LINES ? n - LAST_LINES : 0;
	for (unsigned i = first; i < n && used < room; i++) {
		int k = snprintf(out + used, room - used, "%s%s", i > first ? "; " : "",
				 lines[i % LAST_LINES]);

		used += k > 0 ? (size_t)k : 0;
	}
}

static int ended_error(const struct hv_standby *sb, struct tv_err *e)
{
	char words[512];

	hv_standby_last_words(sb->vm.log_fd, words, sizeof(words));
	return tv_fail(e, TV_E_GONE, "the standby QEMU (pid %d) ended: %s", (int)sb->vm.pid,
		       words[0] ? words : "it printed nothing");
}

/* QEMU makes the socket early and answers on it when the machine is built. */
static int connect_qmp(struct hv_standby *sb, struct tv_err *e)
{
	int64_t deadline = tv_now_ns() + START_MS * TV_NS_PER_MS;
	int rc, fd;

	do {
		int left = (int)((deadline - tv_now_ns()) / TV_NS_PER_MS);

		rc = sb->host->qmp(sb->host_arg, &fd, e);
		if (!rc)
			rc = hv_qmp_open_fd(fd, sb->qmp_path, left > 1 ? left : 1, &sb->qmp, e);
		if (!rc)
			return 0;
		if (hv_pidfd_ended(sb->vm.pidfd, RETRY_MS))
			return ended_error(sb, e);
	} while ((rc == -ENOENT || rc == -ECONNREFUSED) && tv_now_ns() < deadline);
	/* It may have died while we listened to it. */
	if (rc == TV_E_MONITOR && hv_pidfd_ended(sb->vm.pidfd, KILL_MS))
		return ended_error(sb, e);
	return tv_fail_prefix(e, rc, "the standby QEMU does not answer");
}

int hv_standby_launch(struct hv_standby *sb, bool again, struct tv_err *e)
{
	int rc;

	sb->what.again = again;
	rc = sb->host->start(sb->host_arg, &sb->what, &sb->vm, e);
	if (rc)
		return rc;
	if (sb->vm.domain)
		memcpy(sb->qmp_path, sb->vm.qmp_path, sizeof(sb->qmp_path));
	else
		snprintf(sb->qmp_path, sizeof(sb->qmp_path), "%s/" HV_HOST_QMP, sb->dir);
	return connect_qmp(sb, e);
}

int hv_standby_end(struct hv_standby *sb)
{
	int rc = sb->vm.pidfd >= 0 ? sb->host->signal(sb->host_arg, SIGKILL) : 0;

	if (rc || sb->vm.pidfd < 0)
		return rc;
	return hv_pidfd_ended(sb->vm.pidfd, KILL_MS) ? 0 : -ETIMEDOUT;
}
