/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drives on the standby's command line: what is in them now counts, and copies of files. */
#include "tests/unit/hv_argv_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define CD(device, qdev, node, file)                                                              \
	"{\"device\":\"" device "\",\"qdev\":\"" qdev "\",\"node\":\"" node "\",\"file\":\"" file \
	"\",\"format\":\"raw\"}"
#define EMPTY(device, qdev) "{\"device\":\"" device "\",\"qdev\":\"" qdev "\"}"

/* What the options become, or a part of why they are refused. */
static void drives_are(const char *options, const char *drives, const char *expected)
{
	const struct hv_standby_conf conf = {.dir = DIR, .vm_id = "ab12"};
	const struct vm vm = {.drives = drives};
	char line[4096], out[8192], want[4096];
	struct tv_err e = {0};
	int rc;

	snprintf(line, sizeof(line), "qemu %s -nodefaults", options);
	rc = rewrite_conf(line, &vm, &conf, out, sizeof(out), &e);
	if (rc) {
		if (!strstr(e.text, expected))
			fail_msg("%s: '%s', not '%s'", options, e.text, expected);
		return;
	}
	snprintf(want, sizeof(want), "qemu %s%s-nodefaults ", expected, *expected ? " " : "");
	if (strncmp(out, want, strlen(want)))
		fail_msg("%s:\n%s\nnot\n%s", options, out, want);
}

static void the_medium_of_a_drive_option_is_replaced(void **state)
{
	(void)state;
	drives_are("-cdrom /a.iso",
		   "[" CD("ide2-cd0", "/machine/unattached/device[1]", "#b", "/b.iso") "]",
		   "-drive index=2,media=cdrom,format=raw,readonly=on,file=/b.iso");
	drives_are("-cdrom /a.iso", "[" EMPTY("ide1-cd0", "") "]", "-drive index=2,media=cdrom");
	drives_are("-drive file=/a,if=none,id=c,media=cdrom -device ide-cd,drive=c,id=x",
		   "[" CD("c", "x", "#b", "/b,c") "]",
		   "-drive if=none,id=c,media=cdrom,format=raw,readonly=on,file=/b,,c -device "
		   "ide-cd,drive=c,id=x");
	/* One that had no medium, and was not made to be only read. */
	drives_are("-drive if=floppy,index=0", "[" CD("floppy0", "", "#b", "/b.img") "]",
		   "-drive if=floppy,index=0,format=raw,readonly=on,file=/b.img");
	drives_are("-drive if=none,id=c,file=/gone.iso,format=raw", "[" EMPTY("c", "x") "]",
		   "-drive if=none,id=c");
	drives_are("-drive media=cdrom,file=/a", "[" CD("ide1-cd0", "", "#b", "/b") "]",
		   "-drive media=cdrom,format=raw,readonly=on,file=/b");
	drives_are("-drive media=cdrom,file=/a",
		   "[" CD("ide1-cd0", "", "#b", "/b") "," CD("ide1-cd1", "", "#c", "/c") "]",
		   "start the VM with an id for each drive");
}

#define NODES \
	"-blockdev driver=file,filename=/a.iso,node-name=s -blockdev driver=raw,file=s,node-name=f "
#define NEW(n, file)                                                \
	"-blockdev {\"driver\":\"raw\",\"node-name\":\"tv-medium" n \
	"\",\"read-only\":true,\"file\":{\"driver\":\"file\",\"filename\":\"" file "\"}} "

static void the_node_of_a_device_is_replaced(void **state)
{
	(void)state;
	drives_are(NODES "-device ide-cd,drive=f,id=cd", "[" CD("", "cd", "f", "/a.iso") "]",
		   "-blockdev driver=file,filename=/a.iso,node-name=s,read-only=on -blockdev "
		   "driver=raw,file=s,node-name=f,read-only=on -device ide-cd,drive=f,id=cd");
	drives_are(NODES "-device ide-cd,drive=f,id=cd", "[" EMPTY("", "cd") "]",
		   "-device ide-cd,id=cd");
	drives_are(NODES "-device ide-cd,drive=f,id=cd", "[" CD("", "cd", "#b9", "/b.iso") "]",
		   NEW("0", "/b.iso") "-device ide-cd,id=cd,drive=tv-medium0");
	/* As libvirt leaves it behind: the node is deleted, too. */
	drives_are("-device ide-cd,drive=f,id=cd", "[" EMPTY("", "cd") "]", "-device ide-cd,id=cd");
	drives_are("-device ide-cd,id=cd", "[" CD("", "cd", "#b9", "/b.iso") "]",
		   NEW("0", "/b.iso") "-device ide-cd,id=cd,drive=tv-medium0");
	drives_are(
		"-device {\"driver\":\"scsi-cd\",\"id\":\"cd\"}",
		"[" EMPTY("", "x") "," CD("", "/machine/peripheral/cd/y", "#b9", "/b.iso") "]",
		NEW("1",
		    "/b.iso") "-device {\"driver\":\"scsi-cd\",\"id\":\"cd\",\"drive\":\"tv-medium1\"}");
	/* Devices without an id are counted. */
	drives_are("-device ide-cd -device usb-tablet -device ide-cd",
		   "[" EMPTY("", "/machine/peripheral-anon/device[0]") "," CD(
			   "", "/machine/peripheral-anon/device[2]", "#b9", "/b.iso") "]",
		   "-device ide-cd -device usb-tablet " NEW(
			   "1", "/b.iso") "-device ide-cd,drive=tv-medium1");
	/* A promoted standby's own line gives the same again. */
	drives_are(NEW("0", "/b.iso") "-device ide-cd,id=cd,drive=tv-medium0",
		   "[" CD("", "cd", "tv-medium0", "/b.iso") "]",
		   NEW("0", "/b.iso") "-device ide-cd,id=cd,drive=tv-medium0");
}

static void drives_of_qemu_itself(void **state)
{
	const struct hv_standby_conf conf = {.dir = DIR, .vm_id = "ab12"};
	struct vm vm = {.drives = "[" CD("ide2-cd0", "", "#b", "/b.iso") "]"};
	struct tv_err e = {0};
	char out[8192];

	(void)state;
	assert_int_equal(rewrite_conf("qemu -m 256", &vm, &conf, out, sizeof(out), &e), 0);
	assert_non_null(
		strstr(out, " -drive index=2,media=cdrom,readonly=on,format=raw,file=/b.iso "));
	vm.drives = "[" CD("scsi7-cd3", "", "#b", "/b.iso") "]";
	assert_int_equal(rewrite_conf("qemu -m 256", &vm, &conf, out, sizeof(out), &e),
			 TV_E_REFUSED);
	assert_non_null(strstr(e.text, "no drive scsi7-cd3"));
}

static void what_a_peer_may_not_put_into_a_drive(void **state)
{
	(void)state;
	drives_are("-device ide-cd,id=cd", "[" CD("", "cd", "#b", "nbd://h/x") "]",
		   "the file nbd://h/x");
	drives_are("-cdrom /a", "[" CD("ide1-cd0", "", "#b", "json:{}") "]", "the file json:{}");
	drives_are("-device ide-cd,id=cd",
		   "[{\"qdev\":\"cd\",\"file\":\"/b\",\"node\":\"n\",\"format\":\"vmdk\"}]",
		   "a medium of format vmdk");
	drives_are("-cdrom /a",
		   "[{\"device\":\"ide1-cd0\",\"file\":\"/b\",\"node\":\"n\",\"format\":\"vmdk\"}]",
		   "format=vmdk");
	drives_are("-device ide-cd,id=cd", "{\"a\":1}", "-device ide-cd,id=cd");
	drives_are("-device ide-cd,id=cd", "[1,[],{\"qdev\":2,\"file\":3}]",
		   "-device ide-cd,id=cd");
}

/* ---- copies ---- */
#define COPY(path) "{\"path\":\"" path "\",\"bytes\":1,\"sha256\":\"x\"}"

static void copies_take_the_place_of_files(void **state)
{
	static const char *const copies[] = {"/r/v-file-0", NULL};
	const struct hv_standby_conf conf = {.dir = DIR, .copies = copies, .n_copies = 2};
	const struct vm vm = {.copies = "[" COPY("/w/k") "," COPY("/fw") "," COPY("/past") "]"};
	struct tv_err e = {0};
	char out[8192];

	(void)state;
	assert_int_equal(
		rewrite_conf("qemu -m 256 -kernel k -initrd /fw -dtb /past -acpitable file=k "
			     "-drive file=/w/k,format=raw,readonly=on",
			     &vm, &conf, out, sizeof(out), &e),
		0);
	assert_non_null(strstr(out, "-kernel /r/v-file-0 -initrd /fw -dtb /past "
				    "-acpitable file=/r/v-file-0 "));
	assert_non_null(strstr(out, "file=/r/v-file-0"));
}

/* A copy is this host's, below no folder of media; but what is in it is the peer's. */
static void copies_are_looked_into(void **state)
{
	char path[] = "/tmp/tv-copy-XXXXXX";
	const char *copies[] = {path};
	const struct hv_standby_conf conf = {
		.dir = DIR, .copies = copies, .n_copies = 1, .media = "/nowhere", .peer = "hostA"};
	const struct vm vm = {.copies = "[" COPY("/a.iso") "]"};
	static const char other_file[80] = "QFI\xfb\0\0\0\3\0\0\0\0\0\0\1";
	struct tv_err e = {0};
	char out[8192];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(
		rewrite_conf("qemu -m 256 -cdrom /a.iso", &vm, &conf, out, sizeof(out), &e), 0);
	assert_int_equal(tv_write_all(fd, other_file, sizeof(other_file)), 0);
	assert_int_equal(
		rewrite_conf("qemu -m 256 -cdrom /a.iso", &vm, &conf, out, sizeof(out), &e),
		TV_E_REFUSED);
	assert_non_null(strstr(e.text, "without its format"));
	assert_int_equal(rewrite_conf("qemu -m 256 -drive media=cdrom,format=qcow2,file=/a.iso",
				      &vm, &conf, out, sizeof(out), &e),
			 TV_E_REFUSED);
	assert_non_null(strstr(e.text, "names a further file"));
	close(fd);
	unlink(path);
	assert_int_not_equal(
		rewrite_conf("qemu -m 256 -cdrom /a.iso", &vm, &conf, out, sizeof(out), &e), 0);
}

static void only_the_same_contents_below_media_are_the_file(void **state)
{
	char dir[] = "/tmp/tv-media-XXXXXX", path[64], link[64];
	char sha256[TV_SHA256_ROOM], other[TV_SHA256_ROOM];
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a", dir);
	snprintf(link, sizeof(link), "%s/passwd", dir);
	assert_int_equal(tv_write_file(path, "abc", 3), 0);
	fd = open(path, O_RDONLY);
	assert_int_equal(tv_sha256(fd, 3, sha256), 0);
	assert_string_equal(sha256,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(tv_sha256(fd, 4, other), -EIO);
	assert_int_equal(tv_sha256(fd, 2, other), 0);
	assert_true(hv_media_has(path, dir, 3, sha256));
	assert_false(hv_media_has(path, dir, 3, other));
	assert_false(hv_media_has(path, dir, 2, other));
	assert_false(hv_media_has(path, "/nowhere", 3, sha256));
	assert_false(hv_media_has(dir, dir, 3, sha256));
	assert_int_equal(symlink("/etc/passwd", link), 0);
	assert_false(hv_media_has(link, dir, 3, sha256));
	close(fd);
	unlink(path);
	unlink(link);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_medium_of_a_drive_option_is_replaced),
		cmocka_unit_test(the_node_of_a_device_is_replaced),
		cmocka_unit_test(drives_of_qemu_itself),
		cmocka_unit_test(what_a_peer_may_not_put_into_a_drive),
		cmocka_unit_test(copies_take_the_place_of_files),
		cmocka_unit_test(copies_are_looked_into),
		cmocka_unit_test(only_the_same_contents_below_media_are_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
