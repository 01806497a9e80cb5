/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a dead process's plug has left, found by listing the kernel's devices; and the probe. */
#include "netbuffer/plug_dev.h"
#include "netbuffer/tcmsg.h"

#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/if_ether.h>
#include <netlink/netlink.h>
#include <netlink/route/act/mirred.h>
#include <netlink/route/classifier.h>
#include <netlink/route/cls/matchall.h>
#include <netlink/route/link.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>

#define INGRESS_HANDLE TC_H_MAKE(0xffff0000u, 0u)
#define PROBE_LIMIT_BYTES 65536

/* ---- cleaning ---- */

/* Does the ingress queue of that device send frames to this IFB? */
static bool leads_to(struct nl_sock *sk, unsigned ifindex, unsigned ifb_ifindex)
{
	struct nl_cache *filters;
	bool found = false;

	if (rtnl_cls_alloc_cache(sk, (int)ifindex, INGRESS_HANDLE, &filters))
		return false;
	for (struct nl_object *o = nl_cache_get_first(filters); o && !found;
	     o = nl_cache_get_next(o)) {
		struct rtnl_cls *cls = (struct rtnl_cls *)o;
		struct rtnl_act *act;

		if (!rtnl_tc_get_kind(TC_CAST(cls)) ||
		    strcmp(rtnl_tc_get_kind(TC_CAST(cls)), "matchall"))
			continue;
		act = rtnl_mall_get_first_action(cls);
		if (!act)
			continue;
		found = !strcmp(rtnl_tc_get_kind(TC_CAST(act)), "mirred") &&
			rtnl_mirred_get_ifindex(act) == ifb_ifindex;
		rtnl_act_put(act);
	}
	nl_cache_put(filters);
	return found;
}

/* Which tap leads to this IFB? A tap that is gone has taken its filter along. */
static void find_tap(struct nl_sock *sk, struct nl_cache *queues, struct plug_dev *d)
{
	for (struct nl_object *o = nl_cache_get_first(queues); o; o = nl_cache_get_next(o)) {
		struct rtnl_tc *q = TC_CAST(o);
		unsigned ifindex = (unsigned)rtnl_tc_get_ifindex(q);

		if (rtnl_tc_get_parent(q) != TC_H_INGRESS || !leads_to(sk, ifindex, d->ifb_ifindex))
			continue;
		d->ifindex = ifindex;
		d->redirected = true;
		if (!if_indextoname(ifindex, d->ifname))
			snprintf(d->ifname, sizeof(d->ifname), "%u", ifindex);
		return;
	}
}

static void let_out(const struct plug_dev *d)
{
	struct tc_batch ask = {0}, open = {0};
	struct tc_counters c;
	uint32_t seq = 0;
	TV_CLOSE int fd = -1;

	tc_batch_get(&ask, d->ifb_ifindex);
	if (tc_open(&fd) || tc_exchange(fd, &seq, &ask, &c))
		return;
	tc_batch_plug(&open, d->ifb_ifindex, c.handle, TCQ_PLUG_RELEASE_INDEFINITE);
	if (tc_exchange(fd, &seq, &open, &c))
		tv_log(TV_WARN, "frames held in %s cannot be released and are dropped", d->ifb);
}

static int clean_one(struct nl_sock *sk, struct nl_cache *queues, struct rtnl_link *link,
		     bool release, struct tv_err *e)
{
	struct plug_dev d = {.made = true};

	d.ifb_ifindex = (unsigned)rtnl_link_get_ifindex(link);
	tv_copy(d.ifb, sizeof(d.ifb), rtnl_link_get_name(link));
	find_tap(sk, queues, &d);
	if (release)
		let_out(&d);
	return plug_dev_remove(sk, &d, release, e);
}

/* An IFB whose name is the prefix and digits. */
static bool is_ours(struct rtnl_link *link, const char *prefix)
{
	const char *type = rtnl_link_get_type(link), *name = rtnl_link_get_name(link);
	size_t n = strlen(prefix);

	return type && name && !strcmp(type, "ifb") && !strncmp(name, prefix, n) && name[n] &&
	       !name[n + strspn(name + n, "0123456789")];
}

int nb_plug_clean(const char *vm_id, bool release, struct tv_err *e)
{
	struct nl_cache *links = NULL, *queues = NULL;
	struct nl_sock *sk;
	char prefix[16];
	int rc = plug_sock_open(&sk, e), r;

	if (rc)
		return rc;
	plug_dev_name(prefix, vm_id, 0);
	prefix[strlen(prefix) - 1] = '\0';
	r = rtnl_link_alloc_cache(sk, AF_UNSPEC, &links);
	if (!r)
		r = rtnl_qdisc_alloc_cache(sk, &queues);
	if (r)
		rc = tv_fail(e, -EIO, "cannot list network devices: %s", nl_geterror(r));
	for (struct nl_object *o = r ? NULL : nl_cache_get_first(links); o;
	     o = nl_cache_get_next(o))
		if (is_ours((struct rtnl_link *)o, prefix)) {
			r = clean_one(sk, queues, (struct rtnl_link *)o, release, rc ? NULL : e);
			rc = rc ? rc : r;
		}
	nl_cache_put(queues);
	nl_cache_put(links);
	plug_sock_close(sk);
	return rc;
}

/* ---- the probe ---- */

/* Of probes that were killed: their names end with the pid. */
static void clean_probes(struct nl_sock *sk)
{
	struct nl_cache *links;

	if (rtnl_link_alloc_cache(sk, AF_UNSPEC, &links))
		return;
	for (struct nl_object *o = nl_cache_get_first(links); o; o = nl_cache_get_next(o)) {
		struct rtnl_link *link = (struct rtnl_link *)o;

		if ((is_ours(link, "tbx") || is_ours(link, "tby")) &&
		    kill(atoi(rtnl_link_get_name(link) + 3), 0) && errno == ESRCH)
			rtnl_link_delete(sk, link);
	}
	nl_cache_put(links);
}

/* Makes what is made for a tap, with a second IFB, which nothing sends to, in place of the tap. */
int nb_plug_probe(struct tv_err *e)
{
	struct plug_dev tap = {.made = true}, d = {0};
	struct rtnl_link *link = rtnl_link_alloc();
	struct nl_sock *sk = NULL;
	int rc = plug_sock_open(&sk, e), r;

	if (!rc)
		clean_probes(sk);
	snprintf(tap.ifb, sizeof(tap.ifb), "tbx%u", (unsigned)getpid());
	snprintf(d.ifb, sizeof(d.ifb), "tby%u", (unsigned)getpid());
	rtnl_link_set_name(link, tap.ifb);
	if (!rc && ((r = rtnl_link_set_type(link, "ifb")) ||
		    (r = rtnl_link_add(sk, link, NLM_F_CREATE | NLM_F_EXCL))))
		rc = tv_fail(e, -ENOTSUP, "cannot make a queueing device (ifb): %s",
			     nl_geterror(r));
	rtnl_link_put(link);
	if (rc)
		goto out;
	tap.ifb_ifindex = d.ifindex = if_nametoindex(tap.ifb);
	memcpy(d.ifname, tap.ifb, sizeof(d.ifname));
	rc = plug_dev_make(sk, &d, PROBE_LIMIT_BYTES, e);
	if (!rc)
		rc = plug_dev_remove(sk, &d, false, e);
	if (plug_dev_remove(sk, &tap, false, NULL))
		tv_log(TV_WARN, "the queueing device %s could not be removed", tap.ifb);
out:
	plug_sock_close(sk);
	return rc ? -ENOTSUP : 0;
}
