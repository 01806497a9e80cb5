/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The questions, each as one read and one compare-and-swap of the arbiter's record. */
#include "failover/failover.h"
#include "failover/mutant.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int lost(struct tv_err *e, const struct fo_record *now)
{
	return tv_fail(e, TV_E_LOST,
		       "by the arbiter's record host %s runs the VM%s (generation %llu)",
		       now->primary, now->state == FO_ALONE ? " alone" : "",
		       (unsigned long long)now->generation);
}

/* What the primary may still record when `now` is the newest record. */
static bool primary_may(const struct fo_claim *c, const struct fo_record *now)
{
	return now->generation <= c->generation && !strcmp(now->primary, c->self);
}

/* The backup may promote only from a record that names it, in the synchronisation it took part
 * in. */
static bool backup_may(const struct fo_claim *c, const struct fo_record *now)
{
	/* Once more, after its promotion failed: an offer to give the VM back ends with it. */
	if (now->state == FO_ALONE)
		return !strcmp(now->primary, c->self) && !strcmp(now->session, c->session) &&
		       now->generation == c->generation;
	return now->state == FO_PAIRED && !strcmp(now->backup, c->self) &&
	       (!strcmp(now->session, c->session) || FO_BROKEN(any_session)) &&
	       now->generation == c->generation;
}

/* The primary takes back only what the backup of its own session took and could not start. */
static bool may_take_back(const struct fo_claim *c, const struct fo_record *now)
{
	return now->state == FO_ALONE && !strcmp(now->primary, c->peer) &&
	       !strcmp(now->session, c->session) && now->generation == c->generation + 1;
}

/* A primary that died after it took its VM back knows its old generation only. */
static bool was_taken_back(const struct fo_claim *c, const struct fo_record *now)
{
	return now->state == FO_ALONE && !strcmp(now->primary, c->self) &&
	       !strcmp(now->session, c->session) && now->generation == c->generation + 2;
}

static bool may(enum fo_question q, const struct fo_claim *c, const struct fo_record *now)
{
	switch (q) {
	case FO_ASK_PROMOTE:
		return backup_may(c, now);
	case FO_ASK_BACK: /* or the backup offers what it never had */
		return may_take_back(c, now) || primary_may(c, now);
	default:
		return primary_may(c, now);
	}
}

/* How many generations the answer is above the one that the asker knows. */
static uint64_t generations_of(enum fo_question q)
{
	if (q == FO_ASK_PROMOTE)
		return FO_BROKEN(forget_generation) ? 0 : 1;
	return q == FO_ASK_BACK ? 2 : 0;
}

static void copy(char *to, size_t room, const char *from)
{
	snprintf(to, room, "%s", from);
}

static struct fo_record next_record(enum fo_question q, const struct fo_claim *c, uint64_t version)
{
	struct fo_record r = {.version = version, .generation = c->generation, .state = FO_ALONE};

	copy(r.primary, sizeof(r.primary), c->self);
	copy(r.session, sizeof(r.session), c->session);
	if (q == FO_ASK_PAIR) {
		r.state = FO_PAIRED;
		copy(r.backup, sizeof(r.backup), c->peer);
	}
	r.generation += generations_of(q);
	return r;
}

/* Is `now` already what the question asks for? Then an earlier answer got lost. */
static bool already(enum fo_question q, const struct fo_claim *c, const struct fo_record *now)
{
	struct fo_record want = next_record(q, c, now->version);

	return now->state == want.state && now->generation == want.generation &&
	       !strcmp(now->primary, want.primary) && !strcmp(now->session, want.session) &&
	       (want.state == FO_ALONE || !strcmp(now->backup, want.backup));
}

/*
 * May the answer be what the record says already? The generation of a promotion, or of a VM taken
 * back, is this host's alone. A primary asks PAIR and ALONE in turns, and a request that it gave up may still be carried out: so
 * each question writes, and what was asked before it finds its version taken. After a lost race the
 * version is taken.
 */
static bool may_be_old(enum fo_question q, int tries)
{
	return q == FO_ASK_PROMOTE || q == FO_ASK_BACK || tries || FO_BROKEN(old_record_counts);
}

static int no_record(struct tv_err *e, const struct fo_claim *c)
{
	if (!c->had_record)
		return tv_fail(e, -ENOENT, "the arbiter has no record of this VM");
	return tv_fail(e, -ENODATA,
		       "the arbiter has no record of this VM, and had one: is it the same arbiter, "
		       "and its directory mounted?");
}

int fo_claim(struct fo_arbiter *a, enum fo_question q, const struct fo_claim *c,
	     struct fo_record *out, struct tv_err *e)
{
	struct fo_record now = {0};
	int rc;

	if (!a) {
		if (q == FO_ASK_PROMOTE)
			return tv_fail(e, TV_E_LOST, "no arbiter: an operator decides");
		if (q == FO_ASK_LOOK)
			return no_record(e, c);
		*out = next_record(q, c, 0);
		return 0;
	}
	/*
	 * After a lost race the record is read again: the winner may have been an earlier try of
	 * this host. Twice is enough, as there is no third writer.
	 */
	for (int i = 0; i < 3; i++) {
		rc = a->read(a, c->vm_id, &now, e);
		if (rc == -ENOENT && c->had_record && !FO_BROKEN(absence_is_an_answer))
			return no_record(e, c);
		if (q == FO_ASK_LOOK) {
			*out = now;
			return rc == -ENOENT ? no_record(e, c) : rc;
		}
		if (rc == -ENOENT && (q == FO_ASK_PAIR || q == FO_ASK_ALONE))
			now = (struct fo_record){0};
		else if (rc)
			return rc == -ENOENT ? tv_fail(e, TV_E_LOST,
						       "the arbiter has no record of this VM")
					     : rc;
		else if ((already(q, c, &now) && may_be_old(q, i)) ||
			 (q == FO_ASK_ALONE && was_taken_back(c, &now))) {
			*out = now;
			return 0;
		} else if (!may(q, c, &now))
			return lost(e, &now);
		*out = next_record(q, c, now.version + 1);
		FO_ASSERT(out->generation >= now.generation);
		FO_ASSERT(out->generation == c->generation + generations_of(q) ||
			  FO_BROKEN(forget_generation));
		rc = a->cas(a, c->vm_id, out, e);
		if (rc != TV_E_LOST)
			return rc;
	}
	return lost(e, &now);
}
