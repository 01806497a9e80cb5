/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/cli.h"
#include "doctor/doctor.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static json_t *ask_daemon(void *arg)
{
	return cli_ask(arg, json_pack("{ss}", "op", "doctor"));
}

static const char *text(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void print_item(json_t *o)
{
	printf("  %8.1f MiB  %-20s  %s\n", json_number_value(json_object_get(o, "bytes")) / 1048576,
	       text(o, "since"), text(o, "path"));
	printf("                %s\n", text(o, "text"));
	if (*text(o, "remove"))
		printf("                %s\n", text(o, "remove"));
	else if (json_is_integer(json_object_get(o, "pid")))
		printf("                in use by pid %.0f (%s)\n",
		       json_number_value(json_object_get(o, "pid")), text(o, "command"));
}

static void print_list(json_t *list, const char *title)
{
	json_t *o;
	size_t i;

	if (json_array_size(list))
		printf("%s\n", title);
	json_array_foreach(list, i, o)
		print_item(o);
}

static void print(json_t *found)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(found, "checks"), i, o)
		printf("%-8s %-14s %s\n", text(o, "level"), text(o, "name"), text(o, "text"));
	print_list(
		json_object_get(found, "left"),
		"left here, and of no VM that twinvm protects; remove it when it is not wanted:");
	print_list(json_object_get(found, "in_use"),
		   "not of a VM that twinvm protects, and in use:");
}

static int run(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {{"peer", required_argument, NULL, 'p'},
						{"config", required_argument, NULL, 'c'},
						CLI_COMMON_OPTIONS,
						{NULL, 0, NULL, 0}};
	struct doctor d = {.config = "/etc/twinvm/twinvmd.conf", .ask = ask_daemon, .arg = c};
	json_t *found;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (opt == 'p') {
			d.peer = optarg;
		} else if (opt == 'c') {
			d.config = optarg;
		} else {
			rc = cli_common_option(c, &cmd_doctor, opt);
			if (rc >= 0)
				return rc;
		}
	}
	if (optind < argc)
		return cli_usage(&cmd_doctor);
	found = doctor_examine(&d);
	if (c->json) {
		cli_print(c, found);
		return EXIT_OK;
	}
	print(found);
	json_decref(found);
	return EXIT_OK;
}

const struct subcommand cmd_doctor = {
	"doctor",
	"[--peer HOST] [--config FILE]",
	"what is wrong with this host, and what is left on it",
	"Checks the configuration and what it names: certificates, folders, users, the bridge, the\n"
	"arbiter, the peers; the kernel and how output can be held. Lists what lies on this host and\n"
	"belongs to no VM that twinvm protects, with its size, the time of its last change, and the\n"
	"command with which it is removed. Removes nothing itself. Run it as root.\n\n"
	"  --peer HOST    look at this peer only: of the configuration, or HOST:PORT\n"
	"  --config FILE  where twinvmd does not run (default /etc/twinvm/twinvmd.conf)\n"
	"  --json         one JSON object on stdout: checks, left, in_use, warnings, problems\n",
	run,
};
