/* SPDX-License-Identifier: GPL-2.0-or-later */
/* redis_client's report: what was acknowledged, lost, unasked for, and how long the outage was. */
#include "tests/tools/lib_redis.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* a gap that begins this soon after the cut is its outage */
#define OUTAGE_STARTS_WITHIN_NS NS_PER_S

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
static struct gaps find_gaps(const struct client *c, int64_t cut_ns)
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

int redis_report(const struct client *c, int64_t cut_ns)
{
	struct gaps g = find_gaps(c, cut_ns);
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
