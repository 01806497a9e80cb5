/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a replicator process is told by its daemon (one JSON argument), and how it reports back.
 * Both roles use it: source (on the primary) and sink (on the backup).
 */
#ifndef REPLICATOR_SESSION_JOB_H
#define REPLICATOR_SESSION_JOB_H

#include "common/common.h"
#include "replicator/session/config.h"
#include "replicator/session/ctl.h"
#include "failover/failover.h"

struct job {
	struct config conf;
	char vm_id[33], vm_name[128];
	/* source only: */
	pid_t vm_pid;
	uint64_t vm_start_ticks;
	char vm_qmp[108];
	char peer_name[64], peer_host[128];
	uint16_t peer_port;
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

/* Connection to the daemon that comes back when the daemon does. */
struct report;
struct report_ops {
	/* Called on every (re)connection, first of all: introduce yourself with report_send. */
	void (*connected)(struct report *r, void *arg);
	void (*message)(struct report *r, json_t *msg, void *arg);
	void *arg;
};
int report_new(struct event_base *base, const char *socket_path, const struct report_ops *ops,
	       struct report **out) TV_MUST_CHECK;
/* Lost while the daemon is away: what must be known later is told again in connected. msg is
 * stolen. */
void report_send(struct report *r, json_t *msg);
void report_send_fds(struct report *r, json_t *msg, const int *fds, unsigned n);
void report_flush(struct report *r);
void report_free(struct report *r);

/* Stands a loop's process above the guests in the scheduler: heartbeats must not wait for vCPUs. */
void job_raise_priority(void);

#endif
