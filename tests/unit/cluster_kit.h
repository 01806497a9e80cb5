/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of cluster/: the folders of two hosts, one of which is the first of a cluster. */
#ifndef TESTS_UNIT_CLUSTER_KIT_H
#define TESTS_UNIT_CLUSTER_KIT_H

#include "cluster/cluster_int.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char base[] = "/tmp/twinvm-cluster-XXXXXX";
static char dir_a[64], dir_b[64];

static inline int set_up(void **state)
{
	static unsigned n;
	const struct cl_first first = {
		.host = "hostA", .address = "10.0.0.1:7890", .arbiter = "none", .days = 365};
	struct tv_err e = {0};

	(void)state;
	if (!n && !mkdtemp(base))
		return -1;
	snprintf(dir_a, sizeof(dir_a), "%s/a%u", base, n);
	snprintf(dir_b, sizeof(dir_b), "%s/b%u", base, n++);
	return cl_init(dir_a, &first, &e);
}

static inline int clean_up(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", base);
	return system(command);
}

/* What a joining host would send. */
static inline void joining(struct cl_join *j, const char *name)
{
	char path[100];
	struct tv_err e = {0};

	*j = (struct cl_join){.now_s = cl_now_s()};
	snprintf(path, sizeof(path), "%s/ca.crt", dir_a);
	assert_int_equal(cl_token_make(dir_a, 60, j->token, &e), 0);
	assert_int_equal(cl_fingerprint_file(path, j->fingerprint, &e), 0);
	assert_int_equal(cl_make_request(dir_b, name, j->csr, &e), 0);
	tv_copy(j->name, sizeof(j->name), name);
	tv_copy(j->address, sizeof(j->address), "10.0.0.2:7890");
}

static inline struct cl_roster *roster(const char *dir)
{
	struct cl_roster *r;
	struct tv_err e = {0};

	assert_int_equal(cl_load(dir, &r, &e), 0);
	return r;
}

static inline void settle_b(void)
{
	TV_FREE char *ca = NULL, *text = NULL;
	struct tv_err e = {0};

	assert_int_equal(cl_read(dir_a, "ca.crt", 1 << 16, &ca, &e), 0);
	assert_int_equal(cl_load_text(dir_a, &text, &e), 0);
	assert_int_equal(cl_settle(dir_b, "hostB", ca, text, &e), 0);
}

static inline void admitted(const char *name)
{
	struct cl_join j;
	struct tv_err e = {0};

	joining(&j, name);
	assert_int_equal(cl_admit(dir_a, &j, &e), 0);
}

#endif
