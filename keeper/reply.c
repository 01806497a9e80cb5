/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "keeper/sys.h"

#include <stdio.h>

void kp_fail(struct kp_reply *r, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
	r->rc = rc;
}
