/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The replicator process on the backup: one connection, one VM. Returns the exit status. */
#ifndef REPLICATOR_SINK_SINK_H
#define REPLICATOR_SINK_SINK_H

/* conn_fd: the accepted TCP connection, TLS not begun. */
int sink_main(const char *job_text, int conn_fd);

#endif
