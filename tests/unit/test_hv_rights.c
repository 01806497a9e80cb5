/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rights: images that QEMU's user cannot open, encrypted disks, secrets, refused drivers, and who
 * answers at a QMP socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hv/attach/as_qemu.h"
#include "hv/attach/check.h"
#include "hv/attach/describe.h"

#define ANOTHER 65534u

static struct hv_features features = {.pagemap_scan = true, .discard_reported = true};
static const struct hv_qemu qemu = {.major = 7, .minor = 2, .save_state = true};

struct bed {
	struct hv_policy policy;
	struct hv_devs devs;
	struct hv_check c;
	struct hv_refusals out;
};

static void bed_init(struct bed *b)
{
	*b = (struct bed){.policy = hv_policy,
			  .c = {.features = &features, .qemu = &qemu, .status = "running"}};
	b->c.policy = &b->policy;
	b->c.devs = &b->devs;
}

static bool only_public(const char *file, void *arg)
{
	(void)arg;
	return strstr(file, "public") != NULL;
}

static void test_images(void **state)
{
	struct bed b;

	(void)state;
	bed_init(&b);
	b.c.can_open = only_public;
	b.c.block =
		json_loads("[{\"device\":\"a\",\"inserted\":{\"ro\":false,\"file\":\"/public\"}},"
			   "{\"device\":\"b\",\"inserted\":{\"ro\":true,\"file\":\"/own\"}},"
			   "{\"device\":\"c\",\"inserted\":{\"ro\":false,\"file\":\"/own\"}}]",
			   0, NULL);
	hv_check_facts(&b.c, &b.out);
	assert_int_equal(b.out.n, 1);
	assert_non_null(strstr(b.out.text[0], "c (/own)"));
	assert_non_null(strstr(b.out.text[0], "-runas"));
	json_decref(b.c.block);
}

static void test_changed_user(void **state)
{
	char *yes[][4] = {{"q", "-runas", "nobody", NULL},
			  {"q", "--chroot", "/x", NULL},
			  {"q", "-run-with", "async-teardown=on,user=nobody", NULL},
			  {"q", "-run-with", "chroot=/x", NULL}};
	char *no[][4] = {{"q", "-name", "runas", NULL},
			 {"q", "-run-with", "async-teardown=on", NULL}};

	(void)state;
	for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++)
		assert_true(hv_changed_user(yes[i]));
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
		assert_false(hv_changed_user(no[i]));
}

/* A process of another user, that waits; *listener, may be NULL: it listens there. */
static pid_t as_another(const char *listener)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		int s = socket(AF_UNIX, SOCK_STREAM, 0);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setresgid(ANOTHER, ANOTHER, ANOTHER) || setresuid(ANOTHER, ANOTHER, ANOTHER))
			_exit(1);
		if (listener) {
			strcpy(a.sun_path, listener);
			if (bind(s, (struct sockaddr *)&a, sizeof(a)) || listen(s, 1))
				_exit(1);
		}
		if (write(ready[1], "r", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void test_can_open(void **state)
{
	char folder[] = "/tmp/twinvm-test-rights.XXXXXX", own[64], theirs[64];
	pid_t pid, self = getpid();

	(void)state;
	if (geteuid())
		skip();
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chmod(folder, 0755), 0);
	snprintf(own, sizeof(own), "%s/own", folder);
	snprintf(theirs, sizeof(theirs), "%s/theirs", folder);
	assert_int_equal(tv_write_file(own, "x", 1), 0);
	assert_int_equal(tv_write_file(theirs, "x", 1), 0);
	assert_int_equal(chmod(own, 0644), 0); /* reading is not enough */
	assert_int_equal(chown(theirs, ANOTHER, 0), 0);
	pid = as_another(NULL);
	assert_false(hv_can_open(own, &pid));
	assert_true(hv_can_open(theirs, &pid));
	assert_false(hv_can_open("/nonexistent/x", &pid));
	assert_true(hv_can_open(own, &self));
	end(pid);
	unlink(own);
	unlink(theirs);
	rmdir(folder);
}

static void test_qmp_peer(void **state)
{
	char folder[] = "/tmp/twinvm-test-rights.XXXXXX", path[64];
	struct tv_err e = {0};
	struct hv_qmp *q;
	pid_t pid;

	(void)state;
	if (geteuid())
		skip();
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chmod(folder, 0777), 0);
	snprintf(path, sizeof(path), "%s/qmp", folder);
	pid = as_another(path);
	assert_int_equal(hv_qmp_open(path, getpid(), 50, &q, &e), TV_E_REFUSED);
	assert_null(q);
	assert_non_null(strstr(e.text, "user 65534"));
	/* The right process, which sends no greeting. */
	assert_int_equal(hv_qmp_open(path, pid, 50, &q, &e), -EBUSY);
	end(pid);
	unlink(path);
	rmdir(folder);
}

static void test_encrypted(void **state)
{
	struct bed b;

	(void)state;
	bed_init(&b);
	b.c.nodes =
		json_loads("[{\"node-name\":\"a\",\"drv\":\"raw\",\"ro\":false},"
			   "{\"node-name\":\"b\",\"drv\":\"luks\",\"ro\":true,\"file\":\"/r\"},"
			   "{\"node-name\":\"c\",\"drv\":\"luks\",\"ro\":false,\"file\":\"/l\"},"
			   "{\"node-name\":\"d\",\"drv\":\"qcow2\",\"ro\":false,\"file\":\"/q\","
			   "\"encrypted\":true}]",
			   0, NULL);
	hv_check_facts(&b.c, &b.out);
	assert_int_equal(b.out.n, 2);
	assert_non_null(strstr(b.out.text[0], "/l"));
	assert_non_null(strstr(b.out.text[1], "/q"));
	assert_non_null(strstr(b.out.text[1], "replica_plaintext"));
	b.out.n = 0;
	b.policy.plaintext = true;
	hv_check_facts(&b.c, &b.out);
	assert_int_equal(b.out.n, 0);
	json_decref(b.c.nodes);
}

static void arg_is(const char *option, const char *arg, const char *want)
{
	char *out = hv_describe_arg(option, arg);

	assert_string_equal(out, want);
	free(out);
}

static void test_secrets(void **state)
{
	(void)state;
	arg_is("-object", "secret,id=s,data=hunter2,format=raw", "secret,id=s,format=raw");
	arg_is("--object", "{\"qom-type\":\"secret\",\"id\":\"s\",\"data\":\"hunter2\"}",
	       "{\"qom-type\":\"secret\",\"id\":\"s\"}");
	arg_is("-object", "{\"qom-type\":\"secret\",\"id\":\"masterKey0\",\"file\":\"/k\"}",
	       "{\"qom-type\":\"secret\",\"id\":\"masterKey0\"}");
	arg_is("-spice", "port=1,password=hunter2", "port=1");
	arg_is("-iscsi", "initiator-name=a,user=u,password=hunter2", "initiator-name=a,user=u");
	arg_is("-object", "iothread,id=i", "iothread,id=i");
	arg_is("-append", "secret,data=x", "secret,data=x");
	arg_is(NULL, "qemu", "qemu");
}

/* Each refused driver of the table, by its name, with what to do. */
static void test_drivers(void **state)
{
	unsigned n, found = 0;
	const struct hv_driver *d = hv_drivers(&n);
	char qtree[256], name[64];
	struct bed b;

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s", d[i].pattern);
		for (char *p = name; *p; p++)
			*p = *p == '*' ? 'x' : *p;
		bed_init(&b);
		snprintf(qtree, sizeof(qtree), "bus: b\n  dev: %s, id \"it\"\n", name);
		assert_int_equal(hv_devs_parse(qtree, &b.devs), 0);
		hv_check_facts(&b.c, &b.out);
		if (d[i].class == HV_DRIVER_REFUSED) {
			assert_int_equal(b.out.n, 1);
			assert_non_null(strstr(b.out.text[0], name));
			assert_non_null(strstr(b.out.text[0], d[i].remedy));
			found++;
		} else if (hv_driver(name) == &d[i]) {
			assert_int_equal(b.out.n, 0);
		}
		hv_devs_dispose(&b.devs);
	}
	assert_true(found > 20);
	assert_int_equal(hv_driver("no-such-device")->class, HV_DRIVER_UNKNOWN);
	assert_int_equal(hv_driver("vhost-vsock-pci")->class, HV_DRIVER_REFUSED);
	assert_int_equal(hv_driver("virtio-gpu-gl")->class, HV_DRIVER_REFUSED);
	assert_int_equal(hv_driver("virtio-gpu")->class, HV_DRIVER_FINE);
	assert_int_equal(hv_driver("virtserialport")->class, HV_DRIVER_LISTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_images),	  cmocka_unit_test(test_changed_user),
		cmocka_unit_test(test_can_open),  cmocka_unit_test(test_qmp_peer),
		cmocka_unit_test(test_encrypted), cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_drivers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
