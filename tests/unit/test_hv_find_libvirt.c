/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding domains of libvirt over a made-up /proc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pwd.h>
#include <string.h>

#include "hv/qemu/find.h"
#include "hv/qemu/libvirt.h"
#include "tests/unit/hv_find_kit.h"

static int setup(void **state)
{
	const char *qemu = "/usr/bin/qemu-system-x86_64";

	(void)state;
	snprintf(root, sizeof(root), "/tmp/twinvm-test-find.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	/* libvirt: its monitor came as a descriptor; with one of its own; of a session; a claim. */
	make_process(40, qemu, "/",
		     "/usr/bin/qemu-system-x86_64|-name|guest=lv,debug-threads=on|-object|"
		     "{\"qom-type\":\"secret\",\"id\":\"masterKey0\",\"format\":\"raw\",\"file\":"
		     "\"/var/lib/libvirt/qemu/domain-7-lv/master-key.aes\"}|-uuid|"
		     "1C3A5F60-0000-4a4b-8c8d-00000000AbCd|-chardev|"
		     "socket,id=charmonitor,fd=22,server=on,wait=off|-mon|"
		     "chardev=charmonitor,id=monitor,mode=control|");
	make_process(41, qemu, "/",
		     "qemu|-name|guest=lv2|-object|secret,id=masterKey0,format=raw,file="
		     "/var/lib/libvirt/qemu/domain-41-lv2/master-key.aes|-uuid|"
		     "1c3a5f60-0000-4a4b-8c8d-00000000abce|-chardev|"
		     "socket,id=charmonitor,fd=22,server=on,wait=off|-mon|"
		     "chardev=charmonitor,id=monitor,mode=control|-qmp|unix:/run/lv2,server=on|");
	make_process(42, qemu, "/",
		     "qemu|-name|session|-object|secret,id=m,file=/home/a/.config/libvirt/qemu/lib/"
		     "domain-1-session/master-key.aes|-uuid|1c3a5f60-0000-4a4b-8c8d-00000000abcf|");
	make_process(43, qemu, "/",
		     "qemu|-name|no-uuid|-object|secret,id=m,file=/var/lib/libvirt/qemu/"
		     "domain-9-no-uuid/master-key.aes|-uuid|1c3a5f60-0000-4a4b-8c8d-0000/../abcf|");
	make_process(44, qemu, "/", "qemu|-name|number 7|-id|44|-qmp|unix:/run/44,server=on|");
	make_process(
		45, qemu, "/",
		"qemu|-name|lv3|-object|secret,id=m,file=/var/lib/libvirt/qemu/domain-40-lv3/m|"
		"-uuid|1c3a5f60-0000-4a4b-8c8d-00000000abd0|");
	make_process_of(ANOTHER, 46, qemu, "/",
			"qemu|-name|claim|-object|secret,id=m,file=/var/lib/libvirt/qemu/"
			"domain-46-claim/m|-uuid|1c3a5f60-0000-4a4b-8c8d-00000000abd1|");
	return 0;
}

static void test_find_libvirt(void **state)
{
	static const char uuid[] = "1c3a5f60-0000-4a4b-8c8d-00000000abcd";
	static const char *const words[] = {"lv", "7", uuid, "1C3A5F60-0000-4A4B-8C8D-00000000ABCD",
					    "libvirt:1c3a5f60-0000-4a4b-8c8d-00000000abcd"};
	struct passwd *p = getpwuid(ANOTHER);
	struct tv_err e = {0};
	struct hv_vm_id id;

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		assert_int_equal(hv_find_at(root, words[i], NULL, NULL, NULL, &id, &e), 0);
		assert_true(id.pid == 40 && id.number == 7);
		assert_string_equal(id.uuid, uuid);
		assert_string_equal(id.qmp_path, "libvirt:1c3a5f60-0000-4a4b-8c8d-00000000abcd");
	}
	/* A number that is a pid and an id of the same VM, of two. */
	assert_int_equal(hv_find_at(root, "41", NULL, NULL, NULL, &id, &e), 0);
	assert_string_equal(id.qmp_path, "/run/lv2");
	assert_int_equal(hv_find_at(root, "40", NULL, NULL, NULL, &id, &e), TV_E_AMBIGUOUS);
	assert_non_null(strstr(e.text, "45"));
	assert_int_equal(hv_find_at(root, "44", NULL, NULL, NULL, &id, &e), 0);
	assert_string_equal(id.uuid, "");
	/* A user's own libvirt is not this host's; what is no UUID names nothing. */
	assert_int_equal(hv_find_at(root, "session", NULL, NULL, NULL, &id, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "qemu:commandline"));
	assert_int_equal(hv_find_at(root, "no-uuid", NULL, NULL, NULL, &id, &e), -ENOTSUP);
	assert_string_equal(id.uuid, "");
	/* Nor does whoever writes such a folder into his own command line. */
	assert_int_equal(hv_find_at(root, "claim", p->pw_name, NULL, NULL, &id, &e), -ENOTSUP);
	assert_string_equal(id.qmp_path, "");
}

/* libvirt's configuration as its package installs it (tests/deps.sh), and as people edit it. */
static void test_lock_manager(void **state)
{
	TV_FREE char *real = NULL, *edited = NULL;
	char v[32], *sample;

	(void)state;
	assert_int_equal(tv_read_file(HV_LIBVIRT_CONF, 1u << 20, &real, NULL), 0);
	sample = strstr(real, "#lock_manager = \"lockd\"");
	assert_non_null(sample);
	hv_libvirt_lock_manager(real, v, sizeof(v));
	assert_string_equal(v, "");
	*sample = ' ';
	hv_libvirt_lock_manager(real, v, sizeof(v));
	assert_string_equal(v, "lockd");
	assert_true(asprintf(&edited, "%s\nlock_manager='sanlock'  # oVirt's\n", real) > 0);
	hv_libvirt_lock_manager(edited, v, sizeof(v));
	assert_string_equal(v, "sanlock");
	hv_libvirt_lock_manager("lock_manager = \"nop\"", v, sizeof(v));
	assert_string_equal(v, "");
	hv_libvirt_lock_manager("lock_manager_x = \"a\"\nx = \"lock_manager = b\"\nlock_manager", v,
				sizeof(v));
	assert_string_equal(v, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_find_libvirt),
					   cmocka_unit_test(test_lock_manager)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
