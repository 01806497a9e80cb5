/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HTTP server: connections, and who may ask for what. */
#include "web/http.h"
#include "web/origin.h"

#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IDLE_S 10

/* ---- the port ---- */
static int load_tls(struct web *w, struct tv_err *e)
{
	if (!w->at.cert[0])
		return 0;
	w->tls = SSL_CTX_new(TLS_server_method());
	if (!w->tls)
		return tv_fail(e, -ENOMEM, "no memory for TLS");
	SSL_CTX_set_min_proto_version(w->tls, TLS1_2_VERSION);
	SSL_CTX_set_options(w->tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	if (SSL_CTX_use_certificate_chain_file(w->tls, w->at.cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(w->tls, w->at.key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(w->tls) != 1)
		return tv_fail(e, -EINVAL, "the dashboard's certificate %s and key %s: %s",
			       w->at.cert, w->at.key, ERR_reason_error_string(ERR_peek_error()));
	return 0;
}

int http_bind(struct web *w, struct tv_err *e)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST,
				 .ai_socktype = SOCK_STREAM},
			*ai;
	int one = 1, rc = load_tls(w, e);
	char port[8];

	if (rc)
		return rc;
	snprintf(port, sizeof(port), "%u", w->at.port);
	rc = getaddrinfo(w->at.host, port, &hints, &ai);
	if (rc)
		return tv_fail(e, -EINVAL, "dashboard = %s: %s", w->at.host, gai_strerror(rc));
	w->listen_fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	setsockopt(w->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	rc = w->listen_fd < 0 || bind(w->listen_fd, ai->ai_addr, ai->ai_addrlen) ||
	     listen(w->listen_fd, 128);
	freeaddrinfo(ai);
	return rc ? tv_fail(e, -errno, "the dashboard cannot listen on %s port %s: %s", w->at.host,
			    port, strerror(errno))
		  : 0;
}

static struct bufferevent *on_connection(struct event_base *base, void *arg)
{
	struct web *w = arg;
	SSL *ssl = w->tls ? SSL_new(w->tls) : NULL;
	struct bufferevent *bev;

	if (w->tls)
		bev = ssl ? bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
							   BEV_OPT_CLOSE_ON_FREE)
			  : NULL;
	else
		bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (!bev)
		return NULL;
	/* While a request waits for its answer evhttp reads on, to see the end, and drops nothing. */
	bufferevent_setwatermark(bev, EV_READ, 0, WEB_MAX_UNPARSED_BYTES);
	visitors_come(w->visitors, bev);
	return bev;
}

/* ---- who may ---- */
/* What changes something comes from a page of this host, or with the token itself: never because
 * another page made a browser send it. False: it is answered. */
static bool may_change(struct web *w, struct evhttp_request *req)
{
	const char *origin = web_header(req, "Origin");

	if (!w->auth) {
		web_reply_text(req, 403,
			       "nothing can be changed here: set dashboard_token_file in %s\n",
			       w->conf.path);
		return false;
	}
	if (*origin && !origin_is_same(origin, web_header(req, "Host"), w->tls)) {
		web_reply_text(req, 403, "a page of %s may not change anything here\n", origin);
		return false;
	}
	return true;
}

static bool refuse_token(struct evhttp_request *req, const struct web_route *r,
			 enum auth_result got)
{
	struct evkeyvalq *h = evhttp_request_get_output_headers(req);

	if (got == AUTH_LIMITED) {
		evhttp_add_header(h, "Retry-After", "2");
		web_reply_text(req, 429, "too many wrong tokens came from your address\n");
	} else if (got == AUTH_NONE && (r->flags & ROUTE_PAGE)) {
		evhttp_add_header(h, "Location", "/login");
		web_reply_text(req, 303, "see /login\n");
	} else {
		evhttp_add_header(h, "WWW-Authenticate", "Bearer");
		web_reply_text(req, 401, "a token is needed: Authorization: Bearer TOKEN\n");
	}
	return false;
}

static bool has_token(struct web *w, struct evhttp_request *req, const struct web_route *r)
{
	enum auth_result got;

	if (!w->auth || (r->flags & (ROUTE_OPEN | ROUTE_LOGIN)))
		return true;
	got = auth_headers(w->auth, web_header(req, "Authorization"), web_header(req, "Cookie"),
			   web_address(req), tv_now_ns(), time(NULL));
	if (got == AUTH_GOOD)
		return true;
	if (got != AUTH_COOKIE)
		return refuse_token(req, r, got);
	/* Browsers send cookies by themselves: then they must say for whom. */
	if ((r->flags & ROUTE_CHANGES) && !*web_header(req, "Origin")) {
		web_reply_text(req, 403, "the header Origin is missing\n");
		return false;
	}
	return true;
}

static void on_request(struct evhttp_request *req, void *arg)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL, *rest = "";
	struct evhttp_connection *con = evhttp_request_get_connection(req);
	struct web *w = arg;
	const struct web_route *r;
	bool other_method;

	visitors_asked(w->visitors, bufferevent_getfd(evhttp_connection_get_bufferevent(con)));
	if (!origin_host_is_ours(web_header(req, "Host"), w->conf.host, w->conf.dashboard_names,
				 w->at.loopback)) {
		web_reply_text(req, 403,
			       "this is not the host that you asked for: use its address, or add "
			       "its name to dashboard_names\n");
		return;
	}
	if (!path || !*path)
		path = "/";
	r = route_find(evhttp_request_get_command(req), path, &rest, &other_method);
	if (!r) {
		web_reply_text(req, other_method ? 405 : 404, "there is no such page\n");
		return;
	}
	if ((r->flags & ROUTE_CHANGES) && !may_change(w, req))
		return;
	if (has_token(w, req, r))
		r->run(w, req, rest);
}

int http_start(struct web *w)
{
	int rc = visitors_new(w->base, &w->visitors);

	w->http = rc ? NULL : evhttp_new(w->base);
	if (!w->http)
		return -ENOMEM;
	evhttp_set_allowed_methods(w->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST);
	evhttp_set_max_headers_size(w->http, WEB_MAX_HEADER_BYTES);
	evhttp_set_max_body_size(w->http, WEB_MAX_BODY_BYTES);
	evhttp_set_timeout(w->http, IDLE_S);
	evhttp_set_bevcb(w->http, on_connection, w);
	evhttp_set_gencb(w->http, on_request, w);
	return evhttp_accept_socket(w->http, w->listen_fd) ? -ENOMEM : 0;
}
