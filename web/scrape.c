/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /metrics: its text is made once for a snapshot and a format, however often it is asked for. */
#include "web/http.h"
#include "web/metrics.h"

/* The text for what is known now; NULL: no memory. */
static struct evbuffer *text_of(struct web *w, bool open)
{
	bool stale = feed_is_stale(w->feed);
	uint64_t of = 1 + 2 * feed_number(w->feed) + stale;
	struct web_scrape *s = &w->scrapes[open];

	if (s->text && s->of == of)
		return s->text;
	if (s->text)
		evbuffer_free(s->text); /* answers that are not sent yet keep their bytes */
	s->text = evbuffer_new();
	s->of = of;
	if (s->text)
		metrics_write(s->text, feed_snapshot(w->feed), stale, open);
	return s->text;
}

void metrics_run(struct web *w, struct evhttp_request *req, const char *rest)
{
	bool open = metrics_wants_open(web_header(req, "Accept"));
	struct evbuffer *text = text_of(w, open), *body = text ? evbuffer_new() : NULL;

	(void)rest;
	if (!body || evbuffer_add_buffer_reference(body, text)) {
		if (body)
			evbuffer_free(body);
		web_reply_text(req, 503, "no memory\n");
		return;
	}
	web_reply(req, 200, open ? METRICS_TYPE_OPEN : METRICS_TYPE, body);
}
