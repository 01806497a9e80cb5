/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options that are changed, or refused, each for a reason of its own. */
#include "hv/standby/rewrite.h"

#include <stdlib.h>
#include <string.h>

/*
 * -nographic is three things: no display, a machine without graphics (the firmware sees it), and
 * the serial port on the terminal. The first two stay; without the third QEMU gives the same
 * default serial port a virtual console.
 */
void hv_rw_nographic(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)option;
	(void)arg;
	hv_rw_set(rw, &rw->machine, "graphics", "off");
}

/*
 * A display over the network becomes VNC on a socket in the standby's own folder: no port of this
 * host is opened because a peer asks for it, and no password is needed, as the folder is its user's and
 * root's. A window or a terminal is the primary's.
 */
void hv_rw_display(struct hv_rewrite *rw, const char *option, const char *arg)
{
	bool none = !strncmp(arg, "none", strcspn(arg, ","));
	bool vnc = hv_arg_is(option, "display") ? !strncmp(arg, "vnc", strcspn(arg, ",=")) : !none;
	TV_FREE char *path = NULL, *escaped = NULL;

	if (!vnc || rw->has_vnc)
		return;
	rw->has_vnc = true;
	path = hv_rw_local(rw, "vnc", ".sock");
	escaped = path ? hv_keyval_escape(path) : NULL;
	hv_rw_put(rw, "-vnc");
	hv_rw_putf(rw, "unix:%s", escaped ? escaped : "");
}

/* QEMU 9.0 has these two as properties of the machine only, which older ones know, too. */
void hv_rw_no_hpet(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)option;
	(void)arg;
	hv_rw_set(rw, &rw->machine, "hpet", "off");
}

void hv_rw_no_acpi(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)option;
	(void)arg;
	hv_rw_set(rw, &rw->machine, "acpi", "off");
}

/* Proxmox VE's number of the VM, for its tools: nothing in its QEMU depends on it. */
void hv_rw_number(struct hv_rewrite *rw, const char *option, const char *arg)
{
	if (!*arg || arg[strspn(arg, "0123456789")])
		hv_rw_deny(rw, NULL, "%s %s", option, arg);
	else if (rw->qemu->vm_number)
		hv_rw_keep(rw, option, arg);
}

/* A host's loudspeaker is the host's; the sound card stays. */
void hv_rw_audio(struct hv_rewrite *rw, const char *option, const char *arg)
{
	static const char *const keep[] = {"id", "model"};
	struct hv_keyval kv, none = {0};

	if (!hv_rw_parse(rw, &kv, option, arg, "driver"))
		return;
	hv_rw_set(rw, &none, "driver", "none");
	for (unsigned i = 0; i < sizeof(keep) / sizeof(*keep); i++)
		if (hv_keyval_get(&kv, keep[i]))
			hv_rw_set(rw, &none, keep[i], hv_keyval_get(&kv, keep[i]));
	hv_rw_put_keyval(rw, option, &none);
	hv_keyval_dispose(&none);
	hv_keyval_dispose(&kv);
}

/* What the VM writes goes to nameless files; with replicas those would be in the way. */
void hv_rw_snapshot(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)arg;
	if (json_array_size(json_object_get(rw->desc, "disks")))
		hv_rw_fail(rw, TV_E_REFUSED,
			   "option %s cannot be carried over to the standby: its writes are thrown "
			   "away when it ends; start the VM without",
			   option);
	else
		hv_rw_put(rw, option);
}

/* A standby has its own user, with fewer rights than any that the primary could have changed to. */
void hv_rw_runas(struct hv_rewrite *rw, const char *option, const char *arg)
{
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, strcmp(option, "-runas") ? NULL : "user"))
		return;
	if (hv_rw_keys_ok(rw, &kv, "user async-teardown exit-with-parent", option)) {
		hv_keyval_del(&kv, "user");
		hv_keyval_del(&kv, "exit-with-parent");
		if (kv.n) {
			hv_rw_put(rw, option);
			hv_rw_put_owned(rw, hv_keyval_print(&kv));
		}
	}
	hv_keyval_dispose(&kv);
}

/* A model and its features; no feature of a CPU names anything of the host. */
void hv_rw_cpu(struct hv_rewrite *rw, const char *option, const char *arg)
{
	if (strchr(arg, '/') || *arg == '{')
		hv_rw_deny(rw, NULL, "%s %.200s", option, arg);
	else
		hv_rw_keep(rw, option, arg);
}
