/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bridges and their ports through rtnetlink: /sys shows another namespace's where it is not mounted anew. */
#include "hv/qemu/link.h"

#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <string.h>
#include <sys/socket.h>

/* libnl's errors are its own; most have an errno. */
static int to_errno(int nl)
{
	switch (nl < 0 ? -nl : nl) {
	case 0:
		return 0;
	case NLE_NODEV:
	case NLE_OBJ_NOTFOUND:
		return -ENODEV;
	case NLE_PERM:
	case NLE_NOACCESS:
		return -EPERM;
	case NLE_OPNOTSUPP:
		return -EOPNOTSUPP;
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_EXIST:
		return -EEXIST;
	default:
		return -EIO;
	}
}

/* acks: each request is answered with one more message. */
static struct nl_sock *open_sock(bool acks)
{
	struct nl_sock *sk = nl_socket_alloc();

	if (sk && nl_connect(sk, NETLINK_ROUTE)) {
		nl_socket_free(sk);
		sk = NULL;
	}
	if (sk && !acks)
		nl_socket_disable_auto_ack(sk);
	return sk;
}

static struct nl_msg *new_msg(int type, int flags, int family, unsigned ifindex)
{
	struct ifinfomsg info = {.ifi_family = (unsigned char)family, .ifi_index = (int)ifindex};
	struct nl_msg *m = nlmsg_alloc_simple(type, flags);

	if (m && nlmsg_append(m, &info, sizeof(info), NLMSG_ALIGNTO)) {
		nlmsg_free(m);
		m = NULL;
	}
	return m;
}

/* ---- reading ---- */
struct reading {
	unsigned ifindex;
	struct hv_link *out;
	bool found;
};

static void take_kind(struct nlattr *info, struct hv_link *out)
{
	struct nlattr *a[IFLA_INFO_MAX + 1];

	if (info && !nla_parse_nested(a, IFLA_INFO_MAX, info, NULL) && a[IFLA_INFO_KIND])
		nla_strlcpy(out->kind, a[IFLA_INFO_KIND], sizeof(out->kind));
}

static int on_link(struct nl_msg *m, void *arg)
{
	struct nlattr *a[IFLA_MAX + 1];
	struct reading *r = arg;

	if (nlmsg_parse(nlmsg_hdr(m), sizeof(struct ifinfomsg), a, IFLA_MAX, NULL))
		return NL_SKIP;
	r->found = true;
	take_kind(a[IFLA_LINKINFO], r->out);
	if (a[IFLA_MTU])
		r->out->mtu = nla_get_u32(a[IFLA_MTU]);
	if (!a[IFLA_MASTER] || !if_indextoname(nla_get_u32(a[IFLA_MASTER]), r->out->master))
		r->out->master[0] = '\0';
	return NL_OK;
}

static void take_vlan(struct hv_link *out, unsigned id, unsigned flags)
{
	if (out->n_vlans == HV_LINK_MAX_VLANS) {
		out->more_vlans = true;
		return;
	}
	out->vlans[out->n_vlans++] =
		(struct hv_link_vlan){.id = (uint16_t)id,
				      .pvid = flags & BRIDGE_VLAN_INFO_PVID,
				      .untagged = flags & BRIDGE_VLAN_INFO_UNTAGGED};
}

static int on_port(struct nl_msg *m, void *arg)
{
	struct nlattr *a[IFLA_MAX + 1], *v;
	const struct ifinfomsg *info = nlmsg_data(nlmsg_hdr(m));
	struct reading *r = arg;
	int left;

	if (info->ifi_index != (int)r->ifindex ||
	    nlmsg_parse(nlmsg_hdr(m), sizeof(*info), a, IFLA_MAX, NULL) || !a[IFLA_AF_SPEC])
		return NL_SKIP;
	nla_for_each_nested(v, a[IFLA_AF_SPEC], left)
	{
		struct bridge_vlan_info vlan;

		if (nla_type(v) != IFLA_BRIDGE_VLAN_INFO || nla_len(v) < (int)sizeof(vlan))
			continue;
		memcpy(&vlan, nla_data(v), sizeof(vlan));
		take_vlan(r->out, vlan.vid, vlan.flags);
	}
	return NL_OK;
}

/* Sends m, which it frees, and calls back for each answer. */
static int ask(struct nl_sock *sk, struct nl_msg *m, nl_recvmsg_msg_cb_t cb, struct reading *r)
{
	int rc = m ? 0 : -NLE_NOMEM;

	if (!rc)
		rc = nl_socket_modify_cb(sk, NL_CB_VALID, NL_CB_CUSTOM, cb, r);
	if (!rc)
		rc = nl_send_auto(sk, m);
	if (rc >= 0)
		rc = nl_recvmsgs_default(sk);
	nlmsg_free(m);
	return to_errno(rc < 0 ? rc : 0);
}

int hv_link_read(const char *name, struct hv_link *out)
{
	struct reading r = {.ifindex = if_nametoindex(name), .out = out};
	struct nl_sock *sk;
	struct nl_msg *m;
	int rc;

	*out = (struct hv_link){0};
	if (!r.ifindex)
		return -ENODEV;
	sk = open_sock(false);
	if (!sk)
		return -ENOMEM;
	rc = ask(sk, new_msg(RTM_GETLINK, 0, AF_UNSPEC, r.ifindex), on_link, &r);
	if (!rc && !r.found)
		rc = -ENODEV;
	/* Only a list of all ports has their VLANs. */
	m = rc || !out->master[0] ? NULL : new_msg(RTM_GETLINK, NLM_F_DUMP, AF_BRIDGE, 0);
	if (m && !nla_put_u32(m, IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN))
		rc = ask(sk, m, on_port, &r);
	else
		nlmsg_free(m);
	nl_socket_free(sk);
	return rc;
}

bool hv_link_vlans_default(const struct hv_link_vlan *vlans, unsigned n)
{
	return !n || (n == 1 && vlans[0].id == 1 && vlans[0].pvid && vlans[0].untagged);
}

/* ---- setting ---- */
static int change(struct nl_sock *sk, int type, unsigned ifindex, const struct hv_link_vlan *v)
{
	struct bridge_vlan_info info = {.vid = v->id};
	struct nl_msg *m = new_msg(type, NLM_F_REQUEST | NLM_F_ACK, AF_BRIDGE, ifindex);
	struct nlattr *spec = m ? nla_nest_start(m, IFLA_AF_SPEC) : NULL;
	int rc = -NLE_NOMEM;

	info.flags = (uint16_t)((v->pvid ? BRIDGE_VLAN_INFO_PVID : 0) |
				(v->untagged ? BRIDGE_VLAN_INFO_UNTAGGED : 0));
	if (spec && !nla_put(m, IFLA_BRIDGE_VLAN_INFO, sizeof(info), &info)) {
		nla_nest_end(m, spec);
		rc = nl_send_sync(sk, m); /* frees it */
		m = NULL;
	}
	nlmsg_free(m);
	return to_errno(rc < 0 ? rc : 0);
}

int hv_link_set_vlans(const char *port, const struct hv_link_vlan *vlans, unsigned n)
{
	static const struct hv_link_vlan first = {.id = 1};
	unsigned ifindex = if_nametoindex(port);
	struct nl_sock *sk = ifindex ? open_sock(true) : NULL;
	bool has_first = false;
	int rc = !ifindex ? -ENODEV : sk ? 0 : -ENOMEM;

	for (unsigned i = 0; i < n && !rc; i++) {
		has_first |= vlans[i].id == 1;
		rc = change(sk, RTM_SETLINK, ifindex, &vlans[i]);
	}
	/* A bridge gives it to each new port; where it does not, it is not there. */
	if (!rc && !has_first)
		(void)!change(sk, RTM_DELLINK, ifindex, &first);
	nl_socket_free(sk);
	return rc;
}
