/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of trace/ share. */
#ifndef TESTS_UNIT_TRACE_KIT_H
#define TESTS_UNIT_TRACE_KIT_H

#include "trace/trace_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define MS TV_NS_PER_MS
#define S TV_NS_PER_S

static inline struct trace *ring_of(enum trace_host role)
{
	struct trace_names names = {role, "vm1", "hostA", "hostB", 7};
	struct trace *t;

	assert_int_equal(trace_new(&names, &t), 0);
	return t;
}

static inline struct trace_set set_of(struct trace *t)
{
	struct trace_set s;
	struct tv_err e = {0};
	int rc = trace_read(trace_fd(t), &s, &e);

	if (rc)
		fail_msg("%s", e.text);
	return s;
}

#endif
