/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU gets its taps as descriptors, and they vanish with it. A new tap is down. They join the bridge
 * and go up only at promotion, so that no frames queue up for a VM that does not run, and no bridge
 * learns its address from a second place.
 */
#include "hv/host/taps.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <string.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int make_queue(const char *name, short flags, int *fd)
{
	struct ifreq r = {.ifr_flags = flags};

	tv_copy(r.ifr_name, IFNAMSIZ, name);
	*fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0 || ioctl(*fd, TUNSETIFF, &r) || ioctl(*fd, TUNSETOWNER, 0))
		return -errno;
	return 0;
}

int hv_host_tap_make(const char *name, unsigned queues, bool vnet_hdr, int *fds, struct tv_err *e)
{
	int flags = IFF_TAP | IFF_NO_PI | (vnet_hdr ? IFF_VNET_HDR : 0) |
		    (queues > 1 ? IFF_MULTI_QUEUE : 0);
	int rc = 0;

	for (unsigned i = 0; i < queues; i++)
		fds[i] = -1;
	/* More queues could be taken for ours where a tap of that name exists. */
	if (if_nametoindex(name))
		rc = -EBUSY;
	for (unsigned i = 0; i < queues && !rc; i++)
		rc = make_queue(name, (short)flags, &fds[i]);
	if (!rc)
		return 0;
	for (unsigned i = 0; i < queues; i++)
		tv_close_fd(&fds[i]);
	return tv_fail(e, rc, "cannot make the tap %s: %s", name, tv_strerror(rc));
}

static int join(int s, const char *tap, const char *bridge, struct tv_err *e)
{
	struct ifreq r = {.ifr_ifindex = (int)if_nametoindex(tap)};

	if (!r.ifr_ifindex)
		return tv_fail(e, -ENODEV, "the standby's tap %s does not exist", tap);
	snprintf(r.ifr_name, IFNAMSIZ, "%s", bridge);
	if (ioctl(s, SIOCBRADDIF, &r) && errno != EBUSY)
		return tv_fail(e, -errno, "cannot add the tap %s to the bridge %s: %s", tap, bridge,
			       strerror(errno));
	return 0;
}

static int set_up(int s, const char *tap, struct tv_err *e)
{
	struct ifreq r = {0};

	snprintf(r.ifr_name, IFNAMSIZ, "%s", tap);
	if (ioctl(s, SIOCGIFFLAGS, &r))
		return tv_fail(e, -errno, "cannot read the state of the tap %s: %s", tap,
			       strerror(errno));
	r.ifr_flags |= IFF_UP;
	if (ioctl(s, SIOCSIFFLAGS, &r))
		return tv_fail(e, -errno, "cannot bring the tap %s up: %s", tap, strerror(errno));
	return 0;
}

int hv_host_taps_up(const char taps[][IFNAMSIZ], unsigned n, const char *bridge, struct tv_err *e)
{
	TV_CLOSE int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc = 0;

	if (s < 0)
		return tv_fail(e, -errno, "no socket to set up the taps: %s", strerror(errno));
	/* All of them, whatever happens to one: the VM runs with what it has. */
	for (unsigned i = 0; i < n; i++) {
		struct tv_err *first = rc ? NULL : e;
		int failed = join(s, taps[i], bridge, first);

		if (set_up(s, taps[i], failed ? NULL : first) && !failed)
			failed = -EIO;
		rc = rc ? rc : failed;
	}
	return rc;
}
