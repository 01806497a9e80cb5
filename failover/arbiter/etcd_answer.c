/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "failover/arbiter/etcd_answer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The deepest answer is a transaction's range: {responses:[{response_range:{kvs:[{. */
#define MAX_DEPTH 12

static const char digits64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void etcd_base64(const void *p, size_t n, char *out)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i;
		uint32_t v = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) |
			     (left > 2 ? b[i + 2] : 0);

		*out++ = digits64[v >> 18];
		*out++ = digits64[v >> 12 & 63];
		*out++ = (char)(left > 1 ? digits64[v >> 6 & 63] : '=');
		*out++ = (char)(left > 2 ? digits64[v & 63] : '=');
	}
	*out = 0;
}

static int digit64(char c)
{
	const char *at = c ? strchr(digits64, c) : NULL;

	return at ? (int)(at - digits64) : -1;
}

int etcd_unbase64(const char *text, char *out, size_t room, size_t *bytes)
{
	size_t n = strlen(text), used = 0;

	if (n % 4)
		return -EBADMSG;
	for (size_t i = 0; i < n; i += 4) {
		bool last = i + 4 == n;
		int pad = last && text[i + 3] == '=' ? text[i + 2] == '=' ? 2 : 1 : 0;
		uint32_t v = 0;

		for (int k = 0; k < 4; k++) {
			int d = k >= 4 - pad ? 0 : digit64(text[i + (size_t)k]);

			if (d < 0)
				return -EBADMSG;
			v = v << 6 | (uint32_t)d;
		}
		/* the bits that padding leaves over are zero, or two texts would mean the same */
		if ((pad == 1 && v & 0xff) || (pad == 2 && v & 0xffff))
			return -EBADMSG;
		for (int k = 0; k < 3 - pad; k++) {
			if (used + 1 >= room)
				return -EBADMSG;
			out[used++] = (char)(v >> (16 - 8 * k));
		}
	}
	out[used] = 0;
	*bytes = used;
	return 0;
}

static int bad(struct tv_err *e, const char *what)
{
	return tv_fail(e, TV_E_PROTOCOL, "not a valid etcd answer (%s)", what);
}

/* 64-bit numbers are strings of digits (protobuf's JSON mapping); 0 is left out. */
static int get_u64(const json_t *o, const char *key, uint64_t *out)
{
	const json_t *v = json_object_get(o, key);
	const char *s = json_string_value(v);
	size_t n = json_string_length(v);

	*out = 0;
	if (!v)
		return 0;
	if (!s || !n || n > 20 || strspn(s, "0123456789") != n)
		return -EBADMSG;
	for (; *s; s++)
		if (__builtin_mul_overflow(*out, (uint64_t)10, out) ||
		    __builtin_add_overflow(*out, (uint64_t)(*s - '0'), out))
			return -EBADMSG;
	return 0;
}

static int get_base64(const json_t *o, const char *key, char *out, size_t room, size_t *bytes)
{
	const json_t *v = json_object_get(o, key);

	*bytes = 0;
	*out = 0;
	if (!v)
		return 0;
	return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v)
		       ? etcd_unbase64(json_string_value(v), out, room, bytes)
		       : -EBADMSG;
}

static int get_header(const json_t *o, struct etcd_header *h, struct tv_err *e)
{
	const json_t *j = json_object_get(o, "header");
	uint64_t member, term;

	if (!json_is_object(j) || get_u64(j, "cluster_id", &h->cluster_id) ||
	    get_u64(j, "member_id", &member) || get_u64(j, "revision", &h->revision) ||
	    get_u64(j, "raft_term", &term) || !h->cluster_id || !member || !h->revision || !term)
		return bad(e, "no valid header");
	return 0;
}

/* The whole text as an object with a header; NULL and *rc. */
static json_t *load(const char *text, size_t bytes, struct etcd_header *h, int *rc,
		    struct tv_err *e)
{
	json_t *o = bytes <= ETCD_MAX_ANSWER_BYTES ? fo_json_load(text, bytes, MAX_DEPTH) : NULL;
	const json_t *inner;

	*rc = 0;
	if (!json_is_object(o)) {
		json_decref(o);
		*rc = bad(e, "no JSON object");
		return NULL;
	}
	inner = json_object_get(o, "result"); /* a stream's answers are wrapped */
	*rc = get_header(json_is_object(inner) ? inner : o, h, e);
	if (!*rc)
		return o;
	json_decref(o);
	return NULL;
}

static int get_kv(const json_t *kv, const char *key, const struct etcd_header *h,
		  struct etcd_kv *out, struct tv_err *e)
{
	char name[ETCD_MAX_KEY_BYTES + 1];
	size_t n;

	if (!json_is_object(kv) || get_base64(kv, "key", name, sizeof(name), &n))
		return bad(e, "no valid key");
	if (n != strlen(key) || memcmp(name, key, n) != 0)
		return bad(e, "another key than asked for");
	if (get_base64(kv, "value", out->value, sizeof(out->value), &out->value_bytes))
		return bad(e, "the value is not base64 or too long");
	if (get_u64(kv, "version", &out->version) ||
	    get_u64(kv, "mod_revision", &out->mod_revision) || !out->version ||
	    !out->mod_revision || out->mod_revision > h->revision ||
	    out->version > out->mod_revision)
		return bad(e, "impossible version or revision");
	out->found = true;
	return 0;
}

/* "kvs" and "count" of a range over one key. */
static int get_range(const json_t *r, const char *key, const struct etcd_header *h,
		     struct etcd_kv *out, struct tv_err *e)
{
	const json_t *kvs = json_object_get(r, "kvs");
	uint64_t count;

	out->found = false;
	out->version = out->mod_revision = 0;
	out->value_bytes = 0;
	if ((kvs && !json_is_array(kvs)) || json_object_get(r, "more") ||
	    get_u64(r, "count", &count) || count != json_array_size(kvs) || count > 1)
		return bad(e, "not the answer to a range of one key");
	return count ? get_kv(json_array_get(kvs, 0), key, h, out, e) : 0;
}

int etcd_answer_range(const char *text, size_t bytes, const char *key, struct etcd_header *h,
		      struct etcd_kv *out, struct tv_err *e)
{
	int rc;
	json_t *o = load(text, bytes, h, &rc, e);

	if (!o)
		return rc;
	rc = get_range(o, key, h, out, e);
	json_decref(o);
	return rc;
}

static int get_txn(const json_t *o, const char *key, const char *change,
		   const struct etcd_header *h, bool *succeeded, struct etcd_kv *out,
		   struct tv_err *e)
{
	const json_t *yes = json_object_get(o, "succeeded"), *all = json_object_get(o, "responses");
	const json_t *one = json_array_get(all, 0), *done, *range;
	uint64_t revision;

	if ((yes && !json_is_boolean(yes)) || json_array_size(all) != 1 ||
	    json_object_size(one) != 1)
		return bad(e, "not a transaction's answer");
	done = json_object_get(one, change);
	range = json_object_get(one, "response_range");
	if (json_is_true(yes)) {
		if (get_u64(json_object_get(done, "header"), "revision", &revision) ||
		    revision != h->revision)
			return bad(e, "success without the change");
		*succeeded = true;
		return 0;
	}
	*succeeded = false;
	return json_is_object(range) ? get_range(range, key, h, out, e)
				     : bad(e, "failure without what is there");
}

int etcd_answer_txn(const char *text, size_t bytes, const char *key, const char *change,
		    struct etcd_header *h, bool *succeeded, struct etcd_kv *out, struct tv_err *e)
{
	int rc;
	json_t *o = load(text, bytes, h, &rc, e);

	*succeeded = false;
	if (!o)
		return rc;
	rc = get_txn(o, key, change, h, succeeded, out, e);
	json_decref(o);
	return rc;
}

int etcd_answer_done(const char *text, size_t bytes, struct etcd_header *h, struct tv_err *e)
{
	int rc;
	json_t *o = load(text, bytes, h, &rc, e);

	json_decref(o);
	return rc;
}

int etcd_answer_lease(const char *text, size_t bytes, struct etcd_header *h, uint64_t *id,
		      uint64_t *ttl_s, struct tv_err *e)
{
	int rc;
	json_t *o = load(text, bytes, h, &rc, e);
	const json_t *inner;

	if (!o)
		return rc;
	inner = json_object_get(o, "result");
	inner = inner ? inner : o;
	if (get_u64(inner, "ID", id) || get_u64(inner, "TTL", ttl_s) || !*id)
		rc = bad(e, "not a lease");
	json_decref(o);
	return rc;
}

int etcd_answer_token(const char *text, size_t bytes, char out[ETCD_TOKEN_ROOM], struct tv_err *e)
{
	struct etcd_header h;
	int rc;
	json_t *o = load(text, bytes, &h, &rc, e);
	const char *token = json_string_value(json_object_get(o, "token"));

	if (!o)
		return rc;
	if (!token || !*token || !tv_copy(out, ETCD_TOKEN_ROOM, token))
		rc = bad(e, "not a token");
	for (const char *p = rc ? "" : out; *p; p++)
		if (*p <= ' ' || *p >= 127)
			rc = bad(e, "not a token");
	json_decref(o);
	return rc;
}

/* A host whose key is folder and its name. */
static bool get_host(const json_t *kv, const char *folder, struct fo_host *out)
{
	char key[ETCD_MAX_KEY_BYTES + 1], value[FO_MAX_TEXT_BYTES + 1];
	size_t n, value_bytes, prefix = strlen(folder);
	uint64_t beat;

	return json_is_object(kv) && !get_base64(kv, "key", key, sizeof(key), &n) &&
	       strlen(key) == n && !strncmp(key, folder, prefix) &&
	       !get_base64(kv, "value", value, sizeof(value), &value_bytes) &&
	       !fo_host_parse(value, value_bytes, out, &beat) && !strcmp(out->name, key + prefix);
}

int etcd_answer_hosts(const char *text, size_t bytes, const char *folder, struct etcd_header *h,
		      struct fo_host *out, unsigned n, unsigned *found, struct tv_err *e)
{
	int rc;
	json_t *o = load(text, bytes, h, &rc, e);
	const json_t *kvs;

	*found = 0;
	if (!o)
		return rc;
	kvs = json_object_get(o, "kvs");
	if (kvs && !json_is_array(kvs))
		rc = bad(e, "not the answer to a range");
	for (size_t i = 0; !rc && i < json_array_size(kvs) && *found < n; i++)
		if (get_host(json_array_get(kvs, i), folder, &out[*found]))
			++*found;
	json_decref(o);
	return rc;
}

void etcd_answer_error(const char *text, size_t bytes, char *out, size_t room)
{
	json_t *o = bytes <= ETCD_MAX_ANSWER_BYTES ? fo_json_load(text, bytes, MAX_DEPTH) : NULL;
	const char *s = json_string_value(json_object_get(o, "error"));
	size_t used = 0, n = s ? strlen(s) : bytes;

	if (!s) /* "Client sent an HTTP request to an HTTPS server." comes as plain text */
		s = text;
	for (size_t i = 0; i < n && used + 1 < room; i++)
		out[used++] = (char)(s[i] > ' ' && s[i] < 127 ? s[i] : ' ');
	while (used && out[used - 1] == ' ')
		used--;
	out[used] = 0;
	json_decref(o);
}
