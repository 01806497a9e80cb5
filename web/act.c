/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a page changes: a planned failover, suspending a VM, the end of protection and its beginning
 * again, for which the VM's name must have been typed; and that a failover has been seen. That the request is a page's of this host, with the token, was checked before (http.c); a form
 * of another page cannot send this content type.
 */
#include "web/ask.h"
#include "web/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct act {
	struct web *w;
	struct evhttp_request *req; /* NULL: its connection has closed */
};

static int fd_of(struct evhttp_request *req)
{
	return bufferevent_getfd(
		evhttp_connection_get_bufferevent(evhttp_request_get_connection(req)));
}

static void on_closed(struct evhttp_connection *con, void *arg)
{
	struct act *a = arg;

	(void)con;
	web_abandoned(a->req);
	a->req = NULL;
}

static void answered(json_t *answer, void *arg)
{
	struct act *a = arg;
	const char *why = json_string_value(json_object_get(answer, "error"));
	json_t *rc = json_object_get(answer, "rc");
	struct evhttp_request *req = a->req;

	if (!req) {
		free(a);
		return;
	}
	evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL, NULL);
	visitors_asked(a->w->visitors, fd_of(req));
	free(a);
	if (!json_is_integer(rc))
		web_reply_text(req, 504, "twinvmd has not answered: see the events\n");
	else if (json_integer_value(rc))
		web_reply_text(req, 409, "%s\n", why ? why : "it was refused");
	else
		web_reply_text(req, 200, "done\n");
}

static json_t *body_of(struct evhttp_request *req)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t n = evbuffer_get_length(in);

	if (strcmp(web_header(req, "Content-Type"), "application/json") != 0)
		return NULL;
	return json_loadb((const char *)evbuffer_pullup(in, -1), n, JSON_REJECT_DUPLICATES, NULL);
}

static const char *text_of(const json_t *body, const char *key)
{
	const char *text = json_string_value(json_object_get(body, key));

	return text ? text : "";
}

/* Changes a VM: its name must have been typed. */
static json_t *of_vm(const json_t *body, const char *op)
{
	const char *vm = text_of(body, "vm"), *to = text_of(body, "to");

	if (!*vm || strcmp(vm, text_of(body, "typed")) != 0)
		return NULL;
	if (!strcmp(op, "protect"))
		return *to ? json_pack("{ss ss ss}", "op", op, "vm", vm, "to", to) : NULL;
	return json_pack("{ss ss}", "op", op, "vm", vm);
}

/* The command, or NULL: the request is none. from: the address that it came from. */
static json_t *command_of(const json_t *body, const char *from)
{
	static const char *const ops[] = {"failover",  "protect", "suspend",	  "resume",
					  "unprotect", "drill",	  "test-failover"};
	const char *op = text_of(body, "op");
	json_t *id = json_object_get(body, "id");

	if (!strcmp(op, "events-ack") && json_integer_value(id) > 0)
		return json_pack("{ss sO ss}", "op", op, "id", id, "by", from);
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		if (!strcmp(op, ops[i]))
			return of_vm(body, op);
	return NULL;
}

void act_run(struct web *w, struct evhttp_request *req, const char *rest)
{
	json_t *body = body_of(req), *command = command_of(body, web_address(req));
	struct act *a = command ? calloc(1, sizeof(*a)) : NULL;
	int rc;

	(void)rest;
	json_decref(body);
	if (!a) {
		json_decref(command);
		web_reply_text(req, 400,
			       "op, vm, and the VM's name in typed (of events-ack: id), as "
			       "application/json\n");
		return;
	}
	*a = (struct act){w, req};
	visitors_stays(w->visitors, fd_of(req)); /* ask.c has a limit for the answer */
	evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_closed, a);
	bufferevent_set_timeouts(
		evhttp_connection_get_bufferevent(evhttp_request_get_connection(req)), NULL, NULL);
	rc = ask(w->feed, w->base, command, answered, a);
	if (!rc)
		return;
	evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL, NULL);
	visitors_asked(w->visitors, fd_of(req));
	free(a);
	web_reply_text(req, 503, "%s\n",
		       rc == -EBUSY ? "other commands wait for their answers" : tv_strerror(rc));
}
