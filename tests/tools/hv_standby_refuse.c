/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hv_standby_refuse QEMU ARGS...: what must not start as a standby of this VM does not, and the
 * sentence names the reason; nothing is left behind. Exit status 0: all of it; else the first
 * failure is on stderr.
 */
#include "tests/tools/lib_hv_standby.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must_refuse(json_t *desc, const char *key, json_t *value, int want, const char *word)
{
	struct hv_standby_conf conf = {.host = &hv_host_ops,
				       .host_arg = sbed_host(),
				       .dir = sbed.run_dir,
				       .vm_id = "0123",
				       .peer = "hostA",
				       .media = "/usr/share:/usr/lib",
				       .qemu_path = getenv("PATH")};
	json_t *d = json_deep_copy(desc);
	struct hv_standby *sb = NULL;
	struct tv_err e = {0};
	int rc;

	json_object_set_new(d, key, value);
	rc = hv_standby_start(d, &conf, &sb, &e);
	printf("  %s\n", e.text);
	MUST(rc == want && !sb, "%d", rc);
	MUST(strstr(e.text, word), "no \"%s\"", word);
	json_decref(d);
}

static json_t *more_args(json_t *desc, const char *option, const char *arg)
{
	json_t *a = json_deep_copy(json_object_get(desc, "argv"));

	json_array_append_new(a, json_string(option));
	json_array_append_new(a, json_string(arg));
	return a;
}

static json_t *one_block_more(json_t *desc)
{
	json_t *b = json_deep_copy(json_object_get(desc, "blocks"));

	json_array_append_new(
		b, json_pack("{s:s, s:i, s:b}", "name", "dimm7", "bytes", 4096, "main", 0));
	return b;
}

static void refuse_bad_state(json_t *desc)
{
	struct hv_standby *sb = sbed_standby(desc);
	char junk[300000];
	struct tv_err e = {0};
	int rc;

	memset(junk, 7, sizeof(junk));
	rc = hv_standby_promote(sb, junk, sizeof(junk), BED_MS, &e);
	printf("  %s\n", e.text);
	MUST(rc == TV_E_GONE && strstr(e.text, "migration"), "%d", rc);
	hv_standby_kill(sb);
	/* A QEMU that hangs: the time-out holds. */
	sb = sbed_standby(desc);
	kill(hv_standby_pid(sb), SIGSTOP);
	rc = hv_standby_promote(sb, junk, sizeof(junk), 300, &e);
	printf("  %s\n", e.text);
	MUST(rc == -ETIMEDOUT, "%d", rc);
	hv_standby_kill(sb);
	/* A state that does not end: QEMU waits for more, or says that it is broken; never for
	 * ever. */
	sb = sbed_standby(desc);
	rc = hv_standby_promote(sb, "QEVM\0\0\0\3\1", 9, 2000, &e);
	printf("  %s\n", e.text);
	MUST(rc < 0, "%d", rc);
	hv_standby_kill(sb);
	MUST(sbed_files_left() == 0, "files are left");
}

int main(int argc, char **argv)
{
	json_t *desc, *huge;
	char log[160];

	MUST(argc > 1, "usage: %s QEMU ARGS...", argv[0]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	sbed_start("hv_standby_refuse", argv + 1, argc - 1);
	desc = sbed_describe();
	must_refuse(desc, "machine", json_string("pc-q35-99.9"), -ENOTSUP, "pc-q35-99.9");
	must_refuse(desc, "version", json_string("99.1.0"), -ENOTSUP, "99.1.0");
	huge = json_deep_copy(desc);
	json_object_set_new(huge, "ram_bytes", json_integer(INT64_C(1) << 42));
	must_refuse(huge, "blocks",
		    json_pack("[{s:s, s:I, s:b}]", "name", "pc.ram", "bytes", (json_int_t)1 << 42,
			      "main", 1),
		    -ENOMEM, "MiB");
	json_decref(huge);
	must_refuse(desc, "argv", more_args(desc, "-kernel", "/usr/share/none/x.iso"), -ENOTSUP,
		    "/usr/share/none/x.iso");
	must_refuse(desc, "argv", more_args(desc, "-kernel", "/etc/passwd"), TV_E_REFUSED,
		    "'media'");
	must_refuse(desc, "argv", more_args(desc, "-kernel", "/nowhere/x.iso"), TV_E_REFUSED,
		    "'media'");
	must_refuse(desc, "argv", json_pack("[s]", "/opt/qemu-system-none"), -ENOTSUP,
		    "not installed");
	must_refuse(desc, "argv", json_pack("[s]", "/bin/sh"), TV_E_REFUSED, "/bin/sh");
	must_refuse(desc, "kvm", json_true(), -ENOTSUP, "KVM");
	must_refuse(desc, "argv", more_args(desc, "-device", "no-such-device"), TV_E_REFUSED,
		    "no-such-device");
	must_refuse(desc, "blocks", one_block_more(desc), -ENOTSUP, "dimm7");
	must_refuse(desc, "argv", more_args(desc, "-device", "VGA,id=more,addr=9"), -ENOTSUP,
		    "vga.");
	/* standby.log stays after a failed start, and nothing else. */
	snprintf(log, sizeof(log), "%s/standby.log", sbed.run_dir);
	unlink(log);
	MUST(sbed_files_left() == 0, "files are left");
	refuse_bad_state(desc);
	json_decref(desc);
	puts("ok");
	return 0;
}
