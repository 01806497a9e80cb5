/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's verbs for the arbiter: keys and shared directories are root's, and what is recorded
 * decides who runs a VM. Only one of this host's arbiters, and of this VM only to read the record and to
 * claim its promotion. */
#include "failover/arbiter/arbiter.h"
#include "replicator/monitor/verbs.h"

#include <errno.h>
#include <string.h>

#define HEARTBEAT_MIN_MS 20
#define HEARTBEAT_MAX_MS 60000

static int open_arbiter(struct mon_state *s, const struct mon_arbiter *b, struct tv_err *e)
{
	struct fo_arbiter_conf conf;
	int rc;

	if (s->asked || !mon_is_text(b->url, sizeof(b->url)) ||
	    b->heartbeat_ms < HEARTBEAT_MIN_MS || b->heartbeat_ms > HEARTBEAT_MAX_MS)
		return tv_fail(e, -EINVAL, "no URL of an arbiter, or not now");
	s->asked = true;
	rc = config_check_arbiter(&s->conf, b->url, e);
	if (rc)
		return rc;
	fo_times_init(&s->times, b->heartbeat_ms * TV_NS_PER_MS);
	conf = config_arbiter(&s->conf, &s->times);
	rc = fo_arbiter_open(b->url, &conf, &s->arbiter, e);
	if (!rc)
		rc = fo_arbiter_probe(s->arbiter, e);
	pthread_mutex_lock(&s->lock);
	s->arbiter_ok = !rc;
	s->has_arbiter = s->arbiter;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

void mon_on_arbiter(struct mon_state *s, struct mon_request *q, struct mon_reply *r,
		    int fds[MON_MAX_FDS])
{
	struct tv_err e = {0};
	int rc = open_arbiter(s, &q->body.arbiter, &e);

	(void)fds;
	if (rc)
		mon_fail(r, rc, e.text[0] ? e.text : NULL);
}

void mon_on_claim(struct mon_state *s, struct mon_request *q, struct mon_reply *r,
		  int fds[MON_MAX_FDS])
{
	const struct mon_claim *b = &q->body.claim;
	struct fo_claim c = {.generation = b->generation, .had_record = b->had_record == 1};
	struct tv_err e = {0};
	int rc;

	(void)fds;
	pthread_mutex_lock(&s->lock);
	tv_copy(c.vm_id, sizeof(c.vm_id), s->vm_id);
	pthread_mutex_unlock(&s->lock);
	if (!s->asked || !c.vm_id[0] ||
	    (b->question != FO_ASK_PROMOTE && b->question != FO_ASK_LOOK) ||
	    b->generation > INT64_MAX || !mon_is_text(b->peer, sizeof(b->peer)) ||
	    !mon_is_text(b->session, sizeof(b->session))) {
		mon_fail(r, -EINVAL, "no claim of a backup");
		return;
	}
	tv_copy(c.self, sizeof(c.self), s->conf.host);
	tv_copy(c.peer, sizeof(c.peer), b->peer);
	tv_copy(c.session, sizeof(c.session), b->session);
	rc = fo_claim(s->arbiter, b->question, &c, &r->record, &e);
	if (rc) {
		mon_fail(r, rc, e.text[0] ? e.text : NULL);
		return;
	}
	if (b->question != FO_ASK_PROMOTE)
		return;
	pthread_mutex_lock(&s->lock);
	s->granted = r->record.generation;
	pthread_mutex_unlock(&s->lock);
}
