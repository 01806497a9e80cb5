/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may see and change something: the token, and a cookie that stands for it. Private to web/.
 *
 * The cookie is a time and an HMAC of it with the token as the key: it needs no memory here, is good
 * until that time also for the next process, and ends with the token. Knows no HTTP but the words of
 * two headers.
 */
#ifndef WEB_AUTH_H
#define WEB_AUTH_H

#include "common/common.h"

#define AUTH_COOKIE_ROOM 96
#define AUTH_COOKIE_S (12 * 3600)
#define AUTH_TRIES 10 /* wrong tokens of one address at once; then one a second */

enum auth_result {
	AUTH_NONE,    /* none was given */
	AUTH_GOOD,    /* by a token in the header */
	AUTH_COOKIE,  /* by a cookie, which browsers send by themselves */
	AUTH_WRONG,   /* another text than the token */
	AUTH_LIMITED, /* too many wrong ones came from there: it was not looked at */
};

struct auth;
/* Reads the token's file (path "": there is none, *out is NULL). -EINVAL: too short, too long, or
 * not printable; -errno. */
int auth_new(const char *path, struct auth **out, struct tv_err *e) TV_MUST_CHECK;
void auth_free(struct auth *a);
/* A token as it was typed, from that address. AUTH_GOOD, AUTH_WRONG, AUTH_LIMITED. */
enum auth_result auth_token(struct auth *a, const char *token, const char *address, int64_t now_ns);
/* The headers Authorization and Cookie; "" when a request has not got one. wall_s: since 1970. */
enum auth_result auth_headers(struct auth *a, const char *authorization, const char *cookie,
			      const char *address, int64_t now_ns, int64_t wall_s);
/* The cookie's value for a browser that has given the token. */
void auth_cookie(const struct auth *a, int64_t wall_s, char out[AUTH_COOKIE_ROOM]);

#endif
