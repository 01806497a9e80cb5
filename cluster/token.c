/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tokens of invitations. On disk there is the hash of each, until when it is valid, and who used it: so a
 * token is used once also when the process that takes it dies, and whoever reads the file learns none.
 * A token is 128 random bits; hashes are compared in constant time.
 */
#include "cluster/cluster_int.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "tokens"
#define FILE_BYTES (64u << 10)
#define KEPT_S (7 * 86400) /* after its end, so that the refusal can name the reason */
#define MOST 64

static void hash(const char *token, char out[CL_FINGERPRINT_ROOM])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	tv_assert(EVP_Digest(token, strlen(token), md, &n, EVP_sha256(), NULL) == 1);
	for (unsigned i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", md[i]);
}

static int load(const char *dir, json_t **out, struct tv_err *e)
{
	struct cl_path path = cl_path(dir, FILE_NAME);
	TV_FREE char *text = NULL;
	int rc = tv_read_file(path.text, FILE_BYTES, &text, NULL);

	*out = rc == -ENOENT ? json_array() : text ? json_loads(text, 0, NULL) : NULL;
	if (json_is_array(*out))
		return 0;
	json_decref(*out);
	*out = NULL;
	return tv_fail(e, rc && rc != -ENOENT ? rc : -EBADMSG,
		       "%s cannot be used: remove it, and invite again", path.text);
}

static int save(const char *dir, json_t *list, struct tv_err *e)
{
	TV_FREE char *text = json_dumps(list, JSON_COMPACT);

	if (!text)
		return tv_fail(e, -ENOMEM, "no memory for the tokens");
	return cl_write(dir, FILE_NAME, text, strlen(text), e);
}

static int64_t number(const json_t *o, const char *key)
{
	return (int64_t)json_integer_value(json_object_get(o, key));
}

/* Old ones, and the oldest if there are too many. */
static void prune(json_t *list)
{
	int64_t now = cl_now_s();

	for (size_t i = json_array_size(list); i-- > 0;)
		if (number(json_array_get(list, i), "until") + KEPT_S < now)
			json_array_remove(list, i);
	while (json_array_size(list) >= MOST)
		json_array_remove(list, 0);
}

int cl_token_make(const char *dir, int seconds, char out[CL_TOKEN_ROOM], struct tv_err *e)
{
	char h[CL_FINGERPRINT_ROOM];
	TV_CLOSE int lock = -1;
	json_t *list = NULL;
	int rc = cl_lock(dir, &lock, e);

	tv_random_hex(out, (CL_TOKEN_ROOM - 1) / 2);
	hash(out, h);
	if (!rc)
		rc = load(dir, &list, e);
	if (rc)
		return rc;
	prune(list);
	json_array_append_new(
		list, json_pack("{ss sI}", "hash", h, "until", (json_int_t)(cl_now_s() + seconds)));
	rc = save(dir, list, e);
	json_decref(list);
	return rc;
}

/* The list is walked to its end whatever is found. */
static json_t *find(json_t *list, const char *token)
{
	char h[CL_FINGERPRINT_ROOM];
	json_t *o, *found = NULL;
	size_t i;

	hash(token, h);
	json_array_foreach(list, i, o) {
		const char *has = json_string_value(json_object_get(o, "hash"));

		if (has && strlen(has) == strlen(h) && !CRYPTO_memcmp(has, h, strlen(h)))
			found = o;
	}
	return found;
}

static int judge(const json_t *o, struct tv_err *e)
{
	const char *by = json_string_value(json_object_get(o, "by"));

	if (!o)
		return tv_fail(
			e, -EACCES,
			"the token is wrong: copy the whole line that 'twinvm cluster init' or "
			"'twinvm cluster invite' has printed");
	if (by)
		return tv_fail(
			e, -EALREADY,
			"the token was used already, by %s: get another with 'twinvm cluster "
			"invite'",
			by);
	if (number(o, "until") <= cl_now_s())
		return tv_fail(e, -EKEYEXPIRED,
			       "the token has expired: get another with 'twinvm cluster invite'");
	return 0;
}

int cl_token_use(const char *dir, const char *token, const char *by, struct tv_err *e)
{
	json_t *list = NULL, *o;
	int rc = load(dir, &list, e);

	if (rc)
		return rc;
	o = find(list, token);
	rc = judge(o, e);
	if (!rc && by) {
		json_object_set_new(o, "by", json_string(by));
		rc = save(dir, list, e);
	}
	json_decref(list);
	return rc;
}

void cl_token_withdraw(const char *dir, const char *token)
{
	TV_CLOSE int lock = -1;
	json_t *list = NULL, *o;
	struct tv_err e = {0};

	if (cl_lock(dir, &lock, &e) || load(dir, &list, &e))
		return;
	o = find(list, token);
	if (o && !json_object_get(o, "by") && number(o, "until") > cl_now_s()) {
		json_object_set_new(o, "until", json_integer(cl_now_s() - 1));
		if (save(dir, list, &e))
			tv_log(TV_WARN, "%s", e.text);
	}
	json_decref(list);
}
