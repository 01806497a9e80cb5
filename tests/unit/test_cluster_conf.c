/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvmd's configuration, as `twinvm cluster` writes it, and as it is read with a folder of a cluster. */
#include "cluster_kit.h"
#include "replicator/session/session.h"

#include <errno.h>

/* ---- the configuration ---- */
static void write_conf(const char *path, const char *text)
{
	assert_int_equal(tv_write_file(path, text, strlen(text)), 0);
}

static void the_configuration_has_peers(void **state)
{
	char path[100], text[200];
	struct config c;
	struct tv_err e = {0};

	(void)state;
	admitted("hostB");
	admitted("hostC");
	assert_int_equal(cl_revoke(dir_a, "hostC", &e), 0);
	snprintf(path, sizeof(path), "%s.conf", dir_a);
	snprintf(text, sizeof(text), "host = hostA\ncluster = %s\n", dir_a);
	write_conf(path, text);
	assert_int_equal(config_load(path, &c, &e), 0);
	assert_int_equal(c.peer_count, 1);
	assert_string_equal(c.peers[0].name, "hostB");
	assert_string_equal(c.peers[0].host, "10.0.0.2");
	assert_int_equal(config_admit("hostC", &c, &e), -EKEYREVOKED);
	assert_int_equal(config_check_tls(&c, &e), 0);
	/* An operator's line counts more. */
	snprintf(text, sizeof(text), "host = hostA\npeer.hostB = 10.9.9.9:1\ncluster = %s\n",
		 dir_a);
	write_conf(path, text);
	assert_int_equal(config_load(path, &c, &e), 0);
	assert_int_equal(c.peer_count, 1);
	assert_string_equal(c.peers[0].host, "10.9.9.9");
	snprintf(text, sizeof(text), "host = hostA\ncluster = %s-none\n", dir_a);
	write_conf(path, text);
	assert_int_equal(config_load(path, &c, &e), -ENOENT);
	assert_non_null(strstr(e.text, "twinvm cluster init"));
}

static void what_is_there_is_kept(void **state)
{
	TV_FREE char *text = NULL;
	struct cl_conf conf = {.host = "hostA",
			       .listen = "",
			       .address = "1.2.3.4:7890",
			       .dir = dir_a,
			       .arbiter = "none"};
	char path[100];
	struct config c;
	struct tv_err e = {0};
	bool added;

	(void)state;
	snprintf(path, sizeof(path), "%s.conf", dir_a);
	conf.path = path;
	write_conf(path, "# mine\nbridge = br9\nhost = other"); /* without an end of line */
	assert_int_equal(cl_conf_check(path, dir_a, &e), 0);
	assert_int_equal(cl_conf_write(&conf, &added, &e), 0);
	assert_true(added);
	assert_int_equal(config_load(path, &c, &e), 0);
	assert_string_equal(c.bridge, "br9");
	assert_string_equal(c.host, "other");
	assert_string_equal(c.address, "1.2.3.4:7890");
	assert_int_equal(cl_conf_leave(path, &e), 0);
	assert_int_equal(tv_read_file(path, 1 << 16, &text, NULL), 0);
	assert_non_null(strstr(text, "# left: cluster = "));
	assert_non_null(strstr(text, "# mine\nbridge = br9\n"));
	write_conf(path, "cert = /x\n");
	assert_int_equal(cl_conf_check(path, dir_a, &e), -EEXIST);
	assert_non_null(strstr(e.text, "another making"));
	write_conf(path, "cluster = /x\n");
	assert_int_equal(cl_conf_check(path, dir_a, &e), -EEXIST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_configuration_has_peers, set_up),
		cmocka_unit_test_setup(what_is_there_is_kept, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, clean_up);
}
