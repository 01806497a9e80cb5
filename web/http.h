/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HTTP server: who is let in, which route answers, and how. Private to web/. */
#ifndef WEB_HTTP_H
#define WEB_HTTP_H

#include "web/auth.h"
#include "web/feed.h"
#include "web/history.h"
#include "web/stream.h"
#include "web/visitors.h"

#include <event2/buffer.h>
#include <event2/http.h>

#define WEB_MAX_HEADER_BYTES 8192
#define WEB_MAX_BODY_BYTES 16384
#define WEB_MAX_UNPARSED_BYTES 65536 /* more than a header and a body */

struct ssl_ctx_st;
struct web_scrape { /* scrape.c */
	struct evbuffer *text;
	uint64_t of; /* which snapshot's it is */
};
struct web {
	struct config conf;
	struct config_dashboard at;
	struct event_base *base;
	struct evhttp *http;
	struct ssl_ctx_st *tls; /* NULL: plain HTTP */
	struct feed *feed;
	struct auth *auth;
	struct visitors *visitors;
	struct stream *stream;
	struct history *history;
	struct web_scrape scrapes[2]; /* of the older format, of OpenMetrics */
	int listen_fd;
};

/* ---- routes.c ---- */
enum route_flags {
	ROUTE_OPEN = 1,	   /* without a token, too */
	ROUTE_CHANGES = 2, /* changes something: same origin, and never where there is no token */
	ROUTE_BELOW = 4,   /* and all paths that begin so */
	ROUTE_LOGIN = 8,   /* checks the token itself */
	ROUTE_PAGE = 16,   /* a page: without a token the login page is shown */
};
struct web_route {
	enum evhttp_cmd_type method; /* EVHTTP_REQ_GET serves HEAD, too */
	const char *path;
	unsigned flags;
	/* rest: of the path, behind the route's; "" unless ROUTE_BELOW. Answers now or later. */
	void (*run)(struct web *w, struct evhttp_request *req, const char *rest);
};
/* NULL: there is none; *other_method: but for another method. */
const struct web_route *route_find(enum evhttp_cmd_type method, const char *path, const char **rest,
				   bool *other_method);

/* ---- http.c ---- */
/* Binds the port and reads certificates: while the process has rights. */
int http_bind(struct web *w, struct tv_err *e) TV_MUST_CHECK;
/* Serves from now on. -ENOMEM. */
int http_start(struct web *w) TV_MUST_CHECK;

/* ---- reply.c ---- */
/* Headers that every answer has: content security policy and others. */
void web_headers(struct evhttp_request *req, const char *content_type);
/* An answer; body (NULL: none) is taken over. */
void web_reply(struct evhttp_request *req, int code, const char *content_type,
	       struct evbuffer *body);
void web_reply_text(struct evhttp_request *req, int code, const char *fmt, ...) TV_PRINTF(3, 4);
/* o is stolen; NULL: no memory. */
void web_reply_json(struct evhttp_request *req, int code, json_t *o);
/* For the close callback of a request that is not answered to its end: evhttp leaves it to its user
 * when the connection has failed, and frees it otherwise. */
void web_abandoned(struct evhttp_request *req);
/* A header of the request; "" when it has none. */
const char *web_header(struct evhttp_request *req, const char *name);
/* Where the request came from; the request's. */
const char *web_address(struct evhttp_request *req);

/* ---- the routes' own files ---- */
void health_run(struct web *w, struct evhttp_request *req, const char *rest);
void login_page(struct web *w, struct evhttp_request *req, const char *rest);
void login_run(struct web *w, struct evhttp_request *req, const char *rest);
void logout_run(struct web *w, struct evhttp_request *req, const char *rest);
/* "" is the page itself. */
void files_run(struct web *w, struct evhttp_request *req, const char *rest);
void favicon_run(struct web *w, struct evhttp_request *req, const char *rest);
void stream_run(struct web *w, struct evhttp_request *req, const char *rest);
void history_run(struct web *w, struct evhttp_request *req, const char *rest);
void act_run(struct web *w, struct evhttp_request *req, const char *rest);
void metrics_run(struct web *w, struct evhttp_request *req, const char *rest);
void snapshot_run(struct web *w, struct evhttp_request *req, const char *rest);

#endif
