/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks on the standby's command line: writable ones become replicas, the others stay. */
#include "tests/unit/hv_argv_kit.h"

/* Two disks: what the options become, or why they are refused. */
static void disks_are(const char *options, const char *disks, const char *expected)
{
	static const char *const images[] = {"/r/a,b-0.raw", "/r/1.raw"};
	const struct hv_standby_conf conf = {
		.dir = DIR, .vm_id = "ab12", .replicas = images, .n_replicas = 2};
	const struct vm vm = {.disks = disks};
	char line[4096], out[8192];
	struct tv_err e = {0};
	int rc;

	snprintf(line, sizeof(line), "qemu %s -nodefaults", options);
	rc = rewrite_conf(line, &vm, &conf, out, sizeof(out), &e);
	if (rc) {
		if (!strstr(e.text, expected))
			fail_msg("%s: '%s', not '%s'", options, e.text, expected);
		return;
	}
	if (strncmp(out, "qemu ", 5) || strncmp(out + 5, expected, strlen(expected)) ||
	    strncmp(out + 5 + strlen(expected), " -nodefaults", 12))
		fail_msg("%s:\n%s\nnot\n%s", options, out, expected);
}

#define DISK(device, node, file)                                                           \
	"{\"name\":\"x\",\"device\":\"" device "\",\"node\":\"" node "\",\"file\":\"" file \
	"\",\"bytes\":1048576}"

/* A clone writes beside its base, which it has as a descriptor and can only read. */
static void test_clone(void **state)
{
	static const char *const images[] = {"/c/test-ab-0.qcow2", "/c/test-ab-1.qcow2"};
	const struct hv_standby_conf conf = {
		.dir = DIR, .vm_id = "ab12", .replicas = images, .n_replicas = 2, .clone = true};
	const struct vm vm = {.disks = "[" DISK("", "n0", "/i/a") "," DISK("d1", "#b", "/i/b") "]"};
	char out[8192];
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(
		rewrite_conf("qemu -blockdev "
			     "driver=qcow2,node-name=n0,file.driver=file,file.filename=/i/a "
			     "-drive file=/i/b,id=d1,if=none,cache=none",
			     &vm, &conf, out, sizeof(out), &e),
		0);
	assert_non_null(strstr(out, "\"driver\":\"qcow2\""));
	assert_non_null(strstr(out, "\"filename\":\"/c/test-ab-0.qcow2\""));
	assert_non_null(
		strstr(out, "\"backing\":{\"driver\":\"nbd\",\"server\":{\"type\":\"fd\",\"str\":"
			    "\"54\"}}"));
	assert_non_null(strstr(out,
			       "-drive id=d1,if=none,cache=none,file=/c/test-ab-1.qcow2,"
			       "format=qcow2,backing.driver=nbd,backing.server.type=fd,backing."
			       "server.str=55,auto-read-only=off"));
	assert_null(strstr(out, "/i/"));
}

static void test_disks(void **state)
{
	(void)state;
	disks_are(
		"-drive id=d0,file=/i/a.qcow2,format=qcow2,if=none,cache=none,l2-cache-size=1M "
		"-device ide-hd,drive=d0",
		"[" DISK("d0", "#block1", "/i/a.qcow2") "]",
		"-drive id=d0,if=none,cache=none,file=/r/a,,b-0.raw,format=raw,auto-read-only=off -device "
		"ide-hd,drive=d0");
	/* A promoted standby's own line gives the same again. */
	disks_are("-drive id=d0,if=none,cache=none,file=/i/old.raw,format=raw,auto-read-only=off",
		  "[" DISK("d0", "#block1", "/i/old.raw") "]",
		  "-drive id=d0,if=none,cache=none,file=/r/a,,b-0.raw,format=raw,auto-read-only="
		  "off");
	/* Without an id by the image's path; the read-only one stays. */
	disks_are("-drive file=a.raw,if=virtio -drive file=/b.iso,readonly=on",
		  "[" DISK("virtio0", "#block1", "a.raw") "]",
		  "-drive if=virtio,file=/r/a,,b-0.raw,format=raw,auto-read-only=off -drive "
		  "format=raw,readonly=on,file=/b.iso");
	disks_are("-hda /a -hdb b -cdrom /c",
		  "[" DISK("ide0-hd0", "#block1", "/a") "," DISK("ide0-hd1", "#block2", "b") "]",
		  "-drive index=0,media=disk,file=/r/a,,b-0.raw,format=raw,auto-read-only=off"
		  " -drive index=1,media=disk,file=/r/1.raw,format=raw,auto-read-only=off"
		  " -drive index=2,media=cdrom,format=raw,readonly=on,file=/c");
	disks_are(
		"-pflash /code -pflash /vars /disk",
		"[" DISK("pflash1", "#block1", "/vars") "," DISK("ide0-hd0", "#b", "/disk") "]",
		"-drive if=pflash,format=raw,readonly=on,file=/code -drive if=pflash,file=/r/a,,b-0.raw,"
		"format=raw,auto-read-only=off"
		" -drive index=0,media=disk,file=/r/1.raw,format=raw,auto-read-only=off");
	/* Nodes: what lies below a disk goes, what another one needs stays. */
	disks_are("-blockdev driver=file,filename=/base,node-name=bf -blockdev "
		  "driver=file,filename=/q,node-name=f "
		  "-blockdev driver=qcow2,file=f,backing=bf,node-name=n -device ide-hd,drive=n",
		  "[" DISK("", "n", "/q") "]",
		  "-blockdev {\"driver\":\"raw\",\"node-name\":\"n\",\"file\":{\"driver\":\"file\","
		  "\"filename\":\"/r/a,b-0.raw\"}} -device ide-hd,drive=n");
	disks_are("-blockdev driver=file,filename=/base,node-name=bf -blockdev "
		  "driver=raw,read-only=on,file=bf,node-name=ro "
		  "-blockdev driver=qcow2,file.driver=file,file.filename=/q,backing=bf,node-name=n",
		  "[" DISK("", "n", "/q") "]",
		  "-blockdev driver=file,filename=/base,node-name=bf,read-only=on -blockdev "
		  "driver=raw,read-only=on,file=bf,node-name=ro -blockdev "
		  "{\"driver\":\"raw\",\"node-name\":\"n\",\"file\":{\"driver\":\"file\","
		  "\"filename\":\"/r/a,b-0.raw\"}}");
	disks_are("-blockdev "
		  "{\"driver\":\"qcow2\",\"node-name\":\"n\",\"discard\":\"unmap\",\"file\":{"
		  "\"driver\":\"file\",\"filename\":\"/q\"}}",
		  "[" DISK("", "n", "/q") "]",
		  "-blockdev {\"driver\":\"raw\",\"node-name\":\"n\",\"file\":{\"driver\":\"file\","
		  "\"filename\":\"/r/a,b-0.raw\",\"discard\":\"unmap\"},\"discard\":\"unmap\"}");
	/* What QEMU takes as a word stays one, however like a switch it looks. */
	disks_are("-blockdev "
		  "{\"driver\":\"raw\",\"node-name\":\"n\",\"detect-zeroes\":\"on\","
		  "\"read-only\":false,\"file\":\"f\"}",
		  "[" DISK("", "n", "/q") "]",
		  "-blockdev {\"driver\":\"raw\",\"node-name\":\"n\",\"file\":{\"driver\":\"file\","
		  "\"filename\":\"/r/a,b-0.raw\"},\"detect-zeroes\":\"on\",\"read-only\":false}");
	disks_are("-blockdev driver=raw,node-name=n,detect-zeroes=on,read-only=off,file=f",
		  "[" DISK("", "n", "/q") "]",
		  "-blockdev {\"driver\":\"raw\",\"node-name\":\"n\",\"file\":{\"driver\":\"file\","
		  "\"filename\":\"/r/a,b-0.raw\"},\"detect-zeroes\":\"on\",\"read-only\":false}");
	/* Reported by name, not guessed. */
	disks_are("-drive id=d0,file=/a", "[" DISK("hot", "#b", "/hot") "]", "no disk of the VM");
	disks_are("-drive id=d0,file=/a,snapshot=on", "[" DISK("d0", "#b", "/a") "]",
		  "snapshot=on");
	disks_are("-snapshot -drive id=d0,file=/a", "[" DISK("d0", "#b", "/a") "]", "thrown away");
	disks_are("-hda /a -hdb /a", "[" DISK("ide0-hd0", "#b", "/a") "]", "twice");
	disks_are("-hda /a -hdb /b -hdc /c",
		  "[" DISK("a", "#a", "/a") "," DISK("b", "#b", "/b") "," DISK("c", "#c", "/c") "]",
		  "more disks");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disks),
		cmocka_unit_test(test_clone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
