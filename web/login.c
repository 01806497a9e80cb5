/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The login page: a token is typed once and becomes a cookie. */
#include "web/http.h"

#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char page[] =
	"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
	"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
	"<meta name=\"color-scheme\" content=\"light dark\">"
	"<title>twinvm: log in</title></head><body><main><h1>twinvm</h1>\n"
	"<form method=\"post\" action=\"/login\"><p><label for=\"token\">Token of this host "
	"(the file that dashboard_token_file names)</label></p><p><input id=\"token\" "
	"name=\"token\" type=\"password\" required autofocus autocomplete=\"current-password\"> "
	"<button>Log in</button></p></form>\n<p role=\"alert\">%s</p></main></body></html>\n";

static void show(struct evhttp_request *req, int code, const char *why)
{
	struct evbuffer *body = evbuffer_new();

	if (body)
		evbuffer_add_printf(body, page, why);
	web_reply(req, code, "text/html; charset=utf-8", body);
}

void login_page(struct web *w, struct evhttp_request *req, const char *rest)
{
	(void)rest;
	show(req, 200, w->auth ? "" : "There is no token here: the dashboard is read-only.");
}

static void set_cookie(struct web *w, struct evhttp_request *req, const char *value, long max_age_s)
{
	char header[256];

	snprintf(header, sizeof(header),
		 "twinvm=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%ld%s", value, max_age_s,
		 w->tls ? "; Secure" : "");
	evhttp_add_header(evhttp_request_get_output_headers(req), "Set-Cookie", header);
}

static void go_to(struct evhttp_request *req, const char *where)
{
	evhttp_add_header(evhttp_request_get_output_headers(req), "Location", where);
	web_reply_text(req, 303, "see %s\n", where);
}

/* The token of a body of the form token=...; the caller's to free, NULL: it has none. */
static char *token_of(struct evhttp_request *req)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t n = evbuffer_get_length(in);
	TV_FREE char *text = calloc(1, n + 1);
	struct evkeyvalq pairs;
	const char *v;
	char *token = NULL;

	if (!text || evbuffer_copyout(in, text, n) != (ev_ssize_t)n || strlen(text) != n)
		return NULL;
	if (evhttp_parse_query_str(text, &pairs))
		return NULL;
	v = evhttp_find_header(&pairs, "token");
	if (v)
		token = strdup(v);
	evhttp_clear_headers(&pairs);
	return token;
}

void login_run(struct web *w, struct evhttp_request *req, const char *rest)
{
	TV_FREE char *token = token_of(req);
	char cookie[AUTH_COOKIE_ROOM], *address = NULL;
	ev_uint16_t port;

	(void)rest;
	evhttp_connection_get_peer(evhttp_request_get_connection(req), &address, &port);
	switch (auth_token(w->auth, token ? token : "", address ? address : "?", tv_now_ns())) {
	case AUTH_GOOD:
		auth_cookie(w->auth, time(NULL), cookie);
		set_cookie(w, req, cookie, AUTH_COOKIE_S);
		go_to(req, "/");
		break;
	case AUTH_LIMITED:
		show(req, 429, "Too many wrong tokens came from your address: wait a moment.");
		break;
	default:
		show(req, 403, "That is not the token of this host.");
	}
}

void logout_run(struct web *w, struct evhttp_request *req, const char *rest)
{
	(void)rest;
	set_cookie(w, req, "", 0);
	go_to(req, "/login");
}
