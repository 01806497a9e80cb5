/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a joining host and an invitation send each other, inside TLS: a length (u32, little-endian) and
 * a JSON object, once in each direction (docs/CLUSTER.md).
 */
#include "cluster/cluster_int.h"

#include <errno.h>
#include <string.h>

#define VERSION 1

char *cl_join_text(const struct cl_join *j)
{
	json_t *o = json_pack("{si ss ss ss ss sI ss}", "version", VERSION, "token", j->token,
			      "name", j->name, "address", j->address, "fingerprint", j->fingerprint,
			      "now", (json_int_t)j->now_s, "csr", j->csr);
	char *text = o ? json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	json_decref(o);
	return text;
}

/* What is not such an object is refused as a whole. */
int cl_join_parse(const char *text, size_t n, struct cl_join *out)
{
	json_t *o =
		n <= CL_REQUEST_BYTES ? json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	bool good;

	memset(out, 0, sizeof(*out));
	good = o && json_integer_value(json_object_get(o, "version")) == VERSION &&
	       cl_text(o, "token", out->token, sizeof(out->token)) &&
	       cl_text(o, "name", out->name, sizeof(out->name)) && cl_is_name(out->name) &&
	       cl_text(o, "address", out->address, sizeof(out->address)) &&
	       cl_is_address(out->address) &&
	       cl_text(o, "fingerprint", out->fingerprint, sizeof(out->fingerprint)) &&
	       tv_is_sha256(out->fingerprint) && cl_text(o, "csr", out->csr, sizeof(out->csr)) &&
	       json_is_integer(json_object_get(o, "now"));
	out->now_s = (int64_t)json_integer_value(json_object_get(o, "now"));
	json_decref(o);
	return good ? 0 : TV_E_PROTOCOL;
}
