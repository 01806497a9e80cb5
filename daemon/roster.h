/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cluster's list of members, as hosts pass it on, and this host's certificate. */
#ifndef DAEMON_ROSTER_H
#define DAEMON_ROSTER_H

#include "daemon/daemon.h"

void roster_start(struct daemon *d);
/* The configuration was read again: so is the roster, and sessions with hosts that were revoked end. */
void roster_conf(struct daemon *d);
/* What goes with a view to other hosts; NULL: this host is in no cluster of `twinvm cluster`. And how
 * many bytes of a view that takes. */
json_t *roster_view(struct daemon *d);
size_t roster_view_bytes(const struct daemon *d);
/* The same of another host, which is whoever its certificate says; o: NULL, or anything. */
void roster_heard(struct daemon *d, const char *host, const json_t *o);
/* False: it was no process of the roster's. */
bool roster_exit(pid_t pid, int status);

/* (children.c) The process that changes what the cluster's members have; fd: a text for it. */
int spawn_cluster(struct daemon *d, const char *op, int fd, pid_t *pid,
		  struct tv_err *e) TV_MUST_CHECK;
/* twinvmd cluster OP JOB: take (a roster in fd), answer (a question in fd), renew, tidy. */
int roster_main(const char *op, const char *job_text, int fd);

#endif
