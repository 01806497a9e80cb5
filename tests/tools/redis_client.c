/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * redis_client: the witness of the demo and the tests. Over ONE TCP connection it sends INCR and
 * RPUSH in turn, one request at a time, and writes down every answer. When asked to stop it reads
 * the data back over the same connection and compares it with what it was promised.
 *
 * Theory of operation. The client alone writes its two keys, so it knows what every answer must be:
 * INCR answers 1, 2, 3, …, RPUSH answers the list's new length, and at the end the counter is the
 * last answer and the list is 1, 2, 3, … without a gap. What differs is one of these:
 *   lost write     acknowledged, but not there (any more): an INCR answer or the final counter that
 *                  is too small, a list element that is missing
 *   phantom read   seen, but never true of what this client wrote: a counter that is too large (a
 *                  write happened twice, or an answer came from a discarded future), an element
 *                  that was never sent, comes twice or in the wrong place, an answer to no request
 * A request whose answer never came may have been done or not: both are right, once. If the
 * connection breaks or an answer takes longer than --timeout-ms, connection_survived is false and
 * the data is read back over a new connection. If even that fails nothing is known: lost_writes and
 * phantom_reads are null.
 *
 * Signals: SIGUSR1 "the fault was injected just now", SIGTERM "stop and check".
 * Exit status: 0 all is as promised, 1 it is not, 2 wrong usage or no first connection.
 */
#include "tests/tools/lib_redis.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LRANGE_STEP 1000

static volatile sig_atomic_t stop_asked;
static volatile int64_t cut_ns;

static void on_signal(int sig)
{
	if (sig == SIGUSR1) {
		if (!cut_ns)
			cut_ns = now_ns();
	} else {
		stop_asked = 1;
	}
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
	if (redis_ask(c, &r, "INCR %s:counter", c->opt.prefix))
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
	if (redis_ask(c, &r, "RPUSH %s:list %" PRId64, c->opt.prefix, op.value))
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
	if (redis_ask(c, &r, "DEL %s:counter %s:list", c->opt.prefix, c->opt.prefix))
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
		if (redis_ask(c, &r, "LRANGE %s:list %" PRId64 " %" PRId64, c->opt.prefix, from,
			      from + LRANGE_STEP - 1))
			goto out;
		int64_t n = r.number;
		for (int64_t i = 0; i < n; i++) {
			if (redis_next_reply(c, &r, now_ns() + c->opt.timeout_ns))
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
	if (redis_ask(c, &r, "GET %s:counter", c->opt.prefix))
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
	if (redis_open(&c)) {
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
		c.readback_ok = redis_open(&c) == 0 && check(&c) == 0;
		memcpy(c.why, why, sizeof(why));
	}
	if (c.record)
		fclose(c.record);
	if (redis_report(&c, cut_ns))
		return 1;
	return c.survived && c.readback_ok && !c.lost && !c.phantom ? 0 : 1;
}
