/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers, and what all of them have. */
#include "web/http.h"

#include <stdlib.h>
#include <string.h>

/* No inline script or style, nothing of other hosts, no frame. */
#define POLICY                                                                            \
	"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " \
	"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

void web_headers(struct evhttp_request *req, const char *content_type)
{
	struct evkeyvalq *h = evhttp_request_get_output_headers(req);

	evhttp_add_header(h, "Content-Type", content_type);
	evhttp_add_header(h, "Content-Security-Policy", POLICY);
	evhttp_add_header(h, "X-Content-Type-Options", "nosniff");
	evhttp_add_header(h, "X-Frame-Options", "DENY");
	/* With no-referrer a browser's forms would have no origin. */
	evhttp_add_header(h, "Referrer-Policy", "same-origin");
	if (!evhttp_find_header(h, "Cache-Control"))
		evhttp_add_header(h, "Cache-Control", "no-store");
}

void web_reply(struct evhttp_request *req, int code, const char *content_type,
	       struct evbuffer *body)
{
	web_headers(req, content_type);
	evhttp_send_reply(req, code, NULL, body);
	if (body)
		evbuffer_free(body);
}

void web_reply_text(struct evhttp_request *req, int code, const char *fmt, ...)
{
	struct evbuffer *body = evbuffer_new();
	va_list ap;

	va_start(ap, fmt);
	if (body)
		evbuffer_add_vprintf(body, fmt, ap);
	va_end(ap);
	web_reply(req, code, "text/plain; charset=utf-8", body);
}

static void free_text(const void *data, size_t n, void *arg)
{
	(void)data;
	(void)n;
	free(arg);
}

void web_reply_json(struct evhttp_request *req, int code, json_t *o)
{
	struct evbuffer *body = evbuffer_new();
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	json_decref(o);
	if (!text || !body || evbuffer_add_reference(body, text, strlen(text), free_text, text)) {
		free(text);
		code = 500;
	}
	web_reply(req, code, "application/json", body);
}

void web_abandoned(struct evhttp_request *req)
{
	if (!evhttp_request_get_connection(req))
		evhttp_request_free(req);
}

const char *web_header(struct evhttp_request *req, const char *name)
{
	const char *v = evhttp_find_header(evhttp_request_get_input_headers(req), name);

	return v ? v : "";
}

const char *web_address(struct evhttp_request *req)
{
	char *address = NULL;
	ev_uint16_t port;

	evhttp_connection_get_peer(evhttp_request_get_connection(req), &address, &port);
	return address ? address : "?";
}
