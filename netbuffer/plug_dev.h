/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the plug way makes in the kernel for one tap, and its removal: an IFB device with a plug
 * queue at its root, an ingress queue on the tap, a filter there that redirects everything to the
 * IFB. Through libnl; never on the hot path. Private to netbuffer/.
 */
#ifndef NETBUFFER_PLUG_DEV_H
#define NETBUFFER_PLUG_DEV_H

#include "netbuffer/netbuffer.h"

struct nl_sock;

#define PLUG_HANDLE 0x10000u /* 1: */

struct plug_dev {
	char ifname[16]; /* the tap */
	unsigned ifindex;
	char ifb[16];
	unsigned ifb_ifindex;
	bool made, redirected;
};

int plug_sock_open(struct nl_sock **out, struct tv_err *e) TV_MUST_CHECK;
void plug_sock_close(struct nl_sock *sk);

/* "tb", the digits, the number. */
void plug_dev_name(char out[16], const char *vm_id, unsigned nth);
/*
 * Makes all of it; frames pass (the queue lets everything through) when it returns. d->ifname,
 * ifindex and ifb are given. On failure what was made is removed. Negative errno.
 */
int plug_dev_make(struct nl_sock *sk, struct plug_dev *d, uint32_t limit_bytes,
		  struct tv_err *e) TV_MUST_CHECK;
/* Replaces the queue by an empty one that holds from the start: what was in it is gone. */
int plug_dev_renew(struct nl_sock *sk, const struct plug_dev *d, uint32_t handle,
		   uint32_t limit_bytes, struct tv_err *e) TV_MUST_CHECK;
/*
 * Removes all of it. release: the queue lets everything through already; what is in it leaves
 * before the device goes. Otherwise the device goes first, and what it held with it.
 */
int plug_dev_remove(struct nl_sock *sk, struct plug_dev *d, bool release,
		    struct tv_err *e) TV_MUST_CHECK;
/* Frames that have left the queue and are not yet back at the tap; 0 also when that is not
 * known. */
uint64_t plug_dev_on_their_way(struct nl_sock *sk, const struct plug_dev *d);

/* A socket that is readable when a frame from the guest has come to the tap since it was emptied,
 * see plug.c. */
int plug_watch_open(unsigned ifindex, int *fd, struct tv_err *e) TV_MUST_CHECK;
/* Takes out what is in it. HOT. */
void plug_watch_empty(int fd);
bool plug_watch_has(int fd);

/* A socket on which the kernel reports that queues, filters or devices have been removed. */
int plug_monitor_open(int *fd, struct tv_err *e) TV_MUST_CHECK;
/* Reads one report. PLUG_NEWS_LOST when something of d is gone; handle: of its queue now. */
enum plug_news { PLUG_NEWS_NONE, PLUG_NEWS_OTHER, PLUG_NEWS_LOST };
enum plug_news plug_news_read(const void *msg, size_t bytes, const struct plug_dev *d,
			      uint32_t handle);

#endif
