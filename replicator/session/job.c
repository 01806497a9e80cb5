/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The job as text, and what a replicator derives from it: see job.h. */
#include "replicator/session/job.h"
#include "replicator/session/fields.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define J(member, kind) FIELD(struct job, member, kind, "", "")
static const struct field list[] = {
	J(conf.path, TEXT),	   J(conf.host, TEXT),	   J(conf.listen_host, TEXT),
	J(conf.listen_port, PORT), J(conf.socket, TEXT),   J(conf.state_dir, TEXT),
	J(conf.run_dir, TEXT),	   J(conf.watchdog, TEXT), J(vm_id, TEXT),
	J(vm_name, TEXT),	   J(vm_pid, PID),	   J(vm_start_ticks, U64),
	J(vm_qmp, TEXT),	   J(peer.name, TEXT),	   J(peer.address, TEXT),
	J(peer.port, PORT),	   J(mode, TEXT),	   J(epoch_ms, INT),
	J(arbiter, TEXT),	   J(generation, U64),	   J(session, TEXT),
	J(had_record, BOOL),	   J(last_backup, TEXT),   J(waits_for_proxy, BOOL),
	J(by_operator, BOOL),
};
static const struct fields job_fields = FIELDS("job", list);

char *job_to_text(const struct job *j)
{
	json_t *o = fields_write(&job_fields, j);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	json_decref(o);
	return text;
}

int job_from_text(const char *text, struct job *j, struct tv_err *e)
{
	json_t *o = json_loads(text, 0, NULL);
	struct config daemon;
	int rc;

	memset(j, 0, sizeof(*j));
	rc = fields_read(&job_fields, o, j, e);
	json_decref(o);
	if (rc)
		return rc;
	daemon = j->conf;
	rc = config_load(daemon.path, &j->conf, e);
	/* What the daemon has bound and opened counts, not what the file has meanwhile. */
	if (!rc)
		config_keep(&daemon, &j->conf);
	return rc;
}

void job_claim(const struct job *j, struct fo_claim *c)
{
	*c = (struct fo_claim){.generation = j->generation, .had_record = j->had_record};
	tv_copy(c->vm_id, sizeof(c->vm_id), j->vm_id);
	tv_copy(c->self, sizeof(c->self), j->conf.host);
	tv_copy(c->peer, sizeof(c->peer), j->peer.name);
	tv_copy(c->session, sizeof(c->session), j->session);
}

int job_dir(const struct config *c, const char *vm_id, char *out, size_t room)
{
	if (snprintf(out, room, "%s/%s", c->run_dir, vm_id) >= (int)room)
		return -ENAMETOOLONG;
	return tv_mkdirs(out);
}

void job_raise_priority(void)
{
	/* Not fatal: without the right to do so heartbeats are only less punctual under load. */
	if (setpriority(PRIO_PROCESS, 0, -15))
		tv_log(TV_DEBUG, "setpriority: %s", strerror(errno));
}
