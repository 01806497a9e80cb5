/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What wakes the plug: a frame has come to a tap; a queue, filter or device of the plug is gone. */
#include "netbuffer/plug_dev.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

/* ---- frames ---- */

/*
 * A packet socket receives a frame before the ingress queue redirects it. Its buffer is as small as
 * it gets: one or two frames fill it, and all that follow are refused before anything is copied or
 * anybody is woken. Only the first byte is kept. Frames that come back from the IFB skip packet
 * sockets (they are marked as classified), frames to the guest are left out.
 */
int plug_watch_open(unsigned ifindex, int *fd, struct tv_err *e)
{
	struct sock_filter first_byte = BPF_STMT(BPF_RET | BPF_K, 1);
	struct sock_fprog prog = {1, &first_byte};
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)ifindex};
	int one = 1, rc;

	*fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd >= 0 && !setsockopt(*fd, SOL_SOCKET, SO_RCVBUF, &one, sizeof(one)) &&
	    !setsockopt(*fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) &&
	    !setsockopt(*fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) &&
	    !bind(*fd, (struct sockaddr *)&at, sizeof(at)))
		return 0;
	rc = tv_fail(e, -ENOTSUP, "cannot watch for frames of interface %u: %s", ifindex,
		     strerror(errno));
	tv_close_fd(fd);
	return rc;
}

void plug_watch_empty(int fd)
{
	char byte;

	while (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC) >= 0)
		;
}

bool plug_watch_has(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC | MSG_PEEK) >= 0;
}

/* ---- what the kernel reports ---- */

/* The plug's own barriers and releases are reported too; the filter passes what can mean a loss. */
int plug_monitor_open(int *fd, struct tv_err *e)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELQDISC), 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELTFILTER), 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELLINK), 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWLINK), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, ~0u),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(*code), code};
	struct sockaddr_nl me = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_TC | RTMGRP_LINK};
	int rc;

	*fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (*fd >= 0 && !setsockopt(*fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) &&
	    !bind(*fd, (struct sockaddr *)&me, sizeof(me)))
		return 0;
	rc = tv_fail(e, -ENOTSUP, "cannot watch the kernel's network configuration: %s",
		     strerror(errno));
	tv_close_fd(fd);
	return rc;
}

static bool is_lost(const struct nlmsghdr *h, const struct plug_dev *d, uint32_t handle)
{
	const struct ifinfomsg *i = NLMSG_DATA(h);
	const struct tcmsg *t = NLMSG_DATA(h);
	unsigned tc_dev = (unsigned)t->tcm_ifindex, dev = (unsigned)i->ifi_index;

	switch (h->nlmsg_type) {
	case RTM_DELQDISC:
		return (tc_dev == d->ifindex && t->tcm_parent == TC_H_INGRESS) ||
		       (tc_dev == d->ifb_ifindex && t->tcm_handle == handle);
	case RTM_DELTFILTER:
		return tc_dev == d->ifindex && TC_H_MAJ(t->tcm_parent) == TC_H_MAJ(TC_H_INGRESS);
	case RTM_DELLINK: /* of AF_BRIDGE it means that the tap has left a bridge */
		return i->ifi_family != AF_BRIDGE && (dev == d->ifindex || dev == d->ifb_ifindex);
	case RTM_NEWLINK: /* a device that is down empties its queue */
		return dev == d->ifb_ifindex && !(i->ifi_flags & IFF_UP);
	default:
		return false;
	}
}

enum plug_news plug_news_read(const void *msg, size_t bytes, const struct plug_dev *d,
			      uint32_t handle)
{
	const struct nlmsghdr *h = msg;
	enum plug_news news = PLUG_NEWS_NONE;

	for (; NLMSG_OK(h, bytes); h = NLMSG_NEXT(h, bytes)) {
		if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)) ||
		    h->nlmsg_len < NLMSG_LENGTH(sizeof(struct tcmsg)))
			continue;
		if (is_lost(h, d, handle))
			return PLUG_NEWS_LOST;
		news = PLUG_NEWS_OTHER;
	}
	return news;
}
