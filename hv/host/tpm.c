/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The TPM of a standby. QEMU's TPM emulator is a process, swtpm, that QEMU reaches by a control
 * channel; over that it gets its data channel, and at a promotion the whole state of the TPM, which
 * is in the device state. So a standby's swtpm starts empty, and has nothing of the primary's: its
 * program is this host's, its folder its own, its channel one of two nameless sockets. It has the
 * user of standbys, no rights, and may open nothing of twinvm's folders but its own (Landlock), and
 * swtpm's own sandbox besides.
 *
 * It ends with its QEMU (--terminate: when the data channel is closed).
 */
#include "hv/host/tpm.h"
#include "hv/host/cage.h"
#include "hv/host/files.h"
#include "hv/host/spawn.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define END_MS 5000
#define PATH_BYTES 320

static const char *const programs[] = {"/usr/bin/swtpm", "/usr/local/bin/swtpm"};

const char *hv_host_swtpm(void)
{
	for (unsigned i = 0; i < sizeof(programs) / sizeof(*programs); i++)
		if (!access(programs[i], X_OK))
			return programs[i];
	return NULL;
}

void hv_host_tpm_end(struct hv_host *h)
{
	if (h->tpm_pidfd >= 0)
		(void)!hv_pidfd_kill(h->tpm_pidfd, END_MS);
	tv_close_fd(&h->tpm_pidfd);
}

/* -1: this kernel has none. Its QEMU's start has warned of that. */
static int make_cage(const struct hv_host *h, const char *folder)
{
	const char *open[] = {folder};
	struct hv_host_cage c = {.open = open, .n_open = 1};
	int fd;

	c.closed[0] = h->run_dir;
	c.closed[1] = h->state_dir[0] ? h->state_dir : NULL;
	c.closed[2] = h->replica_dir[0] ? h->replica_dir : NULL;
	fd = hv_host_cage_new(&c);
	return fd == -EOPNOTSUPP ? -1 : fd;
}

static int spawn(struct hv_host *h, const struct hv_host_user *u, const char *folder, int channel,
		 int cage, struct tv_err *e)
{
	char log[PATH_BYTES], state[PATH_BYTES];
	const char *const argv[] = {"swtpm",
				    "socket",
				    "--tpm2",
				    "--tpmstate",
				    state,
				    "--ctrl",
				    "type=unixio,clientfd=3",
				    "--terminate",
				    NULL};
	struct hv_host_spawn s = {
		.path = hv_host_swtpm(),
		.argv = (char *const *)argv,
		.log_path = log,
		.fds = &channel,
		.n_fds = 1,
		.user = u,
		.cage_fd = cage,
	};
	pid_t pid;

	snprintf(log, sizeof(log), "%s/" HV_HOST_TPM_LOG, h->dir);
	snprintf(state, sizeof(state), "dir=%s", folder);
	return hv_host_spawn(&s, &pid, &h->tpm_pidfd, e);
}

int hv_host_tpm_start(struct hv_host *h, const struct hv_host_user *u, int *fd, struct tv_err *e)
{
	char folder[PATH_BYTES];
	int ends[2], cage, rc;

	hv_host_tpm_end(h);
	if (!hv_host_swtpm())
		return tv_fail(e, -ENOENT, "this host has no swtpm");
	rc = hv_host_make_folder(h->dir, HV_HOST_TPM_NAME, u, e);
	if (rc)
		return rc;
	snprintf(folder, sizeof(folder), "%s/" HV_HOST_TPM_NAME, h->dir);
	cage = make_cage(h, folder);
	if (cage < -1)
		return tv_fail(e, cage, "cannot limit what swtpm may open: %s", tv_strerror(cage));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		rc = tv_fail(e, -errno, "no socket for the TPM: %s", tv_strerror(-errno));
	else {
		*fd = ends[0];
		rc = spawn(h, u, folder, ends[1], cage, e);
		close(ends[1]);
	}
	tv_close_fd(&cage);
	return rc;
}
