/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A rehearsal is ordered on either host of a VM: the one that cannot carry it out passes it on to the other
 * (docs/SECURITY.md has what follows from that). The asking side is pass_on.c with a process of its own
 * (replicator/watch/command.c), the other one passed.c with a sink (replicator/sink/command.c).
 */
#ifndef DAEMON_PASSING_H
#define DAEMON_PASSING_H

#include "daemon/daemon.h"

/* ---- pass_on.c ---- */
/*
 * Passes msg, an operator's command for vm, on to the VM's other host, whose answers c gets. False: that host
 * takes none, or it was passed on already; then c is still to be answered.
 */
bool pass_on(struct vm *vm, struct ctl *c, json_t *msg);

/* ---- passed.c ---- */
/* The first message of a connection was "command": a peer's. */
void passed_admit(struct daemon *d, struct ctl *c, json_t *msg);
/*
 * What peer has passed on, made anew of what is allowed: *out is the caller's, *vm its VM. TV_E_REFUSED, -EINVAL,
 * -ENOENT with a sentence.
 */
int passed_check(struct daemon *d, const char *peer, const json_t *request, json_t **out,
		 struct vm **vm, struct tv_err *e) TV_MUST_CHECK;
/* For this host's view: which commands it takes. NULL: no memory. */
json_t *passed_taken(const struct daemon *d);

/* ---- children.c ---- */
int spawn_pass(struct daemon *d, const struct fo_candidate *peer, int fd, pid_t *pid,
	       struct tv_err *e) TV_MUST_CHECK;

#endif
