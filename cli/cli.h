/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm, the command: what its subcommands share (request.c). Private to cli/. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "common/common.h"
#include <jansson.h>
#include <stdio.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_REFUSED = 3 };

struct cli {
	const char *socket; /* of twinvmd */
	bool json;
	bool terminal; /* stdout is one: progress may be drawn */
};
struct subcommand {
	const char *name, *args, *summary, *help;
	int (*run)(struct cli *c, int argc, char **argv);
};
extern const struct subcommand cmd_protect, cmd_unprotect, cmd_status, cmd_failover, cmd_suspend,
	cmd_resume, cmd_doctor, cmd_events, cmd_top, cmd_trace, cmd_health, cmd_ready, cmd_verify,
	cmd_snapshot, cmd_test_failover, cmd_drill, cmd_maintenance, cmd_cluster;
/* (ready.c) `twinvm ready VM`, and `test-failover VM --check`: prints the list; an exit status. */
int cli_ready(struct cli *c, const char *vm);

/*
 * Sends request (stolen) to twinvmd and reads answers until the last one, calling progress (may be
 * NULL) for those before, and with NULL before an error is printed. *last is the caller's. Returns
 * an exit status; a failure was reported by cli_fail.
 */
int cli_call(struct cli *c, json_t *request, void (*progress)(struct cli *c, json_t *msg),
	     json_t **last);
/* The same for a request with one answer that brings a descriptor: *fd is the caller's. */
int cli_call_fd(struct cli *c, json_t *request, int *fd);
/* One request with one answer, where a daemon that does not run is no failure: NULL then, or when
 * the daemon refuses. Prints nothing. */
json_t *cli_ask(struct cli *c, json_t *request);
/* A connection to twinvmd; flags of socket(2), 0 or SOCK_NONBLOCK. -errno. */
int cli_connect(const char *socket_path, int flags);
/* Sends request (stolen): what the daemon answers is to be read from the stream, one JSON value after the
 * other (JSON_DISABLE_EOF_CHECK), until it ends. NULL: the daemon does not run; nothing is printed. */
FILE *cli_open(struct cli *c, json_t *request);
/* "twinvm: sentence" on stderr, or the JSON object {"error": ..} with --json; returns status. */
int cli_fail(struct cli *c, int status, const char *fmt, ...) TV_PRINTF(3, 4);
/* Wrong usage of a subcommand. */
int cli_usage(const struct subcommand *cmd);
/* Prints j with --json (stolen). */
void cli_print(struct cli *c, json_t *j);
/* Handles --json and --help anywhere among a subcommand's arguments. opt is what getopt_long
 * returned. Returns -1 to continue, else the exit status. */
int cli_common_option(struct cli *c, const struct subcommand *cmd, int opt);
#define CLI_COMMON_OPTIONS                     \
	{"json", no_argument, NULL, 'J'},      \
	{                                      \
		"help", no_argument, NULL, 'h' \
	}

#endif
