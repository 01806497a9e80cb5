/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plug's devices, queues and filters: made, renewed, removed. */
#include "netbuffer/plug_dev.h"
#include "netbuffer/tcmsg.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/tc_act/tc_mirred.h>
#include <netlink/netlink.h>
#include <netlink/route/act/mirred.h>
#include <netlink/route/classifier.h>
#include <netlink/route/cls/matchall.h>
#include <netlink/route/link.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/plug.h>
#include <netlink/route/tc.h>

/* Released frames beyond this wait in the plug queue instead: no matter, but a stop and go. */
#define IFB_QUEUE_FRAMES 16384
#define INGRESS_HANDLE TC_H_MAKE(0xffff0000u, 0u)
#define LEAVE_MS 500

int plug_sock_open(struct nl_sock **out, struct tv_err *e)
{
	struct nl_sock *sk = nl_socket_alloc();
	int r = sk ? nl_connect(sk, NETLINK_ROUTE) : -NLE_NOMEM;

	*out = NULL;
	if (r) {
		nl_socket_free(sk);
		return tv_fail(e, -EIO, "cannot open a netlink socket: %s", nl_geterror(r));
	}
	*out = sk;
	return 0;
}

void plug_sock_close(struct nl_sock *sk)
{
	nl_socket_free(sk);
}

void plug_dev_name(char out[16], const char *vm_id, unsigned nth)
{
	unsigned n = 2;

	strcpy(out, "tb");
	for (; *vm_id && n < 2 + NB_PLUG_ID_DIGITS; vm_id++)
		if (isalnum((unsigned char)*vm_id))
			out[n++] = *vm_id;
	snprintf(out + n, 16 - n, "p%u", nth);
}

/* ---- what stands against it ---- */

static int check_no_ingress(struct nl_sock *sk, const struct plug_dev *d, struct tv_err *e)
{
	struct nl_cache *all;
	struct rtnl_qdisc *q;
	int r = rtnl_qdisc_alloc_cache(sk, &all);

	if (r)
		return tv_fail(e, -EIO, "cannot list queues: %s", nl_geterror(r));
	q = rtnl_qdisc_get_by_parent(all, (int)d->ifindex, TC_H_INGRESS);
	if (q)
		tv_fail(e, 0,
			"tap %s already has an ingress queue (%s): remove it with 'tc qdisc del dev "
			"%s ingress', or the relay is used",
			d->ifname, rtnl_tc_get_kind(TC_CAST(q)), d->ifname);
	r = q ? -EBUSY : 0;
	rtnl_qdisc_put(q);
	nl_cache_put(all);
	return r;
}

static bool is_zero_mask(const char *text)
{
	return !text[strspn(text, "0,\n")];
}

/*
 * With packet steering (RPS) or NAPI, a frame can still be on its way after the write that brought
 * it has returned: then it is not known when all are in the queue (see plug.c).
 */
static int check_synchronous(const struct plug_dev *d, struct tv_err *e)
{
	char pattern[96];
	glob_t g;
	int rc = 0;

	snprintf(pattern, sizeof(pattern), "/sys/class/net/%s/queues/rx-*/rps_cpus", d->ifname);
	if (glob(pattern, 0, NULL, &g))
		return 0; /* a kernel without */
	for (size_t i = 0; i < g.gl_pathc && !rc; i++) {
		TV_FREE char *text = NULL;
		size_t n;

		if (!tv_read_file(g.gl_pathv[i], 4096, &text, &n) && !is_zero_mask(text))
			rc = tv_fail(
				e, -ENOTSUP,
				"tap %s has packet steering (RPS): write 0 into its "
				"queues/rx-*/rps_cpus under /sys/class/net, or the relay is used",
				d->ifname);
	}
	globfree(&g);
	return rc;
}

/* ---- making ---- */

static int fail_nl(struct tv_err *e, int r, const char *what, const char *dev)
{
	int rc = r == -NLE_EXIST ? -EEXIST : r == -NLE_NODEV ? -ENODEV : -ENOTSUP;

	return tv_fail(e, rc, "cannot %s %s: %s", what, dev, nl_geterror(r));
}

static int set_up_link(struct nl_sock *sk, struct plug_dev *d, unsigned mtu, struct tv_err *e)
{
	struct rtnl_link *link = rtnl_link_alloc(), *change = rtnl_link_alloc();
	char alias[80], path[80];
	int r;

	rtnl_link_set_name(link, d->ifb);
	r = rtnl_link_set_type(link, "ifb");
	rtnl_link_set_mtu(link, mtu);
	rtnl_link_set_txqlen(link, IFB_QUEUE_FRAMES);
	if (!r)
		r = rtnl_link_add(sk, link, NLM_F_CREATE | NLM_F_EXCL);
	if (r) {
		fail_nl(e, r, "make the queueing device (ifb)", d->ifb);
		goto out;
	}
	d->made = true;
	d->ifb_ifindex = if_nametoindex(d->ifb);
	/* Else the host speaks IPv6 on it and sends frames into the queue at any moment. */
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", d->ifb);
	if (!access(path, F_OK)) {
		FILE *f = fopen(path, "w");

		if (!f || fputs("1", f) < 0 || fclose(f)) {
			r = -NLE_PERM;
			fail_nl(e, r, "write", path);
			goto out;
		}
	}
	snprintf(alias, sizeof(alias), "twinvm holds the output of %s here", d->ifname);
	rtnl_link_set_ifalias(change, alias);
	rtnl_link_set_flags(change, IFF_UP);
	rtnl_link_set_ifindex(link, (int)d->ifb_ifindex);
	r = rtnl_link_change(sk, link, change, 0);
	if (r)
		fail_nl(e, r, "bring up", d->ifb);
out:
	rtnl_link_put(link);
	rtnl_link_put(change);
	return r ? -ENOTSUP : 0;
}

static int put_queue(struct nl_sock *sk, unsigned ifindex, uint32_t parent, uint32_t handle,
		     const char *kind, uint32_t limit_bytes, int flags)
{
	struct rtnl_qdisc *q = rtnl_qdisc_alloc();
	int r;

	rtnl_tc_set_ifindex(TC_CAST(q), (int)ifindex);
	rtnl_tc_set_parent(TC_CAST(q), parent);
	rtnl_tc_set_handle(TC_CAST(q), handle);
	r = rtnl_tc_set_kind(TC_CAST(q), kind);
	if (!r && limit_bytes)
		r = rtnl_qdisc_plug_set_limit(q, (int)limit_bytes);
	if (!r)
		r = rtnl_qdisc_add(sk, q, NLM_F_CREATE | flags);
	rtnl_qdisc_put(q);
	return r;
}

/* Everything, whatever its protocol, to the IFB. */
static int redirect(struct nl_sock *sk, const struct plug_dev *d)
{
	struct rtnl_cls *cls = rtnl_cls_alloc();
	struct rtnl_act *act = rtnl_act_alloc();
	int r;

	rtnl_tc_set_ifindex(TC_CAST(cls), (int)d->ifindex);
	rtnl_tc_set_parent(TC_CAST(cls), INGRESS_HANDLE);
	rtnl_cls_set_prio(cls, 1);
	rtnl_cls_set_protocol(cls, ETH_P_ALL);
	if (!(r = rtnl_tc_set_kind(TC_CAST(cls), "matchall")) &&
	    !(r = rtnl_tc_set_kind(TC_CAST(act), "mirred")) &&
	    !(r = rtnl_mirred_set_action(act, TCA_EGRESS_REDIR)) &&
	    !(r = rtnl_mirred_set_policy(act, TC_ACT_STOLEN)) &&
	    !(r = rtnl_mirred_set_ifindex(act, d->ifb_ifindex)) &&
	    !(r = rtnl_mall_append_action(cls, act)))
		r = rtnl_cls_add(sk, cls, NLM_F_CREATE | NLM_F_EXCL);
	rtnl_act_put(act);
	rtnl_cls_put(cls);
	return r;
}

static int open_queue(const struct plug_dev *d)
{
	struct tc_batch b = {0};
	struct tc_counters c;
	uint32_t seq = 0;
	TV_CLOSE int fd = -1;
	int rc = tc_open(&fd);

	if (rc)
		return rc;
	tc_batch_plug(&b, d->ifb_ifindex, PLUG_HANDLE, TCQ_PLUG_RELEASE_INDEFINITE);
	return tc_exchange(fd, &seq, &b, &c);
}

static int make(struct nl_sock *sk, struct plug_dev *d, uint32_t limit_bytes, struct tv_err *e)
{
	struct rtnl_link *tap = NULL;
	unsigned mtu;
	int r = rtnl_link_get_kernel(sk, (int)d->ifindex, NULL, &tap), rc;

	if (r)
		return fail_nl(e, r, "find the tap", d->ifname);
	mtu = rtnl_link_get_mtu(tap);
	rtnl_link_put(tap);
	if ((rc = check_no_ingress(sk, d, e)) || (rc = check_synchronous(d, e)) ||
	    (rc = set_up_link(sk, d, mtu, e)))
		return rc;
	r = put_queue(sk, d->ifb_ifindex, TC_H_ROOT, PLUG_HANDLE, "plug", limit_bytes, NLM_F_EXCL);
	if (r)
		return fail_nl(e, r, "put a plug queue (sch_plug) on", d->ifb);
	rc = open_queue(d);
	if (rc)
		return tv_fail(e, rc, "cannot open the queue of %s: %s", d->ifb, tv_strerror(rc));
	/* Last: up to here frames are not redirected. */
	r = put_queue(sk, d->ifindex, TC_H_INGRESS, INGRESS_HANDLE, "ingress", 0, NLM_F_EXCL);
	if (r)
		return fail_nl(e, r, "put an ingress queue on", d->ifname);
	d->redirected = true;
	r = redirect(sk, d);
	return r ? fail_nl(e, r, "redirect (matchall, mirred) what comes from", d->ifname) : 0;
}

int plug_dev_make(struct nl_sock *sk, struct plug_dev *d, uint32_t limit_bytes, struct tv_err *e)
{
	int rc = make(sk, d, limit_bytes, e);

	if (rc && plug_dev_remove(sk, d, true, NULL))
		tv_log(TV_WARN, "the queueing device %s could not be removed", d->ifb);
	return rc;
}

int plug_dev_renew(struct nl_sock *sk, const struct plug_dev *d, uint32_t handle,
		   uint32_t limit_bytes, struct tv_err *e)
{
	int r = put_queue(sk, d->ifb_ifindex, TC_H_ROOT, handle, "plug", limit_bytes,
			  NLM_F_REPLACE);

	return r ? fail_nl(e, r, "renew the queue of", d->ifb) : 0;
}

/* ---- removing ---- */

uint64_t plug_dev_on_their_way(struct nl_sock *sk, const struct plug_dev *d)
{
	struct rtnl_link *link = NULL;
	uint64_t in, out;

	if (rtnl_link_get_kernel(sk, (int)d->ifb_ifindex, NULL, &link))
		return 0;
	in = rtnl_link_get_stat(link, RTNL_LINK_RX_PACKETS);
	out = rtnl_link_get_stat(link, RTNL_LINK_TX_PACKETS) +
	      rtnl_link_get_stat(link, RTNL_LINK_RX_DROPPED);
	rtnl_link_put(link);
	return in > out ? in - out : 0;
}

/* Until the queue and what is behind it are empty; the kernel does not report that, so poll. */
static void await_empty(struct nl_sock *sk, const struct plug_dev *d)
{
	int64_t until = tv_now_ns() + LEAVE_MS * TV_NS_PER_MS;
	uint32_t seq = 0;
	TV_CLOSE int fd = -1;

	if (tc_open(&fd))
		return;
	do {
		struct tc_batch b = {0};
		struct tc_counters c = {0};

		tc_batch_get(&b, d->ifb_ifindex);
		if (tc_exchange(fd, &seq, &b, &c) || (!c.qlen && !plug_dev_on_their_way(sk, d)))
			return;
		poll(NULL, 0, 1);
	} while (tv_now_ns() < until);
}

static int remove_ingress(struct nl_sock *sk, const struct plug_dev *d)
{
	struct rtnl_qdisc *q = rtnl_qdisc_alloc();
	int r;

	rtnl_tc_set_ifindex(TC_CAST(q), (int)d->ifindex);
	rtnl_tc_set_parent(TC_CAST(q), TC_H_INGRESS);
	r = rtnl_qdisc_delete(sk, q);
	rtnl_qdisc_put(q);
	/* Gone with its tap, or removed by an operator. */
	return r == -NLE_NODEV || r == -NLE_OBJ_NOTFOUND || r == -NLE_INVAL ? 0 : r;
}

static int remove_link(struct nl_sock *sk, const struct plug_dev *d)
{
	struct rtnl_link *link = rtnl_link_alloc();
	int r;

	rtnl_link_set_ifindex(link, (int)d->ifb_ifindex);
	r = rtnl_link_delete(sk, link);
	rtnl_link_put(link);
	return r == -NLE_NODEV || r == -NLE_OBJ_NOTFOUND ? 0 : r;
}

int plug_dev_remove(struct nl_sock *sk, struct plug_dev *d, bool release, struct tv_err *e)
{
	int r1 = 0, r2 = 0;

	if (!release && d->made) {
		r2 = remove_link(sk, d);
		d->made = r2 != 0;
	}
	/* From here on frames are not redirected: those in the queue must leave first, or be
	 * overtaken. */
	if (release && d->redirected)
		await_empty(sk, d);
	if (d->redirected) {
		r1 = remove_ingress(sk, d);
		d->redirected = r1 != 0;
	}
	if (release && d->made) {
		await_empty(sk, d);
		r2 = remove_link(sk, d);
		d->made = r2 != 0;
	}
	if (r1)
		return fail_nl(e, r1, "remove the ingress queue of", d->ifname);
	return r2 ? fail_nl(e, r2, "remove", d->ifb) : 0;
}
