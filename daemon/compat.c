/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Until both replicators send their messages from the tables: what they leave out is empty. */
#include "daemon/daemon.h"

#include <stdlib.h>

static void rename_key(json_t *o, const char *from, const char *to)
{
	json_t *v = json_object_get(o, from);

	if (v)
		json_object_set(o, to, v);
}

int daemon_body(enum session_op op, const json_t *msg, void *body, size_t body_bytes,
		struct tv_err *e)
{
	TV_FREE char *zero = calloc(1, body_bytes);
	json_t *whole = zero ? session_message(op, zero) : NULL;
	int rc;

	json_object_update(whole, (json_t *)msg);
	rename_key(whole, "told", "asked_to_run");
	rename_key(whole, "standby_start", "standby_start_ticks");
	rc = session_body(op, whole, body, body_bytes, e);
	json_decref(whole);
	return rc;
}
