/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network back ends. The NICs stay as they are; a tap or a bridge helper becomes a tap that this
 * host makes, that QEMU gets as descriptors, and that stays down until promotion. vhost goes: the device is the same without.
 */
#include "hv/standby/rewrite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 65535 for what is no number up to that: none is asked for so. */
static unsigned number_of(json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n < 0 || n > UINT16_MAX ? UINT16_MAX : (unsigned)n;
}

/* fds=3:4 has as many queues as descriptors; queues= counts them when QEMU opens the tap. */
static unsigned count_queues(const struct hv_keyval *kv)
{
	const char *fds = hv_keyval_get(kv, "fds");
	unsigned long queues;
	unsigned n = 1;

	if (!fds) {
		queues = hv_keyval_number(kv, "queues", hv_keyval_get(kv, "queues") ? 0 : 1);
		return queues > HV_HOST_MAX_QUEUES ? 0 : (unsigned)queues;
	}
	for (; *fds; fds++)
		n += *fds == ':';
	return n;
}

static void set_fds(struct hv_rewrite *rw, struct hv_keyval *kv, unsigned queues)
{
	char text[8 * HV_HOST_MAX_QUEUES];
	size_t n = 0;

	for (unsigned i = 0; i < queues; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u", i ? ":" : "",
				      HV_HOST_FD_TAPS + rw->n_queues++);
	hv_rw_set(rw, kv, queues > 1 ? "fds" : "fd", text);
}

/* Where its like is on the primary; what of that is possible here, hv/host decides. */
static void place(struct hv_rewrite *rw, const char *id, struct hv_host_tap *tap)
{
	json_t *nic = NULL, *v, *nics = json_object_get(rw->desc, "nics");
	size_t i;

	json_array_foreach(nics, i, v) {
		const char *netdev = json_string_value(json_object_get(v, "netdev"));

		if (id && netdev && !strcmp(id, netdev))
			nic = v;
	}
	if (!tv_copy(tap->bridge, sizeof(tap->bridge),
		     json_string_value(json_object_get(nic, "bridge"))))
		hv_rw_fail(rw, TV_E_REFUSED, "the name of a NIC's bridge is too long");
	tap->mtu = number_of(nic, "mtu");
	json_array_foreach(json_object_get(nic, "vlans"), i, v) {
		if (i == HV_LINK_MAX_VLANS) {
			hv_rw_fail(rw, TV_E_REFUSED, "a NIC is in more than %d VLANs",
				   HV_LINK_MAX_VLANS);
			return;
		}
		tap->vlans[tap->n_vlans++] = (struct hv_link_vlan){
			.id = (uint16_t)number_of(v, "id"),
			.pvid = json_is_true(json_object_get(v, "pvid")),
			.untagged = json_is_true(json_object_get(v, "untagged"))};
	}
}

static void to_tap(struct hv_rewrite *rw, struct hv_keyval *kv)
{
	static const char *const drop[] = {
		"fd",	      "fds",	"br",	  "helper",	"vhost",   "vhostfd", "vhostfds",
		"vhostforce", "ifname", "script", "downscript", "poll-us", "queues",  "vnet_hdr"};
	struct hv_host_start *what = rw->what;
	const char *header = hv_keyval_get(kv, "vnet_hdr");
	unsigned queues = count_queues(kv);

	if (what->n_taps == HV_HOST_MAX_TAPS || !queues ||
	    rw->n_queues + queues > HV_HOST_MAX_QUEUES) {
		hv_rw_fail(rw, TV_E_REFUSED, "the VM has more than %d taps, or %d queues of taps",
			   HV_HOST_MAX_TAPS, HV_HOST_MAX_QUEUES);
		return;
	}
	what->taps[what->n_taps++] = (struct hv_host_tap){
		.queues = (unsigned char)queues,
		.no_vnet_hdr = header && !hv_keyval_is_on(kv, "vnet_hdr"),
	};
	place(rw, hv_keyval_get(kv, "id"), &what->taps[what->n_taps - 1]);
	for (unsigned i = 0; i < sizeof(drop) / sizeof(*drop); i++)
		hv_keyval_del(kv, drop[i]);
	hv_rw_set(rw, kv, "type", "tap");
	set_fds(rw, kv, queues);
}

/* hv_rw_parse takes the first word as the type, also in "-nic model=x", whose type is user. */
void hv_rw_net(struct hv_rewrite *rw, const char *option, const char *arg)
{
	const struct hv_allow *allow;
	struct hv_keyval kv;
	const char *type;
	char what[128];

	if (!hv_rw_parse(rw, &kv, option, arg, "type"))
		return;
	type = hv_keyval_get(&kv, "type");
	type = type ? type : "user";
	snprintf(what, sizeof(what), "%s %.100s", option, type);
	allow = hv_allow(HV_ALLOW_NETDEV, type);
	if (!allow || allow->remedy) {
		hv_rw_deny(rw, allow ? allow->remedy : "use tap, bridge or user", "%s", what);
	} else if (hv_rw_keys_ok(rw, &kv, allow->keys, what)) {
		if (!strcmp(type, "tap") || !strcmp(type, "bridge"))
			to_tap(rw, &kv);
		hv_rw_put_keyval(rw, option, &kv);
	}
	hv_keyval_dispose(&kv);
}
