/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_MB_S 100.0

static bool drawn;

static void progress(struct cli *c, json_t *msg)
{
	if (!c->terminal || c->json)
		return;
	if (msg)
		printf("\rcomparing %3.0f %%",
		       100 * json_number_value(json_object_get(msg, "progress")));
	else if (drawn)
		putchar('\n');
	drawn = msg != NULL;
	fflush(stdout);
}

static json_int_t number(json_t *r, const char *key)
{
	return json_integer_value(json_object_get(r, key));
}

static const char *text(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void print_found(json_t *found)
{
	json_t *f;
	size_t i;

	json_array_foreach(found, i, f) {
		if (json_object_get(f, "page"))
			printf("  page %lld of %s", (long long)number(f, "page"), text(f, "block"));
		else if (json_object_get(f, "disk"))
			printf("  disk %s, offset %lld", text(f, "disk"),
			       (long long)number(f, "offset"));
		else
			printf("  device state, %s", text(f, "section"));
		printf(", epoch %lld%s\n", (long long)number(f, "epoch"),
		       json_is_true(json_object_get(f, "repaired")) ? ": sent again" : "");
	}
}

static void print(const char *vm, json_t *r)
{
	printf("%s%s: %lld pages, %lld differ; %lld blocks of disks, %lld differ; %lld parts of the "
	       "device state, %lld differ; epochs %lld to %lld, %.1f s\n",
	       drawn ? "\n" : "", vm, (long long)number(r, "pages"),
	       (long long)number(r, "mismatched_pages"), (long long)number(r, "blocks"),
	       (long long)number(r, "mismatched_blocks"), (long long)number(r, "parts"),
	       (long long)number(r, "mismatched_parts"), (long long)number(r, "first_epoch"),
	       (long long)number(r, "last_epoch"),
	       json_number_value(json_object_get(r, "seconds")));
	if (number(r, "busy_blocks"))
		printf("  %lld blocks of disks could not be compared: the guest wrote to them all the "
		       "time\n",
		       (long long)number(r, "busy_blocks"));
	print_found(json_object_get(r, "found"));
}

static int report(struct cli *c, const char *vm, json_t *last, int rc)
{
	json_t *r = json_object_get(last, "report");
	bool same = json_is_true(json_object_get(last, "same"));

	if (rc || !r)
		return rc;
	if (c->json) {
		json_object_set_new(r, "vm", json_string(vm));
		cli_print(c, json_incref(r));
	} else {
		print(vm, r);
	}
	if (!same)
		fprintf(stderr,
			"twinvm: the backup differs from %s: '--repair' sends again what "
			"differs\n",
			vm);
	return same ? EXIT_OK : EXIT_FAILED;
}

static int run(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {{"rate", required_argument, NULL, 'r'},
						{"repair", no_argument, NULL, 'p'},
						CLI_COMMON_OPTIONS,
						{NULL, 0, NULL, 0}};
	double rate = DEFAULT_MB_S;
	bool repair = false;
	char *rest;
	json_t *last;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (opt == 'r') {
			rate = strtod(optarg, &rest);
			if (*rest || rest == optarg || !(rate > 0 && rate < 1e6))
				return cli_usage(&cmd_verify);
		} else if (opt == 'p') {
			repair = true;
		} else {
			rc = cli_common_option(c, &cmd_verify, opt);
			if (rc >= 0)
				return rc;
		}
	}
	if (optind != argc - 1)
		return cli_usage(&cmd_verify);
	rc = cli_call(c,
		      json_pack("{ss ss sf sb}", "op", "verify", "vm", argv[optind], "rate_mb_s",
				rate, "repair", repair),
		      progress, &last);
	rc = report(c, argv[optind], last, rc);
	json_decref(last);
	return rc;
}

const struct subcommand cmd_verify = {
	"verify",
	"VM [--rate MB/S] [--repair]",
	"compare a VM with its backup, page by page and block by block",
	"On either host of the VM. While it runs, each page of its memory, each block of its disks\n"
	"and each part of its device state is compared, at the end of an epoch, with what the backup has\n"
	"in its memory and its images. What differs is named. Exit status 1: something differs, and was\n"
	"not sent again.\n\n"
	"  VM        its name or id\n"
	"  --rate    how much is compared each second at most, in MB; 100 by default\n"
	"  --repair  send again what differs, and compare it once more\n"
	"  --json    one JSON object on stdout: docs/REHEARSAL.md\n",
	run,
};
