/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm drill: a planned switch there and back, with a report. */
#include "cli/cli.h"
#include "cli/top.h"

#include <getopt.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static double number(json_t *o, const char *a, const char *b)
{
	json_t *v = json_object_get(json_object_get(o, a), b);

	return json_is_number(v) ? json_number_value(v) : NAN;
}

static double figure(json_t *o, const char *name)
{
	json_t *v = json_object_get(o, name);

	return json_is_number(v) ? json_number_value(v) : NAN;
}

static const char *clean(json_t *o, const char *key, char *out, size_t room)
{
	const char *s = json_string_value(json_object_get(o, key));

	top_clean(out, room, s ? s : "", true);
	return out;
}

/* ---- for people ---- */
static void way(json_t *f, const char *title, const char *outage, const char *client, double took_s)
{
	double ms = number(f, outage, "outage_ms"), gap = number(f, client, "gap_ms");
	double apply =
		number(f, outage, "apply_ms"); /* of two clocks' readings: may be just below 0 */

	printf("  %-5s", title);
	if (!isnan(took_s))
		printf(" %.1f s", took_s);
	if (!isnan(ms))
		printf(", the VM stood still for %.0f ms (record %.0f, apply %.0f, load %.0f)", ms,
		       number(f, outage, "record_ms"), apply > 0 ? apply : 0,
		       number(f, outage, "load_ms"));
	if (!isnan(gap))
		printf(", no answer for %.0f ms", gap);
	putchar('\n');
}

static void lag(json_t *f, const char *name)
{
	if (json_object_get(f, name))
		printf("  %s: lag %.0f ms, pause %.1f ms (p99 %.1f, longest %.1f)\n", name,
		       number(f, name, "lag_ms"), number(f, name, "pause_p50_ms"),
		       number(f, name, "pause_p99_ms"), number(f, name, "pause_max_ms"));
}

static void show(json_t *r, const char *vm)
{
	json_t *f = json_object_get(r, "figures");
	char result[20], reason[700];

	printf("%s: the drill %s: %s\n", vm, clean(r, "result", result, sizeof(result)),
	       clean(r, "reason", reason, sizeof(reason)));
	way(f, "there", "out", "client_out", figure(f, "out_s"));
	way(f, "back", "back", "client_back", figure(f, "back_s"));
	lag(f, "before");
	lag(f, "after");
	if (!isnan(figure(f, "away_protected_s")))
		printf("  protected again after %.1f s there, %.1f s here\n",
		       figure(f, "away_protected_s"), figure(f, "again_protected_s"));
}

/* ---- for a CI ---- */
static void xml(FILE *f, const char *text)
{
	for (; *text; text++)
		if (strchr("<>&\"'", *text))
			fprintf(f, "&#%d;", *text);
		else
			fputc((unsigned char)*text < ' ' ? ' ' : *text, f);
}

static void testcase(FILE *f, const char *name, double seconds, bool passed, const char *why)
{
	fprintf(f, "  <testcase classname=\"twinvm.drill\" name=\"%s\" time=\"%.3f\">", name,
		isnan(seconds) ? 0 : seconds);
	if (!passed) {
		fputs("<failure message=\"", f);
		xml(f, why);
		fputs("\"/>", f);
	}
	fputs("</testcase>\n", f);
}

static int junit(struct cli *c, const char *path, json_t *r, const char *why)
{
	static const char *const steps[][2] = {{"switch there", "out_s"},
					       {"protected there", "away_protected_s"},
					       {"switch back", "back_s"},
					       {"protected here", "again_protected_s"}};
	json_t *figures = json_object_get(r, "figures");
	const char *result = json_string_value(json_object_get(r, "result"));
	bool passed = result && !strcmp(result, "passed");
	FILE *f = fopen(path, "w");

	if (!f)
		return cli_fail(c, EXIT_FAILED, "%s cannot be written", path);
	fprintf(f,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<testsuite name=\"twinvm drill\" tests=\"5\" failures=\"%d\">\n",
		!passed);
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++)
		if (json_object_get(figures, steps[i][1]))
			testcase(f, steps[i][0], figure(figures, steps[i][1]), true, "");
	testcase(f, "drill", figure(figures, "total_s"), passed, why);
	fputs("</testsuite>\n", f);
	return fclose(f) ? cli_fail(c, EXIT_FAILED, "%s cannot be written", path) : EXIT_OK;
}

static void progress(struct cli *c, json_t *msg)
{
	const char *s = json_string_value(json_object_get(msg, "state"));

	if (s && c->terminal && !c->json)
		printf("%s ...\n", s);
}

struct request {
	const char *vm, *junit;
	json_t *json;
};

static int ask(struct cli *c, struct request *q)
{
	json_t *last, *r;
	const char *error;
	int rc, failed = EXIT_OK;

	rc = cli_call(c, q->json, progress, &last);
	r = json_object_get(last, "rehearsal");
	error = json_string_value(json_object_get(last, "error"));
	if (q->junit && last)
		failed = junit(c, q->junit, r, error ? error : "");
	if (r && c->json && !rc)
		cli_print(c, json_incref(r));
	else if (r && !c->json)
		show(r, q->vm);
	json_decref(last);
	return rc ? rc : failed;
}

static int run(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {{"ping", required_argument, NULL, 'p'},
						{"note", required_argument, NULL, 'n'},
						{"junit", required_argument, NULL, 'u'},
						CLI_COMMON_OPTIONS,
						{NULL, 0, NULL, 0}};
	struct request q = {.json = json_pack("{ss}", "op", "drill")};
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (opt == 'u') {
			q.junit = optarg;
		} else if (opt == 'p' || opt == 'n') {
			json_object_set_new(q.json, opt == 'p' ? "ping" : "note",
					    json_string(optarg));
		} else {
			rc = cli_common_option(c, &cmd_drill, opt);
			if (rc >= 0) {
				json_decref(q.json);
				return rc;
			}
		}
	}
	if (optind != argc - 1) {
		json_decref(q.json);
		return cli_usage(&cmd_drill);
	}
	setlocale(LC_CTYPE, "");
	q.vm = argv[optind];
	json_object_set_new(q.json, "vm", json_string(q.vm));
	return ask(c, &q);
}

const struct subcommand cmd_drill = {
	"drill",
	"VM [--ping ADDRESS] [--note TEXT] [--junit FILE]",
	"a planned switch to the backup and back, with a report",
	"On either host of the VM. The VM changes hosts, is protected there by the one that ran it, comes\n"
	"back, and is protected again. Nothing is lost; a client sees two short gaps. twinvmd carries\n"
	"the drill out: it continues when this command ends. Refused (3) unless the backup is ready, the\n"
	"way back is open, no hardware is red, and nothing else is rehearsed with the VM. If it cannot\n"
	"come back, the report has what to do (docs/REHEARSAL.md).\n\n"
	"  VM              its name or id\n"
	"  --ping ADDRESS  the VM's IPv4 address, which is probed from its host's bridge meanwhile:\n"
	"                  the report has how long it did not answer, each way\n"
	"  --note TEXT     kept with the result\n"
	"  --junit FILE    writes the result for a CI\n"
	"  --json          one JSON object on stdout\n",
	run,
};
