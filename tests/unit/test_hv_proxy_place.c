/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The place of a monitor's proxy: taken, and put back at every end. */
#include "tests/unit/hv_proxy_kit.h"

static struct talk a;

static void test_place(void **state)
{
	struct stat st;
	struct tv_err e;

	(void)state;
	assert_false(is_qemus());
	assert_int_equal(stat(t.qmp, &st), 0);
	assert_int_equal(st.st_mode, t.theirs.st_mode);
	assert_int_equal(st.st_uid, t.theirs.st_uid);
	assert_int_equal(hv_proxy_serves(t.note), t.proxy);
	meet(&a);
	kill(t.proxy, SIGTERM);
	/* Who is connected is served to its end. */
	tell(&a, "{\"execute\":\"any\",\"id\":1}");
	says(&a, "\"id\": 1");
	bye(&a);
	waitpid(t.proxy, NULL, 0);
	t.proxy = 0;
	assert_true(is_qemus());
	only("100.qmp");
	assert_int_equal(hv_proxy_serves(t.note), 0);
	assert_int_equal(hv_proxy_put_back(t.note, &e), 0);
	hello(&a); /* QEMU itself */
	says(&a, "oob");
	bye(&a);
}

static void test_killed(void **state)
{
	struct tv_err e;

	(void)state;
	end(&t.proxy, SIGKILL);
	assert_false(is_qemus());
	assert_int_equal(hv_proxy_serves(t.note), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(hv_proxy_put_back(t.note, &e), 0);
		assert_true(is_qemus());
		only("100.qmp");
	}
	assert_int_equal(start_proxy(&e), 0);
	meet(&a);
	/* Another one does not take the place, and does not give it back. */
	{
		pid_t first = t.proxy;

		bye(&a);
		assert_int_not_equal(start_proxy(&e), 0);
		end(&t.proxy, SIGKILL);
		t.proxy = first;
	}
	meet(&a);
	bye(&a);
	assert_int_equal(hv_proxy_serves(t.note), t.proxy);
}

/* All of the steps at which it may die. */
static void test_half_way(void **state)
{
	char aside[128], kept[128];
	struct tv_err e;

	(void)state;
	snprintf(aside, sizeof(aside), "%s.qemu", t.qmp);
	snprintf(kept, sizeof(kept), "%s.kept", t.qmp);
	/* QEMU's socket has two names, and the place is its own. */
	end(&t.proxy, SIGKILL);
	assert_int_equal(unlink(t.qmp), 0);
	assert_int_equal(link(aside, t.qmp), 0);
	assert_int_equal(hv_proxy_put_back(t.note, &e), 0);
	assert_true(is_qemus());
	only("100.qmp");
	/* The note is empty. */
	assert_int_equal(tv_write_file(t.note, "", 0), 0);
	assert_int_equal(hv_proxy_put_back(t.note, &e), 0);
	only("100.qmp");
	/* Somebody else's socket is in the place by now. */
	assert_int_equal(start_proxy(&e), 0);
	end(&t.proxy, SIGKILL);
	assert_int_equal(rename(t.qmp, kept), 0);
	assert_int_equal(tv_write_file(t.qmp, "new", 3), 0);
	assert_int_equal(hv_proxy_put_back(t.note, &e), 0);
	assert_false(is_qemus());
	only("100.qmp 100.qmp.kept");
}

static void test_qemu_ends(void **state)
{
	(void)state;
	end(&t.qemu, SIGKILL);
	waitpid(t.proxy, NULL, 0);
	t.proxy = 0;
	only("*");
}

/* The end of the connection is not QEMU's end. */
static void test_connection_ends(void **state)
{
	(void)state;
	meet(&a);
	tell(&a, "{\"execute\":\"close\"}");
	assert_null(line(&a));
	waitpid(t.proxy, NULL, 0);
	t.proxy = 0;
	assert_true(is_qemus());
	only("100.qmp");
	bye(&a);
}

static void test_wants(void **state)
{
	struct hv_vm_id vm = t.vm;
	char folders[256];

	(void)state;
	snprintf(folders, sizeof(folders), "/none:/tmp/..%s:/x", t.dir);
	assert_true(hv_proxy_wants(&vm, folders));
	assert_false(hv_proxy_wants(&vm, ""));
	assert_false(hv_proxy_wants(&vm, "/tmp:/"));
	chmod(t.dir, 0777);
	assert_false(hv_proxy_wants(&vm, folders));
	chmod(t.dir, 0700);
	snprintf(vm.qmp_path, sizeof(vm.qmp_path), "%s/none", t.dir);
	assert_false(hv_proxy_wants(&vm, folders));
	strcpy(vm.qmp_path, "fd");
	assert_false(hv_proxy_wants(&vm, folders));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_place, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_killed, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_half_way, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_qemu_ends, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_connection_ends, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_wants, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
