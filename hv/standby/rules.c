/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What becomes of each of QEMU's options on the standby's command line. The line comes from a peer,
 * and this host runs it, so an option that is not in the table is refused, and so is a key of one
 * that is. Three rules decide the table:
 *
 *   - the standby must have exactly the primary's devices, or its state does not load;
 *   - nothing that belongs to the primary's host or session (monitors, displays, logs, debuggers)
 *     comes along: it is dropped, as it changes nothing for the guest. What an operator looks at (a
 *     console, a display) gets a place in the standby's own folder instead;
 *   - nothing opens a file, socket or program of this host that the peer chooses, but for files
 *     below the folders that this host's operator named (media.c): it is refused by name.
 *
 * What lies inside -object, -netdev, -chardev, -blockdev and -global is in allow.c, devices are in
 * hv/qemu/drivers.c.
 *
 * To add an option: a line here, a handler in one of the rewrite_*.c files if none fits, and a case
 * in tests/unit/test_hv_standby_allow.c.
 */
#include "hv/standby/rewrite.h"

#include <stdlib.h>
#include <string.h>

#define CONFIG "its file cannot be read on the VM's host; put it there, or write the options out"
#define FOLDER "a shared folder cannot be held back; use NFS or a disk"
#define SEMI "with it the guest reaches files of its host"
#define XEN "Xen is another hypervisor"

#define RULE(n, a, m)                            \
	{                                        \
		.name = n, .arity = a, .make = m \
	}
#define KEYED(n, m, i, k)                                                   \
	{                                                                   \
		.name = n, .arity = ARG, .make = m, .implied = i, .keys = k \
	}
#define REFUSED(n, a, r)                                                 \
	{                                                                \
		.name = n, .arity = a, .make = hv_rw_refuse, .remedy = r \
	}

static const struct hv_rw_rule rules[] = {
	RULE("M", ARG, hv_rw_machine),
	RULE("machine", ARG, hv_rw_machine),
	RULE("m", ARG, hv_rw_memory),
	RULE("mem-path", ARG, hv_rw_drop),
	RULE("mem-prealloc", FLAG, hv_rw_drop),
	RULE("object", ARG, hv_rw_object),
	RULE("global", ARG, hv_rw_global),
	RULE("incoming", ARG, hv_rw_drop),
	RULE("loadvm", ARG, hv_rw_drop),

	RULE("serial", ARG, hv_rw_serial),
	RULE("parallel", ARG, hv_rw_serial),
	RULE("debugcon", ARG, hv_rw_serial),
	RULE("chardev", ARG, hv_rw_chardev),
	RULE("tpmdev", ARG, hv_rw_tpmdev),
	RULE("netdev", ARG, hv_rw_net),
	RULE("nic", ARG, hv_rw_net),
	RULE("net", ARG, hv_rw_net),

	/* Logs behind one become files of the standby's; a disk or a medium in one is refused. */
	RULE("add-fd", ARG, hv_rw_drop),
	RULE("id", ARG, hv_rw_number),
	RULE("monitor", ARG, hv_rw_drop),
	RULE("qmp", ARG, hv_rw_drop),
	RULE("qmp-pretty", ARG, hv_rw_drop),
	RULE("mon", ARG, hv_rw_drop),
	RULE("gdb", ARG, hv_rw_drop),
	RULE("s", FLAG, hv_rw_drop),
	RULE("S", FLAG, hv_rw_drop),
	RULE("qtest", ARG, hv_rw_drop),
	RULE("qtest-log", ARG, hv_rw_drop),
	RULE("sandbox", ARG, hv_rw_drop), /* the standby has one of its own */
	RULE("daemonize", FLAG, hv_rw_drop),
	RULE("pidfile", ARG, hv_rw_drop),
	RULE("D", ARG, hv_rw_drop),
	RULE("d", ARG, hv_rw_drop),
	RULE("dfilter", ARG, hv_rw_drop),
	RULE("trace", ARG, hv_rw_drop),
	RULE("plugin", ARG, hv_rw_drop),
	RULE("writeconfig", ARG, hv_rw_drop),
	RULE("display", ARG, hv_rw_display),
	RULE("vnc", ARG, hv_rw_display),
	RULE("spice", ARG, hv_rw_display),
	RULE("sdl", FLAG, hv_rw_drop),
	RULE("curses", FLAG, hv_rw_drop),
	RULE("full-screen", FLAG, hv_rw_drop),
	RULE("alt-grab", FLAG, hv_rw_drop),
	RULE("ctrl-grab", FLAG, hv_rw_drop),
	RULE("no-frame", FLAG, hv_rw_drop),
	RULE("no-quit", FLAG, hv_rw_drop),
	RULE("nographic", FLAG, hv_rw_nographic),
	RULE("no-hpet", FLAG, hv_rw_no_hpet),
	RULE("no-acpi", FLAG, hv_rw_no_acpi),
	RULE("portrait", FLAG, hv_rw_drop),
	RULE("rotate", ARG, hv_rw_drop),
	RULE("echr", ARG, hv_rw_drop),
	RULE("iscsi", ARG, hv_rw_drop),
	RULE("compat", ARG, hv_rw_drop),
	RULE("enable-sync-profile", FLAG, hv_rw_drop),
	RULE("enable-fips", FLAG, hv_rw_drop),
	RULE("perfmap", FLAG, hv_rw_drop),
	RULE("jitdump", FLAG, hv_rw_drop),
	RULE("audiodev", ARG, hv_rw_audio),
	RULE("audio", ARG, hv_rw_audio),

	RULE("kernel", ARG, hv_rw_put_path),
	RULE("initrd", ARG, hv_rw_put_path),
	RULE("dtb", ARG, hv_rw_put_path),
	RULE("shim", ARG, hv_rw_put_path),
	RULE("bios", ARG, hv_rw_put_firmware),
	RULE("option-rom", ARG, hv_rw_put_firmware),
	RULE("L", ARG, hv_rw_put_folder),
	RULE("hda", ARG, hv_rw_medium),
	RULE("hdb", ARG, hv_rw_medium),
	RULE("hdc", ARG, hv_rw_medium),
	RULE("hdd", ARG, hv_rw_medium),
	RULE("fda", ARG, hv_rw_medium),
	RULE("fdb", ARG, hv_rw_medium),
	RULE("cdrom", ARG, hv_rw_medium),
	RULE("sd", ARG, hv_rw_medium),
	RULE("mtdblock", ARG, hv_rw_medium),
	RULE("pflash", ARG, hv_rw_medium),
	RULE("drive", ARG, hv_rw_drive),
	RULE("blockdev", ARG, hv_rw_blockdev),
	RULE("device", ARG, hv_rw_device),

	RULE("snapshot", FLAG, hv_rw_snapshot),
	RULE("runas", ARG, hv_rw_runas),
	KEYED("run-with", hv_rw_runas, NULL, "async-teardown exit-with-parent user"),
	RULE("cpu", ARG, hv_rw_cpu),

	/* Lists without a file in them */
	KEYED("name", hv_rw_list, "guest", "guest process debug-threads"),
	KEYED("smp", hv_rw_list, "cpus",
	      "cpus drawers books sockets dies clusters modules cores threads maxcpus"),
	KEYED("numa", hv_rw_list, "type",
	      "type nodeid cpus mem memdev initiator src dst val node-id socket-id drawer-id book-id "
	      "die-id cluster-id module-id core-id thread-id hierarchy data-type latency bandwidth size "
	      "level associativity policy line"),
	KEYED("accel", hv_rw_list, "accel",
	      "accel thread tb-size split-wx one-insn-per-tb kernel-irqchip kvm-shadow-mem "
	      "dirty-ring-size notify-vmexit notify-window eager-split-size honor-guest-pat"),
	KEYED("rtc", hv_rw_list, NULL, "base clock driftfix"),
	KEYED("icount", hv_rw_list, "shift", "shift align sleep"), /* rr= writes files */
	KEYED("msg", hv_rw_list, NULL, "timestamp guest-name"),
	KEYED("overcommit", hv_rw_list, NULL, "mem-lock cpu-pm"),
	KEYED("action", hv_rw_list, NULL, "reboot shutdown panic watchdog"),
	/* and with files, which must be media */
	KEYED("boot", hv_rw_list, "order",
	      "order once menu splash splash-time reboot-timeout strict"),
	KEYED("fw_cfg", hv_rw_list, "name", "name string file"),
	KEYED("acpitable", hv_rw_list, NULL,
	      "sig rev oem_id oem_table_id oem_rev asl_compiler_id asl_compiler_rev file data"),
	KEYED("smbios", hv_rw_list, NULL,
	      "type file path uuid manufacturer product version serial sku family vendor date release "
	      "uefi vm location sock_pfx asset part max-speed current-speed processor-id "
	      "processor-family value loc_pfx bank speed designation kind instance pcidev "
	      "internal_reference external_reference connector_type port_type"),

	/* A word */
	RULE("k", ARG, hv_rw_word),
	RULE("vga", ARG, hv_rw_word),
	RULE("g", ARG, hv_rw_word),
	RULE("uuid", ARG, hv_rw_word),
	RULE("seed", ARG, hv_rw_word),
	RULE("soundhw", ARG, hv_rw_word),
	RULE("watchdog", ARG, hv_rw_word),
	RULE("watchdog-action", ARG, hv_rw_word),
	KEYED("usbdevice", hv_rw_word, NULL, "tablet mouse keyboard wacom-tablet"),
	RULE("append", ARG, hv_rw_keep), /* the guest's kernel reads it */
	RULE("prom-env", ARG, hv_rw_keep),

	REFUSED("readconfig", ARG, CONFIG),
	REFUSED("preconfig", FLAG, "what was set by QMP before the machine started is not known"),
	REFUSED("fsdev", ARG, FOLDER),
	REFUSED("virtfs", ARG, FOLDER),
	REFUSED("virtfs_synth", FLAG, FOLDER),
	REFUSED("chroot", ARG, "its replica is not inside that folder; start the VM without"),
	REFUSED("set", ARG, "write the value into the option itself"),
	REFUSED("semihosting", FLAG, SEMI),
	REFUSED("semihosting-config", ARG, SEMI),
	REFUSED("xen-attach", FLAG, XEN),
	REFUSED("xen-domid", ARG, XEN),
	REFUSED("xen-domid-restrict", FLAG, XEN),
	REFUSED("dump-vmstate", ARG, NULL),

	/* Kept, without an argument */
	RULE("usb", FLAG, hv_rw_keep),
	RULE("win2k-hack", FLAG, hv_rw_keep),
	RULE("no-fd-bootchk", FLAG, hv_rw_keep),
	RULE("singlestep", FLAG, hv_rw_keep),
	RULE("one-insn-per-tb", FLAG, hv_rw_keep),
	RULE("enable-kvm", FLAG, hv_rw_keep),
	RULE("no-kvm", FLAG, hv_rw_keep),
	RULE("no-kvm-irqchip", FLAG, hv_rw_keep),
	RULE("no-kvm-pit", FLAG, hv_rw_keep),
	RULE("no-kvm-pit-reinjection", FLAG, hv_rw_keep),
	RULE("no-reboot", FLAG, hv_rw_keep),
	RULE("no-shutdown", FLAG, hv_rw_keep),
	RULE("only-migratable", FLAG, hv_rw_keep),
	RULE("nodefaults", FLAG, hv_rw_keep),
	RULE("no-user-config", FLAG, hv_rw_keep),
	RULE("nouserconfig", FLAG, hv_rw_keep),
	RULE("nodefconfig", FLAG, hv_rw_keep),
	RULE("async-teardown", FLAG, hv_rw_keep),
	RULE("old-param", FLAG, hv_rw_keep),
};

const struct hv_rw_rule *hv_rw_rule(const char *word)
{
	for (unsigned i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		if (hv_arg_is(word, rules[i].name))
			return &rules[i];
	return NULL;
}

const struct hv_rw_rule *hv_rw_rules(unsigned *n)
{
	*n = sizeof(rules) / sizeof(*rules);
	return rules;
}

void hv_rw_drop(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)rw;
	(void)option;
	(void)arg;
}

void hv_rw_refuse(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)arg;
	hv_rw_deny(rw, hv_rw_rule(option)->remedy, "%s", option);
}

void hv_rw_word(struct hv_rewrite *rw, const char *option, const char *arg)
{
	const char *values = hv_rw_rule(option)->keys;
	static const char fine[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				   "-_.,:";

	if (arg[strspn(arg, fine)] || (values && !hv_allow_word(values, arg)))
		hv_rw_deny(rw, NULL, "%s %s", option, arg);
	else
		hv_rw_keep(rw, option, arg);
}

/* What is named here is a file in every option that has it in the table. */
static const char file_keys[] = "file path data splash";

void hv_rw_list(struct hv_rewrite *rw, const char *option, const char *arg)
{
	const struct hv_rw_rule *rule = hv_rw_rule(option);
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, rule->implied))
		return;
	if (hv_rw_keys_ok(rw, &kv, rule->keys, option)) {
		for (unsigned i = 0; i < kv.n; i++) {
			struct hv_pair *p = &kv.pairs[i];
			char *path;

			if (!p->value || !hv_allow_word(file_keys, p->key))
				continue;
			path = hv_rw_media(rw, p->value, HV_MEDIA_FILE);
			if (path) {
				free(p->value);
				p->value = path;
			}
		}
		hv_rw_put_keyval(rw, option, &kv);
	}
	hv_keyval_dispose(&kv);
}
