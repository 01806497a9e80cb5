/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of a VM as it is now, from what QEMU 7.2 says of its devices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hv/attach/live.h"

static char line[8192];
static struct tv_err why;

/* A part of hv_live from JSON with ' for ". */
static json_t *json(const char *text)
{
	char *copy = strdup(text);
	json_error_t e;
	json_t *j;

	for (char *p = copy; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	j = json_loads(copy, 0, &e);
	if (!j)
		fail_msg("%s at %d of %s", e.text, e.position, copy);
	free(copy);
	return j;
}

/* The line for words, as it is now; the words of the result with one blank between. */
static int run(const char *words, struct hv_live *live)
{
	char *argv[64] = {NULL}, *copy = strdup(words), *save = NULL;
	struct hv_words out = {0};
	size_t at = 0;
	unsigned n = 0;
	int rc;

	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[n++] = w;
	why.text[0] = '\0';
	rc = hv_live_argv(argv, live, &out, &why);
	line[0] = '\0';
	for (unsigned i = 0; i < out.n; i++)
		at += (size_t)snprintf(line + at, sizeof(line) - at, "%s%s", i ? " " : "",
				       out.w[i]);
	hv_words_free(&out);
	hv_live_dispose(live);
	free(copy);
	return rc;
}

#define DEV(id, driver, parent, at, props)                                          \
	"{'id': '" id "', 'driver': '" driver "', 'path': '/machine/peripheral/" id \
	"', 'parent': '" parent "', 'at': " at ", 'props': " props "}"
#define ANON(n, driver, parent, at, props)                                                        \
	"{'id': '', 'anon': " #n ", 'driver': '" driver                                           \
	"', 'path': '/machine/peripheral-anon/device[" #n "]', 'parent': '" parent "', 'at': " at \
	", 'props': " props "}"

#define PCIE "/machine/q35/pcie.0"

static void test_nothing_changed(void **state)
{
	struct hv_live l = {
		.devices = json("[" DEV(
			"n0", "virtio-net-pci", PCIE, "{'addr': '0x2.0x0', 'netdev': 'net0'}",
			"{}") "," ANON(0, "virtio-serial-pci", PCIE, "{}",
				       "{}") "," ANON(1, "virtio-blk-pci", PCIE,
						      "{'drive': 'virtio0'}",
						      "{}") "," ANON(2, "ich9-ahci", PCIE, "{}",
								     "{}") "]"),
		.objects = json("{'mem': {}, 'pc.ram': {}}"),
		.chardevs = json("[{'label': 'c'}, {'label': 'm-base'}, {'label': 'm'}]"),
		.block = json("[{'device': 'd0'}, {'device': 'virtio0'}]"),
		.nodes = json("[{'node-name': 'nd'}]"),
		.network = strdup("n0: index=0,type=nic\n \\ net0: index=0,type=tap,ifname=t\n"),
	};
	static const char same[] =
		"qemu -smp 2 -device {\"driver\":\"ahci\"} -device virtio-serial -object "
		"memory-backend-ram,id=mem,size=1M -chardev null,id=c -chardev stdio,mux=on,id=m "
		"-drive if=none,id=d0 -drive if=virtio,file=x -blockdev "
		"driver=raw,node-name=nd,file.driver=file -netdev tap,id=net0 -device "
		"virtio-net,id=n0,netdev=net0,addr=2 -nographic";

	(void)state;
	assert_int_equal(run(same, &l), 0);
	assert_string_equal(line, same);
}

/* Each kind with what it needs, the bus before what is on it, all behind the line. */
static void test_plugged(void **state)
{
	struct hv_live l = {
		.devices = json(
			"[" DEV("sd", "scsi-hd", "/machine/peripheral/late/virtio-backend/late.0", "{'scsi-id': 3}", "{'drive': 'nd2', 'scsi-id': 3, 'lun': 0}") "," DEV(
				"late", "virtio-scsi-pci", "/machine/peripheral/rp1/rp1",
				"{'addr': '0x0.0x0'}",
				"{'addr': '0x0.0x0'}") "," DEV("rp1", "pcie-root-port", PCIE,
							       "{}", "{}") "," DEV("ust",
										   "usb-storage",
										   "/machine/peripheral/x/x.0",
										   "{'port': '1.2'}",
										   "{}") "," DEV("hub", "usb-hub", "/machine/peripheral/x/x.0", "{'port': '1'}", "{}") "," DEV("dimm", "pc-dimm", "", "{'slot': 0}", "{'memdev': 'mem1', 'slot': 0, 'addr': 4294967296}") "," DEV("nic",
																																		  "e1000e", PCIE, "{}", "{'netdev': 'n1', 'mac': '52:54:00:00:00:01'}") "," DEV("nic2",
																																												"e1000e", PCIE, "{}", "{'netdev': 'n2'}") "," DEV("port", "virtserialport", "/machine/peripheral/vs/virtio-backend/vs.0", "{'nr': 1}", "{'nr': 1, 'chardev': 'c1'}") "]"),
		.objects = json("{'mem1': {'qom-type': 'memory-backend-ram', 'id': 'mem1', 'size': "
				"1048576}}"),
		.chardevs = json("[{'label': 'c1', 'filename': "
				 "'disconnected:unix:/run/a,,b,server=on'}]"),
		.block =
			json("[{'device': '', 'qdev': 'sd', 'inserted': {'node-name': 'nd2', 'ro': "
			     "false, 'drv': 'qcow2', 'image': {'filename': '/x/d2'}}}, {'device': "
			     "'us', 'qdev': '/machine/peripheral/ust/ust.0/legacy[0]', 'inserted': "
			     "{'node-name': '#block1', 'ro': true, 'drv': 'raw', 'image': "
			     "{'filename': '/x/a,b'}}}]"),
		.network = strdup(
			"nic: index=0,type=nic\n \\ n1: index=0,type=tap,ifname=t1,script=no\n"
			"nic2: index=0,type=nic\n \\ n2: "
			"index=0,type=user,net=10.9.0.0,restrict=on\n"),
	};

	(void)state;
	assert_int_equal(run("qemu -device pcie-root-port,id=rp1 -nographic", &l), 0);
	assert_string_equal(
		line,
		"qemu -device pcie-root-port,id=rp1 -nographic "
		"-object {\"qom-type\":\"memory-backend-ram\",\"id\":\"mem1\",\"size\":1048576} -device "
		"{\"driver\":\"pc-dimm\",\"id\":\"dimm\",\"memdev\":\"mem1\",\"slot\":0,\"addr\":"
		"4294967296} "
		"-device {\"driver\":\"virtio-scsi-pci\",\"id\":\"late\",\"bus\":\"rp1\",\"addr\":"
		"\"0x0.0x0\"} "
		"-blockdev "
		"{\"driver\":\"qcow2\",\"node-name\":\"nd2\",\"read-only\":false,\"file\":{\"driver\":"
		"\"file\",\"filename\":\"/x/d2\"}} "
		"-device {\"driver\":\"scsi-hd\",\"id\":\"sd\",\"bus\":\"late.0\",\"drive\":\"nd2\",\"scsi-"
		"id\":3,\"lun\":0} "
		"-chardev backend=socket,id=c1,path=/run/a,server=on,wait=off -device "
		"{\"driver\":\"virtserialport\",\"id\":\"port\",\"bus\":\"vs.0\",\"nr\":1,\"chardev\":"
		"\"c1\"} "
		"-device {\"driver\":\"usb-hub\",\"id\":\"hub\",\"bus\":\"x.0\",\"port\":\"1\"} "
		"-drive if=none,id=us,file=/x/a,,b,format=raw,readonly=on -device "
		"{\"driver\":\"usb-storage\",\"id\":\"ust\",\"bus\":\"x.0\",\"port\":\"1.2\",\"drive\":"
		"\"us\"} "
		"-netdev type=tap,id=n1,ifname=t1 -device "
		"{\"driver\":\"e1000e\",\"id\":\"nic\",\"bus\":\"pcie.0\",\"netdev\":\"n1\",\"mac\":\"52:54:"
		"00:00:00:01\"} "
		"-netdev type=user,id=n2,net=10.9.0.0/24,restrict=on -device "
		"{\"driver\":\"e1000e\",\"id\":\"nic2\",\"bus\":\"pcie.0\",\"netdev\":\"n2\"}");
}

/* What is gone goes with what only it needed, and the rest stays where it is. */
static void test_unplugged(void **state)
{
	struct hv_live l = {
		.devices = json(
			"[" DEV("b", "virtio-rng-pci", PCIE, "{'addr': '0x4.0x0'}", "{}") "," ANON(
				1, "usb-tablet", "/machine/peripheral/x/x.0", "{'port': '2'}",
				"{}") "," DEV("s", "scsi-hd", "/machine/peripheral/h/h.0",
					      "{'scsi-id': 1, 'lun': 0, 'drive': 'keep'}",
					      "{}") "]"),
		.objects = json("{}"),
		.chardevs = json("[]"),
		.block = json("[{'device': '', 'inserted': {'node-name': 'keep'}}]"),
		.nodes = json(
			"[{'node-name': 'left'}, {'node-name': 'below'}, {'node-name': 'keep'}, "
			"{'node-name': 'both'}]"),
		.network = strdup(""),
	};

	(void)state;
	assert_int_equal(
		run("qemu -object rng-builtin,id=r -device virtio-rng-pci,rng=r -chardev null,id=c "
		    "-drive if=none,id=d0,file=x -device virtio-blk-pci,drive=d0,id=a -device "
		    "virtio-rng-pci,id=b -netdev user,id=n -device e1000,netdev=n,id=e -device "
		    "usb-tablet -blockdev driver=raw,node-name=below,file=both -blockdev "
		    "driver=raw,node-name=both -blockdev "
		    "{\"driver\":\"raw\",\"node-name\":\"left\",\"file\":\"below\"} -blockdev "
		    "driver=raw,node-name=keep,file=both -device scsi-hd,drive=left,id=z -device "
		    "{\"driver\":\"scsi-hd\",\"drive\":\"keep\",\"id\":\"s\"}",
		    &l),
		0);
	assert_string_equal(
		line, "qemu -device virtio-rng-pci,id=b,bus=pcie.0,addr=0x4.0x0 -device "
		      "usb-tablet,bus=x.0,port=2 -blockdev driver=raw,node-name=both -blockdev "
		      "driver=raw,node-name=keep,file=both -device "
		      "{\"driver\":\"scsi-hd\",\"drive\":\"keep\",\"id\":\"s\",\"bus\":\"h.0\","
		      "\"scsi-id\":1,\"lun\":0}");
}

/* The same id at another place, or another kind of device, is another device. */
static void test_replaced(void **state)
{
	struct hv_live l = {
		.devices = json("[" DEV("a", "virtio-rng-pci", PCIE, "{'addr': '0x5.0x0'}",
					"{'addr': '0x5.0x0'}") "," DEV("b", "usb-mouse",
								       "/machine/peripheral/x/x.0",
								       "{'port': '1'}", "{}") "]"),
	};

	(void)state;
	assert_int_equal(run("qemu -device virtio-rng-pci,id=a,addr=4 -device usb-tablet,id=b", &l),
			 0);
	assert_string_equal(
		line,
		"qemu -device {\"driver\":\"usb-mouse\",\"id\":\"b\",\"bus\":\"x.0\",\"port\":\"1\"} "
		"-device "
		"{\"driver\":\"virtio-rng-pci\",\"id\":\"a\",\"bus\":\"pcie.0\",\"addr\":\"0x5.0x0\"}");
}

#define CPU(n, path)                                                                      \
	"{'props': {'core-id': " #n ", 'socket-id': 0, 'node-id': 0}, 'vcpus-count': 1, " \
	"'qom-path': '" path "', 'type': 'q-cpu'}"
#define FREE(n)                                                          \
	"{'props': {'core-id': " #n                                      \
	", 'socket-id': 0, 'node-id': 0}, 'vcpus-count': 1, 'type': 'q-" \
	"cpu'}"
#define BOOT "/machine/unattached/device[1]"

static void test_cpus(void **state)
{
	struct hv_live l = {
		.devices = json("[" DEV("c2", "q-cpu", "", "{}", "{}") "]"),
		.cpus = json("[" FREE(3) "," CPU(2, "/machine/peripheral/c2") "," CPU(
			1, BOOT) "," CPU(0, BOOT) "]"),
	};

	(void)state;
	assert_int_equal(run("qemu -smp 2,maxcpus=4", &l), 0);
	assert_string_equal(line,
			    "qemu -smp 2,maxcpus=4 -device "
			    "{\"driver\":\"q-cpu\",\"id\":\"c2\",\"core-id\":2,\"socket-id\":0}");
	/* The second of three is gone. */
	l = (struct hv_live){.devices = json("[]"),
			     .cpus = json("[" CPU(2, BOOT) "," FREE(1) "," CPU(0, BOOT) "]")};
	assert_int_equal(run("qemu -smp 3", &l), 0);
	assert_string_equal(line, "qemu -smp cpus=1,maxcpus=3 -device "
				  "{\"driver\":\"q-cpu\",\"core-id\":2,\"socket-id\":0}");
}

static void test_refused_by_name(void **state)
{
	struct hv_live l = {
		.devices = json("[" DEV("sd", "scsi-hd", "/machine/peripheral/h/h.0", "{}",
					"{'drive': '#block7'}") "]"),
		.block = json("[{'device': '', 'inserted': {'node-name': '#block7'}}]"),
	};

	(void)state;
	assert_int_equal(run("qemu", &l), TV_E_REFUSED);
	assert_non_null(strstr(why.text, "disk sd (scsi-hd)"));
	assert_non_null(strstr(why.text, "node-name"));
	l = (struct hv_live){
		.devices = json("[" DEV("n", "e1000", PCIE, "{}", "{'netdev': 'x'}") "]")};
	assert_int_equal(run("qemu", &l), TV_E_REFUSED);
	assert_non_null(strstr(why.text, "NIC n (e1000)"));
	l = (struct hv_live){
		.devices = json("[" ANON(0, "virtio-rng-pci", PCIE, "{}", "{'rng': 'r'}") "]"),
		.objects = json("{}")};
	assert_int_equal(run("qemu", &l), TV_E_REFUSED);
	assert_non_null(strstr(why.text, "virtio-rng-pci"));
	l = (struct hv_live){
		.devices = json("[" DEV("p", "pci-serial", PCIE, "{}", "{'chardev': 'x'}") "]"),
		.chardevs = json("[]")};
	assert_int_equal(run("qemu", &l), TV_E_REFUSED);
	assert_non_null(strstr(why.text, "p (pci-serial)"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_changed),
		cmocka_unit_test(test_plugged),
		cmocka_unit_test(test_unplugged),
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_cpus),
		cmocka_unit_test(test_refused_by_name),
	};

	return cmocka_run_group_tests_name("hv_live", tests, NULL, NULL);
}
