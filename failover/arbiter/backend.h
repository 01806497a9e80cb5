/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One kind of arbiter; private to failover/arbiter. To add a kind: fill in a struct fo_backend in a
 * file of its own and name its URL in arbiter.c.
 */
#ifndef FAILOVER_ARBITER_BACKEND_H
#define FAILOVER_ARBITER_BACKEND_H

#include "failover/arbiter/arbiter.h"

/* probe, announce and members may be NULL; arbiter.h has what each does. */
struct fo_backend {
	struct fo_arbiter records; /* first: what fo_arbiter_open gives out */
	int (*forget)(struct fo_arbiter *a, const char *vm_id, struct tv_err *e);
	void (*close)(struct fo_arbiter *a);
	int (*probe)(struct fo_arbiter *a, struct tv_err *e);
	int (*announce)(struct fo_arbiter *a, const struct fo_host *h, struct tv_err *e);
	int (*members)(struct fo_arbiter *a, struct fo_host *out, unsigned n, struct tv_err *e);
};

/* url: all of it. */
int fo_arbiter_file_open(const char *url, const struct fo_arbiter_conf *conf,
			 struct fo_arbiter **out, struct tv_err *e) TV_MUST_CHECK;
int fo_arbiter_etcd_open(const char *url, const struct fo_arbiter_conf *conf,
			 struct fo_arbiter **out, struct tv_err *e) TV_MUST_CHECK;
/* The rules of fo_arbiter_etcd_open's URL; opens nothing. */
int fo_arbiter_etcd_check(const char *url, const struct fo_arbiter_conf *conf,
			  struct tv_err *e) TV_MUST_CHECK;

#endif
