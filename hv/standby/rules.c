/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What becomes of each of QEMU's options on the standby's command line. An option that is not in
 * the table is kept, with its argument. Two rules decide the table: the standby must have exactly
 * the primary's devices (or its state does not load), and nothing that belongs to the primary's
 * host or session (files, terminals, monitors, debuggers) may come along.
 *
 * To add an option: a line here, a handler in one of the rewrite_*.c files if none fits, and a case
 * in tests/unit/test_hv_standby_argv.c.
 */
#include "hv/standby/rewrite.h"

static void drop(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)rw;
	(void)option;
	(void)arg;
}

static const struct hv_rw_rule rules[] = {
	{"M", ARG, hv_rw_machine},
	{"machine", ARG, hv_rw_machine},
	{"m", ARG, hv_rw_memory},
	{"mem-path", ARG, drop},
	{"mem-prealloc", FLAG, drop},
	{"object", ARG, hv_rw_object},
	{"global", ARG, hv_rw_global},
	{"incoming", ARG, drop},
	{"loadvm", ARG, drop},

	{"serial", ARG, hv_rw_serial},
	{"parallel", ARG, hv_rw_serial},
	{"debugcon", ARG, hv_rw_serial},
	{"chardev", ARG, hv_rw_chardev},
	{"netdev", ARG, hv_rw_net},
	{"nic", ARG, hv_rw_net},
	{"net", ARG, hv_rw_net},

	{"monitor", ARG, drop},
	{"qmp", ARG, drop},
	{"qmp-pretty", ARG, drop},
	{"mon", ARG, drop},
	{"gdb", ARG, drop},
	{"s", FLAG, drop},
	{"S", FLAG, drop},
	{"qtest", ARG, drop},
	{"qtest-log", ARG, drop},
	{"daemonize", FLAG, drop},
	{"pidfile", ARG, drop},
	{"D", ARG, drop},
	{"d", ARG, drop},
	{"dfilter", ARG, drop},
	{"trace", ARG, drop},
	{"plugin", ARG, drop},
	{"writeconfig", ARG, drop},
	{"display", ARG, drop},
	{"vnc", ARG, drop},
	{"spice", ARG, drop},
	{"sdl", FLAG, drop},
	{"curses", FLAG, drop},
	{"full-screen", FLAG, drop},
	{"alt-grab", FLAG, drop},
	{"ctrl-grab", FLAG, drop},
	{"no-frame", FLAG, drop},
	{"no-quit", FLAG, drop},
	{"nographic", FLAG, hv_rw_nographic},
	{"no-hpet", FLAG, hv_rw_no_hpet},
	{"no-acpi", FLAG, hv_rw_no_acpi},
	{"audiodev", ARG, hv_rw_audio},
	{"audio", ARG, hv_rw_audio},

	{"kernel", ARG, hv_rw_put_path},
	{"initrd", ARG, hv_rw_put_path},
	{"dtb", ARG, hv_rw_put_path},
	{"bios", ARG, hv_rw_put_firmware},
	{"option-rom", ARG, hv_rw_put_firmware},
	{"L", ARG, hv_rw_put_path},
	{"hda", ARG, hv_rw_medium},
	{"hdb", ARG, hv_rw_medium},
	{"hdc", ARG, hv_rw_medium},
	{"hdd", ARG, hv_rw_medium},
	{"fda", ARG, hv_rw_medium},
	{"fdb", ARG, hv_rw_medium},
	{"cdrom", ARG, hv_rw_put_path},
	{"sd", ARG, hv_rw_medium},
	{"mtdblock", ARG, hv_rw_medium},
	{"pflash", ARG, hv_rw_medium},
	{"drive", ARG, hv_rw_drive},
	{"blockdev", ARG, hv_rw_blockdev},
	{"device", ARG, hv_rw_put_paths},
	{"fsdev", ARG, hv_rw_put_paths},
	{"virtfs", ARG, hv_rw_put_paths},
	{"fw_cfg", ARG, hv_rw_put_paths},
	{"smbios", ARG, hv_rw_put_paths},
	{"acpitable", ARG, hv_rw_put_paths},

	{"readconfig", ARG, hv_rw_refuse_config},
	{"preconfig", FLAG, hv_rw_refuse_preconfig},
	{"snapshot", FLAG, hv_rw_snapshot},
	{"add-fd", ARG, hv_rw_refuse_fd},
	{"tpmdev", ARG, hv_rw_refuse_tpm},

	/* Kept; here only because they take no argument. */
	{"usb", FLAG, NULL},
	{"portrait", FLAG, NULL},
	{"win2k-hack", FLAG, NULL},
	{"no-fd-bootchk", FLAG, NULL},
	{"singlestep", FLAG, NULL},
	{"enable-kvm", FLAG, NULL},
	{"no-kvm", FLAG, NULL},
	{"no-kvm-irqchip", FLAG, NULL},
	{"no-kvm-pit", FLAG, NULL},
	{"no-kvm-pit-reinjection", FLAG, NULL},
	{"xen-attach", FLAG, NULL},
	{"xen-domid-restrict", FLAG, NULL},
	{"no-reboot", FLAG, NULL},
	{"no-shutdown", FLAG, NULL},
	{"only-migratable", FLAG, NULL},
	{"nodefaults", FLAG, NULL},
	{"no-user-config", FLAG, NULL},
	{"nouserconfig", FLAG, NULL},
	{"nodefconfig", FLAG, NULL},
	{"async-teardown", FLAG, NULL},
	{"enable-sync-profile", FLAG, NULL},
	{"enable-fips", FLAG, NULL},
	{"semihosting", FLAG, NULL},
	{"old-param", FLAG, NULL},
	{"perfmap", FLAG, NULL},
	{"jitdump", FLAG, NULL},
};

const struct hv_rw_rule *hv_rw_rule(const char *word)
{
	for (unsigned i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		if (hv_arg_is(word, rules[i].name))
			return &rules[i];
	return NULL;
}
