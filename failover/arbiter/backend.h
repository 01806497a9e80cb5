/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One way to be an arbiter; private to failover/. To add a way: fill this in and name it in
 * arbiter.c. */
#ifndef FAILOVER_ARBITER_BACKEND_H
#define FAILOVER_ARBITER_BACKEND_H

#include "failover/failover.h"

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
