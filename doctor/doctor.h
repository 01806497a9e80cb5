/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * doctor: what is wrong with this host, and what lies on it that no VM of twinvm needs any more.
 * Looks only: whatever it finds is removed by an operator, by the command that stands beside it.
 * For the command line, as root: everything here may block, on a file system or on the network.
 */
#ifndef DOCTOR_DOCTOR_H
#define DOCTOR_DOCTOR_H

#include "common/common.h"
#include <jansson.h>

struct doctor {
	const char *config; /* the file, where twinvmd does not run */
	const char *peer;   /* looks at this one only; NULL: at all that have an address */
	/* twinvmd's answer to `doctor` as it is now, the caller's; NULL: it does not run. */
	json_t *(*ask)(void *arg);
	void *arg;
};

/*
 * An object, the caller's; NULL: no memory.
 *   host, config: text
 *   checks: [{name, level: "ok" | "warning" | "problem", text}]
 *   warnings, problems: how many of each
 *   left: [{kind, path, vm, bytes, since, text, remove}], what no VM of twinvm needs: vm is the id
 *         in its name; since is the time of its last change, or null; remove is a shell command
 *   in_use: the same with pid and command, of a process that uses it, and no remove
 * Without twinvmd it is not known what is left: then both lists are empty, and a check reports it.
 */
json_t *doctor_examine(const struct doctor *d);

#endif
