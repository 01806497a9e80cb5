/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a replicator process gets from its daemon as its one argument, as JSON. Both roles use it:
 * source (on the primary) and sink (on the backup).
 */
#ifndef REPLICATOR_SESSION_JOB_H
#define REPLICATOR_SESSION_JOB_H

#include "common/common.h"
#include "replicator/session/config.h"
#include "failover/failover.h"

struct job {
	struct config conf;
	char vm_id[33], vm_name[128];
	/* source only: */
	pid_t vm_pid;
	uint64_t vm_start_ticks;
	char vm_qmp[108];
	struct fo_candidate peer;
	char mode[16];
	int epoch_ms;
	char arbiter[256];
	uint64_t generation;
	char session[33];
};
/* The caller owns the result. */
char *job_to_text(const struct job *j);
int job_from_text(const char *text, struct job *j, struct tv_err *e) TV_MUST_CHECK;
/* What this job's replicator may ask the arbiter for. */
void job_claim(const struct job *j, struct fo_claim *c);
/* run_dir/<vm_id>, made when missing. */
int job_dir(const struct config *c, const char *vm_id, char *out, size_t room) TV_MUST_CHECK;

/* Stands a loop's process above the guests in the scheduler: heartbeats must not wait for vCPUs. */
void job_raise_priority(void);

#endif
