/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The replicator process on the primary: one VM, one session. Returns the exit status. */
#ifndef REPLICATOR_SOURCE_SOURCE_H
#define REPLICATOR_SOURCE_SOURCE_H

int source_main(const char *job_text);

#endif
