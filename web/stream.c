/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event stream of a page (text/event-stream): all that is shown, once for each snapshot of the
 * daemon. Each message is whole, so a page that was away needs only the newest one: it says which it has
 * (Last-Event-ID). A page that does not read is cut off when MAX_UNREAD_BYTES wait for it; at most
 * MAX_STREAMS are served.
 */
#include "web/http.h"
#include "web/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define MAX_STREAMS 200
#define MAX_UNREAD_BYTES (256u << 10)
#define COMMENT_NS (15 * TV_NS_PER_S)
#define COMMENT_S 5

struct page {
	LIST_ENTRY(page) link;
	struct stream *s;
	struct evhttp_request *req;
	int64_t sent_ns;
};
struct stream {
	struct web *w;
	struct event *tick;
	LIST_HEAD(, page) pages;
	unsigned n;
	uint64_t id; /* of the newest message */
};

static struct bufferevent *bev_of(const struct page *p)
{
	return evhttp_connection_get_bufferevent(evhttp_request_get_connection(p->req));
}

static void on_closed(struct evhttp_connection *con, void *arg)
{
	struct page *p = arg;

	(void)con;
	web_abandoned(p->req);
	LIST_REMOVE(p, link);
	p->s->n--;
	free(p);
}

/* The bytes are added to what waits; a page that has too much of that is ended by its socket. */
static void push(struct page *p, struct evbuffer *text)
{
	struct evbuffer *copy = evbuffer_new();

	p->sent_ns = tv_now_ns();
	if (evbuffer_get_length(bufferevent_get_output(bev_of(p))) > MAX_UNREAD_BYTES)
		shutdown(bufferevent_getfd(bev_of(p)), SHUT_RDWR);
	else if (copy && !evbuffer_add_buffer_reference(copy, text))
		evhttp_send_reply_chunk(p->req, copy);
	if (copy)
		evbuffer_free(copy);
}

static json_t *state_of(const struct web *w)
{
	json_t *snapshot = feed_snapshot(w->feed);
	json_t *self = json_object_get(snapshot, "self");

	if (!self)
		return NULL;
	return json_pack("{sI sb ss sO sO*}", "feed_age_ms",
			 (json_int_t)(feed_age_ns(w->feed) / TV_NS_PER_MS), "may_change",
			 w->auth != NULL, "may_not_why",
			 w->auth ? "" : "there is no dashboard_token_file in the configuration",
			 "self", self, "others", json_object_get(snapshot, "others"));
}

/* NULL: there is nothing to send yet. */
static struct evbuffer *message(const struct stream *s)
{
	json_t *state = state_of(s->w);
	char *text = state ? json_dumps(state, JSON_COMPACT) : NULL;
	struct evbuffer *out = text ? evbuffer_new() : NULL;

	if (out)
		evbuffer_add_printf(out, "id: %llu\nevent: state\ndata: %s\n\n",
				    (unsigned long long)s->id, text);
	free(text);
	json_decref(state);
	return out;
}

static void comment(struct page *p)
{
	struct evbuffer *text = evbuffer_new();

	if (text && !evbuffer_add_printf(text, ": nothing new\n\n"))
		p->sent_ns = tv_now_ns();
	else if (text)
		push(p, text);
	if (text)
		evbuffer_free(text);
}

/* Shows the page, and what is between, that the connection lives. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;
	struct page *p, *next;

	(void)fd;
	(void)what;
	for (p = LIST_FIRST(&s->pages); p; p = next) {
		next = LIST_NEXT(p, link);
		if (tv_now_ns() - p->sent_ns > COMMENT_NS)
			comment(p);
	}
}

void stream_snapshot(struct stream *s)
{
	struct page *p, *next;
	struct evbuffer *text;

	s->id++;
	if (LIST_EMPTY(&s->pages))
		return;
	feed_look(s->w->feed);
	text = message(s);
	for (p = LIST_FIRST(&s->pages); text && p; p = next) {
		next = LIST_NEXT(p, link);
		push(p, text);
	}
	if (text)
		evbuffer_free(text);
}

static void begin(struct page *p)
{
	struct evhttp_connection *con = evhttp_request_get_connection(p->req);
	struct stream *s = p->s;
	struct evbuffer *text = message(s);
	const char *has = web_header(p->req, "Last-Event-ID");

	feed_look(s->w->feed);
	visitors_stays(s->w->visitors, bufferevent_getfd(bev_of(p)));
	evhttp_connection_set_closecb(con, on_closed, p);
	web_headers(p->req, "text/event-stream; charset=utf-8");
	evhttp_send_reply_start(p->req, 200, NULL);
	bufferevent_set_timeouts(bev_of(p), NULL, NULL);
	if (text && (!*has || strtoull(has, NULL, 10) != s->id))
		push(p, text);
	if (text)
		evbuffer_free(text);
}

void stream_run(struct web *w, struct evhttp_request *req, const char *rest)
{
	struct stream *s = w->stream;
	struct page *p;

	(void)rest;
	if (evhttp_request_get_command(req) != EVHTTP_REQ_GET) { /* HEAD: it would never end */
		web_reply_text(req, 405, "a stream has no head alone\n");
		return;
	}
	p = s->n < MAX_STREAMS ? calloc(1, sizeof(*p)) : NULL;
	if (!p) {
		web_reply_text(req, 503, "too many pages are open\n");
		return;
	}
	*p = (struct page){.s = s, .req = req, .sent_ns = tv_now_ns()};
	LIST_INSERT_HEAD(&s->pages, p, link);
	s->n++;
	begin(p);
}

int stream_new(struct web *w, struct stream **out)
{
	const struct timeval every = {COMMENT_S, 0};
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->w = w;
	/* Ids of an earlier process are never this one's. */
	s->id = (uint64_t)tv_now_ns() / TV_NS_PER_MS;
	s->tick = event_new(w->base, -1, EV_PERSIST, on_tick, s);
	if (!s->tick || event_add(s->tick, &every)) {
		free(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	event_free(s->tick);
	free(s);
}
