/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recent frames, replayed after a failover: frames to a guest are watched at its tap; frames to and
 * from the guest are replayed at the bridge of the host that runs it now.
 *
 * Packet sockets (packet(7)): one with a filter, bound to the tap, gets copies of what the host
 * sends out of the tap (PACKET_OUTGOING); the kernel drops what the socket's queue has no room for.
 * One bound to the bridge sends: the bridge forwards by address, to the guest's tap or to the
 * network.
 */
#include "netbuffer/netbuffer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FRAME_BYTES 2048
#define MAX_PER_TURN 32
#define QUEUE_BYTES (256 << 10)

struct nb_tap {
	int fd;
	struct event *ev;
	nb_frame_cb cb;
	void *arg;
};

static int open_on(const char *name, int protocol)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
				 .sll_protocol = htons((uint16_t)protocol),
				 .sll_ifindex = (int)if_nametoindex(name)};
	int one = 1, fd, rc = 0;

	if (!at.sll_ifindex)
		return -ENODEV;
	/* Protocol 0: nothing is received before the filter is in place. */
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)))
		rc = -errno;
	if (!rc && protocol) {
		/* Outgoing, unicast, short: everything else is not worth a wake-up. */
		struct sock_filter code[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 5),
			BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
			BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 3, 0),
			BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
			BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, MAX_FRAME_BYTES, 1, 0),
			BPF_STMT(BPF_RET | BPF_K, MAX_FRAME_BYTES),
			BPF_STMT(BPF_RET | BPF_K, 0),
		};
		struct sock_fprog prog = {sizeof(code) / sizeof(*code), code};
		int bytes = QUEUE_BYTES;

		if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ||
		    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)))
			rc = -errno;
	}
	if (!rc && bind(fd, (struct sockaddr *)&at, sizeof(at)))
		rc = -errno;
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

/* Takes one frame from the socket: its size, or 0 when there is none. */
static size_t take(int fd, uint8_t hdr[NB_VNET_HDR_BYTES], uint8_t *frame)
{
	struct iovec v[2] = {{hdr, NB_VNET_HDR_BYTES}, {frame, MAX_FRAME_BYTES}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
	ssize_t r = recvmsg(fd, &m, MSG_DONTWAIT);

	return r > NB_VNET_HDR_BYTES ? (size_t)r - NB_VNET_HDR_BYTES : 0;
}

static void readable(evutil_socket_t fd, short what, void *arg)
{
	uint8_t hdr[NB_VNET_HDR_BYTES], frame[MAX_FRAME_BYTES];
	struct nb_tap *t = arg;
	size_t n;

	(void)what;
	for (int i = 0; i < MAX_PER_TURN && (n = take(fd, hdr, frame)) >= ETH_HLEN; i++)
		t->cb(hdr, frame, n, t->arg);
}

int nb_tap_watch(struct event_base *base, const char *ifname, nb_frame_cb cb, void *arg,
		 struct nb_tap **out)
{
	struct nb_tap *t = calloc(1, sizeof(*t));
	int rc = -ENOMEM;

	*out = NULL;
	if (!t)
		return rc;
	*t = (struct nb_tap){.cb = cb, .arg = arg};
	t->fd = rc = open_on(ifname, ETH_P_ALL);
	if (rc >= 0) {
		t->ev = event_new(base, t->fd, EV_READ | EV_PERSIST, readable, t);
		rc = t->ev && !event_add(t->ev, NULL) ? 0 : -ENOMEM;
	}
	if (rc)
		nb_tap_free(t);
	else
		*out = t;
	return rc;
}

void nb_tap_enable(struct nb_tap *t, bool on)
{
	uint8_t hdr[NB_VNET_HDR_BYTES], frame[MAX_FRAME_BYTES];

	if (!on) {
		event_del(t->ev);
		return;
	}
	/* A bounded number: frames that come faster than they are discarded here are delivered. */
	for (int i = 0; i < 16 * MAX_PER_TURN && take(t->fd, hdr, frame); i++)
		continue;
	event_add(t->ev, NULL);
}

void nb_tap_free(struct nb_tap *t)
{
	if (!t)
		return;
	if (t->ev)
		event_free(t->ev);
	tv_close_fd(&t->fd);
	free(t);
}

int nb_replay_open(const char *bridge)
{
	return open_on(bridge, 0);
}

int nb_replay_send(int fd, const uint8_t vnet_hdr[NB_VNET_HDR_BYTES], const uint8_t *frame,
		   size_t bytes)
{
	struct iovec v[2] = {{(void *)vnet_hdr, NB_VNET_HDR_BYTES}, {(void *)frame, bytes}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};

	return sendmsg(fd, &m, MSG_DONTWAIT) < 0 ? -errno : 0;
}
