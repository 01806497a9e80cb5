/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A test failover's report as text. What a probe printed is a guest's word, as any text of another host:
 * control characters reach neither a terminal nor a file of XML, which cannot hold them.
 */
#include "cli/test_report.h"

#include "common/common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* 0 when it is not there. */
static double number_of(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static bool is_shown(unsigned char c)
{
	return c >= ' ' && c != 0x7f;
}

/* ---- for people ---- */
#define SHOWN_BYTES 400 /* the rest is in --json */

static void put_clean(FILE *out, const char *s)
{
	size_t n = strlen(s), i, shown = n < SHOWN_BYTES ? n : SHOWN_BYTES;

	while (shown < n && ((unsigned char)s[shown] & 0xc0) == 0x80)
		shown--; /* not in the middle of a letter */
	for (i = 0; i < shown; i++)
		fputc(s[i] == '\n' && s[i + 1]	      ? '|'
		      : is_shown((unsigned char)s[i]) ? s[i]
						      : ' ',
		      out);
	if (shown < n)
		fputs("...", out);
}

static void put_ms(FILE *out, const json_t *report, const char *key, const char *what)
{
	double ms = number_of(report, key);

	if (ms > 0)
		fprintf(out, "  %-22s %.0f ms\n", what, ms);
}

static void put_lag(FILE *out, const json_t *lag)
{
	static const char *const keys[] = {"before", "while", "after"};

	fprintf(out, "  %-22s", "lag of the VM");
	for (unsigned i = 0; i < 3; i++) {
		json_t *v = json_object_get(lag, keys[i]);

		if (json_is_number(v))
			fprintf(out, " %s %.0f ms", keys[i], json_number_value(v));
		else
			fprintf(out, " %s unknown", keys[i]);
	}
	fputc('\n', out);
}

static void put_probes(FILE *out, const json_t *probes)
{
	json_t *p;
	size_t i;

	json_array_foreach(probes, i, p) {
		fprintf(out, "  %s ",
			json_is_true(json_object_get(p, "passed")) ? "ok    " : "FAILED");
		put_clean(out, text_of(p, "probe"));
		fprintf(out, " (%.0f ms)", number_of(p, "ms"));
		if (*text_of(p, "output")) {
			fputs(": ", out);
			put_clean(out, text_of(p, "output"));
		}
		fputc('\n', out);
	}
}

static void put_left(FILE *out, const json_t *left)
{
	json_t *v;
	size_t i;

	if (!json_is_array(left))
		return;
	fprintf(out, "  %-22s %s\n", "left on the host",
		json_array_size(left) ? "" : "nothing, looked up");
	json_array_foreach(left, i, v) {
		fputs("    ", out);
		put_clean(out, json_string_value(v) ? json_string_value(v) : "");
		fputc('\n', out);
	}
}

char *test_report_text(const json_t *report)
{
	json_t *failover = json_object_get(report, "failover");
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		return NULL;
	put_clean(out, text_of(report, "vm"));
	fprintf(out, ": test failover on %s %s", text_of(report, "host"),
		text_of(report, "result"));
	if (number_of(report, "epoch") > 0)
		fprintf(out, ", epoch %.0f", number_of(report, "epoch"));
	fputc('\n', out);
	put_ms(out, report, "copied_ms", "memory copied after");
	put_ms(out, report, "running_ms", "running after");
	put_ms(out, report, "answer_ms", "first answer after");
	if (*text_of(report, "guest"))
		fprintf(out, "  %-22s %s\n", "guest's address", text_of(report, "guest"));
	put_lag(out, json_object_get(report, "lag_ms"));
	put_probes(out, json_object_get(report, "probes"));
	if (failover)
		fprintf(out, "  %-22s outage %.0f ms (load %.0f ms) at %s\n", "last real failover",
			number_of(failover, "outage_ms"), number_of(failover, "load_ms"),
			text_of(failover, "time"));
	put_left(out, json_object_get(report, "left"));
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---- JUnit ---- */
static void put_xml(FILE *out, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '&' || c == '<' || c == '>' || c == '"')
			fprintf(out, "&#%d;", c);
		else
			fputc(is_shown(c) || c == '\n' ? c : ' ', out);
	}
}

static void put_case(FILE *out, const char *name, double ms, bool passed, const char *why,
		     const char *output)
{
	fputs("  <testcase classname=\"twinvm.test-failover\" name=\"", out);
	put_xml(out, name);
	fprintf(out, "\" time=\"%.3f\">\n", ms / 1e3);
	if (!passed) {
		fputs("    <failure message=\"", out);
		put_xml(out, why);
		fputs("\"/>\n", out);
	}
	if (*output) {
		fputs("    <system-out>", out);
		put_xml(out, output);
		fputs("</system-out>\n", out);
	}
	fputs("  </testcase>\n", out);
}

/* Two cases beside the probes: it runs, and nothing of it is left. */
char *test_report_junit(const json_t *report)
{
	json_t *p, *left = json_object_get(report, "left"),
		   *probes = json_object_get(report, "probes");
	bool runs = number_of(report, "running_ms") > 0, clean = !json_array_size(left);
	unsigned failures = !runs + !clean;
	char *text = NULL;
	size_t bytes, i;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		return NULL;
	json_array_foreach(probes, i, p)
		failures += !json_is_true(json_object_get(p, "passed"));
	fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"twinvm test-failover ",
	      out);
	put_xml(out, text_of(report, "vm"));
	fprintf(out, "\" tests=\"%zu\" failures=\"%u\">\n", json_array_size(probes) + 2, failures);
	put_case(out, "running", number_of(report, "running_ms"), runs, text_of(report, "reason"),
		 "");
	json_array_foreach(probes, i, p)
		put_case(out, text_of(p, "probe"), number_of(p, "ms"),
			 json_is_true(json_object_get(p, "passed")), "the probe failed",
			 text_of(p, "output"));
	put_case(out, "nothing left", 0, clean, "something is left on the host", "");
	fputs("</testsuite>\n", out);
	if (fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}
