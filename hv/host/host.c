/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One standby's QEMU, as a process with rights on this host sees it: see host.h. */
#include "hv/host/host_int.h"
#include "hv/host/cgroup.h"
#include "hv/host/domain.h"
#include "hv/host/files.h"
#include "hv/host/taps.h"
#include "hv/host/tpm.h"

#include <errno.h>
#include <sys/resource.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KILL_MS 10000
#define COPY_MARK "-file-" /* checkpoint/store.c */

static int take_conf(struct hv_host *h, const struct hv_host_conf *c, struct tv_err *e)
{
	int n = snprintf(h->qmp_path, sizeof(h->qmp_path), "%s/" HV_HOST_QMP, c->dir);

	if (n < 0 || (size_t)n >= sizeof(h->qmp_path))
		return tv_fail(e, -ENAMETOOLONG,
			       "the run directory's name %s is too long for a socket", c->dir);
	if (!tv_copy(h->bridge, sizeof(h->bridge), c->bridge))
		return tv_fail(e, -EINVAL, "%s is no name of a bridge", c->bridge);
	if (!tv_copy(h->bridges, sizeof(h->bridges), c->bridges))
		return tv_fail(e, -EINVAL, "'bridges' is too long");
	/* The number of a tap is behind it. */
	if (!tv_copy(h->tap_prefix, sizeof(h->tap_prefix) - 2, c->tap_prefix))
		return tv_fail(e, -EINVAL, "%s is too long for the beginning of taps' names",
			       c->tap_prefix);
	if (!tv_copy(h->dir, sizeof(h->dir), c->dir) ||
	    !tv_copy(h->state_dir, sizeof(h->state_dir), c->state_dir) ||
	    !tv_copy(h->replica_dir, sizeof(h->replica_dir), c->replica_dir) ||
	    !tv_copy(h->media, sizeof(h->media), c->media) ||
	    !tv_copy(h->vm_id, sizeof(h->vm_id), c->vm_id))
		return tv_fail(e, -ENAMETOOLONG, "the name of a folder is too long");
	h->libvirt = c->libvirt && !c->clone;
	h->clone = c->clone;
	snprintf(h->run_dir, sizeof(h->run_dir), "%.*s", (int)(hv_host_name(h->dir) - h->dir),
		 h->dir);
	n = hv_host_user_find(c->user ? c->user : "", &h->user, e);
	if (!n && h->clone)
		hv_host_user_apart(&h->user);
	return n;
}

int hv_host_new(const struct hv_host_conf *conf, struct hv_host **out, struct tv_err *e)
{
	struct hv_host *h = calloc(1, sizeof(*h));
	int rc;

	*out = NULL;
	if (!h)
		return tv_fail(e, -ENOMEM, "no memory for the standby");
	h->pidfd = h->ram_fd = h->tpm_pidfd = -1;
	rc = take_conf(h, conf, e);
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
	tv_close_fd(&h->tpm_pidfd);
	tv_close_fd(&h->ram_fd);
	free(h);
}

/* ---- what the user may open ---- */

static int run_qemu(void *arg, const char *binary, struct hv_qemu *out, json_t **machines,
		    struct tv_err *e)
{
	char name[65] = "this host";

	(void)arg;
	gethostname(name, sizeof(name) - 1);
	return hv_qemu_run(binary, name, out, machines, e);
}

/* NAME-file-SHA256, where NAME is this VM's here. */
static bool is_copy(const struct hv_host *h, const char *name)
{
	const char *id = hv_host_name(h->dir);
	size_t n = strlen(id);

	return !strncmp(name, id, n) && !strncmp(name + n, COPY_MARK, strlen(COPY_MARK)) &&
	       tv_is_sha256(name + n + strlen(COPY_MARK));
}

static int give_copy(struct hv_host *h, const char *name, struct tv_err *e)
{
	char path[sizeof(h->replica_dir) + sizeof(h->copies[0])];
	int rc;

	if (!is_copy(h, name) || !h->replica_dir[0])
		return tv_fail(e, -EINVAL, "%.100s is no copy of a file of this VM", name);
	snprintf(path, sizeof(path), "%s/%s", h->replica_dir, name);
	rc = hv_host_give_copy(path, &h->user, h->clone, e);
	for (unsigned i = 0; i < h->n_copies && !rc; i++)
		if (!strcmp(h->copies[i], name))
			return 0;
	if (!rc && (h->n_copies == HV_MAX_FILES ||
		    !tv_copy(h->copies[h->n_copies], sizeof(h->copies[0]), name)))
		return tv_fail(e, -EINVAL, "the VM reads more than %d files", HV_MAX_FILES);
	h->n_copies += !rc;
	return rc;
}

static int check(void *arg, const struct hv_host_file *f, struct tv_err *e)
{
	struct hv_host *h = arg;
	struct hv_host_user u = h->user;
	char name[65] = "this host";
	int rc;

	if (f->what == HV_HOST_KVM)
		return hv_host_user_kvm(&u, e);
	if (f->what == HV_HOST_COPY)
		return give_copy(h, f->path, e);
	rc = hv_host_user_try(&u, f->path,
			      O_RDONLY | (f->what == HV_HOST_FOLDER ? O_DIRECTORY : 0));
	gethostname(name, sizeof(name) - 1);
	return rc ? tv_fail(e, -ENOTSUP,
			    "the user %s on %s, who runs standbys, cannot read %s: %s; there: "
			    "chmod o+r it, and o+x each folder above it",
			    u.name, name, f->path, tv_strerror(rc))
		  : 0;
}

/* ---- the running QEMU ---- */

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

/* Of each thread: those that are made later have it from the one that makes them, and the first is listed
 * first. */
static void set_nice(const struct hv_host *h)
{
	char path[64];
	struct dirent *de;
	bool failed = false;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)h->pid);
	d = opendir(path);
	while (d && (de = readdir(d))) {
		id_t thread = (id_t)atoi(de->d_name);

		/* It may have ended. */
		failed = (thread && setpriority(PRIO_PROCESS, thread, h->nice) && errno != ESRCH) ||
			 failed;
	}
	if (d)
		closedir(d);
	if (failed)
		tv_log(TV_WARN, "the VM (pid %d) does not get the nice value %d", (int)h->pid,
		       h->nice);
}

static int attach_taps(void *arg, struct tv_err *e)
{
	struct hv_host *h = arg;

	if (h->pidfd < 0 || hv_pidfd_ended(h->pidfd, 0))
		return tv_fail(e, TV_E_GONE, "the VM's process has ended");
	hv_host_promoted(h);
	set_nice(h);
	hv_host_domain_keep(h->dir);
	return hv_host_taps_up(h->taps, h->n_taps, e);
}

static void clean(void *arg, bool with_log)
{
	struct hv_host *h = arg;

	hv_host_tpm_end(h);
	hv_host_domain_end(h->dir, true);
	hv_host_remove_files(h->dir, with_log);
	hv_host_cgroup_remove("/proc/self/mountinfo", hv_host_name(h->dir));
}

const struct hv_host_ops hv_host_ops = {
	.qemu = run_qemu,
	.check = check,
	.start = hv_host_start,
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
	hv_host_domain_end(dir, false);
	hv_host_remove_files(dir, true);
	hv_host_cgroup_remove("/proc/self/mountinfo", hv_host_name(dir));
}

bool hv_host_has_group(const char *dir)
{
	return hv_host_cgroup_there("/proc/self/mountinfo", hv_host_name(dir));
}
