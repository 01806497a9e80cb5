/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One way to be an arbiter; private to failover/. To add a way: fill this in and name it in
 * arbiter.c. */
#ifndef FO_ARBITER_H
#define FO_ARBITER_H

#include "failover/failover.h"

/* probe, announce and members may be NULL. What each does is said in failover.h. */
struct fo_arbiter {
	int (*read)(struct fo_arbiter *a, const char *vm_id, struct fo_record *out,
		    struct tv_err *e);
	int (*cas)(struct fo_arbiter *a, const char *vm_id, const struct fo_record *next,
		   struct tv_err *e);
	int (*forget)(struct fo_arbiter *a, const char *vm_id, struct tv_err *e);
	void (*close)(struct fo_arbiter *a);
	int (*probe)(struct fo_arbiter *a, struct tv_err *e);
	int (*announce)(struct fo_arbiter *a, const struct fo_host *h, struct tv_err *e);
	int (*members)(struct fo_arbiter *a, struct fo_host *out, unsigned n, struct tv_err *e);
};

int fo_arbiter_file_open(const char *folder, const struct fo_arbiter_conf *conf,
			 struct fo_arbiter **out, struct tv_err *e) TV_MUST_CHECK;
/* url: all of it, with etcd:// or etcds://. check: the same rules, nothing opened. */
int fo_arbiter_etcd_open(const char *url, const struct fo_arbiter_conf *conf,
			 struct fo_arbiter **out, struct tv_err *e) TV_MUST_CHECK;
int fo_arbiter_etcd_check(const char *url, const struct fo_arbiter_conf *conf,
			  struct tv_err *e) TV_MUST_CHECK;

/* 32 lower-case hex digits; what may be part of a path or key. */
bool fo_vm_id_ok(const char *vm_id);

#endif
