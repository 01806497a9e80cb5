/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void progress(struct cli *c, json_t *msg)
{
	const char *warning = json_string_value(json_object_get(msg, "warning"));
	static bool drawn;
	double part;

	if (warning)
		fprintf(stderr, "twinvm: warning: %s\n", warning);
	if (!c->terminal || c->json)
		return;
	if (!msg) { /* an error's line follows */
		if (drawn)
			putchar('\n');
		return;
	}
	part = json_number_value(json_object_get(msg, "progress"));
	printf("\r%-8s [", json_string_value(json_object_get(msg, "state")));
	for (int i = 0; i < 40; i++)
		putchar(i < (int)(part * 40) ? '#' : '.');
	printf("] %3.0f %%", part * 100);
	fflush(stdout);
	drawn = true;
}

static int run(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {{"to", required_argument, NULL, 't'},
						{"mode", required_argument, NULL, 'm'},
						{"epoch", required_argument, NULL, 'e'},
						{"arbiter", required_argument, NULL, 'a'},
						CLI_COMMON_OPTIONS,
						{NULL, 0, NULL, 0}};
	const char *to = NULL, *mode = NULL, *arbiter = NULL;
	json_t *req, *last, *vm;
	long epoch = 0;
	char *rest;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (opt == 't') {
			to = optarg;
		} else if (opt == 'm') {
			mode = optarg;
			if (strcmp(mode, "adaptive") != 0 && strcmp(mode, "remus") != 0 &&
			    strcmp(mode, "kemari") != 0)
				return cli_usage(&cmd_protect);
		} else if (opt == 'e') {
			epoch = strtol(optarg, &rest, 10);
			if (*rest || epoch < 1 || epoch > 60000)
				return cli_usage(&cmd_protect);
		} else if (opt == 'a') {
			arbiter = optarg;
		} else {
			rc = cli_common_option(c, &cmd_protect, opt);
			if (rc >= 0)
				return rc;
		}
	}
	if (optind != argc - 1)
		return cli_usage(&cmd_protect);
	req = json_pack("{ss ss}", "op", "protect", "vm", argv[optind]);
	if (to)
		json_object_set_new(req, "to", json_string(to));
	if (mode)
		json_object_set_new(req, "mode", json_string(mode));
	if (arbiter)
		json_object_set_new(req, "arbiter", json_string(arbiter));
	if (epoch)
		json_object_set_new(req, "epoch_ms", json_integer(epoch));
	rc = cli_call(c, req, progress, &last);
	if (!rc) {
		vm = json_object_get(last, "vm");
		if (c->json)
			cli_print(c, json_incref(vm));
		else
			printf("%s%s is protected by %s\n", c->terminal ? "\n" : "",
			       json_string_value(json_object_get(vm, "name")),
			       json_string_value(json_object_get(vm, "peer")));
	}
	json_decref(last);
	return rc;
}

const struct subcommand cmd_protect = {
	"protect",
	"VM [--to HOST] [--mode adaptive|remus|kemari] [--epoch MS] [--arbiter URL]",
	"protect a running VM: copy it to HOST and keep the copy ready",
	"Checks the VM and reports everything that prevents its protection; then copies the VM while it\n"
	"runs, and returns when it is protected.\n\n"
	"  VM             its name (-name), pid, or the path of its QMP socket\n"
	"  --to HOST      a peer of twinvmd's configuration, or HOST:PORT (default: backup in the\n"
	"                 configuration's section [vm VM], else the only peer)\n"
	"  --mode MODE    when checkpoints are made: remus (every epoch), kemari (as soon as the VM\n"
	"                 sends something), adaptive (as soon as it waits for its answer to leave; while\n"
	"                 it is busy, within a pause budget; the default)\n"
	"  --epoch MS     length of an epoch (default from the configuration)\n"
	"  --arbiter URL  what decides which host runs the VM: etcd://HOST:PORT,HOST:PORT,... (a\n"
	"                 cluster; etcds:// with TLS), file:///DIRECTORY (which both hosts share), or\n"
	"                 none: only the operator promotes the backup (twinvm failover --force)\n"
	"  --json         one JSON object on stdout\n",
	run,
};
