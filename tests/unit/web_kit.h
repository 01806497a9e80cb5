/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the web server share: the server as web/main.c sets it up, on a loopback port
 * of its own, in the test's own loop; its clients, which are plain sockets and say what the test
 * wants; and the daemon's end of its feed.
 */
#ifndef WEB_KIT_H
#define WEB_KIT_H

#include "web/ask.h"
#include "web/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define KIT __attribute__((unused)) static
#define TOKEN "0123456789abcdef0123"
#define MAX_COMMANDS 32

static struct web w;
static struct {
	uint16_t port;
	struct ctl *daemon;		    /* the daemon's end of the feed */
	struct ctl *commands[MAX_COMMANDS]; /* what was handed over to it */
	json_t *asked;			    /* array of what came on them */
	unsigned handed, ended;
	unsigned seen;	/* snapshots that the server reports it has */
	unsigned looks; /* reports that somebody looks */
} kit;

/* ---- the daemon ---- */
static void command_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	(void)c;
	(void)fds;
	(void)arg;
	assert_int_equal(n, 0);
	json_array_append(kit.asked, msg);
}

static void command_closed(struct ctl *c, void *arg)
{
	*(struct ctl **)arg = NULL;
	kit.ended++;
	ctl_free(c);
}

static void daemon_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	static const struct ctl_ops ops = {command_message, command_closed};
	const char *op = json_string_value(json_object_get(msg, "op"));

	(void)c;
	(void)arg;
	assert_non_null(op);
	if (!strcmp(op, "seen")) {
		kit.seen++;
		return;
	}
	if (!strcmp(op, "looks")) {
		kit.looks++;
		return;
	}
	assert_string_equal(op, "command");
	assert_int_equal(n, 1);
	assert_true(kit.handed < MAX_COMMANDS);
	assert_int_equal(
		ctl_new(w.base, fds[0], &ops, &kit.commands[kit.handed], &kit.commands[kit.handed]),
		0);
	kit.handed++;
}

static void daemon_closed(struct ctl *c, void *arg)
{
	(void)arg;
	kit.daemon = NULL;
	ctl_free(c);
}

/* A whole snapshot, with that text in it. */
KIT void kit_snapshot(const char *text)
{
	ctl_send(kit.daemon,
		 json_pack("{ss ss ss}", "op", "snapshot", "host", "hostA", "version", text));
	ctl_send(kit.daemon, json_pack("{ss s{ss}}", "op", "self", "view", "host", text));
	ctl_send(kit.daemon, json_pack("{ss}", "op", "end"));
}

/* ---- the server ---- */
static void kit_on_snapshot(void *arg)
{
	(void)arg;
	stream_snapshot(w.stream);
}

static void kit_on_closed(void *arg)
{
	(void)arg;
}

static void kit_token(void)
{
	char path[] = "/tmp/twinvm-token-XXXXXX";
	int fd = mkstemp(path);
	struct tv_err e = {0};

	assert_int_equal(tv_write_all(fd, TOKEN "\n", sizeof(TOKEN)), 0);
	close(fd);
	assert_int_equal(auth_new(path, &w.auth, &e), 0);
	unlink(path);
}

static int kit_up(bool token)
{
	static const struct feed_ops ops = {.snapshot = kit_on_snapshot, .closed = kit_on_closed};
	static const struct ctl_ops daemon = {daemon_message, daemon_closed};
	struct sockaddr_in at;
	socklen_t n = sizeof(at);
	struct tv_err e = {0};
	int fds[2];

	signal(SIGPIPE, SIG_IGN); /* as web_main does */
	memset(&w, 0, sizeof(w));
	memset(&kit, 0, sizeof(kit));
	strcpy(w.conf.host, "hostA");
	w.at = (struct config_dashboard){
		.on = true, .host = "127.0.0.1", .loopback = true, .cert = "", .key = ""};
	if (token)
		kit_token();
	kit.asked = json_array();
	assert_int_equal(http_bind(&w, &e), 0);
	assert_int_equal(getsockname(w.listen_fd, (struct sockaddr *)&at, &n), 0);
	kit.port = ntohs(at.sin_port);
	w.base = event_base_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(stream_new(&w, &w.stream), 0);
	assert_int_equal(feed_new(w.base, fds[0], &ops, &w, &w.feed), 0);
	assert_int_equal(ctl_new(w.base, fds[1], &daemon, NULL, &kit.daemon), 0);
	return http_start(&w);
}

KIT int kit_open(void **state)
{
	(void)state;
	return kit_up(false);
}

KIT int kit_with_token(void **state)
{
	(void)state;
	return kit_up(true);
}

KIT int kit_down(void **state)
{
	(void)state;
	evhttp_free(w.http);
	visitors_free(w.visitors);
	for (unsigned i = 0; i < 2; i++)
		if (w.scrapes[i].text)
			evbuffer_free(w.scrapes[i].text);
	stream_free(w.stream);
	feed_free(w.feed);
	auth_free(w.auth);
	ctl_free(kit.daemon);
	for (unsigned i = 0; i < kit.handed; i++)
		ctl_free(kit.commands[i]);
	event_base_loop(w.base, EVLOOP_NONBLOCK);
	event_base_free(w.base);
	json_decref(kit.asked);
	return 0;
}

/* ---- clients ---- */
struct client {
	int fd;
	struct event *ev;
	char *in; /* all that it got, with a 0 behind it */
	size_t n;
	bool closed;
};

static void client_read(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	char chunk[1 << 14];
	ssize_t n = recv(fd, chunk, sizeof(chunk), 0);

	(void)what;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		c->closed = true;
		event_del(c->ev);
		return;
	}
	c->in = realloc(c->in, c->n + (size_t)n + 1);
	assert_non_null(c->in);
	memcpy(c->in + c->n, chunk, (size_t)n);
	c->n += (size_t)n;
	c->in[c->n] = 0;
}

/* From 127.0.0.NO; room: of its socket for what it has not read, 0: as usual. It reads by itself
 * until client_stop. */
KIT struct client *client_new(unsigned no, int room)
{
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(0x7f000000u + no)};
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(kit.port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct client *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->in = calloc(1, 1);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (room)
		assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
	assert_int_equal(bind(c->fd, (struct sockaddr *)&from, sizeof(from)), 0);
	assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
	c->ev = event_new(w.base, c->fd, EV_READ | EV_PERSIST, client_read, c);
	event_add(c->ev, NULL);
	return c;
}

KIT void client_stop(struct client *c)
{
	event_del(c->ev);
}

KIT void client_free(struct client *c)
{
	event_free(c->ev);
	free(c->in);
	close(c->fd);
	free(c);
}

KIT void client_say(struct client *c, const char *text)
{
	assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

KIT void client_forget(struct client *c)
{
	c->in[c->n = 0] = 0;
}

/* How often text is in what it got. */
KIT unsigned client_count(const struct client *c, const char *text)
{
	unsigned n = 0;

	for (const char *p = strstr(c->in, text); p; p = strstr(p + 1, text))
		n++;
	return n;
}

/* The loop turns until it got text. A connection that ends first fails the test. */
KIT void client_await(struct client *c, const char *text)
{
	while (!client_count(c, text)) {
		if (c->closed)
			fail_msg("closed before '%s': '%s'", text, c->in);
		event_base_loop(w.base, EVLOOP_ONCE);
	}
}

KIT void client_await_end(struct client *c)
{
	while (!c->closed)
		event_base_loop(w.base, EVLOOP_ONCE);
}

/* One request of a connection of its own: the status of its answer, 0 if it was cut off. *text, if
 * not NULL: all of the answer, the caller's to free. */
KIT int client_ask(const char *request, char **text)
{
	struct client *c = client_new(1, 0);
	int code = 0;

	client_say(c, request);
	while (!c->closed && !client_count(c, "\r\n\r\n"))
		event_base_loop(w.base, EVLOOP_ONCE);
	event_base_loop(w.base, EVLOOP_NONBLOCK);
	sscanf(c->in, "HTTP/1.%*d %d", &code);
	if (text)
		*text = strdup(c->in);
	client_free(c);
	return code;
}

#endif
