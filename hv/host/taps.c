/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU creates the taps when it starts, and a new tap is down. They join the bridge and go up only
 * at promotion, so that no frames queue up for a VM that does not run, and no bridge learns its
 * address from a second place.
 */
#include "hv/host/taps.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

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
