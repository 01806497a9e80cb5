/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm events: what happened, a page of the daemon's after the other; and what happens. */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <pwd.h>
#include <time.h>
#include <unistd.h>

#define LAST 10		 /* shown before what follows */
#define RECONNECT_MS 200 /* while the daemon is away */

struct wish {
	const char *vm; /* NULL: all */
	int64_t since_ms;
	bool has_since, follow;
	uint64_t after_id; /* the newest that was shown */
	json_t *all;	   /* those to be printed as one array; NULL: printed as they come */
};

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* By the local clock. */
static void print_time(json_int_t unix_ms)
{
	time_t s = (time_t)(unix_ms / 1000);
	char out[40] = "?";
	struct tm tm;

	if (localtime_r(&s, &tm))
		strftime(out, sizeof(out), "%Y-%m-%d %H:%M:%S", &tm);
	printf("%s.%03d", out, (int)(unix_ms % 1000));
}

static void print(struct cli *c, const json_t *o)
{
	json_t *acked = json_object_get(o, "acknowledged");

	if (c->json) { /* of a stream: one line each */
		json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
		putchar('\n');
		return;
	}
	print_time(json_integer_value(json_object_get(o, "unix_ms")));
	printf(" %-12s %-19s %s", text(o, "host"), text(o, "kind"), text(o, "text"));
	if (json_is_string(acked) && !*json_string_value(acked))
		printf(" (not acknowledged: twinvm events --ack %lld)",
		       (long long)json_integer_value(json_object_get(o, "id")));
	putchar('\n');
}

static void take(struct cli *c, struct wish *w, const json_t *msg)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(msg, "events"), i, o) {
		w->after_id = (uint64_t)json_integer_value(json_object_get(o, "id"));
		if (w->all)
			json_array_append(w->all, o);
		else
			print(c, o);
	}
	fflush(stdout);
}

static json_t *request(const struct wish *w, bool follow)
{
	json_t *o = json_pack("{ss sI sI}", "op", "events", "after_id", (json_int_t)w->after_id,
			      "since_ms", (json_int_t)w->since_ms);

	if (w->vm)
		json_object_set_new(o, "vm", json_string(w->vm));
	if (follow)
		json_object_set_new(o, "follow", json_true());
	return o;
}

/* All that are kept now. */
static int list(struct cli *c, struct wish *w)
{
	json_t *req, *last;
	bool more = true;
	int rc = EXIT_OK;

	while (!rc && more) {
		req = request(w, false);
		if (w->follow && !w->has_since && !w->after_id) {
			json_object_set_new(req, "newest", json_true());
			json_object_set_new(req, "limit", json_integer(LAST));
			more = false;
		}
		rc = cli_call(c, req, NULL, &last);
		if (rc)
			break;
		take(c, w, last);
		more = more && json_is_true(json_object_get(last, "more"));
		json_decref(last);
	}
	return rc;
}

/* Until the connection ends. */
static void stay(struct cli *c, struct wish *w)
{
	FILE *in = cli_open(c, request(w, true));
	json_t *msg;

	while (in && (msg = json_loadf(in, JSON_DISABLE_EOF_CHECK, NULL))) {
		take(c, w, msg);
		json_decref(msg);
	}
	if (in)
		fclose(in);
}

static int show(struct cli *c, struct wish *w)
{
	int rc;

	w->all = c->json && !w->follow ? json_array() : NULL;
	rc = list(c, w);
	if (!rc && w->all)
		cli_print(c, json_incref(w->all));
	json_decref(w->all);
	w->all = NULL;
	while (!rc && w->follow) { /* ended by a signal */
		stay(c, w);
		poll(NULL, 0, RECONNECT_MS);
	}
	return rc;
}

/* Who gives the command: behind sudo, who has called it. */
static const char *user(void)
{
	const char *name = getenv("SUDO_USER");
	struct passwd *p = name && *name ? NULL : getpwuid(getuid());

	return name && *name ? name : p ? p->pw_name : "";
}

static int acknowledge(struct cli *c, const char *id)
{
	char *rest;
	long long n;
	json_t *last;
	int rc;

	errno = 0;
	n = strtoll(id, &rest, 10);
	if (errno || *rest || n <= 0)
		return cli_usage(&cmd_events);
	rc = cli_call(c,
		      json_pack("{ss sI so}", "op", "events-ack", "id", (json_int_t)n, "by",
				json_string(user())),
		      NULL, &last);
	if (!rc && c->json)
		cli_print(c, json_pack("{sI sb}", "id", (json_int_t)n, "acknowledged", 1));
	else if (!rc)
		printf("event %lld is acknowledged\n", n);
	json_decref(last);
	return rc;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / TV_NS_PER_MS;
}

static int run(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {{"follow", no_argument, NULL, 'f'},
						{"since", required_argument, NULL, 's'},
						{"ack", required_argument, NULL, 'a'},
						CLI_COMMON_OPTIONS,
						{NULL, 0, NULL, 0}};
	struct wish w = {0};
	const char *ack = NULL;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "hf", options, NULL)) != -1) {
		if (opt == 'f') {
			w.follow = true;
		} else if (opt == 'a') {
			ack = optarg;
		} else if (opt == 's') {
			w.has_since = true;
			if (tv_when(optarg, now_ms(), &w.since_ms))
				return cli_fail(
					c, EXIT_USAGE,
					"--since '%.60s' is no time: 10m, 2h, today, 14:05, "
					"2026-11-26, 2026-11-26T14:05Z",
					optarg);
		} else {
			rc = cli_common_option(c, &cmd_events, opt);
			if (rc >= 0)
				return rc;
		}
	}
	if (optind < argc - 1 || (ack && (w.follow || w.has_since || optind < argc)))
		return cli_usage(&cmd_events);
	if (ack)
		return acknowledge(c, ack);
	w.vm = optind < argc ? argv[optind] : NULL;
	return show(c, &w);
}

const struct subcommand cmd_events = {
	"events",
	"[VM] [--follow] [--since TIME] | --ack ID",
	"what happened on this host, oldest first",
	"One line each: time, host, kind, what happened. The newest are kept, over restarts of twinvmd;\n"
	"docs/EVENTS.md has the kinds, and how many are kept.\n\n"
	"  VM            its name or id; all events of this host otherwise\n"
	"  -f, --follow  the last ten, or those since TIME, and then what happens, until it is stopped\n"
	"                (Ctrl-C); also while twinvmd restarts\n"
	"  --since TIME  10m (s, m, h, d, w) ago, today, yesterday, 14:05, 2026-11-26, 2026-11-26T14:05,\n"
	"                by the local clock unless a zone follows: 2026-11-26T14:05:30Z\n"
	"  --ack ID      a failover is acknowledged: it is marked, and nothing else changes\n"
	"  --json        an array of objects on stdout; with --follow one object a line\n",
	run,
};
