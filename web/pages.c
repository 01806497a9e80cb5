/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a page asks for besides its files and its stream. */
#include "web/http.h"

void history_run(struct web *w, struct evhttp_request *req, const char *rest)
{
	struct evbuffer *body = evbuffer_new();
	int rc = body ? history_write(w->history, rest, body) : -1;

	web_reply(req, rc ? 500 : 200, "application/json", body);
}
