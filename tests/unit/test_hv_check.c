/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices and NICs out of QEMU's own words, every refusal, and the kernel self-test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "hv/attach/check.h"
#include "hv/qemu/devices.h"

static const char qtree[] = "bus: main-system-bus\n"
			    "  type System\n"
			    "  dev: ps2-mouse, id \"\"\n"
			    "    gpio-out \"\" 1\n"
			    "  dev: i440FX-pcihost, id \"\"\n"
			    "    bus: pci.0\n"
			    "      type PCI\n"
			    "      dev: virtio-net-pci, id \"web0\"\n"
			    "        disable-legacy = \"off\"\n"
			    "        bus: virtio-bus\n"
			    "          type virtio-pci-bus\n"
			    "          dev: virtio-net-device, id \"\"\n"
			    "            mac = \"52:54:00:12:34:56\"\n"
			    "            netdev = \"n0\"\n"
			    "      dev: e1000, id \"\"\n"
			    "        mac = \"52:54:00:12:34:57\"\n"
			    "        netdev = \"hub0port0\"\n"
			    "      dev: virtio-balloon-pci, id \"b0\"\n"
			    "        bus: virtio-bus\n"
			    "          dev: virtio-balloon-device, id \"\"\n"
			    "            free-page-reporting = true\n"
			    "      dev: vfio-pci, id \"gpu\"\n"
			    "        host = \"0000:01:00.0\"\n"
			    "      dev: vhost-user-fs-pci, id \"fs\"\n"
			    "      dev: ivshmem-plain, id \"shm\"\n";

static const char network[] =
	"hub 0\n"
	" \\ hub0port1: #net172: index=0,type=user,net=10.0.2.0,restrict=off\n"
	" \\ hub0port0: e1000.0: index=0,type=nic,model=e1000,macaddr=52\n"
	"web0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56\n"
	" \\ n0: index=0,type=tap,ifname=tap0,script=no\n"
	"web0: index=1,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56\n"
	" \\ n0: index=1,type=tap,fd=31\n";

static const char by_fd[] =
	"web0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56\n"
	" \\ n0: index=0,type=tap,fd=31\n"
	"web0: index=1,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56\n"
	" \\ n0: index=1,type=tap,fd=32\n";
/* As Proxmox VE names them: the NIC like its netdev. */
static const char same_id[] =
	"n0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56\n"
	" \\ n0: index=0,type=tap,ifname=tap100i0,script=no\n";
static const char by_helper[] =
	"web0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56\n"
	" \\ n0: index=0,type=tap,helper=/usr/lib/qemu/qemu-bridge-helper,br=br0\n";

static char *argv_vhost[] = {"qemu", "-netdev", "tap,id=n0,vhost=on,queues=2", NULL};
static char *argv_plain[] = {"qemu", "-netdev", "tap,id=n0", "-netdev", "tap,id=n1,vhost=on", NULL};

static void test_devices(void **state)
{
	struct hv_devs d;
	char v[32];

	(void)state;
	assert_int_equal(hv_devs_parse(qtree, &d), 0);
	assert_int_equal(d.n, 10);
	assert_string_equal(d.dev[2].name, "web0");
	assert_string_equal(d.dev[3].driver, "virtio-net-device");
	assert_string_equal(d.dev[3].name, "web0"); /* its parent's */
	assert_string_equal(d.dev[4].name, "e1000");
	assert_true(hv_dev_prop(&d.dev[6], "free-page-reporting", v, sizeof(v)));
	assert_string_equal(v, "true");
	assert_false(hv_dev_prop(&d.dev[2], "netdev", v, sizeof(v)));
	hv_devs_dispose(&d);
	assert_int_equal(hv_devs_parse("", &d), 0);
	assert_int_equal(d.n, 0);
	hv_devs_dispose(&d);
}

static void test_nics(void **state)
{
	struct hv_nic nics[4];
	struct hv_devs d;

	(void)state;
	assert_int_equal(hv_devs_parse(qtree, &d), 0);
	assert_int_equal(hv_nics(&d, network, argv_vhost, nics, 4), 2);
	assert_string_equal(nics[0].netdev, "n0");
	assert_string_equal(nics[0].type, "tap");
	assert_int_equal(nics[0].queues, 2);
	assert_string_equal(nics[0].ifname, "tap0"); /* of the first queue */
	assert_int_equal(nics[0].tap_fd, -1);
	assert_true(nics[0].vhost && !nics[0].hub);
	assert_string_equal(nics[1].netdev, "hub0port0");
	assert_string_equal(nics[1].type, "user");
	assert_true(nics[1].hub && !nics[1].vhost);
	assert_int_equal(nics[1].queues, 1);
	assert_string_equal(nics[1].ifname, "");
	assert_int_equal(nics[1].tap_fd, -1);
	assert_int_equal(hv_nics(&d, by_fd, argv_plain, nics, 1), 1);
	assert_string_equal(nics[0].ifname, "");
	assert_int_equal(nics[0].tap_fd, 31);
	assert_int_equal(hv_nics(&d, same_id, argv_plain, nics, 1), 1);
	assert_string_equal(nics[0].type, "tap");
	assert_string_equal(nics[0].ifname, "tap100i0");
	assert_int_equal(nics[0].queues, 1);
	assert_int_equal(hv_nics(&d, by_helper, argv_plain, nics, 1), 1);
	assert_string_equal(nics[0].type, "tap");
	assert_string_equal(nics[0].ifname, "");
	assert_int_equal(nics[0].tap_fd, -1);
	assert_int_equal(hv_nics(&d, network, argv_plain, nics, 1), 1);
	assert_false(nics[0].vhost);
	hv_devs_dispose(&d);
}

struct fixture {
	struct hv_policy policy;
	struct hv_features features;
	struct hv_qemu qemu;
	struct hv_devs devs;
	struct hv_nic nics[2];
	struct hv_check c;
	struct hv_refusals out;
};

/* A VM that nothing stands against. */
static void fine(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->features = (struct hv_features){
		.uffd_wp_async = true, .pagemap_scan = true, .discard_reported = true};
	f->qemu = (struct hv_qemu){.major = 7, .minor = 2, .save_state = true};
	f->c = (struct hv_check){.policy = &f->policy,
				 .features = &f->features,
				 .qemu = &f->qemu,
				 .status = "running",
				 .devs = &f->devs,
				 .nics = f->nics,
				 .argv = argv_plain,
				 .page_bytes = 4096};
}

static void must_refuse(struct fixture *f, const char *word)
{
	f->out.n = 0;
	hv_check_facts(&f->c, &f->out);
	assert_int_equal(f->out.n, 1);
	if (!strstr(f->out.text[0], word))
		fail_msg("'%s' is not in: %s", word, f->out.text[0]);
}

static void must_allow(struct fixture *f)
{
	f->out.n = 0;
	hv_check_facts(&f->c, &f->out);
	if (f->out.n)
		fail_msg("%s", f->out.text[0]);
}

static void test_simple_refusals(void **state)
{
	struct fixture f;

	(void)state;
	fine(&f);
	must_allow(&f);
	f.c.status = "paused";
	must_refuse(&f, "cont");
	f.c.status = "prelaunch";
	must_refuse(&f, "has not been started");
	f.c.status = "suspended";
	must_refuse(&f, "system_wakeup");
	f.c.status = "postmigrate";
	must_refuse(&f, "protect it where it runs now");
	fine(&f);
	f.c.jobs = json_pack("[{ss ss}]", "type", "backup", "device", "nightly");
	must_refuse(&f, "a backup job of another program (nightly)");
	json_decref(f.c.jobs);
	fine(&f);
	f.features.pagemap_scan = false;
	must_refuse(&f, "kernel");
	f.features.soft_dirty = true; /* the other way */
	must_allow(&f);
	fine(&f);
	f.qemu.save_state = false;
	must_refuse(&f, "7.2.0");
	fine(&f);
	f.c.page_bytes = 2 << 20;
	must_refuse(&f, "hugetlbfs");
	fine(&f);
	f.c.argv = (char *[]){"qemu", "-object", "sev-guest,id=s", NULL};
	must_refuse(&f, "sev-guest");
}

static void test_migration_refusals(void **state)
{
	struct fixture f;

	(void)state;
	fine(&f);
	f.c.migrate = json_pack("{s:s}", "status", "active");
	must_refuse(&f, "under way");
	json_decref(f.c.migrate);
	f.c.migrate = json_pack("{s:s}", "status", "completed");
	must_allow(&f);
	json_decref(f.c.migrate);
	f.c.migrate =
		json_pack("{s:b, s:[s]}", "blocked", 1, "blocked-reasons", "virtfs is mounted");
	must_refuse(&f, "virtfs is mounted");
	json_decref(f.c.migrate);
}

static void test_disks(void **state)
{
	struct fixture f;

	(void)state;
	fine(&f);
	f.c.block = json_loads(
		"[{\"device\": \"cd0\"},"
		" {\"device\": \"ro\", \"inserted\": {\"ro\": true, \"file\": \"/a\"}},"
		" {\"device\": \"vda\", \"inserted\": {\"ro\": false, \"file\": \"/b\"}}]",
		0, NULL);
	must_refuse(&f, "vda (/b)");
	f.policy.disks = true;
	must_allow(&f);
	json_decref(f.c.block);
	f.c.block = json_loads("[{\"device\": \"fat\", \"inserted\": {\"ro\": false, \"drv\": "
			       "\"vvfat\", \"file\": \"/c\"}}]",
			       0, NULL);
	must_refuse(&f, "folder of the host");
	json_decref(f.c.block);
}

static void test_shared_disks(void **state)
{
	struct fixture f;

	(void)state;
	fine(&f);
	assert_int_equal(hv_devs_parse("bus: main-system-bus\n  dev: scsi-hd, id \"s0\"\n"
				       "    drive = \"d\"\n    share-rw = false\n"
				       "  dev: scsi-hd, id \"s1\"\n"
				       "    drive = \"d\"\n    share-rw = true\n",
				       &f.devs),
			 0);
	must_refuse(&f, "s1 (scsi-hd) shares its disk");
	hv_devs_dispose(&f.devs);
}

static void test_ports(void **state)
{
	const struct hv_nic nic = {.device = "net0", .ifname = "vnet0", .type = "tap"};
	struct hv_link port = {.master = "ovs-system"}, master = {.kind = "openvswitch"};
	struct fixture f;

	(void)state;
	fine(&f);
	f.c.nics = &nic;
	f.c.n_nics = 1;
	must_allow(&f);
	f.c.ports = &port;
	f.c.masters = &master;
	must_refuse(&f, "tap vnet0 of NIC net0 is a port of Open vSwitch");
	strcpy(master.kind, "bridge");
	must_allow(&f);
	port.more_vlans = true;
	must_refuse(&f, "16 VLANs");
}

static void test_config_file(void **state)
{
	char *argv[] = {"qemu", "-readconfig", "/gone.cfg", NULL};
	struct fixture f;

	(void)state;
	fine(&f);
	f.c.argv = argv;
	must_refuse(&f, "/gone.cfg");
}

static void test_leases(void **state)
{
	struct fixture f;

	(void)state;
	fine(&f);
	f.c.lock_manager = "";
	must_allow(&f);
	f.c.lock_manager = "sanlock";
	must_refuse(&f, "lock_manager is \"sanlock\"");
}

static void test_devices_and_balloon(void **state)
{
	struct fixture f;

	(void)state;
	fine(&f);
	assert_int_equal(hv_devs_parse(qtree, &f.devs), 0);
	f.out.n = 0;
	hv_check_facts(&f.c, &f.out);
	assert_int_equal(f.out.n, 3);
	assert_non_null(strstr(f.out.text[0], "gpu"));
	assert_non_null(strstr(f.out.text[1], "virtiofsd"));
	assert_non_null(strstr(f.out.text[2], "shm"));
	f.devs.n = 7; /* up to the balloon */
	must_allow(&f);
	f.c.shared_unseen = true;
	must_refuse(&f, "b0");
	f.c.shared_unseen = false;
	f.features.discard_reported = false;
	must_refuse(&f, "b0");
	f.devs.n = 7;
	hv_devs_dispose(&f.devs);
}

static void test_net_refusals(void **state)
{
	struct fixture f;

	(void)state;
	fine(&f);
	f.c.n_nics = 1;
	f.nics[0] = (struct hv_nic){.netdev = "n0", .device = "web0", .type = "tap", .queues = 1};
	must_allow(&f);
	f.nics[0].queues = 2;
	must_refuse(&f, "2 queues");
	f.nics[0].vhost = true;
	must_refuse(&f, "vhost=off");
	f.policy.vhost = true;
	must_allow(&f);
	strcpy(f.nics[0].type, "vhost-user");
	must_refuse(&f, "unseen");
}

static void test_too_many(void **state)
{
	struct fixture f;

	(void)state;
	fine(&f);
	f.c.block = json_array();
	for (int i = 0; i < 40; i++)
		json_array_append_new(
			f.c.block, json_pack("{s:s, s:{s:b}}", "device", "d", "inserted", "ro", 0));
	hv_check_facts(&f.c, &f.out);
	assert_int_equal(f.out.n, HV_MAX_REFUSALS);
	assert_non_null(strstr(f.out.text[HV_MAX_REFUSALS - 1], "more"));
	json_decref(f.c.block);
}

static void test_kernel_probe(void **state)
{
	struct hv_features f;

	(void)state;
	assert_int_equal(hv_kernel_probe(&f), 0);
	/* Whatever is missing is explained. */
	if (!f.uffd_wp_async || !f.pagemap_scan) {
		assert_true(f.why[0]);
		print_message("this kernel: %s\n", f.why);
		skip();
	}
	assert_true(f.discard_reported || f.why[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_devices),		cmocka_unit_test(test_nics),
		cmocka_unit_test(test_simple_refusals), cmocka_unit_test(test_migration_refusals),
		cmocka_unit_test(test_disks),		cmocka_unit_test(test_shared_disks),
		cmocka_unit_test(test_ports),		cmocka_unit_test(test_config_file),
		cmocka_unit_test(test_leases),		cmocka_unit_test(test_devices_and_balloon),
		cmocka_unit_test(test_net_refusals),	cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_kernel_probe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
