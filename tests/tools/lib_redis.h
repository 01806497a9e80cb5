/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of redis_client: its state, the connection (lib_redis.c), the report. */
#ifndef TESTS_TOOLS_LIB_REDIS_H
#define TESTS_TOOLS_LIB_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)
#define REPLY_BYTES (1 << 20) /* the largest reply there is, LRANGE_STEP elements, is far below */

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

struct reply {
	char type;	/* + - : $ * */
	int64_t number; /* the integer, a bulk string read as one, or an array's length */
	size_t bytes;	/* how long it is in the buffer; an array's header only */
	char text[128];
};

static inline int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* All of these return 0, or -1 with the reason in c->why. */
int redis_open(struct client *c);
/* Sends one inline command (nothing in it needs quoting) and takes its answer. */
__attribute__((format(printf, 3, 4))) int redis_ask(struct client *c, struct reply *r,
						    const char *fmt, ...);
int redis_next_reply(struct client *c, struct reply *r, int64_t deadline_ns);

/* Writes the report, JSON, to opt.out or stdout. cut_ns: when the fault was injected, or 0. */
int redis_report(const struct client *c, int64_t cut_ns);

#endif
