/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * http_load ADDRESS PORT [NAME=VALUE]...: load on a web server, of local test 48 and bench/http.sh.
 *
 *   path=/metrics  what is asked for
 *   rate=1000      requests a second, over connections that stay
 *   streams=0      event streams that are held open and read
 *   token=TOKEN    for all of them
 *   from=1         clients of a loopback address come from 127.0.0.FROM and those behind it, PER_ADDRESS
 *                  from each, as a server may limit one address
 *   duty_ms=0      nothing for so long, then load for so long, and so on; 0: load all the time
 *   burn=0         with duty_ms: instead of every second turn with load it takes so many percent of a
 *                  CPU and asks nothing: what load costs that has nothing to do with the server
 *   seconds=0      then it ends; 0: SIGTERM ends it
 *
 * "ready" is printed when each stream was answered or refused, and at the end one line of JSON. With
 * duty_ms also a line for each change: "on", "off" or "burn", and ms since 1970. A connection that the
 * server ends is opened anew, a stream too.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 8
#define MAX_STREAMS 512
#define PER_ADDRESS 40
#define HEAD_BYTES 4096
#define TICK_NS 1000000
#define REOPEN_TICKS 50

struct conn {
	int fd;
	unsigned no;
	bool stream, busy, answered; /* busy: a request waits for its answer */
	char head[HEAD_BYTES];	     /* of the answer, as far as it has come */
	size_t head_n;
	long long left; /* of its body; -1: the head has not come */
};
static struct {
	struct sockaddr_in to;
	bool loopback;
	const char *path, *token;
	unsigned rate, streams, seconds, from, duty_ms, burn;
	int ep;
	struct conn conns[CONNECTIONS + MAX_STREAMS];
	unsigned n, settled;
	double load_s; /* for how long there was load */
	uint64_t sent, ok, limited, other, cut, refused, messages, reopened;
} l;

static void die(const char *what)
{
	fprintf(stderr, "http_load: %s: %s\n", what, strerror(errno));
	exit(2);
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static void say(struct conn *c, const char *path)
{
	char text[1024];
	int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", path,
			 inet_ntoa(l.to.sin_addr), *l.token ? "Authorization: Bearer " : "",
			 l.token, *l.token ? "\r\n" : "");

	c->left = -1;
	c->head_n = 0;
	c->busy = send(c->fd, text, (size_t)n, MSG_NOSIGNAL) == n;
}

/* Connects; on a loopback this is done at once. fd is -1 when it cannot be: it is tried again. */
static void open_conn(struct conn *c)
{
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr =
					   htonl(0x7f000000u + l.from + c->no / PER_ADDRESS)};
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
	int one = 1;

	c->busy = false;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if ((l.loopback && bind(c->fd, (struct sockaddr *)&from, sizeof(from))) ||
	    connect(c->fd, (struct sockaddr *)&l.to, sizeof(l.to))) {
		close(c->fd);
		c->fd = -1;
		return;
	}
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	if (epoll_ctl(l.ep, EPOLL_CTL_ADD, c->fd, &e))
		die("epoll_ctl");
	if (c->stream)
		say(c, "/api/stream");
}

static void settle(struct conn *c)
{
	if (c->stream && !c->answered && ++l.settled == l.streams) {
		printf("ready\n");
		fflush(stdout);
	}
	c->answered = true;
}

static void shut(struct conn *c)
{
	close(c->fd);
	c->fd = -1;
	c->busy = false;
}

/* By the server. */
static void ended(struct conn *c)
{
	if (c->stream && !c->answered)
		l.refused++;
	else if (c->busy && !c->stream)
		l.cut++;
	settle(c);
	shut(c);
}

static void head_done(struct conn *c)
{
	const char *length = strcasestr(c->head, "\r\nContent-Length:");
	int code = 0;

	settle(c);
	sscanf(c->head, "HTTP/1.%*d %d", &code);
	c->left = length ? strtoll(length + 17, NULL, 10) : 0;
	if (c->stream && code == 200)
		return;
	if (c->stream)
		l.refused++;
	else if (code == 200)
		l.ok++;
	else if (code == 429 || code == 503)
		l.limited++;
	else
		l.other++;
}

/* What came, n bytes at p: a head, a body, or a stream's messages. */
static void take(struct conn *c, char *p, size_t n)
{
	char *end;
	size_t body;

	if (c->left < 0) {
		size_t room = sizeof(c->head) - 1 - c->head_n, part = n < room ? n : room;

		memcpy(c->head + c->head_n, p, part);
		c->head_n += part;
		c->head[c->head_n] = 0;
		end = strstr(c->head, "\r\n\r\n");
		if (!end) {
			if (part < n)
				ended(c);
			return;
		}
		body = c->head_n - (size_t)(end + 4 - c->head) + (n - part);
		head_done(c);
		p += n - body;
		n = body;
	}
	if (c->stream) {
		for (size_t i = 0; i + 4 <= n; i++)
			l.messages += !memcmp(p + i, "id: ", 4);
		return;
	}
	c->left -= (long long)n;
	if (c->left <= 0)
		c->busy = false;
}

static void on_readable(struct conn *c)
{
	static char chunk[1 << 16];
	ssize_t n = recv(c->fd, chunk, sizeof(chunk), 0);

	if (n > 0)
		take(c, chunk, (size_t)n);
	else if (n == 0 || errno != EAGAIN)
		ended(c);
}

enum turn { OFF, ON, BURN };

static enum turn turn_at(int64_t since_ns)
{
	unsigned n = l.duty_ms ? (unsigned)(since_ns / 1000000 / l.duty_ms) : 1;

	return n % 2 == 0 ? OFF : n % 4 == 3 && l.burn ? BURN : ON;
}

/* Begins or ends the load when it is time for that; what is now? */
static enum turn turn(int64_t begin_ns)
{
	static const char *const names[] = {"off", "on", "burn"};
	static enum turn now;
	enum turn want = turn_at(now_ns() - begin_ns);

	if (want == now)
		return now;
	now = want;
	if (l.duty_ms) {
		printf("%s %" PRId64 "\n", names[now], clock_ns(CLOCK_REALTIME) / 1000000);
		fflush(stdout);
	}
	for (unsigned i = 0; i < l.n; i++)
		if (now == ON) {
			open_conn(&l.conns[i]);
		} else if (l.conns[i].fd >= 0) {
			shut(&l.conns[i]); /* an answer is not waited for */
		}
	return now;
}

/* Its share of one tick. */
static void burn(void)
{
	int64_t until_ns = now_ns() + (int64_t)TICK_NS / 100 * l.burn;

	while (now_ns() < until_ns)
		;
}

/* So many requests are sent that there were rate for each second of load so far; those that no
 * connection is free for are sent later. */
static void on_tick(int64_t begin_ns)
{
	static int64_t last_ns, load_ns;
	static unsigned ticks;
	bool reopens = ++ticks % REOPEN_TICKS == 0;
	int64_t at_ns = now_ns();
	enum turn now = turn(begin_ns);
	uint64_t owed;

	if (now != ON) {
		last_ns = 0;
		if (now == BURN)
			burn();
		return;
	}
	load_ns += last_ns ? at_ns - last_ns : 0;
	last_ns = at_ns;
	owed = (uint64_t)(load_ns / 1000 * l.rate / 1000000);
	for (unsigned i = 0; i < l.n; i++) {
		struct conn *c = &l.conns[i];

		if (c->fd < 0 && reopens) {
			l.reopened++;
			open_conn(c);
		}
		if (c->fd < 0 || c->stream || c->busy || l.sent >= owed)
			continue;
		say(c, l.path);
		l.sent++;
	}
	l.load_s = (double)load_ns / 1e9;
}

static unsigned number(const char *v)
{
	char *end;
	unsigned long n = strtoul(v, &end, 10);

	if (!*v || *end || n > 1000000) {
		fprintf(stderr, "http_load: '%s' is no number\n", v);
		exit(2);
	}
	return (unsigned)n;
}

static void options(int argc, char **argv)
{
	l.path = "/metrics";
	l.token = "";
	l.rate = 1000;
	l.from = 1;
	if (argc < 3 || inet_pton(AF_INET, argv[1], &l.to.sin_addr) != 1) {
		fprintf(stderr, "usage: http_load ADDRESS PORT [NAME=VALUE]...\n");
		exit(2);
	}
	l.to.sin_family = AF_INET;
	l.to.sin_port = htons((uint16_t)number(argv[2]));
	l.loopback = ntohl(l.to.sin_addr.s_addr) >> 24 == 127;
	for (int i = 3; i < argc; i++) {
		char *v = strchr(argv[i], '=');

		if (v)
			*v++ = 0;
		if (v && !strcmp(argv[i], "path"))
			l.path = v;
		else if (v && !strcmp(argv[i], "token"))
			l.token = v;
		else if (v && !strcmp(argv[i], "rate"))
			l.rate = number(v);
		else if (v && !strcmp(argv[i], "streams"))
			l.streams = number(v);
		else if (v && !strcmp(argv[i], "from"))
			l.from = number(v);
		else if (v && !strcmp(argv[i], "duty_ms"))
			l.duty_ms = number(v);
		else if (v && !strcmp(argv[i], "burn"))
			l.burn = number(v);
		else if (v && !strcmp(argv[i], "seconds"))
			l.seconds = number(v);
		else {
			fprintf(stderr, "http_load: '%s'?\n", argv[i]);
			exit(2);
		}
	}
	if (l.streams > MAX_STREAMS)
		l.streams = MAX_STREAMS;
}

static int watch(int fd, void *ptr)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = ptr};

	if (fd < 0 || epoll_ctl(l.ep, EPOLL_CTL_ADD, fd, &e))
		die("epoll");
	return fd;
}

static void report(void)
{
	printf("{\"seconds\": %.3f, \"rate\": %.1f, \"sent\": %" PRIu64 ", \"ok\": %" PRIu64
	       ", \"limited\": %" PRIu64 ", \"other\": %" PRIu64 ", \"cut\": %" PRIu64
	       ", \"streams\": %u, \"streams_refused\": %" PRIu64 ", \"messages\": %" PRIu64
	       ", \"reopened\": %" PRIu64 "}\n",
	       l.load_s, (double)l.ok / l.load_s, l.sent, l.ok, l.limited, l.other, l.cut,
	       l.streams, l.refused, l.messages, l.reopened);
}

int main(int argc, char **argv)
{
	const struct itimerspec every = {{0, TICK_NS}, {0, TICK_NS}};
	int64_t begin_ns = now_ns();
	int timer, end;
	sigset_t set;

	options(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	l.ep = epoll_create1(EPOLL_CLOEXEC);
	timer = watch(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), &timer);
	end = watch(signalfd(-1, &set, SFD_CLOEXEC), &end);
	timerfd_settime(timer, 0, &every, NULL);
	l.n = CONNECTIONS + l.streams;
	for (unsigned i = 0; i < l.n; i++)
		l.conns[i] = (struct conn){.fd = -1, .no = i, .stream = i >= CONNECTIONS};
	turn(begin_ns);
	if (!l.streams) {
		printf("ready\n");
		fflush(stdout);
	}
	for (;;) {
		struct epoll_event e[64];
		int n = epoll_wait(l.ep, e, 64, -1);
		uint64_t ticks;

		for (int i = 0; i < n; i++)
			if (e[i].data.ptr == &end ||
			    (l.seconds && now_ns() - begin_ns > l.seconds * 1000000000LL)) {
				report();
				return 0;
			} else if (e[i].data.ptr == &timer) {
				if (read(timer, &ticks, sizeof(ticks)) > 0)
					on_tick(begin_ns);
			} else if (((struct conn *)e[i].data.ptr)->fd >= 0) {
				on_readable(e[i].data.ptr);
			}
	}
}
