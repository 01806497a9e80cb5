/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One way to be an arbiter; private to failover/. To add a way: fill this in and name it in
 * arbiter.c. */
#ifndef FO_ARBITER_H
#define FO_ARBITER_H

#include "failover/failover.h"

struct fo_arbiter {
	int (*read)(struct fo_arbiter *a, const char *vm_id, struct fo_record *out,
		    struct tv_err *e);
	int (*cas)(struct fo_arbiter *a, const char *vm_id, const struct fo_record *next,
		   struct tv_err *e);
	int (*forget)(struct fo_arbiter *a, const char *vm_id, struct tv_err *e);
	void (*close)(struct fo_arbiter *a);
};

int fo_arbiter_file_open(const char *folder, struct fo_arbiter **out,
			 struct tv_err *e) TV_MUST_CHECK;

#endif
