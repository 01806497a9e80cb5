/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network back ends. The NICs stay as they are; a tap or a bridge helper becomes a tap that QEMU
 * itself creates and that stays down until promotion. vhost goes: the device is the same without.
 */
#include "hv/standby/rewrite.h"

#include <ctype.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

/* "tv", eight letters or digits of the VM's id, "n", and the number: fits IFNAMSIZ. */
static void tap_name(struct hv_rewrite *rw, char name[64])
{
	unsigned n = 2;

	if (rw->conf->tap_prefix) {
		snprintf(name, 64, "%s%u", rw->conf->tap_prefix, rw->n_taps);
	} else {
		strcpy(name, "tv");
		for (const char *p = rw->conf->vm_id ? rw->conf->vm_id : ""; *p && n < 10; p++)
			if (isalnum((unsigned char)*p))
				name[n++] = *p;
		snprintf(name + n, 64 - n, "n%u", rw->n_taps);
	}
	rw->n_taps++;
	if (strlen(name) >= IFNAMSIZ)
		hv_rw_fail(rw, TV_E_REFUSED,
			   "the tap name %s is longer than %d letters; choose a shorter tap prefix",
			   name, IFNAMSIZ - 1);
}

/* fds=3:4 says how many queues there are; queues= does so when QEMU opens the tap. */
static void keep_queues(struct hv_rewrite *rw, struct hv_keyval *kv)
{
	const char *fds = hv_keyval_get(kv, "fds");
	unsigned n = 1;
	char text[16];

	if (!fds)
		return;
	for (; *fds; fds++)
		n += *fds == ':';
	snprintf(text, sizeof(text), "%u", n);
	if (n > 1)
		hv_rw_set(rw, kv, "queues", text);
}

static void to_tap(struct hv_rewrite *rw, struct hv_keyval *kv)
{
	static const char *const drop[] = {"fd",      "fds",	  "br",		"helper", "vhost",
					   "vhostfd", "vhostfds", "vhostforce", "poll-us"};
	char name[64];

	keep_queues(rw, kv);
	for (unsigned i = 0; i < sizeof(drop) / sizeof(*drop); i++)
		hv_keyval_del(kv, drop[i]);
	tap_name(rw, name);
	hv_rw_set(rw, kv, "type", "tap");
	hv_rw_set(rw, kv, "ifname", name);
	hv_rw_set(rw, kv, "script", "no");
	hv_rw_set(rw, kv, "downscript", "no");
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
