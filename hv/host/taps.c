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

#define MIN_MTU 68
#define MAX_MTU 65521 /* a tap's */

static int make_queue(const char *name, short flags, int *fd)
{
	struct ifreq r = {.ifr_flags = flags};

	tv_copy(r.ifr_name, IFNAMSIZ, name);
	*fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0 || ioctl(*fd, TUNSETIFF, &r) || ioctl(*fd, TUNSETOWNER, 0))
		return -errno;
	return 0;
}

/* Or the bridge's falls to it, for all its ports. */
static int set_mtu(const char *name, unsigned mtu)
{
	TV_CLOSE int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {.ifr_mtu = (int)mtu};

	tv_copy(r.ifr_name, IFNAMSIZ, name);
	return s < 0 || ioctl(s, SIOCSIFMTU, &r) ? -errno : 0;
}

int hv_host_tap_make(const char *name, const struct hv_host_tap *tap, int *fds, struct tv_err *e)
{
	int flags = IFF_TAP | IFF_NO_PI | (tap->no_vnet_hdr ? 0 : IFF_VNET_HDR) |
		    (tap->queues > 1 ? IFF_MULTI_QUEUE : 0);
	int rc = 0;

	for (unsigned i = 0; i < tap->queues; i++)
		fds[i] = -1;
	/* More queues could be taken for ours where a tap of that name exists. */
	if (if_nametoindex(name))
		rc = -EBUSY;
	for (unsigned i = 0; i < tap->queues && !rc; i++)
		rc = make_queue(name, (short)flags, &fds[i]);
	if (!rc && tap->mtu)
		rc = set_mtu(name, tap->mtu);
	if (!rc)
		return 0;
	for (unsigned i = 0; i < tap->queues; i++)
		tv_close_fd(&fds[i]);
	return tv_fail(e, rc, "cannot make the tap %s: %s", name, tv_strerror(rc));
}

/* ---- which bridge ---- */
/* "br1": that one here, too; "vmbr1=br1": the primary's vmbr1 is br1 here. False: taps of that bridge of the
 * primary's are not among them. */
static bool find_bridge(const char *words, const char *theirs, char out[IFNAMSIZ])
{
	size_t bytes = strlen(theirs);

	for (const char *p = words; *p; p += strspn(p, " ,:")) {
		size_t n = strcspn(p, " ,:"), name = strcspn(p, " ,:=");

		if (n && name == bytes && !memcmp(p, theirs, name))
			return name == n ? tv_copy(out, IFNAMSIZ, theirs)
					 : tv_copy_n(out, IFNAMSIZ, p + name + 1, n - name - 1);
		p += n;
	}
	return false;
}

static bool all_of_one(const struct hv_host_tap *taps, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		if (strcmp(taps[i].bridge, taps[0].bridge))
			return false;
	return true;
}

static int check_tap(const struct hv_host_tap *t, struct tv_err *e)
{
	bool fine = memchr(t->bridge, 0, sizeof(t->bridge)) && t->n_vlans <= HV_LINK_MAX_VLANS &&
		    (!t->mtu || (t->mtu >= MIN_MTU && t->mtu <= MAX_MTU));

	for (unsigned i = 0; fine && i < t->n_vlans; i++)
		fine = t->vlans[i].id >= 1 && t->vlans[i].id <= 4094;
	return fine ? 0
		    : tv_fail(e, TV_E_REFUSED,
			      "the VM's description has a bad bridge, MTU or VLAN");
}

int hv_host_taps_place(const struct hv_host_tap *taps, unsigned n, const char *ours,
		       const char *more, struct hv_host_port *out, struct tv_err *e)
{
	char host[65] = "this host";
	int rc;

	gethostname(host, sizeof(host) - 1);
	for (unsigned i = 0; i < n; i++) {
		const struct hv_host_tap *t = &taps[i];
		const char *bridge = t->bridge;
		char mapped[IFNAMSIZ];

		rc = check_tap(t, e);
		if (rc)
			return rc;
		if (*bridge && find_bridge(more, bridge, mapped))
			bridge = mapped;
		else if (!*bridge || !*ours || all_of_one(taps, n))
			bridge = ours;
		else if (strcmp(bridge, ours))
			return tv_fail(
				e, -ENOTSUP,
				"NIC %u of the VM is on the bridge %s, which taps may not join on "
				"%s: name it in 'bridges' of that host's configuration",
				i, bridge, host);
		tv_copy(out[i].bridge, IFNAMSIZ, bridge);
		memcpy(out[i].vlans, t->vlans, sizeof(t->vlans));
		out[i].n_vlans = *bridge ? t->n_vlans : 0;
	}
	return 0;
}

int hv_host_bridges_check(const struct hv_host_port *ports, unsigned n, struct tv_err *e)
{
	char host[65] = "this host";
	struct hv_link link;

	gethostname(host, sizeof(host) - 1);
	for (unsigned i = 0; i < n; i++) {
		int rc = ports[i].bridge[0] ? hv_link_read(ports[i].bridge, &link) : 0;

		if (rc == -ENODEV)
			return tv_fail(e, -ENOTSUP,
				       "the VM's network is to join the bridge %s, which %s does "
				       "not have",
				       ports[i].bridge, host);
		if (!rc && ports[i].bridge[0] && strcmp(link.kind, "bridge"))
			return tv_fail(e, -ENOTSUP,
				       "the VM's network is to join %s, which on %s is no bridge "
				       "(%s)",
				       ports[i].bridge, host, link.kind[0] ? link.kind : "a NIC");
	}
	return 0;
}

/* ---- promotion ---- */
static int join(int s, const struct hv_host_port *p, struct tv_err *e)
{
	struct ifreq r = {.ifr_ifindex = (int)if_nametoindex(p->name)};
	int rc;

	if (!r.ifr_ifindex)
		return tv_fail(e, -ENODEV, "the standby's tap %s does not exist", p->name);
	snprintf(r.ifr_name, IFNAMSIZ, "%s", p->bridge);
	if (ioctl(s, SIOCBRADDIF, &r) && errno != EBUSY)
		return tv_fail(e, -errno, "cannot add the tap %s to the bridge %s: %s", p->name,
			       p->bridge, strerror(errno));
	/* Before it is up: no frame in another VLAN. */
	rc = hv_link_vlans_default(p->vlans, p->n_vlans)
		     ? 0
		     : hv_link_set_vlans(p->name, p->vlans, p->n_vlans);
	return rc ? tv_fail(e, rc, "cannot set the VLANs of the tap %s on the bridge %s: %s",
			    p->name, p->bridge, tv_strerror(rc))
		  : 0;
}

static int set_up(int s, const char *tap, bool up, struct tv_err *e)
{
	struct ifreq r = {0};

	snprintf(r.ifr_name, IFNAMSIZ, "%s", tap);
	if (ioctl(s, SIOCGIFFLAGS, &r))
		return tv_fail(e, -errno, "cannot read the state of the tap %s: %s", tap,
			       strerror(errno));
	r.ifr_flags = (short)(up ? r.ifr_flags | IFF_UP : r.ifr_flags & ~IFF_UP);
	if (ioctl(s, SIOCSIFFLAGS, &r))
		return tv_fail(e, -errno, "cannot set the tap %s %s: %s", tap, up ? "up" : "down",
			       strerror(errno));
	return 0;
}

int hv_host_taps_down(const struct hv_host_port *ports, unsigned n, struct tv_err *e)
{
	TV_CLOSE int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc =
		s < 0 ? tv_fail(e, -errno, "no socket to set up the taps: %s", strerror(errno)) : 0;

	for (unsigned i = 0; i < n && !rc; i++)
		rc = set_up(s, ports[i].name, false, e);
	return rc;
}

int hv_host_taps_up(const struct hv_host_port *ports, unsigned n, struct tv_err *e)
{
	TV_CLOSE int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc = 0;

	if (s < 0)
		return tv_fail(e, -errno, "no socket to set up the taps: %s", strerror(errno));
	/* All of them, whatever happens to one: the VM runs with what it has. One with other VLANs
	 * than its own stays down. */
	for (unsigned i = 0; i < n; i++) {
		struct tv_err *first = rc ? NULL : e;
		int failed = ports[i].bridge[0] ? join(s, &ports[i], first) : 0;

		if (ports[i].bridge[0] && (!failed || !ports[i].n_vlans) &&
		    set_up(s, ports[i].name, true, failed ? NULL : first) && !failed)
			failed = -EIO;
		rc = rc ? rc : failed;
	}
	return rc;
}
