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

bool sink_is_other_arbiter(const char *peer, const Twinvm__Hello *h, const struct fo_record *r)
{
	if (!h->recorded) /* a primary of an older version */
		return false;
	return !r || (!strcmp(r->primary, peer) && r->generation <= h->generation &&
		      (r->generation < h->generation || strcmp(r->session, h->session) != 0));
}

int sink_check_arbiter(struct sink *s, const Twinvm__Hello *h, struct tv_err *e)
{
	const char *self = s->job.conf.host, *peer = s->job.peer.name;
	struct fo_record rec;
	struct fo_claim c;
	int rc;

	if (!s->has_arbiter)
		return 0;
	job_claim(&s->job, &c);
	rc = monitor_claim(s->monitor, FO_ASK_LOOK, &c, &rec, e);
	if (rc && rc != -ENOENT)
		return rc;
	if (!sink_is_other_arbiter(peer, h, rc ? NULL : &rec))
		return 0;
	return tv_fail(
		e, TV_E_REFUSED,
		"%s and %s do not see the same arbiter: what %s has recorded at %s is not "
		"there on %s. Mount the same directory on both hosts (NFS: with noac), or use "
		"one etcd cluster",
		peer, self, peer, s->job.arbiter, self);
}

/* ---- while all is well ---- */
static void claim_of(const struct sink *s, struct fo_claim *c)
{
	job_claim(&s->job, c);
	c->had_record = true;
}

void sink_watch_record(struct sink *s, int64_t now_ns)
{
	struct fo_claim c;

	if (!s->has_arbiter || s->b.state != FO_B_STANDBY ||
	    !fo_watch_due(&s->watch, &s->times, now_ns))
		return;
	claim_of(s, &c);
	fo_ask_start(s->ask, FO_ASK_LOOK, &c);
}

void sink_watch_answer(struct sink *s, int rc, const struct fo_record *rec, const char *why)
{
	struct fo_claim c;

	claim_of(s, &c);
	if (fo_watch_answer(&s->watch, s->job.conf.host, &c, rc, rec, why))
		tv_log(TV_WARN, "%s: %s", s->job.vm_name,
		       s->watch.warning.text[0] ? s->watch.warning.text
						: "the record is there again");
}
