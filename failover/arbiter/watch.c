/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is the record still there while all is well? A record that is gone (an empty mount point in the
 * place of the share) is noticed when it is needed, when nobody can do anything about it any more:
 * so it is looked for every few seconds. What is found has no consequence but a warning.
 */
#include "failover/arbiter/arbiter.h"

#include <errno.h>
#include <string.h>

bool fo_watch_due(struct fo_watch *w, const struct fo_times *t, int64_t now_ns)
{
	if (w->open || now_ns < w->due_ns)
		return false;
	w->open = true;
	w->due_ns = now_ns + t->announce_ns;
	return true;
}

const char *fo_arbiter_seen_name(enum fo_arbiter_seen s)
{
	static const char *const names[] = {[FO_ARBITER_UNKNOWN] = "",
					    [FO_ARBITER_REACHABLE] = "reachable",
					    [FO_ARBITER_UNREACHABLE] = "unreachable",
					    [FO_ARBITER_NO_RECORD] = "no record"};

	return names[s];
}

static void note(struct fo_watch *w, enum fo_arbiter_seen seen, int64_t now_ns)
{
	if (seen != w->seen)
		w->since_ns = now_ns;
	w->seen = seen;
}

void fo_watch_seen(struct fo_watch *w, int rc, int64_t now_ns)
{
	if (rc == -EAGAIN) /* it was not asked */
		return;
	if (rc == -ENODATA || rc == -ENOENT)
		note(w, FO_ARBITER_NO_RECORD, now_ns);
	else
		note(w, !rc || rc == TV_E_LOST ? FO_ARBITER_REACHABLE : FO_ARBITER_UNREACHABLE,
		     now_ns);
}

bool fo_watch_answer(struct fo_watch *w, const char *host, const struct fo_claim *c, int rc,
		     const struct fo_record *rec, const char *why)
{
	struct tv_err was = w->warning;

	w->open = false;
	w->warning.text[0] = 0;
	fo_watch_seen(w, !rc && strcmp(rec->session, c->session) != 0 ? -ENODATA : rc, tv_now_ns());
	if (rc)
		tv_fail(&w->warning, rc, "as %s sees it, %s", host, why);
	else if (strcmp(rec->session, c->session) != 0)
		tv_fail(&w->warning, -ESTALE,
			"as %s sees it, the arbiter's record is of another session of this VM (%s, "
			"generation %llu): is it the same arbiter, and its directory mounted?",
			host, rec->primary, (unsigned long long)rec->generation);
	return strcmp(was.text, w->warning.text) != 0;
}
