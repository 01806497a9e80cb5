/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/cli.h"
#include "cli/test_report.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

struct wish {
	json_t *request;
	const char *junit; /* file; NULL: none */
	bool stop, check;
};

/* The daemon checks ranges; what is no number is 0 there. */
static json_t *number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	return json_integer(*text && !*end ? n : 0);
}

static void draw(struct cli *c, json_t *msg)
{
	const char *state = json_string_value(json_object_get(msg, "state"));
	double share = json_number_value(json_object_get(msg, "progress"));

	if (!c->terminal)
		return;
	if (!msg)
		fputs("\r\033[K", stderr);
	else
		fprintf(stderr, "\r\033[K%s %3.0f %%", state ? state : "", share * 100);
}

/* False: no such option, or it is common to all (then *status is set). */
static int take(struct cli *c, int argc, char **argv, struct wish *w)
{
	static const struct option options[] = {{"probe", required_argument, NULL, 'p'},
						{"probe-timeout", required_argument, NULL, 't'},
						{"for", required_argument, NULL, 'f'},
						{"guest", required_argument, NULL, 'g'},
						{"address", required_argument, NULL, 'a'},
						{"disk-mib", required_argument, NULL, 'd'},
						{"note", required_argument, NULL, 'n'},
						{"junit", required_argument, NULL, 'u'},
						{"keep", no_argument, NULL, 'k'},
						{"stop", no_argument, NULL, 's'},
						{"check", no_argument, NULL, 'c'},
						CLI_COMMON_OPTIONS,
						{NULL, 0, NULL, 0}};
	static const struct {
		int opt;
		const char *key;
		bool is_number;
	} keys[] = {{'t', "probe_s", true}, {'f', "for_s", true},    {'d', "disk_mib", true},
		    {'g', "guest", false},  {'a', "address", false}, {'n', "note", false}};
	json_t *probes = json_array();
	int opt, rc;

	json_object_set_new(w->request, "probes", probes);
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		size_t i = 0;

		while (i < sizeof(keys) / sizeof(*keys) && keys[i].opt != opt)
			i++;
		if (i < sizeof(keys) / sizeof(*keys))
			json_object_set_new(w->request, keys[i].key,
					    keys[i].is_number ? number(optarg)
							      : json_string(optarg));
		else if (opt == 'p')
			json_array_append_new(probes, json_string(optarg));
		else if (opt == 'u')
			w->junit = optarg;
		else if (opt == 'k')
			json_object_set_new(w->request, "keep", json_true());
		else if (opt == 's')
			w->stop = true;
		else if (opt == 'c')
			w->check = true;
		else if ((rc = cli_common_option(c, &cmd_test_failover, opt)) >= 0)
			return rc;
	}
	json_object_set_new(w->request, "stop", json_boolean(w->stop));
	return -1;
}

static int write_junit(struct cli *c, const char *path, const json_t *report)
{
	TV_FREE char *text = test_report_junit(report);
	int rc = text ? tv_write_file(path, text, strlen(text)) : -ENOMEM;

	return rc ? cli_fail(c, EXIT_FAILED, "cannot write %s: %s", path, tv_strerror(rc))
		  : EXIT_OK;
}

static int show(struct cli *c, const struct wish *w, json_t *report)
{
	const char *result = json_string_value(json_object_get(report, "result"));
	bool passed = json_is_true(json_object_get(report, "passed"));
	int rc = w->junit ? write_junit(c, w->junit, report) : EXIT_OK;

	if (rc)
		return rc;
	if (c->json) {
		cli_print(c, json_incref(report));
	} else {
		TV_FREE char *text = test_report_text(report);

		fputs(text ? text : "", stdout);
	}
	if (passed || w->stop)
		return EXIT_OK;
	fprintf(stderr, "twinvm: the test failover of %s on %s %s: %s\n",
		json_string_value(json_object_get(report, "vm")),
		json_string_value(json_object_get(report, "host")),
		result && !strcmp(result, "refused")	 ? "was refused"
		: result && !strcmp(result, "cut short") ? "was cut short"
							 : "failed",
		json_string_value(json_object_get(report, "reason")));
	return result && !strcmp(result, "refused") ? EXIT_REFUSED : EXIT_FAILED;
}

static int run(struct cli *c, int argc, char **argv)
{
	struct wish w = {.request = json_pack("{ss}", "op", "test-failover")};
	json_t *last = NULL, *report;
	int rc = take(c, argc, argv, &w);

	if (rc < 0 && optind != argc - 1)
		rc = cli_usage(&cmd_test_failover);
	if (rc < 0 && w.check)
		rc = cli_ready(c, argv[optind]);
	if (rc >= 0) {
		json_decref(w.request);
		return rc;
	}
	json_object_set_new(w.request, "vm", json_string(argv[optind]));
	rc = cli_call(c, w.request, draw, &last);
	report = json_object_get(last, "report");
	if (!rc && report)
		rc = show(c, &w, report);
	json_decref(last);
	return rc;
}

const struct subcommand cmd_test_failover = {
	"test-failover",
	"VM [--probe CMD]... [--probe-timeout S] [--for S] [--keep] [--note TEXT] [--stop] [--json | "
	"--junit FILE]",
	"start an isolated copy of a VM on its backup, and try it",
	"On either host of the VM. A copy of the last committed epoch runs on its backup, with the memory, devices and\n"
	"disks that a failover would have, in a network of its own from which nothing gets out. The VM\n"
	"runs on and stays protected; a failover ends the test at once. What the copy writes is\n"
	"discarded with it.\n\n"
	"  VM                 its name or id\n"
	"  --probe CMD        a command, run by sh as root inside of the copy's network; its exit status\n"
	"                     counts. TWINVM_GUEST is the guest's address. Or one of tcp:PORT,\n"
	"                     http:http://HOST[:PORT]/PATH, redis[:PORT], agent, screen, or named:NAME, which\n"
	"                     is probe.NAME of the backup's configuration; from the host that runs the VM only\n"
	"                     these. Up to 16, in order\n"
	"  --probe-timeout S  for each probe (30)\n"
	"  --for S            the copy is removed after that at the latest (300; at most 3600)\n"
	"  --keep             it is not removed after the probes, but when --for is over, or by --stop\n"
	"  --note TEXT        for the history\n"
	"  --guest ADDRESS    the guest's IPv4 address, if it does not show it by itself\n"
	"  --address ADDRESS  where probes come from (one beside the guest's)\n"
	"  --disk-mib N       the copy may write so much to its disks (8192)\n"
	"  --stop             ends the test that runs\n"
	"  --check            starts nothing: only whether a failover would be decided (twinvm ready)\n"
	"  --json             one JSON object on stdout\n"
	"  --junit FILE       the report for programs that read JUnit's format\n",
	run,
};
