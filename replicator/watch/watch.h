/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * watch: the process that asks other hosts what they know, once a second, and passes it to its
 * twinvmd. One per host, started by the daemon, without rights. And the process that passes one command of an
 * operator on to another host. The door of this room; the messages between a process and its daemon are in
 * watch.c and command.c.
 */
#ifndef REPLICATOR_WATCH_WATCH_H
#define REPLICATOR_WATCH_WATCH_H

#include "common/common.h"

#include <jansson.h>

#define WATCH_MAX_BYTES (192u << 10)
#define WATCH_MAX_VMS 512

/* Runs until the daemon closes its end of fd. Returns the process's exit status. */
int watch_main(const char *job_text, int fd);

/* For one command; the same. */
int watch_command_main(const char *job_text, int fd);

#define WATCH_MAX_COMMAND_BYTES (16u << 10)
#define WATCH_MAX_REPLY_BYTES (224u << 10)

/*
 * What host `name` says it knows, n bytes that may be anything. 0: *out is a tree of bounded size and
 * depth, the caller's, whose texts have no control characters; it is that host's, and each of its VMs
 * has an id and a name. What its other fields mean is not looked at. TV_E_PROTOCOL with a sentence.
 */
int watch_check(const char *name, const void *p, size_t n, json_t **out,
		struct tv_err *e) TV_MUST_CHECK;
/*
 * A line that host `name` answers to a command: the same limits, but for texts that are called `output`: these
 * may have more bytes and control characters, as what programs have printed.
 */
int watch_check_reply(const char *name, const void *p, size_t n, json_t **out,
		      struct tv_err *e) TV_MUST_CHECK;

#endif
