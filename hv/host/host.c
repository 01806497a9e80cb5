/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One standby's QEMU, as a process with rights on this host sees it: see host.h. */
#include "hv/host/host.h"
#include "hv/host/files.h"
#include "hv/host/spawn.h"
#include "hv/host/taps.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KILL_MS 10000

struct hv_host {
	char dir[4096];
	char qmp_path[108];
	char bridge[IFNAMSIZ]; /* "": an operator attaches the taps */
	pid_t pid;	       /* of the QEMU started last */
	int pidfd;
	char taps[HV_HOST_MAX_TAPS][IFNAMSIZ];
	unsigned n_taps;
};

int hv_host_new(const struct hv_host_conf *conf, struct hv_host **out, struct tv_err *e)
{
	struct hv_host *h = calloc(1, sizeof(*h));
	int n, rc = 0;

	*out = NULL;
	if (!h)
		return tv_fail(e, -ENOMEM, "no memory for the standby");
	h->pidfd = -1;
	n = snprintf(h->qmp_path, sizeof(h->qmp_path), "%s/" HV_HOST_QMP, conf->dir);
	if (n < 0 || (size_t)n >= sizeof(h->qmp_path))
		rc = tv_fail(e, -ENAMETOOLONG,
			     "the run directory's name %s is too long for a socket", conf->dir);
	else if (!tv_copy(h->bridge, sizeof(h->bridge), conf->bridge))
		rc = tv_fail(e, -EINVAL, "%s is no name of a bridge", conf->bridge);
	tv_copy(h->dir, sizeof(h->dir), conf->dir);
	if (rc)
		free(h);
	else
		*out = h;
	return rc;
}

void hv_host_free(struct hv_host *h)
{
	if (!h)
		return;
	tv_close_fd(&h->pidfd);
	free(h);
}

void hv_host_qemu_init(struct hv_host_qemu *q)
{
	*q = (struct hv_host_qemu){.pidfd = -1, .fds = HV_PROC_FDS_NONE, .log_fd = -1};
}

void hv_host_qemu_dispose(struct hv_host_qemu *q)
{
	tv_close_fd(&q->pidfd);
	tv_close_fd(&q->log_fd);
	hv_proc_close(&q->fds);
}

static int run_qemu(void *arg, const char *binary, struct hv_qemu *out, json_t **machines,
		    struct tv_err *e)
{
	char name[65] = "this host";

	(void)arg;
	gethostname(name, sizeof(name) - 1);
	return hv_qemu_run(binary, name, out, machines, e);
}

/* ---- start ---- */

/* One that has ended at once has no memory to open: what it printed is the news. */
static int open_all(struct hv_host *h, const char *log, struct hv_host_qemu *out, struct tv_err *e)
{
	int rc;

	out->log_fd = open(log, O_RDONLY | O_CLOEXEC);
	if (out->log_fd < 0)
		return tv_fail(e, -errno, "cannot read %s: %s", log, strerror(errno));
	out->pidfd = fcntl(h->pidfd, F_DUPFD_CLOEXEC, 3);
	if (out->pidfd < 0)
		return tv_fail(e, -errno, "no descriptor for the standby: %s", strerror(errno));
	rc = hv_proc_open(h->pid, &out->fds);
	if (rc == -ESRCH || rc == -ENOENT)
		rc = 0;
	return rc ? tv_fail(e, rc, "cannot open the memory of the standby QEMU (pid %d): %s",
			    (int)h->pid, tv_strerror(rc))
		  : 0;
}

static int start(void *arg, const struct hv_host_start *what, struct hv_host_qemu *out,
		 struct tv_err *e)
{
	struct hv_host *h = arg;
	char log[sizeof(h->dir) + 32];
	int rc;

	hv_host_qemu_init(out);
	tv_close_fd(&h->pidfd);
	h->n_taps = what->n_taps;
	memcpy(h->taps, what->taps, sizeof(h->taps));
	hv_host_remove_files(h->dir, !what->again);
	unlink(h->qmp_path);
	rc = hv_host_note_files(h->dir, what->argv, e);
	if (rc)
		return rc;
	snprintf(log, sizeof(log), "%s/" HV_HOST_LOG, h->dir);
	/* Not in the primary's folder: all paths are whole, and a name of its own must not be
	 * found there. */
	rc = hv_host_spawn(what->binary, what->argv, "/", log, &h->pid, &h->pidfd, e);
	if (rc)
		return rc;
	out->pid = h->pid;
	out->start_ticks = tv_pid_start_ticks(h->pid);
	rc = open_all(h, log, out, e);
	if (rc) {
		hv_host_qemu_dispose(out);
		(void)!hv_pidfd_kill(h->pidfd, KILL_MS);
		hv_host_remove_files(h->dir, false);
	}
	return rc;
}

/* ---- the rest ---- */

static int connect_qmp(void *arg, int *fd, struct tv_err *e)
{
	struct hv_host *h = arg;

	*fd = hv_qmp_connect(h->qmp_path, h->pid, e);
	return *fd < 0 ? *fd : 0;
}

static int send_signal(void *arg, int sig)
{
	struct hv_host *h = arg;

	if (sig != SIGKILL && sig != SIGSTOP && sig != SIGCONT)
		return -EINVAL;
	if (h->pidfd >= 0 && syscall(SYS_pidfd_send_signal, h->pidfd, sig, NULL, 0) &&
	    errno != ESRCH)
		return -errno;
	return 0;
}

static int attach_taps(void *arg, struct tv_err *e)
{
	struct hv_host *h = arg;

	if (h->pidfd < 0 || hv_pidfd_ended(h->pidfd, 0))
		return tv_fail(e, TV_E_GONE, "the VM's process has ended");
	return h->bridge[0] ? hv_host_taps_up(h->taps, h->n_taps, h->bridge, e) : 0;
}

static void clean(void *arg, bool with_log)
{
	struct hv_host *h = arg;

	hv_host_remove_files(h->dir, with_log);
}

const struct hv_host_ops hv_host_ops = {
	.qemu = run_qemu,
	.start = start,
	.qmp = connect_qmp,
	.signal = send_signal,
	.taps = attach_taps,
	.clean = clean,
};

void hv_host_reap(pid_t pid, uint64_t start_ticks, const char *dir)
{
	TV_CLOSE int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	/* The pidfd first: what it means cannot change after the start time was read. */
	if (pidfd >= 0 && start_ticks && tv_pid_start_ticks(pid) == start_ticks)
		(void)!hv_pidfd_kill(pidfd, KILL_MS);
	hv_host_remove_files(dir, true);
}
