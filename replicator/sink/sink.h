/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sink: the replicator process on the backup. It takes one connection from a primary, keeps the
 * standby of one VM up to date with it, and promotes that standby when failover's engine decides
 * so. The door of this room: twinvmd starts a process that calls sink_main, and everything else
 * between the two are messages (replicator/session/).
 */
#ifndef REPLICATOR_SINK_SINK_H
#define REPLICATOR_SINK_SINK_H

/*
 * Runs until the session has ended, and returns the process's exit status: 0, or 1 when something
 * failed. job_text: the job as JSON (replicator/session/job.h). conn_fd: the accepted TCP
 * connection, TLS not begun; taken over. latch_fd: is closed when the certificate of the other host
 * has been found good; -1: none.
 */
int sink_main(const char *job_text, int conn_fd, int latch_fd);

#endif
