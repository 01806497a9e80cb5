/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * redis_client: the witness of the demo and the tests. Over ONE TCP connection it sends INCR and
 * RPUSH in turn, one request at a time, and writes down every answer. When asked to stop it reads
 * the data back over the same connection and compares it with what it was promised.
 *
 * Theory of operation. The client alone writes its two keys, so it knows what every answer must be:
 * INCR answers 1, 2, 3, …, RPUSH answers the list's new length, and at the end the counter is the
 * last answer and the list is 1, 2, 3, … without a gap. What differs is one of these:
 *   lost write      acknowledged, but not there (any more): an INCR answer or the final counter
 * that is too small, a list element that is missing. phantom read    seen, but never true of what
 * this client wrote: a counter that is too large (a write happened twice, or an answer came from a
 * discarded future), an element that was never sent, comes twice or in the wrong place, an answer
 * nobody asked for. A request whose answer never came may have been done or not: both are right,
 * once. If the connection breaks or an answer takes longer than --timeout-ms, connection_survived
 * is false and the data is read back over a new connection. If even that fails nothing is known:
 * lost_writes and phantom_reads are null.
 *
 * Signals: SIGUSR1 "the fault was injected just now", SIGTERM "stop and check".
 * Exit status: 0 all is as promised, 1 it is not, 2 wrong usage or no first connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)
#define REPLY_BYTES (1 << 20) /* the largest reply there is, LRANGE_STEP elements, is far below */
#define LRANGE_STEP 1000
#define CONNECT_TIMEOUT_NS (10 * NS_PER_S)
#define OUTAGE_STARTS_WITHIN_NS \
	NS_PER_S /* a gap that begins this soon after the cut is its outage */

enum kind { K_INCR = 'I', K_RPUSH = 'R' };

struct write_op {
	enum kind kind;
	int64_t value; /* INCR: the answer; RPUSH: the element sent */
	int64_t sent_ns, answered_ns;
};

struct options {
	const char *host, *out, *record, *prefix;
	int port;
	int64_t timeout_ns, pause_ns, run_ns, count;
	bool thin;
};

struct client {
	struct options opt;
	int fd;
	char *buf; /* bytes received and not consumed */
	size_t used;
	char why[256]; /* why the connection broke */
	FILE *record;

	struct write_op *ops;
	size_t n_ops, room_ops;
	int64_t last_incr, last_length, next_element;
	int64_t lost, phantom, contradictions, unsolicited;
	bool survived, readback_ok;
	bool pending_incr, pending_push; /* sent, never answered */
	int64_t final_counter, final_length;
};

static volatile sig_atomic_t stop_asked;
static volatile int64_t cut_ns;

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void on_signal(int sig)
{
	if (sig == SIGUSR1) {
		if (!cut_ns)
			cut_ns = now_ns();
	} else {
		stop_asked = 1;
	}
}

__attribute__((format(printf, 2, 3))) static int broken(struct client *c, const char *fmt, ...)
{
	va_list ap;
	if (!c->why[0]) {
		va_start(ap, fmt);
		vsnprintf(c->why, sizeof(c->why), fmt, ap);
		va_end(ap);
	}
	return -1;
}

/* ---- connection ---- */

/* Waits for events until deadline. Signals do not end the wait: an answer under way is still
 * wanted. */
static int wait_for(struct client *c, short events, int64_t deadline_ns)
{
	for (;;) {
		int64_t left = deadline_ns - now_ns();
		if (left <= 0)
			return broken(c, "no answer for %" PRId64 " ms",
				      c->opt.timeout_ns / NS_PER_MS);
		struct pollfd p = {.fd = c->fd, .events = events};
		int r = poll(&p, 1, (int)(left / NS_PER_MS) + 1);
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return broken(c, "poll: %s", strerror(errno));
	}
}

static int open_connection(struct client *c)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)c->opt.port)};
	int one = 1, e = 0;
	socklen_t n = sizeof(e);
	if (inet_pton(AF_INET, c->opt.host, &to.sin_addr) != 1)
		return broken(c, "%s is not an IPv4 address", c->opt.host);
	c->used = 0;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return broken(c, "socket: %s", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (c->opt.thin)
		setsockopt(c->fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, &one, sizeof(one));
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return broken(c, "connect: %s", strerror(errno));
	if (wait_for(c, POLLOUT, now_ns() + CONNECT_TIMEOUT_NS))
		return -1;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &n) || e)
		return broken(c, "connect: %s", strerror(e));
	return 0;
}

static int send_all(struct client *c, const char *p, size_t n, int64_t deadline_ns)
{
	while (n) {
		ssize_t r = send(c->fd, p, n, MSG_NOSIGNAL);
		if (r > 0) {
			p += r;
			n -= (size_t)r;
		} else if (errno == EAGAIN) {
			if (wait_for(c, POLLOUT, deadline_ns))
				return -1;
		} else if (errno != EINTR) {
			return broken(c, "send: %s", strerror(errno));
		}
	}
	return 0;
}

/* ---- the protocol ---- */

struct reply {
	char type;	/* + - : $ * */
	int64_t number; /* the integer, a bulk string read as one, or an array's length */
	size_t bytes;	/* how long it is in the buffer; an array's header only */
	char text[128];
};

/* 1 a reply is there, 0 more bytes are needed, -1 this is not the protocol. */
static int parse_reply(const char *p, size_t n, struct reply *r)
{
	const char *end = memchr(p, '\n', n);
	if (!end)
		return n > 4096 ? -1 : 0;
	size_t line = (size_t)(end - p) + 1;
	if (line < 3 || end[-1] != '\r' || !strchr("+-:$*", p[0]))
		return -1;
	r->type = p[0];
	r->bytes = line;
	snprintf(r->text, sizeof(r->text), "%.*s", (int)(line - 3), p + 1);
	if (r->type == '+' || r->type == '-')
		return 1;
	char *rest;
	errno = 0;
	r->number = strtoll(r->text, &rest, 10);
	if (errno || rest == r->text || *rest)
		return -1;
	if (r->type != '$' || r->number < 0) {
		if (r->type == '$')
			r->number = 0; /* no such key */
		return 1;
	}
	size_t bulk = (size_t)r->number;
	if (bulk >= sizeof(r->text))
		return -1;
	if (n < line + bulk + 2)
		return 0;
	memcpy(r->text, p + line, bulk);
	r->text[bulk] = 0;
	r->bytes = line + bulk + 2;
	r->number = strtoll(r->text, &rest, 10);
	if (rest == r->text || *rest)
		r->number = INT64_MIN; /* nothing this client ever wrote */
	return 1;
}

static int next_reply(struct client *c, struct reply *r, int64_t deadline_ns)
{
	for (;;) {
		int got = parse_reply(c->buf, c->used, r);
		if (got < 0)
			return broken(c, "the answer is not Redis's protocol");
		if (got) {
			c->used -= r->bytes;
			memmove(c->buf, c->buf + r->bytes, c->used);
			return 0;
		}
		ssize_t n = recv(c->fd, c->buf + c->used, REPLY_BYTES - c->used, 0);
		if (n > 0)
			c->used += (size_t)n;
		else if (n == 0)
			return broken(c, "the server closed the connection");
		else if (errno == EAGAIN) {
			if (wait_for(c, POLLIN, deadline_ns))
				return -1;
		} else if (errno != EINTR) {
			return broken(c, "receive: %s", strerror(errno));
		}
	}
}

/* Inline commands: nothing this client sends needs quoting. */
__attribute__((format(printf, 3, 4))) static int ask(struct client *c, struct reply *r,
						     const char *fmt, ...)
{
	char line[512];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line) - 2, fmt, ap);
	va_end(ap);
	memcpy(line + n, "\r\n", 2);
	int64_t deadline_ns = now_ns() + c->opt.timeout_ns;
	if (send_all(c, line, (size_t)n + 2, deadline_ns) || next_reply(c, r, deadline_ns))
		return -1;
	if (r->type == '-')
		return broken(c, "the server says: %s", r->text);
	return 0;
}

/* ---- the work ---- */

static void note(struct client *c, const struct write_op *op)
{
	if (c->n_ops == c->room_ops) {
		c->room_ops = c->room_ops ? c->room_ops * 2 : 4096;
		c->ops = realloc(c->ops, c->room_ops * sizeof(*c->ops));
		if (!c->ops)
			abort();
	}
	c->ops[c->n_ops++] = *op;
	if (c->record) {
		fprintf(c->record, "%zu %c %" PRId64 " %" PRId64 " %" PRId64 "\n", c->n_ops,
			op->kind, op->value, op->sent_ns, op->answered_ns);
		fflush(c->record);
	}
}

static int do_incr(struct client *c)
{
	struct write_op op = {.kind = K_INCR, .sent_ns = now_ns()};
	struct reply r;
	c->pending_incr = true;
	if (ask(c, &r, "INCR %s:counter", c->opt.prefix))
		return -1;
	c->pending_incr = false;
	op.answered_ns = now_ns();
	op.value = r.number;
	int64_t expected = c->last_incr + 1;
	if (r.number > expected)
		c->phantom += r.number - expected;
	if (r.number < expected)
		c->lost += expected - r.number;
	c->last_incr = r.number;
	note(c, &op);
	return 0;
}

static int do_push(struct client *c)
{
	struct write_op op = {.kind = K_RPUSH, .sent_ns = now_ns(), .value = c->next_element++};
	struct reply r;
	c->pending_push = true;
	if (ask(c, &r, "RPUSH %s:list %" PRId64, c->opt.prefix, op.value))
		return -1;
	c->pending_push = false;
	op.answered_ns = now_ns();
	/* What is wrong with the list shows when it is read back; here only that something is. */
	if (r.number != c->last_length + 1)
		c->contradictions++;
	c->last_length = r.number;
	note(c, &op);
	return 0;
}

/* Between two requests: nothing may arrive. Returns early when asked to stop. */
static void pause_between(struct client *c)
{
	if (c->opt.pause_ns && !stop_asked) {
		struct timespec t = {.tv_sec = c->opt.pause_ns / NS_PER_S,
				     .tv_nsec = c->opt.pause_ns % NS_PER_S};
		nanosleep(&t, NULL);
	}
	if (c->used) {
		c->unsolicited++;
		c->used = 0;
	}
}

static int work(struct client *c)
{
	struct reply r;
	int64_t start = now_ns();
	if (ask(c, &r, "DEL %s:counter %s:list", c->opt.prefix, c->opt.prefix))
		return -1;
	for (int64_t n = 0; !stop_asked; n++) {
		if (c->opt.count && n >= c->opt.count)
			break;
		if (c->opt.run_ns && now_ns() - start >= c->opt.run_ns)
			break;
		if (n & 1 ? do_push(c) : do_incr(c))
			return -1;
		pause_between(c);
	}
	return 0;
}

/* ---- the check ---- */

struct list_check {
	bool *seen; /* by element */
	int64_t previous;
};

static void check_element(struct client *c, struct list_check *k, int64_t v)
{
	if (v < 1 || v >= c->next_element || k->seen[v] || v < k->previous) {
		c->phantom++; /* never sent, twice, or out of order */
		if (v < 1 || v >= c->next_element)
			return;
	}
	k->seen[v] = true;
	k->previous = v;
}

static int check_list(struct client *c)
{
	struct list_check k = {.seen = calloc((size_t)c->next_element + 1, sizeof(bool))};
	int rc = -1;
	if (!k.seen)
		abort();
	for (int64_t from = 0;; from += LRANGE_STEP) {
		struct reply r;
		if (ask(c, &r, "LRANGE %s:list %" PRId64 " %" PRId64, c->opt.prefix, from,
			from + LRANGE_STEP - 1))
			goto out;
		int64_t n = r.number;
		for (int64_t i = 0; i < n; i++) {
			if (next_reply(c, &r, now_ns() + c->opt.timeout_ns))
				goto out;
			check_element(c, &k, r.number);
		}
		c->final_length += n;
		if (n < LRANGE_STEP)
			break;
	}
	for (size_t i = 0; i < c->n_ops; i++)
		if (c->ops[i].kind == K_RPUSH && !k.seen[c->ops[i].value])
			c->lost++;
	rc = 0;
out:
	free(k.seen);
	return rc;
}

static int check(struct client *c)
{
	struct reply r;
	if (ask(c, &r, "GET %s:counter", c->opt.prefix))
		return -1;
	c->final_counter = r.number;
	int64_t most = c->last_incr + (c->pending_incr ? 1 : 0);
	if (r.number == INT64_MIN)
		c->phantom++;
	else if (r.number > most)
		c->phantom += r.number - most;
	else if (r.number < c->last_incr)
		c->lost += c->last_incr - r.number;
	if (check_list(c))
		return -1;
	c->phantom += c->unsolicited;
	/* Answers that the final list does not explain were untrue when they were given. */
	if (c->contradictions && !c->lost && !c->phantom)
		c->phantom += c->contradictions;
	return 0;
}

/* ---- the report ---- */

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

static void print_ms(FILE *f, const char *name, int64_t ns)
{
	if (ns < 0)
		fprintf(f, "  \"%s\": null,\n", name);
	else
		fprintf(f, "  \"%s\": %.3f,\n", name, (double)ns / 1e6);
}

/* Round trips of the requests between two moments. */
static void print_rtt(FILE *f, const struct client *c, const char *name, int64_t from, int64_t to)
{
	int64_t *v = calloc(c->n_ops + 1, sizeof(*v));
	size_t n = 0;
	if (!v)
		abort();
	for (size_t i = 0; i < c->n_ops; i++)
		if (c->ops[i].sent_ns >= from && c->ops[i].answered_ns <= to)
			v[n++] = c->ops[i].answered_ns - c->ops[i].sent_ns;
	qsort(v, n, sizeof(*v), by_size);
	if (n)
		fprintf(f, "  \"%s\": {\"n\": %zu, \"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f},\n",
			name, n, (double)v[n / 2] / 1e6, (double)v[n * 99 / 100] / 1e6,
			(double)v[n - 1] / 1e6);
	else
		fprintf(f, "  \"%s\": null,\n", name);
	free(v);
}

struct gaps {
	int64_t longest_ns, outage_ns; /* -1: there is none */
	int64_t outage_end_ns;
	int64_t before, after; /* answers on either side of the outage */
};

/*
 * The outage is the longest time between two answers of those that end after the cut and begin at
 * most OUTAGE_STARTS_WITHIN_NS after it: an answer may still have been on its way when the cut was
 * announced.
 */
static struct gaps find_gaps(const struct client *c)
{
	struct gaps g = {.longest_ns = -1, .outage_ns = -1};
	for (size_t i = 0; i < c->n_ops; i++) {
		int64_t end = c->ops[i].answered_ns;
		int64_t start = i ? c->ops[i - 1].answered_ns : c->ops[i].sent_ns;
		if (end - start > g.longest_ns)
			g.longest_ns = end - start;
		if (cut_ns && end > cut_ns && start < cut_ns + OUTAGE_STARTS_WITHIN_NS &&
		    end - start > g.outage_ns) {
			g.outage_ns = end - start;
			g.outage_end_ns = end;
			g.before = (int64_t)i;
			g.after = (int64_t)(c->n_ops - i);
		}
	}
	return g;
}

static int report(const struct client *c)
{
	struct gaps g = find_gaps(c);
	char tmp[4096];
	FILE *f = stdout;
	if (c->opt.out) {
		snprintf(tmp, sizeof(tmp), "%s.tmp", c->opt.out);
		f = fopen(tmp, "we");
		if (!f) {
			fprintf(stderr, "redis_client: %s: %s\n", tmp, strerror(errno));
			return -1;
		}
	}
	fprintf(f, "{\n  \"acked_writes\": %zu,\n", c->n_ops);
	if (c->readback_ok)
		fprintf(f, "  \"lost_writes\": %" PRId64 ",\n  \"phantom_reads\": %" PRId64 ",\n",
			c->lost, c->phantom);
	else
		fprintf(f, "  \"lost_writes\": null,\n  \"phantom_reads\": null,\n");
	fprintf(f, "  \"connection_survived\": %s,\n", c->survived ? "true" : "false");
	fprintf(f, "  \"why_broken\": \"");
	for (const char *p = c->why; *p; p++)
		if (*p != '"' && *p != '\\' && (unsigned char)*p >= ' ')
			fputc(*p, f);
	fprintf(f, "\",\n");
	print_ms(f, "outage_ms", g.outage_ns);
	print_ms(f, "longest_gap_ms", g.longest_ns);
	fprintf(f,
		"  \"acked_before_outage\": %" PRId64 ",\n  \"acked_after_outage\": %" PRId64 ",\n",
		cut_ns ? g.before : (int64_t)c->n_ops, g.after);
	print_rtt(f, c, "rtt_ms_before", 0, cut_ns ? cut_ns : INT64_MAX);
	print_rtt(f, c, "rtt_ms_after", g.outage_end_ns ? g.outage_end_ns : INT64_MAX, INT64_MAX);
	fprintf(f, "  \"unanswered\": %d,\n", c->pending_incr + c->pending_push);
	fprintf(f, "  \"final_counter\": %" PRId64 ",\n  \"final_length\": %" PRId64 "\n}\n",
		c->final_counter, c->final_length);
	if (!c->opt.out)
		return fflush(f);
	if (fclose(f) || rename(tmp, c->opt.out)) {
		fprintf(stderr, "redis_client: %s: %s\n", c->opt.out, strerror(errno));
		return -1;
	}
	return 0;
}

/* ---- start ---- */

static const char usage[] =
	"usage: redis_client [options]\n"
	"  --host ADDR       server (10.77.0.2)        --port N           its port (6379)\n"
	"  --out FILE        the report, JSON (stdout) --record FILE      every answer as it "
	"comes\n"
	"  --seconds S       stop after S seconds      --count N          stop after N writes\n"
	"  --pause-us N      between requests (0)      --timeout-ms N     for one answer (30000)\n"
	"  --prefix P        of the two keys (twinvm)  --thin             linear TCP "
	"retransmission\n"
	"Stops at SIGTERM, too. SIGUSR1 marks the moment of the fault.\n";

static void parse_options(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{"host", 1, NULL, 'h'},	    {"port", 1, NULL, 'p'},	  {"out", 1, NULL, 'o'},
		{"record", 1, NULL, 'r'},   {"seconds", 1, NULL, 's'},	  {"count", 1, NULL, 'c'},
		{"pause-us", 1, NULL, 'u'}, {"timeout-ms", 1, NULL, 't'}, {"prefix", 1, NULL, 'x'},
		{"thin", 0, NULL, 'l'},	    {NULL, 0, NULL, 0},
	};
	*o = (struct options){
		.host = "10.77.0.2", .port = 6379, .prefix = "twinvm", .timeout_ns = 30 * NS_PER_S};
	for (int ch; (ch = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		switch (ch) {
		case 'h':
			o->host = optarg;
			break;
		case 'p':
			o->port = atoi(optarg);
			break;
		case 'o':
			o->out = optarg;
			break;
		case 'r':
			o->record = optarg;
			break;
		case 's':
			o->run_ns = (int64_t)(atof(optarg) * 1e9);
			break;
		case 'c':
			o->count = atoll(optarg);
			break;
		case 'u':
			o->pause_ns = atoll(optarg) * 1000;
			break;
		case 't':
			o->timeout_ns = atoll(optarg) * NS_PER_MS;
			break;
		case 'x':
			o->prefix = optarg;
			break;
		case 'l':
			o->thin = true;
			break;
		default:
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (optind != argc || strlen(o->prefix) > 64) {
		fputs(usage, stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static struct client c;
	struct sigaction sa = {.sa_handler = on_signal};
	parse_options(&c.opt, argc, argv);
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	c.next_element = 1;
	c.buf = malloc(REPLY_BYTES);
	if (!c.buf)
		abort();
	if (c.opt.record && !(c.record = fopen(c.opt.record, "we"))) {
		fprintf(stderr, "redis_client: %s: %s\n", c.opt.record, strerror(errno));
		return 2;
	}
	if (open_connection(&c)) {
		fprintf(stderr, "redis_client: %s:%d: %s\n", c.opt.host, c.opt.port, c.why);
		return 2;
	}
	c.survived = work(&c) == 0;
	int64_t lost = c.lost, phantom = c.phantom;
	c.survived = c.survived && check(&c) == 0;
	c.readback_ok = c.survived;
	if (!c.survived) {
		/* A check that broke off is done again from its start; what the answers showed
		 * stays. */
		char why[sizeof(c.why)];
		memcpy(why, c.why, sizeof(why));
		close(c.fd);
		c.why[0] = 0;
		c.final_length = 0;
		c.lost = lost;
		c.phantom = phantom;
		c.readback_ok = open_connection(&c) == 0 && check(&c) == 0;
		memcpy(c.why, why, sizeof(why));
	}
	if (c.record)
		fclose(c.record);
	if (report(&c))
		return 1;
	return c.survived && c.readback_ok && !c.lost && !c.phantom ? 0 : 1;
}
