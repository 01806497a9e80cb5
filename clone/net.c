/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network of a clone. It has bridges without a way out, and the clone's taps on them: QEMU's own
 * back ends find nothing to connect to either. Probes reach the guest from an address beside its own,
 * which this side of its bridge gets: the guest answers there without a gateway.
 *
 * The guest's address is learned from what it sends: after a promotion a guest announces itself by ARP
 * (virtio's announcement), and others send something sooner or later.
 */
#include "clone/clone_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ETHER_BYTES 14
#define ARP_BYTES 28
#define IP_BYTES 20
#define FRAME_BYTES 2048

/* ---- bridges ---- */
static int set_up(int s, const char *name)
{
	struct ifreq r = {0};

	tv_copy(r.ifr_name, IFNAMSIZ, name);
	if (ioctl(s, SIOCGIFFLAGS, &r))
		return -errno;
	r.ifr_flags |= IFF_UP | (strcmp(name, "lo") ? IFF_PROMISC : 0);
	return ioctl(s, SIOCSIFFLAGS, &r) ? -errno : 0;
}

static int add_bridge(int s, const char *name)
{
	if (ioctl(s, SIOCBRADDBR, name) && errno != EEXIST)
		return -errno;
	return set_up(s, name);
}

static bool has_word(const char *words, const char *word)
{
	size_t n = strlen(word);
	const char *p = words;

	while ((p = strstr(p, word)))
		if ((p == words || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
			return true;
		else
			p += n;
	return false;
}

/* A peer's word: the kernel takes a name or does not; one with a blank is none. */
static bool is_name(const char *name)
{
	return *name && strlen(name) < IFNAMSIZ && !strpbrk(name, " ,:/\t\n") &&
	       strcmp(name, "lo") != 0 && strcmp(name, CLONE_BRIDGE) != 0;
}

int clone_net_make(const json_t *desc, char *names, size_t room, struct tv_err *e)
{
	TV_CLOSE int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc = s < 0 ? -errno : set_up(s, "lo");
	json_t *nic, *nics = json_object_get(desc, "nics");
	size_t i, used = 0;

	*names = '\0';
	if (!rc)
		rc = add_bridge(s, CLONE_BRIDGE);
	json_array_foreach(nics, i, nic) {
		const char *name = json_string_value(json_object_get(nic, "bridge"));

		if (rc || !name || !is_name(name) || has_word(names, name))
			continue;
		if (used + strlen(name) + 2 > room)
			return tv_fail(e, -E2BIG, "the VM's NICs are on too many bridges");
		rc = add_bridge(s, name);
		used += (size_t)snprintf(names + used, room - used, "%s%s", used ? " " : "", name);
	}
	return rc ? tv_fail(e, rc, "cannot make the clone's network: %s", tv_strerror(rc)) : 0;
}

/* ---- what the guest sends ---- */
int clone_net_listen(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));

	return fd < 0 ? -errno : fd;
}

static bool is_hosts(struct in_addr a)
{
	uint32_t n = ntohl(a.s_addr);

	return n >> 24 && (n >> 24) != 127 && (n >> 28) < 14 && (n >> 16) != 0xa9fe;
}

bool clone_net_address(const uint8_t *frame, size_t bytes, struct in_addr *out)
{
	const uint8_t *p = frame + ETHER_BYTES;
	uint16_t type;

	if (bytes < ETHER_BYTES)
		return false;
	type = (uint16_t)(frame[12] << 8 | frame[13]);
	if (type == ETHERTYPE_ARP && bytes >= ETHER_BYTES + ARP_BYTES && p[4] == 6 && p[5] == 4)
		memcpy(out, p + 14, 4); /* the sender's */
	else if (type == ETHERTYPE_IP && bytes >= ETHER_BYTES + IP_BYTES && p[0] >> 4 == 4)
		memcpy(out, p + 12, 4);
	else
		return false;
	return is_hosts(*out);
}

/* The bridge that the port is on. */
static bool bridge_of(int ifindex, char bridge[IFNAMSIZ])
{
	char port[IFNAMSIZ];
	struct hv_link link;

	if (!if_indextoname((unsigned)ifindex, port) || hv_link_read(port, &link) || !*link.master)
		return false;
	return tv_copy(bridge, IFNAMSIZ, link.master);
}

int clone_net_learn(int fd, int64_t until_ns, struct in_addr *out, char bridge[IFNAMSIZ],
		    int64_t *first_ns)
{
	uint8_t frame[FRAME_BYTES];

	*first_ns = 0;
	for (;;) {
		struct sockaddr_ll from;
		socklen_t room = sizeof(from);
		ssize_t n = recvfrom(fd, frame, sizeof(frame), 0, (struct sockaddr *)&from, &room);
		int64_t left_ns = until_ns - tv_now_ns();

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		/* On a bridge itself only what its ports have passed on, and this process sent. */
		if (n > 0 && from.sll_pkttype != PACKET_OUTGOING &&
		    bridge_of(from.sll_ifindex, bridge)) {
			*first_ns = *first_ns ? *first_ns : tv_now_ns();
			if (clone_net_address(frame, (size_t)n, out))
				return 0;
		}
		if (left_ns <= 0)
			return -ETIMEDOUT;
		if (n < 0)
			(void)poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1,
				   (int)(left_ns / TV_NS_PER_MS) + 1);
	}
}

/* ---- this side ---- */
struct in_addr clone_net_neighbour(struct in_addr guest)
{
	static const uint32_t beside[] = {1, 3, 2};
	struct in_addr a = guest;

	for (unsigned i = 0; i < sizeof(beside) / sizeof(*beside); i++) {
		uint32_t n = ntohl(guest.s_addr) ^ beside[i];

		a.s_addr = htonl(n);
		if ((n & 255) != 0 && (n & 255) != 255)
			break;
	}
	return a;
}

static void put(struct sockaddr *to, struct in_addr a)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = a};

	memcpy(to, &in, sizeof(in));
}

int clone_net_join(const char *bridge, struct in_addr own, struct in_addr guest, struct tv_err *e)
{
	TV_CLOSE int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const struct in_addr alone = {.s_addr = INADDR_NONE};
	struct rtentry way = {.rt_flags = RTF_UP | RTF_HOST, .rt_dev = (char *)bridge};
	struct ifreq r = {0};
	int rc = s < 0 ? -errno : 0;

	tv_copy(r.ifr_name, IFNAMSIZ, bridge);
	put(&r.ifr_addr, own);
	if (!rc && ioctl(s, SIOCSIFADDR, &r))
		rc = -errno;
	put(&r.ifr_netmask, alone);
	if (!rc && ioctl(s, SIOCSIFNETMASK, &r))
		rc = -errno;
	put(&way.rt_dst, guest);
	if (!rc && ioctl(s, SIOCADDRT, &way) && errno != EEXIST)
		rc = -errno;
	return rc ? tv_fail(e, rc, "cannot reach the guest from beside it: %s", tv_strerror(rc))
		  : 0;
}
