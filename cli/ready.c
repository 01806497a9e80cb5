/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm ready, and twinvm test-failover --check: the list of what a failover needs, with a verdict each. */
#include "cli/cli.h"
#include "cli/top.h"

#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

static const char *text(json_t *o, const char *key, char *out, size_t room)
{
	const char *s = json_string_value(json_object_get(o, key));

	top_clean(out, room, s ? s : "", true);
	return out;
}

static void show(json_t *ready, const char *vm)
{
	char host[200], name[40], verdict[20], why[700];
	json_t *check;
	size_t i;

	printf("%s, by %s:\n", vm, text(ready, "host", host, sizeof(host)));
	json_array_foreach(json_object_get(ready, "checks"), i, check)
		printf("  %-9s %-8s %s\n", text(check, "name", name, sizeof(name)),
		       text(check, "verdict", verdict, sizeof(verdict)),
		       text(check, "text", why, sizeof(why)));
	if (json_is_true(json_object_get(ready, "ready")))
		puts("ready to fail over: yes");
	else
		printf("ready to fail over: no: %s\n", text(ready, "why", why, sizeof(why)));
}

int cli_ready(struct cli *c, const char *vm)
{
	json_t *last, *ready;
	bool yes;
	int rc = cli_call(c, json_pack("{ss ss}", "op", "ready", "vm", vm), NULL, &last);

	if (rc) {
		json_decref(last);
		return rc;
	}
	setlocale(LC_CTYPE, "");
	ready = json_object_get(last, "ready");
	yes = json_is_true(json_object_get(ready, "ready"));
	if (c->json)
		cli_print(c, json_incref(ready));
	else
		show(ready, vm);
	json_decref(last);
	return yes ? EXIT_OK : EXIT_FAILED;
}

static int run(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {CLI_COMMON_OPTIONS, {NULL, 0, NULL, 0}};
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		rc = cli_common_option(c, &cmd_ready, opt);
		if (rc >= 0)
			return rc;
	}
	if (optind != argc - 1)
		return cli_usage(&cmd_ready);
	return cli_ready(c, argv[optind]);
}

const struct subcommand cmd_ready = {
	"ready",
	"VM",
	"would a failover of a VM succeed now? A list of checks, without side effects",
	"On either host of the VM. The backup looks at everything now, fence_command --check included\n"
	"if its fence_check = yes. One that takes no commands: what it has reported last.\n"
	"Exit status 0: nothing stands against it; 1: something does (docs/REHEARSAL.md).\n\n"
	"  VM      its name or id\n"
	"  --json  one JSON object on stdout\n",
	run,
};
