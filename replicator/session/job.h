/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The job: what a replicator process gets from its daemon as its one argument, as JSON. Both roles
 * use it: the source (on the primary) gets all of it; the sink (on the backup) gets only the
 * configuration, and completes it from its primary's Hello.
 */
#ifndef REPLICATOR_SESSION_JOB_H
#define REPLICATOR_SESSION_JOB_H

#include "common/common.h"
#include "replicator/session/config.h"
#include "failover/failover.h"

struct job {
	struct config conf;
	char vm_id[33], vm_name[128];
	pid_t vm_pid; /* this and the next two: of the source */
	uint64_t vm_start_ticks;
	char vm_qmp[108];
	struct fo_candidate peer;
	char mode[16];
	int epoch_ms;
	char arbiter[256];
	uint64_t generation;
	char session[33];
	bool had_record;      /* the arbiter has a record of this VM, or has lost it */
	bool by_operator;     /* the backup was named by an operator */
	bool waits_for_proxy; /* of the source: its descriptor 3 reports when the monitor is shared */
	char last_backup[64]; /* without an arbiter: the VM's backup in this generation; "": none */
};
/* JSON, the caller's to free; NULL: no memory. Of the configuration its path, and what needs a restart
 * of the daemon. */
char *job_to_text(const struct job *j);
/* Reads the configuration, too. -EINVAL or what config_load returns, with a sentence. */
int job_from_text(const char *text, struct job *j, struct tv_err *e) TV_MUST_CHECK;
/* What this job's replicator may ask the arbiter for. */
void job_claim(const struct job *j, struct fo_claim *c);
/* run_dir/<vm_id>, made when missing. -ENAMETOOLONG, -errno. */
int job_dir(const struct config *c, const char *vm_id, char *out, size_t room) TV_MUST_CHECK;

/* Gives the calling thread, and those that it starts from now on, priority over guests: what it does must
 * not wait for their vCPUs. */
void job_raise_priority(void);

#endif
