/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The allow-list of a standby's command line: a case for each line of each table (rules.c, allow.c),
 * and what a peer with a certificate may try. A line without a case fails.
 */
#include "tests/unit/hv_allow_kit.h"

/* ---- a case for each option ---- */
static const char *const options[] = {
	"-M q35",
	"-machine pc,accel=kvm:tcg,usb=off,smm=on,hpet=off",
	"-m 256,slots=2,maxmem=1G",
	"-mem-path /huge",
	"-mem-prealloc",
	"-object iothread,id=i",
	"-global ICH9-LPC.disable_s3=1",
	"-incoming exec:touch%/x",
	"-loadvm snap",
	"-serial /dev/ttyS0",
	"-parallel none",
	"-debugcon null",
	"-chardev null,id=c",
	"-id 100",
	"-tpmdev emulator,id=t,chardev=c",
	"-netdev user,id=n",
	"-nic user,model=e1000",
	"-net nic",
	"-monitor unix:/x,server",
	"-qmp tcp:0:4444,server",
	"-qmp-pretty stdio",
	"-mon chardev=c",
	"-gdb tcp::1",
	"-s",
	"-S",
	"-qtest stdio",
	"-qtest-log /x",
	"-daemonize",
	"-pidfile /x",
	"-D /x",
	"-d int",
	"-dfilter 0..1",
	"-trace file=/x",
	"-plugin /x.so",
	"-writeconfig /x",
	"-display gtk",
	"-vnc :1,tls-creds=t,password=on",
	"-spice port=1,password=x,x509-dir=/x",
	"-sdl",
	"-curses",
	"-full-screen",
	"-alt-grab",
	"-ctrl-grab",
	"-no-frame",
	"-no-quit",
	"-nographic",
	"-no-hpet",
	"-no-acpi",
	"-portrait",
	"-rotate 90",
	"-echr 1",
	"-iscsi initiator-name=a",
	"-compat deprecated-input=crash",
	"-enable-sync-profile",
	"-enable-fips",
	"-perfmap",
	"-jitdump",
	"-audiodev wav,id=a,path=/x",
	"-audio pa,model=hda",
	"-kernel %/plain",
	"-initrd %/plain",
	"-dtb %/plain",
	"-shim %/plain",
	"-bios bios.bin",
	"-option-rom %/plain",
	"-L %",
	"-fda %/plain",
	"-fdb %/plain",
	"-cdrom %/plain",
	"-pflash %/plain",
	"-drive if=none,id=d",
	"-blockdev driver=null-co,node-name=n",
	"-device virtio-net-pci,netdev=n",
	"-fw_cfg name=opt/a,file=%/plain",
	"-smbios type=1,serial=x",
	"-smbios file=%/plain",
	"-acpitable file=%/plain",
	"-snapshot",
	"-runas nobody",
	"-run-with async-teardown=on",
	"-cpu host,+x,hv-time,model-id=a",
	"-name guest=a,debug-threads=on",
	"-smp 2,cores=2",
	"-numa node,nodeid=0,cpus=0-3",
	"-accel kvm,dirty-ring-size=4096",
	"-rtc base=utc,clock=host,driftfix=slew",
	"-icount shift=auto,align=off",
	"-msg timestamp=on",
	"-overcommit mem-lock=on",
	"-sandbox on,spawn=deny",
	"-action panic=none",
	"-boot order=c,menu=on,strict=on",
	"-k de",
	"-vga std",
	"-g 8x8x8",
	"-uuid 11111111-2222-4333-8444-555555555501",
	"-seed 1",
	"-soundhw hda",
	"-watchdog i6300esb",
	"-watchdog-action reset",
	"-usbdevice tablet",
	"-append /x",
	"-prom-env a",
	"-usb",
	"-win2k-hack",
	"-no-fd-bootchk",
	"-singlestep",
	"-one-insn-per-tb",
	"-enable-kvm",
	"-no-kvm",
	"-no-kvm-irqchip",
	"-no-kvm-pit",
	"-no-kvm-pit-reinjection",
	"-no-reboot",
	"-no-shutdown",
	"-only-migratable",
	"-nodefaults",
	"-add-fd fd=3,set=1",
	"-no-user-config",
	"-nouserconfig",
	"-nodefconfig",
	"-async-teardown",
	"-old-param",
};
/* Disks have cases in test_hv_standby_disks.c; without one an image that can be written. */
static const char *const refused_options[] = {
	"-hda %/plain",
	"-hdb %/plain",
	"-hdc %/plain",
	"-hdd %/plain",
	"-sd %/plain",
	"-mtdblock %/plain",
	"-readconfig /x",
	"-preconfig",
	"-tpmdev passthrough,id=t,path=/dev/tpm0,cancel-path=/x",
	"-fsdev local,id=f,path=/,security_model=none",
	"-virtfs local,path=/,mount_tag=t",
	"-virtfs_synth",
	"-chroot /x",
	"-set device.a.romfile=/etc/passwd",
	"-semihosting",
	"-semihosting-config enable=on,chardev=c",
	"-xen-attach",
	"-xen-domid 1",
	"-xen-domid-restrict",
	"-dump-vmstate /x",
};

static void name_of(const char *options_text, char name[64])
{
	snprintf(name, 64, "%.*s", (int)strcspn(options_text, " "), options_text);
}

static bool has_case(const char *const *list, size_t n, const char *option)
{
	char name[64];

	for (size_t i = 0; i < n; i++) {
		name_of(list[i], name);
		if (hv_arg_is(name, option))
			return true;
	}
	return false;
}

static void test_options(void **state)
{
	unsigned n;
	const struct hv_rw_rule *rule = hv_rw_rules(&n);
	char name[64];

	(void)state;
	for (size_t i = 0; i < COUNT(options); i++)
		fine(options[i]);
	for (size_t i = 0; i < COUNT(refused_options); i++) {
		name_of(refused_options[i], name);
		refused(refused_options[i], name);
	}
	for (unsigned i = 0; i < n; i++)
		if (!has_case(rule[i].make == hv_rw_refuse ? refused_options : options,
			      rule[i].make == hv_rw_refuse ? COUNT(refused_options)
							   : COUNT(options),
			      rule[i].name) &&
		    !has_case(refused_options, COUNT(refused_options), rule[i].name))
			fail_msg("the option -%s has no case", rule[i].name);
}

/* A key that is not in a list's line is refused for each of them. */
static void test_foreign_keys(void **state)
{
	unsigned n;
	const struct hv_rw_rule *rule = hv_rw_rules(&n);
	char line[128];

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		if (rule[i].make != hv_rw_list)
			continue;
		snprintf(line, sizeof(line), "-%s foreign=/etc/passwd", rule[i].name);
		refused(line, "foreign=");
	}
	refused("-machine q35,foreign=1", "foreign=");
	refused("-machine q35,igd-passthru=on", "igd-passthru=");
	refused("-machine q35,memory-encryption=sev0", "memory-encryption=");
	refused("-machine q35,confidential-guest-support=sev0", "confidential-guest-support=");
	refused("-m 256,foreign=1", "foreign=");
	refused("-run-with chroot=/x", "chroot=");
}

/* ---- allow.c ---- */
static const char *option_of(const struct hv_allow *a)
{
	static const char *const names[] = {"-object", "-netdev", "-chardev", "-blockdev",
					    "-global"};

	return names[a->kind];
}

/* Each line, and each key of it. */
static void test_tables(void **state)
{
	unsigned n;
	const struct hv_allow *a = hv_allow_table(&n);
	char line[512];

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		if (a[i].kind == HV_ALLOW_GLOBAL) {
			snprintf(line, sizeof(line), "-global driver=%s,property=x,value=1",
				 a[i].name);
			fine(line);
			snprintf(line, sizeof(line), "-global driver=%s,property=pcap,value=/etc/x",
				 a[i].name);
			refused(line, "pcap=");
			continue;
		}
		snprintf(line, sizeof(line), "%s %s,%s=x", option_of(&a[i]), a[i].name,
			 a[i].kind == HV_ALLOW_BLOCK ? "node-name" : "id");
		if (a[i].remedy) {
			refused(line, a[i].name);
			continue;
		}
		if (!strcmp(a[i].name, "none"))
			strcpy(line, "-netdev none");
		fine(line);
		if (!a[i].keys) {
			gone(line, a[i].name);
			continue;
		}
		snprintf(line + strlen(line), sizeof(line) - strlen(line), ",foreign=/etc/x");
		refused(line, "foreign=");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_foreign_keys),
		cmocka_unit_test(test_tables),
	};

	return cmocka_run_group_tests(tests, media_setup, media_teardown);
}
