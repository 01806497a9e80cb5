/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sink: the arbiter's record of a VM that is offered. The primary has it written, with the name
 * of its new session, before it sends the Hello that has the same name. Where this host does not find
 * it, the two ask different arbiters, whatever their URLs are: after a failover each would have its
 * own record, and the VM run twice or nowhere.
 */
#include "replicator/sink/sink_int.h"

#include <errno.h>
#include <string.h>

/* A higher generation, or another host's name, is of the one arbiter: the daemon judges by it. */
static bool is_other_arbiter(const struct sink *s, const Twinvm__Hello *h)
{
	const struct fo_record *r = &s->record;

	if (!h->recorded) /* a primary of an older version */
		return false;
	return !s->recorded ||
	       (!strcmp(r->primary, s->job.peer.name) && r->generation <= h->generation &&
		(r->generation < h->generation || strcmp(r->session, h->session) != 0));
}

int sink_read_record(struct sink *s, const Twinvm__Hello *h, struct tv_err *e)
{
	const char *self = s->job.conf.host, *peer = s->job.peer.name;
	struct fo_claim c;
	int rc;

	if (!s->arbiter)
		return 0;
	job_claim(&s->job, &c);
	rc = fo_claim(s->arbiter, FO_ASK_LOOK, &c, &s->record, e);
	s->recorded = !rc;
	if (rc && rc != -ENOENT)
		return rc;
	if (!is_other_arbiter(s, h))
		return 0;
	return tv_fail(
		e, TV_E_REFUSED,
		"%s and %s do not see the same arbiter: what %s has recorded at %s is not "
		"there on %s. Mount the same directory on both hosts (NFS: with noac), or use "
		"one etcd cluster",
		peer, self, peer, s->job.arbiter, self);
}
