/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU creates the taps when it starts, and a new tap is down. They join the bridge and go up only
 * at promotion, so that no frames queue up for a VM that does not run, and no bridge learns its
 * address from a second place.
 */
#include "hv/standby/standby_int.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

bool hv_standby_tap(char *const *argv, unsigned nth, char name[IFNAMSIZ])
{
	for (char *const *p = argv; *p && p[1]; p++) {
		struct hv_keyval kv;
		const char *v;
		bool found;

		if (strcmp(*p, "-netdev") && strcmp(*p, "-nic") && strcmp(*p, "-net"))
			continue;
		if (hv_keyval_parse(&kv, p[1], "type"))
			continue;
		v = hv_keyval_get(&kv, "ifname");
		found = v && nth-- == 0;
		if (found)
			snprintf(name, IFNAMSIZ, "%s", v);
		hv_keyval_dispose(&kv);
		if (found)
			return true;
	}
	return false;
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

static int taps_up(char *const *argv, const char *bridge, struct tv_err *e)
{
	TV_CLOSE int s = -1;
	char tap[IFNAMSIZ];
	int rc = 0;

	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return tv_fail(e, -errno, "no socket to set up the taps: %s", strerror(errno));
	/* All of them, whatever happens to one: the VM runs with what it has. */
	for (unsigned i = 0; hv_standby_tap(argv, i, tap); i++) {
		int failed = join(s, tap, bridge, e);

		if (set_up(s, tap, failed ? NULL : e) && !failed)
			failed = -EIO;
		rc = rc ? rc : failed;
	}
	return rc;
}

int hv_standby_taps_up(const struct hv_standby *sb, struct tv_err *e)
{
	return sb->bridge[0] ? taps_up(sb->argv, sb->bridge, e) : 0;
}

int hv_standby_taps_again(const struct hv_vm_id *vm, const char *bridge, struct tv_err *e)
{
	TV_FREE char **argv = hv_proc_argv("/proc", vm->pid);

	if (!argv || tv_pid_start_ticks(vm->pid) != vm->start_ticks)
		return tv_fail(e, TV_E_GONE, "the VM's process has ended");
	return taps_up(argv, bridge, e);
}
