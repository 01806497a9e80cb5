/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a user of the guest feels, measured from outside it (bench/user.sh). Each prints numbers on one line.
 *
 * load_tool redis ADDR CONNECTIONS PIPELINE SECONDS   requests a second; p50 and p99 in ms of a batch of
 *         PIPELINE requests, SET and GET in turn with 64 bytes, from its sending to its last answer
 * load_tool tcp in|out ADDR PORT SECONDS              Mbit/s that the guest has received and acknowledged,
 *         or has sent and this program has received, over one connection
 * load_tool count ADDR PORT SECONDS                   units of work a second (tests/guest/workload.c)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 256
#define PIPELINE_MAX 256
#define REQUEST_MAX 128
#define KEYS 10000
#define CHUNK_BYTES (256u << 10)
#define SILENCE_MS 60000

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "load_tool: %s: %s\n", what, errno ? strerror(errno) : "ended");
	exit(1);
}

static int connect_to(const char *addr, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (inet_pton(AF_INET, addr, &a.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die(addr);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t got = write(fd, p, n);

		if (got <= 0)
			die("send");
		p += got;
		n -= (size_t)got;
	}
}

/* ---- redis ---- */

struct connection {
	int fd;
	int waits;	/* for so many answers */
	bool body_next; /* the next line belongs to the answer that has begun */
	bool in_body;
	size_t column; /* how much of a line was seen */
	double sent_s;
};

struct run {
	struct connection c[CONNECTIONS_MAX];
	int connections, pipeline;
	unsigned long long asked, answered;
	double *batch_ms;
	size_t batches, room;
};

static size_t request(char *out, unsigned long long n)
{
	static const char value[] =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	int key = (int)(n / 2 * 7919 % KEYS);

	return (size_t)(n % 2 == 0
				? sprintf(out, "*3\r\n$3\r\nSET\r\n$9\r\nkey:%05d\r\n$64\r\n%s\r\n",
					  key, value)
				: sprintf(out, "*2\r\n$3\r\nGET\r\n$9\r\nkey:%05d\r\n", key));
}

static void send_batch(struct run *r, struct connection *c)
{
	static char text[PIPELINE_MAX * REQUEST_MAX];
	size_t n = 0;

	for (int i = 0; i < r->pipeline; i++)
		n += request(text + n, r->asked++);
	c->waits = r->pipeline;
	c->sent_s = now_s();
	send_all(c->fd, text, n);
}

/* How many answers end in these bytes. Errors of Redis are none that this program has a use for. */
static int answers_in(struct connection *c, const char *p, ssize_t n)
{
	int answers = 0;

	for (ssize_t i = 0; i < n; i++) {
		if (!c->column) {
			c->in_body = c->body_next;
			c->body_next = !c->in_body && p[i] == '$';
			if (!c->in_body && p[i] != '$' && p[i] != '+')
				die("an answer of Redis that is no answer");
		} else if (c->column == 1 && c->body_next && p[i] == '-') {
			c->body_next = false; /* $-1: no such key */
		}
		c->column++;
		if (p[i] == '\n') {
			c->column = 0;
			answers += !c->body_next;
		}
	}
	return answers;
}

static void note_batch(struct run *r, double ms)
{
	if (r->batches == r->room) {
		r->room = r->room ? 2 * r->room : 4096;
		r->batch_ms = realloc(r->batch_ms, r->room * sizeof(*r->batch_ms));
		if (!r->batch_ms)
			abort();
	}
	r->batch_ms[r->batches++] = ms;
}

static void receive(struct run *r, struct connection *c)
{
	char text[65536];
	ssize_t n = read(c->fd, text, sizeof(text));
	int got;

	if (n <= 0)
		die("Redis");
	got = answers_in(c, text, n);
	r->answered += (unsigned)got;
	c->waits -= got;
	if (c->waits < 0)
		die("more answers than questions");
	if (!c->waits) {
		note_batch(r, (now_s() - c->sent_s) * 1e3);
		send_batch(r, c);
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int redis(const char *addr, int connections, int pipeline, double seconds)
{
	struct pollfd p[CONNECTIONS_MAX];
	struct run r = {.connections = connections, .pipeline = pipeline};
	double begin = now_s();

	if (connections < 1 || connections > CONNECTIONS_MAX || pipeline < 1 ||
	    pipeline > PIPELINE_MAX)
		return 2;
	for (int i = 0; i < connections; i++) {
		r.c[i].fd = connect_to(addr, 6379);
		p[i] = (struct pollfd){.fd = r.c[i].fd, .events = POLLIN};
		send_batch(&r, &r.c[i]);
	}
	while (now_s() - begin < seconds) {
		if (poll(p, (nfds_t)connections, SILENCE_MS) <= 0)
			die("no answer for a minute");
		for (int i = 0; i < connections; i++)
			if (p[i].revents)
				receive(&r, &r.c[i]);
	}
	seconds = now_s() - begin;
	if (!r.batches)
		die("no batch was answered");
	qsort(r.batch_ms, r.batches, sizeof(*r.batch_ms), by_value);
	printf("%.1f %.3f %.3f\n", (double)r.answered / seconds, r.batch_ms[r.batches / 2],
	       r.batch_ms[r.batches * 99 / 100]);
	free(r.batch_ms);
	return 0;
}

/* ---- tcp ---- */

static unsigned long long acked_bytes(int fd)
{
	struct tcp_info info;
	socklen_t n = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n))
		die("TCP_INFO");
	return info.tcpi_bytes_acked;
}

/* The first second is the connection's slow start. */
static int tcp(bool in, const char *addr, int port, double seconds)
{
	static char chunk[CHUNK_BYTES];
	int fd = connect_to(addr, port);
	double begin = now_s(), measured_s = 0, last;
	unsigned long long bytes = 0, at_begin = 0, end;

	do {
		ssize_t n = in ? write(fd, chunk, sizeof(chunk)) : read(fd, chunk, sizeof(chunk));

		if (n <= 0)
			die("transfer");
		bytes += (unsigned long long)n;
		last = now_s();
		if (!measured_s && last - begin >= 1) {
			measured_s = last;
			at_begin = in ? acked_bytes(fd) : bytes;
		}
	} while (last - begin < seconds + 1);
	end = in ? acked_bytes(fd) : bytes;
	printf("%.1f\n", (double)(end - at_begin) * 8 / 1e6 / (last - measured_s));
	return 0;
}

/* ---- count ---- */

static unsigned long long count_now(int fd)
{
	char text[32] = "";
	size_t n = 0;

	send_all(fd, "x", 1);
	while (!memchr(text, '\n', n)) {
		ssize_t got = read(fd, text + n, sizeof(text) - 1 - n);

		if (got <= 0)
			die("the workload");
		n += (size_t)got;
	}
	return strtoull(text, NULL, 10);
}

static int count(const char *addr, int port, double seconds)
{
	int fd = connect_to(addr, port);
	unsigned long long a = count_now(fd), b;
	double begin = now_s();
	struct timespec t = {.tv_sec = (time_t)seconds,
			     .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};

	nanosleep(&t, NULL);
	b = count_now(fd);
	printf("%.1f\n", (double)(b - a) / (now_s() - begin));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "redis"))
		return redis(argv[2], atoi(argv[3]), atoi(argv[4]), atof(argv[5]));
	if (argc == 6 && !strcmp(argv[1], "tcp"))
		return tcp(!strcmp(argv[2], "in"), argv[3], atoi(argv[4]), atof(argv[5]));
	if (argc == 5 && !strcmp(argv[1], "count"))
		return count(argv[2], atoi(argv[3]), atof(argv[4]));
	fprintf(stderr, "usage: see the head of bench/load_tool.c\n");
	return 2;
}
