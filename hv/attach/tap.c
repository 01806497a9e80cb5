/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which taps a VM's NICs send to, so that their output can be held in the kernel. The names QEMU
 * prints are not enough: it may have been given descriptors, and a tap of the same name may exist
 * in this network namespace and another one. So each is looked up among QEMU's own descriptors, a
 * copy of it is asked what it is, and where.
 */
#include "hv/attach/attach_int.h"

#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/if_tun.h>

#ifndef TUNGETDEVNETNS
#define TUNGETDEVNETNS _IO('T', 227) /* Linux 5.2 */
#endif
#ifndef IFF_NAPI
#define IFF_NAPI 0x0010
#endif
#define MAX_TAP_FDS 256

struct tap_fd {
	int fd; /* in QEMU */
	char ifname[IFNAMSIZ];
	bool taken;
};

/* The line "iff:\tNAME" of a tap's fdinfo. */
static bool read_iff(pid_t pid, int fd, char out[IFNAMSIZ])
{
	TV_FREE char *text = NULL;
	char path[64];
	const char *p;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	if (tv_read_file(path, 4096, &text, &n))
		return false;
	p = strstr(text, "iff:");
	if (!p)
		return false;
	p += 4 + strspn(p + 4, " \t");
	n = strcspn(p, "\r\n");
	if (!n || n >= IFNAMSIZ)
		return false;
	snprintf(out, IFNAMSIZ, "%.*s", (int)n, p);
	return true;
}

static unsigned list_tap_fds(pid_t pid, struct tap_fd *out, unsigned max)
{
	char path[64], link[64];
	unsigned n = 0;
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && n < max && (d = readdir(dir))) {
		ssize_t r = readlinkat(dirfd(dir), d->d_name, link, sizeof(link) - 1);

		if (r < 0)
			continue;
		link[r] = '\0';
		if (strcmp(link, "/dev/net/tun"))
			continue;
		out[n] = (struct tap_fd){.fd = atoi(d->d_name)};
		n += read_iff(pid, out[n].fd, out[n].ifname);
	}
	if (dir)
		closedir(dir);
	return n;
}

/* The NIC's descriptor: by its tap's name, by its number, or because no other is left. */
static struct tap_fd *find_fd(const struct hv_nic *nic, struct tap_fd *fds, unsigned n)
{
	struct tap_fd *only = NULL;

	for (unsigned i = 0; i < n; i++) {
		if (nic->ifname[0] ? !strcmp(nic->ifname, fds[i].ifname) : nic->tap_fd == fds[i].fd)
			return &fds[i];
		if (fds[i].taken)
			continue;
		if (only && strcmp(only->ifname, fds[i].ifname))
			return NULL;
		only = &fds[i];
	}
	return nic->ifname[0] || nic->tap_fd >= 0 ? NULL : only;
}

static bool same_netns(int fd)
{
	struct stat theirs, ours;

	return !fstat(fd, &theirs) && !stat("/proc/self/ns/net", &ours) &&
	       theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
}

static int check_tap(const struct hv_vm *vm, const struct tap_fd *t, const char *netdev,
		     struct tv_err *e)
{
	TV_CLOSE int fd = (int)syscall(SYS_pidfd_getfd, vm->pidfd, t->fd, 0);
	TV_CLOSE int ns = -1;
	struct ifreq r = {0};

	if (fd < 0 || ioctl(fd, TUNGETIFF, &r) || strcmp(r.ifr_name, t->ifname))
		return tv_fail(e, -ENOTSUP, "the tap %s of netdev %s cannot be asked: %s",
			       t->ifname, netdev, strerror(errno));
	if (!(r.ifr_flags & IFF_TAP) || (r.ifr_flags & IFF_NAPI))
		return tv_fail(e, -ENOTSUP, "the tap %s of netdev %s is in NAPI or IP mode",
			       t->ifname, netdev);
	ns = ioctl(fd, TUNGETDEVNETNS);
	if (ns < 0 || !same_netns(ns) || !if_nametoindex(t->ifname))
		return tv_fail(
			e, -ENOTSUP,
			"the tap %s of netdev %s is in another network namespace than twinvmd",
			t->ifname, netdev);
	return 0;
}

/*
 * With zero copy vhost waits at every stop until the frames it sent are gone; held ones never are
 * before the stop is over.
 */
static int check_zerocopy(const struct hv_nic *nic, struct tv_err *e)
{
	TV_FREE char *text = NULL;
	size_t n;

	if (!nic->vhost ||
	    tv_read_file("/sys/module/vhost_net/parameters/experimental_zcopytx", 64, &text, &n) ||
	    atoi(text) == 0)
		return 0;
	return tv_fail(e, -ENOTSUP,
		       "netdev %s uses vhost with zero copy: load vhost_net with "
		       "experimental_zcopytx=0",
		       nic->netdev);
}

static int take_tap(const struct hv_vm *vm, const struct hv_nic *nic, struct tap_fd *fds,
		    unsigned n, struct hv_tap *out, struct tv_err *e)
{
	struct tap_fd *t;
	int rc;

	if (nic->hub || strcmp(nic->type, "tap"))
		return tv_fail(e, -ENOTSUP, "netdev %s is no tap of its own (%s%s)", nic->netdev,
			       nic->type, nic->hub ? " behind a hub" : "");
	t = find_fd(nic, fds, n);
	if (!t)
		return tv_fail(e, -ENOTSUP, "which tap netdev %s uses cannot be seen", nic->netdev);
	if ((rc = check_zerocopy(nic, e)) || (rc = check_tap(vm, t, nic->netdev, e)))
		return rc;
	for (unsigned i = 0; i < n; i++) /* all queues of a tap have its name */
		fds[i].taken = fds[i].taken || !strcmp(fds[i].ifname, t->ifname);
	memcpy(out->netdev, nic->netdev, sizeof(out->netdev));
	memcpy(out->ifname, t->ifname, sizeof(out->ifname));
	out->ifindex = if_nametoindex(t->ifname);
	return 0;
}

void hv_tap_names(pid_t pid, struct hv_nic *nics, unsigned n)
{
	struct tap_fd fds[MAX_TAP_FDS];
	unsigned n_fds = list_tap_fds(pid, fds, MAX_TAP_FDS);

	for (unsigned i = 0; i < n; i++) {
		struct tap_fd *t = nics[i].ifname[0] || strcmp(nics[i].type, "tap")
					   ? NULL
					   : find_fd(&nics[i], fds, n_fds);

		for (unsigned k = 0; t && k < n_fds; k++)
			fds[k].taken = fds[k].taken || !strcmp(fds[k].ifname, t->ifname);
		if (t)
			memcpy(nics[i].ifname, t->ifname, sizeof(nics[i].ifname));
	}
}

int hv_net_taps(struct hv_vm *vm, struct hv_tap taps[HV_MAX_NICS], unsigned *n, struct tv_err *e)
{
	TV_FREE char **argv = hv_proc_args("/proc", vm->id.pid);
	struct tap_fd fds[MAX_TAP_FDS];
	struct hv_nic nics[HV_MAX_NICS + 1];
	unsigned found = 0, n_fds;
	int rc;

	*n = 0;
	rc = hv_nics_read(vm->qmp, argv, nics, HV_MAX_NICS + 1, &found, e);
	if (rc)
		return rc;
	n_fds = list_tap_fds(vm->id.pid, fds, MAX_TAP_FDS);
	for (unsigned i = 0; i < found && !rc; i++) {
		if (!nics[i].netdev[0])
			continue; /* sends nowhere */
		if (*n == HV_MAX_NICS)
			rc = tv_fail(e, -ENOTSUP, "the VM has more than %d NICs", HV_MAX_NICS);
		else
			rc = take_tap(vm, &nics[i], fds, n_fds, &taps[*n], e);
		*n += !rc;
	}
	if (rc)
		*n = 0;
	return rc;
}
