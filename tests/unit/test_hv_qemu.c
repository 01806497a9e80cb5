/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What QEMU reports about itself, in the words of 7.2.22 and 10.0.2, and of another program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hv/qemu/features.h"
#include "hv/standby/standby_int.h"
#include "hv/attach/attach_int.h"

static json_t *parse(const char *text)
{
	json_t *j = json_loads(text, 0, NULL);

	assert_non_null(j);
	return j;
}

static const char v7[] = "{\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, "
			 "\"package\": \"Debian 1:7.2+dfsg-7+deb12u18\"}";
static const char v10[] = "{\"qemu\": {\"micro\": 2, \"minor\": 0, \"major\": 10}, "
			  "\"package\": \"\"}";

static struct hv_qemu version(const char *text)
{
	struct hv_qemu m = {0};
	json_t *j = parse(text);

	assert_int_equal(hv_qemu_take_version(&m, j, NULL), 0);
	json_decref(j);
	return m;
}

static void test_version(void **state)
{
	static const char *const bad[] = {"{}", "[]", "{\"qemu\": {\"major\": \"7\"}}",
					  "{\"qemu\": {\"major\": 7, \"minor\": 1000}}"};
	struct hv_qemu m = version(v7);
	char text[512];

	(void)state;
	assert_true(m.major == 7 && m.minor == 2 && m.micro == 22);
	assert_true(m.fd_files && !m.mirror_start_misses && !m.mirror_start_serves);
	hv_qemu_version(&m, text, sizeof(text));
	assert_string_equal(text, "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)");
	m.ram_way = HV_RAM_LIST;
	hv_qemu_text(&m, text, sizeof(text));
	assert_non_null(strstr(text, "RAM addresses from ram_list"));
	assert_non_null(strstr(text, "actively-synced no"));
	m = version(v10);
	hv_qemu_version(&m, text, sizeof(text));
	assert_string_equal(text, "10.0.2");
	assert_true(m.fd_files && m.mirror_start_misses);
	m = version("{\"qemu\": {\"major\": 9, \"minor\": 1, \"micro\": 3}}");
	assert_true(!m.mirror_start_misses && m.mirror_start_serves);
	m = version("{\"qemu\": {\"major\": 9, \"minor\": 2, \"micro\": 0}}");
	assert_true(m.mirror_start_misses && !m.mirror_start_serves);
	assert_false(m.vm_number);
	m = version("{\"qemu\": {\"major\": 9, \"minor\": 2, \"micro\": 0}, "
		    "\"package\": \"pve-qemu-kvm_9.2.0-5\"}");
	assert_true(m.vm_number);
	m = version("{\"qemu\": {\"major\": 11, \"minor\": 0, \"micro\": 0}}");
	assert_false(m.fd_files);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct tv_err e = {0};
		json_t *j = parse(bad[i]);

		assert_int_equal(hv_qemu_take_version(&m, j, &e), TV_E_PROTOCOL);
		assert_true(e.text[0] != '\0');
		json_decref(j);
	}
	assert_int_equal(hv_qemu_number("QEMU emulator version 7.2.22 (Debian 1:7.2+d)"), 7002);
	assert_int_equal(hv_qemu_number("10.0.2"), 10000);
	assert_int_equal(hv_qemu_number("none"), 0);
	assert_int_equal(hv_qemu_number(NULL), 0);
	assert_true(hv_qemu_number("10.0.0") > hv_qemu_number("9.2.1"));
}

static void test_commands(void **state)
{
	struct hv_qemu m = {0};
	json_t *j = parse("[{\"name\": \"query-status\"}, {\"name\": \"xen-save-devices-state\"}]");

	(void)state;
	hv_qemu_take_commands(&m, j);
	assert_true(m.save_state && !m.actively_synced);
	json_decref(j);
	hv_qemu_take_commands(&m, j = parse("[{\"name\": \"block-job-change\"}, {}, 7]"));
	assert_true(!m.save_state && m.actively_synced);
	json_decref(j);
	hv_qemu_take_commands(&m, NULL);
	assert_true(!m.save_state && !m.actively_synced);
}

static void test_lists(void **state)
{
	json_t *props = parse("[{\"name\": \"x\"}, {\"name\": \"send-configuration\", \"type\": "
			      "\"bool\"}, {}]");
	json_t *machines = parse("[{\"name\": \"pc-q35-7.2\", \"alias\": \"q35\"}, {\"name\": "
				 "\"pc-q35-10.0\"}, {}]");

	(void)state;
	assert_true(hv_qemu_has_name(props, "send-configuration"));
	assert_false(hv_qemu_has_name(props, "send"));
	assert_false(hv_qemu_has_name(NULL, "x"));
	assert_true(hv_qemu_has_machine(machines, "pc-q35-7.2"));
	assert_true(hv_qemu_has_machine(machines, "q35"));
	assert_false(hv_qemu_has_machine(machines, "pc-q35-7"));
	assert_false(hv_qemu_has_machine(machines, "pc"));
	assert_true(hv_qemu_is_versioned("pc-q35-7.2"));
	assert_true(hv_qemu_is_versioned("pc-i440fx-10.0"));
	assert_false(hv_qemu_is_versioned("microvm"));
	assert_false(hv_qemu_is_versioned("pc-q35"));
	json_decref(props);
	json_decref(machines);
}

static void test_ramblock(void **state)
{
	(void)state;
	assert_true(hv_qemu_prints_hva("   Block Name    PSize   Offset    Used    Total     "
				       "HVA  RO\r\n"));
	assert_false(hv_qemu_prints_hva("   Block Name    PSize   Offset    Used    Total\r\n"));
	/* A block may have any name. */
	assert_false(hv_qemu_prints_hva("   Block Name    PSize\r\n    HVA   4 KiB 0x0\r\n"));
	assert_false(hv_qemu_prints_hva(""));
}

/* May a VM (its machine and version) go to that QEMU? "" for yes, else a word of the sentence. */
static void matches(const char *machine, const char *theirs, const char *ours, bool can,
		    const char *word)
{
	json_t *desc = json_pack("{s:s, s:s}", "machine", machine, "version", theirs);
	json_t *machines = parse("[{\"name\": \"pc-q35-7.2\"}, {\"name\": \"microvm\"}]");
	struct hv_qemu m = version(ours);
	struct tv_err e = {0};
	char host[65] = "";
	int rc;

	gethostname(host, sizeof(host) - 1);
	m.send_configuration = can;
	rc = hv_standby_match(desc, "/usr/bin/qemu", &m, machines, &e);
	assert_int_equal(rc, *word ? -ENOTSUP : 0);
	assert_true(!*word || (strstr(e.text, word) && strstr(e.text, host)));
	json_decref(desc);
	json_decref(machines);
}

static void test_match(void **state)
{
	(void)state;
	matches("pc-q35-7.2", "7.2.22", v7, true, "");
	matches("pc-q35-7.2", "7.2.22", v10, true, "");
	matches("pc-q35-7.2", "7.2.99", v7, true, ""); /* the last number does not matter */
	matches("pc-q35-7.2", "10.0.2", v7, true, "install at least the same version");
	matches("pc-q35-10.0", "10.0.2", v10, true, "machine type pc-q35-10.0");
	matches("microvm", "10.0.2", v10, true, "");
	matches("microvm", "7.2.22", v10, true, "need the same QEMU");
	matches("pc-q35-7.2", "7.2.22", v7, false, "send-configuration");
}

static void test_state(void **state)
{
	const uint8_t good[] = {'Q', 'E', 'V', 'M', 0, 0, 0, 3, 4, 0};
	const uint8_t old[] = {'Q', 'E', 'V', 'M', 0, 0, 0, 2, 4, 0};
	const uint8_t config[] = {'Q', 'E', 'V', 'M', 0, 0, 0, 3, 7, 0};

	(void)state;
	assert_true(hv_state_is_loadable(good, sizeof(good)));
	assert_false(hv_state_is_loadable(good, 8));
	assert_false(hv_state_is_loadable(old, sizeof(old)));
	assert_false(hv_state_is_loadable(config, sizeof(config)));
}

/* A program that answers as QEMU 10 does without a machine; its id shows which question it
 * was. */
static const char fake[] =
	"#!/bin/sh\n"
	"[ \"$1 $2\" = '-machine none' ] || exit 1\n"
	"echo '{\"QMP\": {\"version\": {}, \"capabilities\": []}}'\n"
	"while read -r l; do\n"
	"id=${l#*\\\"id\\\":\\\"}; id=${id%%\\\"*}\n"
	"case $l in\n"
	"*query-version*) r='{\"qemu\": {\"micro\": 2, \"minor\": 0, \"major\": 10}}' ;;\n"
	"*query-commands*) r='[{\"name\": \"block-job-change\"}]' ;;\n"
	"*qom-list*machine*) r='[{\"name\": \"suppress-vmdesc\"}]' ;;\n"
	"*device-list-properties*migration*) r='[{\"name\": \"send-configuration\"}]' ;;\n"
	"*human*) r='\"Block Name  PSize  Offset  Used  Total  HVA  RO\\r\\n\"' ;;\n"
	"*query-machines*) r='[{\"name\": \"pc-q35-10.0\", \"alias\": \"q35\"}]' ;;\n"
	"*) r='{}' ;;\n"
	"esac\n"
	"printf '{\"return\": %s, \"id\": \"%s\"}\\n' \"$r\" \"$id\"\n"
	"done\n";

static void test_run(void **state)
{
	char path[] = "/tmp/test_hv_qemu.XXXXXX";
	int fd = mkstemp(path);
	struct tv_err e = {0};
	json_t *machines;
	struct hv_qemu m;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, fake, strlen(fake)), strlen(fake));
	assert_int_equal(fchmod(fd, 0700), 0);
	close(fd);
	assert_int_equal(hv_qemu_run(path, "hostX", &m, &machines, &e), 0);
	assert_true(m.major == 10 && m.actively_synced && m.ramblock_hva);
	assert_true(m.suppress_vmdesc && m.send_configuration && !m.save_state);
	assert_true(hv_qemu_has_machine(machines, "q35"));
	json_decref(machines);
	unlink(path);
	/* Not there, and no QEMU. */
	assert_int_equal(hv_qemu_run(path, "hostX", &m, &machines, &e), -ENOENT);
	assert_non_null(strstr(e.text, path));
	assert_int_equal(hv_qemu_run("/bin/true", "hostX", &m, &machines, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "/bin/true on hostX"));
	assert_int_equal(hv_qemu_run("/bin/ls", "hostX", &m, &machines, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "--help")); /* its own last words */
	assert_null(machines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version), cmocka_unit_test(test_commands),
		cmocka_unit_test(test_lists),	cmocka_unit_test(test_ramblock),
		cmocka_unit_test(test_match),	cmocka_unit_test(test_state),
		cmocka_unit_test(test_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
