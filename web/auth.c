/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The token and its cookie: see auth.h. */
#include "web/auth.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIN_TOKEN 16
#define MAX_TOKEN 255
#define MAX_WRONG 64 /* addresses that are remembered */
#define MAC_BYTES 32

struct wrong {
	char address[46];
	double tokens; /* tries that are left, as of at_ns */
	int64_t at_ns;
};
struct auth {
	char token[MAX_TOKEN + 1];
	struct wrong wrong[MAX_WRONG];
};

int auth_new(const char *path, struct auth **out, struct tv_err *e)
{
	TV_FREE char *text = NULL;
	struct auth *a;
	size_t n;
	int rc;

	*out = NULL;
	if (!path[0])
		return 0;
	rc = tv_read_file(path, 4096, &text, NULL);
	if (rc)
		return tv_fail(e, rc, "dashboard_token_file %s: %s", path, tv_strerror(rc));
	n = strcspn(text, "\r\n");
	text[n] = 0;
	for (size_t i = 0; i < n; i++)
		if (!isgraph((unsigned char)text[i]))
			rc = -EINVAL;
	if (rc || n < MIN_TOKEN || n > MAX_TOKEN)
		return tv_fail(e, -EINVAL,
			       "dashboard_token_file %s: its first line must be %d to %d printable "
			       "characters ('openssl rand -hex 24' makes some)",
			       path, MIN_TOKEN, MAX_TOKEN);
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	tv_copy(a->token, sizeof(a->token), text);
	OPENSSL_cleanse(text, n);
	*out = a;
	return 0;
}

void auth_free(struct auth *a)
{
	if (a)
		OPENSSL_cleanse(a, sizeof(*a));
	free(a);
}

/* ---- how often one may be wrong ---- */
/* The address's entry, its tries brought up to date; else the one that has most tries left. */
static struct wrong *wrong_of(struct auth *a, const char *address, int64_t now_ns)
{
	struct wrong *best = &a->wrong[0];

	for (unsigned i = 0; i < MAX_WRONG; i++) {
		struct wrong *x = &a->wrong[i];

		x->tokens += (double)(now_ns - x->at_ns) / 1e9;
		if (x->tokens > AUTH_TRIES || !x->address[0])
			x->tokens = AUTH_TRIES;
		x->at_ns = now_ns;
		if (!strcmp(x->address, address))
			return x;
		if (x->tokens > best->tokens)
			best = x;
	}
	tv_copy(best->address, sizeof(best->address), address);
	best->tokens = AUTH_TRIES;
	return best;
}

/* ---- comparing ---- */
static void mac(const struct auth *a, const char *what, const char *text,
		unsigned char out[MAC_BYTES])
{
	char message[512];
	int n = snprintf(message, sizeof(message), "%s %s", what, text);
	unsigned bytes = MAC_BYTES;

	HMAC(EVP_sha256(), a->token, (int)strlen(a->token), (unsigned char *)message,
	     n < (int)sizeof(message) ? (size_t)n : sizeof(message) - 1, out, &bytes);
}

/* In a time that says nothing of where they differ. */
static bool is_token(const struct auth *a, const char *token)
{
	unsigned char want[MAC_BYTES], got[MAC_BYTES];

	if (strlen(token) > MAX_TOKEN)
		return false;
	mac(a, "token", a->token, want);
	mac(a, "token", token, got);
	return !CRYPTO_memcmp(want, got, MAC_BYTES);
}

enum auth_result auth_token(struct auth *a, const char *token, const char *address, int64_t now_ns)
{
	struct wrong *w = wrong_of(a, address, now_ns);

	if (w->tokens < 1)
		return AUTH_LIMITED;
	if (is_token(a, token))
		return AUTH_GOOD;
	w->tokens -= 1;
	return AUTH_WRONG;
}

/* ---- cookies ---- */
static void hex(const unsigned char *p, char *out)
{
	for (unsigned i = 0; i < MAC_BYTES; i++)
		snprintf(out + 2 * i, 3, "%02x", p[i]);
}

static void cookie_until(const struct auth *a, int64_t until_s, char out[AUTH_COOKIE_ROOM])
{
	unsigned char m[MAC_BYTES];
	char text[32];
	int n;

	snprintf(text, sizeof(text), "%" PRId64, until_s);
	mac(a, "cookie", text, m);
	n = snprintf(out, AUTH_COOKIE_ROOM, "%s.", text);
	hex(m, out + n);
}

void auth_cookie(const struct auth *a, int64_t wall_s, char out[AUTH_COOKIE_ROOM])
{
	cookie_until(a, wall_s + AUTH_COOKIE_S, out);
}

static bool is_cookie(const struct auth *a, const char *value, size_t n, int64_t wall_s)
{
	char want[AUTH_COOKIE_ROOM], *dot;
	int64_t until_s = strtoll(value, &dot, 10);

	if (*dot != '.' || until_s < wall_s || until_s > wall_s + AUTH_COOKIE_S)
		return false;
	cookie_until(a, until_s, want);
	return n == strlen(want) && !CRYPTO_memcmp(want, value, n);
}

/* One of the pairs in "a=b; twinvm=c". */
static bool has_cookie(const struct auth *a, const char *header, int64_t wall_s)
{
	static const char name[] = "twinvm=";

	for (const char *p = header; *p; p += strcspn(p, ";")) {
		p += strspn(p, "; ");
		if (strncmp(p, name, strlen(name)) != 0)
			continue;
		p += strlen(name);
		if (is_cookie(a, p, strcspn(p, "; "), wall_s))
			return true;
	}
	return false;
}

enum auth_result auth_headers(struct auth *a, const char *authorization, const char *cookie,
			      const char *address, int64_t now_ns, int64_t wall_s)
{
	static const char bearer[] = "Bearer ";

	if (!strncasecmp(authorization, bearer, strlen(bearer)))
		return auth_token(a, authorization + strlen(bearer), address, now_ns);
	return has_cookie(a, cookie, wall_s) ? AUTH_COOKIE : AUTH_NONE;
}
