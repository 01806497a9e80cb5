/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rtnetlink requests to plug queues, and their answers. */
#include "netbuffer/tcmsg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <linux/gen_stats.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#define ANSWER_BYTES 4096
#define ANSWER_S 1

/* ---- requests ---- */

static struct nlmsghdr *begin(struct tc_batch *b, uint16_t type, unsigned ifindex, uint32_t handle)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)(b->data + b->bytes);
	struct tcmsg *t = NLMSG_DATA(h);

	if (b->n == TC_BATCH_MAX || b->bytes + 64 > sizeof(b->data))
		abort(); /* the caller counts */
	memset(h, 0, 64);
	h->nlmsg_len = NLMSG_LENGTH(sizeof(*t));
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ECHO;
	t->tcm_family = AF_UNSPEC;
	t->tcm_ifindex = (int)ifindex;
	t->tcm_handle = handle;
	t->tcm_parent = TC_H_ROOT;
	return h;
}

static void add(struct nlmsghdr *h, uint16_t type, const void *p, size_t n)
{
	struct rtattr *a = (struct rtattr *)(void *)((uint8_t *)h + NLMSG_ALIGN(h->nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(n);
	memcpy(RTA_DATA(a), p, n);
	h->nlmsg_len = NLMSG_ALIGN(h->nlmsg_len) + (uint32_t)RTA_ALIGN(a->rta_len);
}

static void end(struct tc_batch *b, const struct nlmsghdr *h)
{
	b->bytes += NLMSG_ALIGN(h->nlmsg_len);
	b->n++;
}

void tc_batch_plug(struct tc_batch *b, unsigned ifindex, uint32_t handle, int action)
{
	struct nlmsghdr *h = begin(b, RTM_NEWQDISC, ifindex, handle);
	struct tc_plug_qopt opt = {.action = action};

	add(h, TCA_KIND, "plug", 5);
	add(h, TCA_OPTIONS, &opt, sizeof(opt));
	end(b, h);
}

void tc_batch_get(struct tc_batch *b, unsigned ifindex)
{
	struct nlmsghdr *h = begin(b, RTM_GETQDISC, ifindex, 0);

	end(b, h);
}

/* ---- answers ---- */

static void take_stats2(const struct rtattr *nest, struct tc_counters *out)
{
	int left = (int)RTA_PAYLOAD(nest);

	for (const struct rtattr *a = RTA_DATA(nest); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		struct gnet_stats_basic basic;
		struct gnet_stats_queue queue;

		/* Copied: 64-bit fields lie at multiples of four. basic may have lost its
		 * padding. */
		if (a->rta_type == TCA_STATS_BASIC && RTA_PAYLOAD(a) >= 12) {
			memcpy(&basic, RTA_DATA(a), 12);
			out->bytes = basic.bytes;
			out->packets = basic.packets;
		} else if (a->rta_type == TCA_STATS_QUEUE && RTA_PAYLOAD(a) >= sizeof(queue)) {
			memcpy(&queue, RTA_DATA(a), sizeof(queue));
			out->qlen = queue.qlen;
			out->backlog_bytes = queue.backlog;
			out->drops = queue.drops;
		}
	}
}

static int take_qdisc(const struct nlmsghdr *h, struct tc_counters *out)
{
	const struct tcmsg *t = NLMSG_DATA(h);
	int left = (int)h->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*t));
	bool have = false;

	if (left < 0)
		return -EBADMSG;
	*out = (struct tc_counters){.handle = t->tcm_handle};
	for (const struct rtattr *a = TCA_RTA(t); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if ((a->rta_type & NLA_TYPE_MASK) == TCA_STATS2) {
			take_stats2(a, out);
			have = true;
		}
	return have ? 0 : -EBADMSG;
}

int tc_parse(const void *buf, size_t bytes, size_t *used, uint32_t *seq, struct tc_counters *out)
{
	const struct nlmsghdr *h = buf;

	*seq = 0;
	*used = bytes;
	if (bytes < sizeof(*h) || h->nlmsg_len < sizeof(*h) || h->nlmsg_len > bytes)
		return -EBADMSG;
	if (NLMSG_ALIGN(h->nlmsg_len) < bytes)
		*used = NLMSG_ALIGN(h->nlmsg_len);
	if (h->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *err = NLMSG_DATA(h);

		if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*err)) || err->error > 0)
			return -EBADMSG;
		*seq = h->nlmsg_seq;
		return err->error ? err->error : -EAGAIN;
	}
	if (h->nlmsg_type != RTM_NEWQDISC)
		return -EAGAIN;
	*seq = h->nlmsg_seq;
	return take_qdisc(h, out);
}

/* ---- the exchange ---- */

int tc_open(int *fd)
{
	struct sockaddr_nl me = {.nl_family = AF_NETLINK};
	struct timeval tv = {ANSWER_S, 0};

	*fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (*fd < 0)
		return -errno;
	if (!bind(*fd, (struct sockaddr *)&me, sizeof(me)) &&
	    !setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)))
		return 0;
	tv_close_fd(fd);
	return -EIO;
}

static void number(struct tc_batch *b, uint32_t first)
{
	for (size_t at = 0; at < b->bytes;) {
		struct nlmsghdr *h = (struct nlmsghdr *)(void *)(b->data + at);

		h->nlmsg_seq = first++;
		at += NLMSG_ALIGN(h->nlmsg_len);
	}
}

/* Reads one datagram; counts the answers to requests first ... first + n - 1 in it. The first
 * refusal goes to *rc. Negative: nothing more will come. */
static int read_answers(int fd, uint32_t first, unsigned n, unsigned *got, struct tc_counters *out,
			int *rc)
{
	uint8_t buf[ANSWER_BYTES] __attribute__((aligned(8)));
	ssize_t r;

	do {
		r = recv(fd, buf, sizeof(buf), 0);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	for (size_t at = 0, used; at < (size_t)r; at += used) {
		struct tc_counters c;
		uint32_t seq;
		int one = tc_parse(buf + at, (size_t)r - at, &used, &seq, &c);

		if (one == -EAGAIN || (one != -EBADMSG && (seq < first || seq - first >= n)))
			continue;
		(*got)++;
		if (!one)
			out[seq - first] = c;
		else if (!*rc)
			*rc = one;
	}
	return 0;
}

int tc_exchange(int fd, uint32_t *seq, struct tc_batch *b, struct tc_counters *out)
{
	uint32_t first = *seq + 1;
	unsigned got = 0;
	int rc = 0, r;

	if (!first || first + b->n < first) /* 0 numbers no request */
		first = 1;
	*seq = first + b->n;
	number(b, first);
	do {
		r = send(fd, b->data, b->bytes, 0) < 0 ? -errno : 0;
	} while (r == -EINTR);
	if (r)
		return r;
	while (got < b->n && !r)
		r = read_answers(fd, first, b->n, &got, out, &rc);
	return r ? r : rc;
}
