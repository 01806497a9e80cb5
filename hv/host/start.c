/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A standby's QEMU is started. What it needs rights for is made here before, and it inherits that as
 * descriptors: its monitor's socket, its main memory, its taps. Its images are opened by path, again
 * and again, so they get its user's group. It runs as that user, in a cage of its own.
 */
#include "hv/host/cage.h"
#include "hv/host/domain.h"
#include "hv/host/files.h"
#include "hv/host/host_int.h"
#include "hv/host/spawn.h"
#include "hv/host/taps.h"
#include "hv/host/tpm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOUNTINFO "/proc/self/mountinfo"
#define KILL_MS 10000
#define MAX_FDS (HV_HOST_FD_BASES - HV_HOST_FD_QMP + HV_MAX_DISKS)
#define MAX_OPEN (HV_MAX_DISKS + HV_MAX_FILES + 1 + MAX_MEDIA)
#define MAX_MEDIA 16
#define PATH_BYTES 512
/* QEMU itself, its translated code (up to 1 GiB), the buffers of its disks and its network. */
#define MEMORY_BESIDES (UINT64_C(2) << 30)
#define MAX_PROCESSES 4096

struct launch {
	struct hv_host *h;
	const struct hv_host_start *what;
	int fds[MAX_FDS]; /* for QEMU, from HV_HOST_FD_QMP on; the main memory's stays with h */
	unsigned n_fds;
	char open[MAX_OPEN][PATH_BYTES]; /* what QEMU may open inside twinvm's folders */
	unsigned n_open;
	int cage_fd;
	struct hv_host_cgroup cgroup;
	struct hv_host_user user;
};

static void dispose(struct launch *l)
{
	for (unsigned i = 0; i < l->n_fds && i < HV_HOST_FD_BASES - HV_HOST_FD_QMP; i++)
		if (i != HV_HOST_FD_RAM - HV_HOST_FD_QMP)
			tv_close_fd(&l->fds[i]);
	tv_close_fd(&l->cage_fd);
	free(l);
}

/* ---- what comes out ---- */

void hv_host_qemu_init(struct hv_host_qemu *q)
{
	*q = (struct hv_host_qemu){
		.pidfd = -1, .fds = HV_PROC_FDS_NONE, .ram_fd = -1, .log_fd = -1};
}

void hv_host_qemu_dispose(struct hv_host_qemu *q)
{
	tv_close_fd(&q->pidfd);
	tv_close_fd(&q->ram_fd);
	tv_close_fd(&q->log_fd);
	hv_proc_close(&q->fds);
}

/* ---- files ---- */

static int give_images(struct launch *l, struct tv_err *e)
{
	int rc = 0;

	for (unsigned i = 0; i < l->what->n_images && !rc; i++) {
		const char *name = l->what->images[i];
		char *path = l->open[l->n_open++];

		rc = hv_host_image_path(l->h->replica_dir, l->h->dir, name, path, PATH_BYTES, e);
		if (!rc && l->h->clone)
			rc = hv_host_check_overlay(path, &l->user, e);
		else if (!rc)
			rc = hv_host_give_image(path, &l->user, e);
	}
	return rc;
}

/* They were checked before (host.c); libvirt's user may have them since (domain.c). */
static int open_copies(struct launch *l, struct tv_err *e)
{
	const struct hv_host *h = l->h;
	int rc = 0;

	for (unsigned i = 0; i < h->n_copies && !rc; i++) {
		char *path = l->open[l->n_open++];

		snprintf(path, PATH_BYTES, "%s/%s", h->replica_dir, h->copies[i]);
		rc = hv_host_give_copy(path, &l->user, h->clone, e);
	}
	return rc;
}

/* Media that lie inside one of the folders that are closed otherwise. */
static void open_media(struct launch *l)
{
	const struct hv_host *h = l->h;

	for (const char *p = h->media; *p; p += strspn(p, ":")) {
		size_t n = strcspn(p, ":"), state = strlen(h->state_dir);

		if (l->n_open < MAX_OPEN && state && n > state + 1 &&
		    !strncmp(p, h->state_dir, state) && p[state] == '/')
			snprintf(l->open[l->n_open++], PATH_BYTES, "%.*s", (int)n, p);
		p += n;
	}
}

static int make_cage(struct launch *l, struct tv_err *e)
{
	const struct hv_host *h = l->h;
	const char *open[MAX_OPEN];
	struct hv_host_cage c = {.open = open};
	int rc;

	c.closed[0] = h->run_dir;
	c.closed[1] = h->state_dir[0] ? h->state_dir : NULL;
	c.closed[2] = h->replica_dir[0] ? h->replica_dir : NULL;
	c.closed[3] = h->clone ? h->clone->closed : NULL;
	snprintf(l->open[l->n_open++], PATH_BYTES, "%s/" HV_HOST_FOLDER_NAME, h->dir);
	rc = open_copies(l, e);
	if (rc)
		return rc;
	open_media(l);
	for (c.n_open = 0; c.n_open < l->n_open; c.n_open++)
		open[c.n_open] = l->open[c.n_open];
	l->cage_fd = hv_host_cage_new(&c);
	if (l->cage_fd == -EOPNOTSUPP)
		tv_log(TV_WARN,
		       "this host's kernel has no Landlock (security/lsm): a standby could "
		       "open the images of other VMs");
	else if (l->cage_fd < 0)
		return tv_fail(e, l->cage_fd, "cannot limit what the standby may open: %s",
			       tv_strerror(l->cage_fd));
	return 0;
}

/* ---- descriptors ---- */

static int make_taps(struct launch *l, struct tv_err *e)
{
	struct hv_host *h = l->h;
	int rc;

	h->n_taps = 0;
	rc = hv_host_taps_place(l->what->taps, l->what->n_taps, h->bridge, h->bridges, h->taps, e);
	if (!rc)
		rc = hv_host_bridges_check(h->taps, l->what->n_taps, e);
	for (unsigned i = 0; i < l->what->n_taps && !rc; i++) {
		const struct hv_host_tap *t = &l->what->taps[i];

		if (!t->queues || t->queues > HV_HOST_MAX_QUEUES ||
		    l->n_fds + t->queues > HV_HOST_FD_TPM - HV_HOST_FD_QMP)
			return tv_fail(e, -EINVAL, "the VM's taps have more than %d queues",
				       HV_HOST_MAX_QUEUES);
		snprintf(h->taps[i].name, IFNAMSIZ, "%s%u", h->tap_prefix, i);
		rc = hv_host_tap_make(h->taps[i].name, t, &l->fds[l->n_fds], e);
		if (rc)
			return rc;
		h->n_taps++;
		l->n_fds += t->queues;
	}
	return rc;
}

static int take_ram(struct hv_host *h, const struct hv_host_start *what, struct tv_err *e)
{
	struct stat st;

	h->ram_fd = fcntl(h->clone->ram_fd, F_DUPFD_CLOEXEC, 3);
	if (h->ram_fd < 0 || fstat(h->ram_fd, &st))
		return tv_fail(e, -errno, "no descriptor of the clone's memory: %s",
			       strerror(errno));
	return (uint64_t)st.st_size == what->ram_bytes
		       ? 0
		       : tv_fail(e, -EINVAL,
				 "the clone's memory has %" PRIu64 " bytes and not %" PRIu64,
				 (uint64_t)st.st_size, what->ram_bytes);
}

static int make_ram(struct hv_host *h, const struct hv_host_start *what, struct tv_err *e)
{
	if (what->again && h->ram_fd >= 0)
		return 0;
	tv_close_fd(&h->ram_fd);
	if (h->clone)
		return take_ram(h, what, e);
	h->ram_fd = memfd_create(HV_RAM_FILE, MFD_CLOEXEC);
	if (h->ram_fd < 0 || what->ram_bytes > INT64_MAX ||
	    ftruncate(h->ram_fd, (off_t)what->ram_bytes))
		return tv_fail(e, -errno, "cannot make a memory file of %" PRIu64 " MiB: %s",
			       what->ram_bytes >> 20, strerror(errno));
	return 0;
}

/* Behind the numbers of all taps' queues. */
static int make_tpm(struct launch *l, struct tv_err *e)
{
	unsigned at = HV_HOST_FD_TPM - HV_HOST_FD_QMP;

	l->n_fds = at + 1;
	return hv_host_tpm_start(l->h, &l->user, &l->fds[at], e);
}

/* Behind the TPM's; they stay the caller's. */
static int add_bases(struct launch *l, struct tv_err *e)
{
	const struct hv_host_clone *c = l->h->clone;
	unsigned at = HV_HOST_FD_BASES - HV_HOST_FD_QMP;

	if (c->n_bases > HV_MAX_DISKS || c->n_bases != l->what->n_images)
		return tv_fail(e, -EINVAL, "the clone has %u disks and %u bases of disks",
			       l->what->n_images, c->n_bases);
	for (unsigned i = 0; i < c->n_bases; i++)
		l->fds[at + i] = c->bases[i];
	l->n_fds = c->n_bases ? at + c->n_bases : l->n_fds;
	return 0;
}

static int make_fds(struct launch *l, struct tv_err *e)
{
	int rc = make_ram(l->h, l->what, e);

	if (!rc)
		rc = hv_host_listen(l->h->qmp_path, &l->fds[0], e);
	if (rc)
		return rc;
	l->fds[HV_HOST_FD_RAM - HV_HOST_FD_QMP] = l->h->ram_fd;
	l->n_fds = HV_HOST_FD_TAPS - HV_HOST_FD_QMP;
	rc = make_taps(l, e);
	if (!rc && l->what->tpm)
		rc = make_tpm(l, e);
	return rc || !l->h->clone ? rc : add_bases(l, e);
}

/* Where no group can be made the VM runs all the same. */
static void make_cgroup(struct launch *l)
{
	uint64_t bytes = l->what->memory_bytes;
	int rc = hv_host_cgroup_new(MOUNTINFO, hv_host_name(l->h->dir),
				    bytes + bytes / 8 + MEMORY_BESIDES, MAX_PROCESSES, &l->cgroup);

	if (rc)
		tv_log(TV_INFO, "standby: no limits of memory and processes on this host: %s",
		       rc == -EOPNOTSUPP ? "no control groups" : tv_strerror(rc));
}

/* ---- start ---- */

/* One that has ended at once has no memory to open: what it printed is the news. */
static int open_all(struct hv_host *h, const char *log, struct hv_host_qemu *out, struct tv_err *e)
{
	int rc;

	out->log_fd = open(log, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (out->log_fd < 0)
		return tv_fail(e, -errno, "cannot read %s: %s", log, strerror(errno));
	out->pidfd = fcntl(h->pidfd, F_DUPFD_CLOEXEC, 3);
	out->ram_fd = fcntl(h->ram_fd, F_DUPFD_CLOEXEC, 3);
	if (out->pidfd < 0 || out->ram_fd < 0)
		return tv_fail(e, -errno, "no descriptor for the standby: %s", strerror(errno));
	rc = hv_proc_open(h->pid, &out->fds);
	if (rc == -ESRCH || rc == -ENOENT)
		rc = 0;
	return rc ? tv_fail(e, rc, "cannot open the memory of the standby QEMU (pid %d): %s",
			    (int)h->pid, tv_strerror(rc))
		  : 0;
}

static int prepare(struct launch *l, struct tv_err *e)
{
	const struct hv_host *h = l->h;
	const char *const pass[] = {h->run_dir, h->dir, h->state_dir, h->replica_dir};
	int rc;

	for (unsigned i = 0; i < sizeof(pass) / sizeof(*pass); i++)
		if (pass[i][0])
			hv_host_let_pass(pass[i]);
	rc = hv_host_make_folder(h->dir, HV_HOST_FOLDER_NAME, &l->user, e);
	if (!rc && l->what->kvm)
		rc = hv_host_user_kvm(&l->user, e);
	if (!rc)
		rc = give_images(l, e);
	if (!rc)
		rc = make_cage(l, e);
	if (!rc)
		rc = make_fds(l, e);
	if (!rc)
		make_cgroup(l);
	return rc;
}

static int spawn(struct launch *l, const char *log, struct tv_err *e)
{
	struct hv_host *h = l->h;
	struct hv_host_spawn s = {
		.path = l->what->binary,
		.argv = l->what->argv,
		.log_path = log,
		.fds = l->fds,
		.n_fds = l->n_fds,
		.user = &l->user,
		.cage_fd = l->cage_fd,
		.cgroup = &l->cgroup,
		.file_bytes = h->clone ? h->clone->file_bytes : 0,
	};

	return hv_host_spawn(&s, &h->pid, &h->pidfd, e);
}

int hv_host_start(void *arg, const struct hv_host_start *what, struct hv_host_qemu *out,
		  struct tv_err *e)
{
	struct hv_host *h = arg;
	struct launch *l = calloc(1, sizeof(*l));
	char log[sizeof(h->dir) + 32];
	int rc;

	hv_host_qemu_init(out);
	if (!l)
		return tv_fail(e, -ENOMEM, "no memory for the standby");
	if (what->n_images > HV_MAX_DISKS || what->n_taps > HV_HOST_MAX_TAPS) {
		free(l);
		return tv_fail(e, -EINVAL, "too many images or taps");
	}
	tv_close_fd(&h->pidfd);
	h->oom_score_adj = what->oom_score_adj;
	h->nice = what->nice;
	snprintf(h->qmp_path, sizeof(h->qmp_path), "%s/" HV_HOST_QMP, h->dir);
	if (!what->again) /* of an earlier life of this host or VM */
		hv_host_domain_end(h->dir, true);
	if (what->domain && h->libvirt && !what->again &&
	    (rc = hv_host_domain_start(h, what, out, e)) != -ENOTSUP) {
		free(l);
		return rc;
	}
	*l = (struct launch){.h = h, .what = what, .cage_fd = -1, .user = h->user};
	for (unsigned i = 0; i < MAX_FDS; i++)
		l->fds[i] = -1;
	hv_host_tpm_end(h);
	hv_host_remove_files(h->dir, !what->again);
	snprintf(log, sizeof(log), "%s/" HV_HOST_LOG, h->dir);
	rc = prepare(l, e);
	if (!rc)
		rc = spawn(l, log, e);
	dispose(l); /* QEMU alone holds its taps and its socket */
	if (!rc) {
		out->pid = h->pid;
		out->start_ticks = tv_pid_start_ticks(h->pid);
		rc = open_all(h, log, out, e);
		if (rc)
			(void)!hv_pidfd_kill(h->pidfd, KILL_MS);
	}
	if (rc) {
		hv_host_tpm_end(h);
		hv_host_qemu_dispose(out);
		hv_host_remove_files(h->dir, false);
	}
	return rc;
}
