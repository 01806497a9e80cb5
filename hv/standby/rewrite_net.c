/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network back ends. The NICs stay as they are; a tap or a bridge helper becomes a tap that this
 * host makes, that QEMU gets as descriptors, and that stays down until promotion. vhost goes: the device is the same without.
 */
#include "hv/standby/rewrite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
