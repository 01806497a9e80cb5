/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm: which subcommand runs, and the options before it. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/twinvm/twinvmd.sock"

static const struct subcommand *const commands[] = {
	&cmd_protect, &cmd_unprotect,	&cmd_status, &cmd_failover, &cmd_suspend,
	&cmd_resume,  &cmd_events,	&cmd_doctor, &cmd_top,	    &cmd_trace,
	&cmd_health,  &cmd_ready,	&cmd_verify, &cmd_snapshot, &cmd_test_failover,
	&cmd_drill,   &cmd_maintenance, &cmd_cluster};
#define COMMANDS (sizeof(commands) / sizeof(*commands))

static void help(FILE *f)
{
	int width = 0;

	fputs("usage: twinvm [--socket PATH] COMMAND [ARGUMENTS] [--json] [--help]\n"
	      "Keeps a second, ready copy of a running QEMU VM on another host.\n\n",
	      f);
	for (size_t i = 0; i < COMMANDS; i++)
		if ((int)strlen(commands[i]->name) > width)
			width = (int)strlen(commands[i]->name);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(f, "  %-*s  %s\n", width, commands[i]->name, commands[i]->summary);
	fputs("\n  --socket PATH  of twinvmd (default " DEFAULT_SOCKET ", or $TWINVM_SOCKET)\n"
	      "\nExit status: 0 done, 1 failed, 2 wrong usage, 3 refused to keep the data safe.\n"
	      "'twinvm COMMAND --help' describes a command.\n",
	      f);
}

int main(int argc, char **argv)
{
	struct cli c = {.socket = getenv("TWINVM_SOCKET"), .terminal = isatty(STDOUT_FILENO)};
	int at = 1;

	if (!c.socket || !*c.socket)
		c.socket = DEFAULT_SOCKET;
	while (at < argc && argv[at][0] == '-') {
		if (!strcmp(argv[at], "--help") || !strcmp(argv[at], "-h")) {
			help(stdout);
			return EXIT_OK;
		}
		if (!strcmp(argv[at], "--json")) {
			c.json = true;
			at++;
		} else if (!strcmp(argv[at], "--socket") && at + 1 < argc) {
			c.socket = argv[at + 1];
			at += 2;
		} else if (!strncmp(argv[at], "--socket=", 9)) {
			c.socket = argv[at++] + 9;
		} else {
			break;
		}
	}
	for (size_t i = 0; at < argc && i < COMMANDS; i++)
		if (!strcmp(argv[at], commands[i]->name))
			return commands[i]->run(&c, argc - at, argv + at);
	if (at < argc)
		fprintf(stderr, "twinvm: unknown command '%s'\n", argv[at]);
	help(stderr);
	return EXIT_USAGE;
}
