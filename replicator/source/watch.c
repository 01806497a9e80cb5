/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: is the pair's record still at the arbiter while the VM is protected? */
#include "replicator/source/source_int.h"

static void claim_of(const struct source *s, struct fo_claim *c)
{
	job_claim(&s->job, c);
	c->had_record = true;
}

void src_watch_record(struct source *s, int64_t now_ns)
{
	struct fo_claim c;

	if (!s->arbiter || s->p.state != FO_P_PROTECTED ||
	    !fo_watch_due(&s->watch, &s->times, now_ns))
		return;
	claim_of(s, &c);
	fo_ask_start(s->ask, FO_ASK_LOOK, &c);
}

void src_watch_answer(struct source *s, int rc, const struct fo_record *rec, const char *why)
{
	struct fo_claim c;

	claim_of(s, &c);
	if (!fo_watch_answer(&s->watch, s->job.conf.host, &c, rc, rec, why))
		return;
	tv_log(TV_WARN, "%s: %s", s->job.vm_name,
	       s->watch.warning.text[0] ? s->watch.warning.text : "the record is there again");
	src_send_stats(s);
}
