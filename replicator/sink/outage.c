/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A failover's moments: see outage.h. */
#include "replicator/sink/outage.h"

static const char *cause_of(enum fo_backup_event ev)
{
	return ev == FO_BE_GRACE_OVER ? "closed" : ev == FO_BE_TAKE_OVER ? "asked" : "silence";
}

void outage_changed(struct outage *o, enum fo_backup_event ev, enum fo_backup_state to,
		    const char *why, int64_t sign_ns, int64_t now_ns)
{
	switch (to) {
	case FO_B_SYNCING:
	case FO_B_STANDBY: /* the primary is back */
		*o = (struct outage){0};
		break;
	case FO_B_ASKING:
	case FO_B_WAITING:
		/* An arbiter that does not answer, or a promotion that failed, is part of it. */
		if (!o->cause) {
			o->sign_ns = sign_ns;
			o->asked_ns = now_ns;
		}
		if (ev == FO_BE_RETRY)
			o->cause = "retry";
		else if (!o->cause)
			o->cause = why ? why : cause_of(ev);
		break;
	case FO_B_PROMOTING:
		if (!o->cause) { /* without an arbiter, asked by the primary: nobody else is asked */
			o->sign_ns = sign_ns;
			o->asked_ns = now_ns;
			o->cause = why ? why : cause_of(ev);
		}
		if (ev == FO_BE_FORCE)
			o->cause = "forced";
		else if (ev == FO_BE_RETRY)
			o->cause = "retry";
		o->won_ns = now_ns;
		break;
	default:
		break;
	}
}

static double ms(int64_t from_ns, int64_t to_ns)
{
	return (double)((to_ns - from_ns) / 1000) / 1e3;
}

void outage_report(const struct outage *o, struct session_outage *out)
{
	*out = (struct session_outage){0};
	if (!o->cause || !o->ran_ns || !o->load_ns || !o->won_ns)
		return;
	tv_copy(out->cause, sizeof(out->cause), o->cause);
	out->silence_ms = ms(o->sign_ns, o->asked_ns);
	out->record_ms = ms(o->asked_ns, o->won_ns);
	out->apply_ms = ms(o->won_ns, o->load_ns);
	out->load_ms = ms(o->load_ns, o->ran_ns);
	out->outage_ms = ms(o->sign_ns, o->ran_ns);
}
