/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The arbiter's one door, and what the three questions mean in terms of read and
 * compare-and-swap. */
#include "failover/arbiter.h"
#include "failover/mutant.h"
#include "failover/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct way {
	const char *prefix;
	int (*check)(const char *url, const struct fo_arbiter_conf *conf, struct tv_err *e);
	int (*open)(const char *url, const struct fo_arbiter_conf *conf, struct fo_arbiter **out,
		    struct tv_err *e);
} ways[] = {
	{"file:///", NULL, fo_arbiter_file_open},
	{"etcd://", fo_arbiter_etcd_check, fo_arbiter_etcd_open},
	{"etcds://", fo_arbiter_etcd_check, fo_arbiter_etcd_open},
};

/* NULL in *out: no arbiter. */
static int way_of(const char *url, const struct way **out, struct tv_err *e)
{
	*out = NULL;
	if (!url || !*url || !strcmp(url, "none"))
		return 0;
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		if (!strncmp(url, ways[i].prefix, strlen(ways[i].prefix))) {
			*out = &ways[i];
			return 0;
		}
	return tv_fail(e, -EINVAL,
		       "arbiter '%.100s' is not known: use etcd://HOST:PORT,HOST:PORT,... or "
		       "etcds://... (TLS), file:///DIRECTORY or none",
		       url);
}

int fo_arbiter_check_url(const char *url, const struct fo_arbiter_conf *conf, struct tv_err *e)
{
	const struct way *w;
	int rc = way_of(url, &w, e);

	return rc || !w || !w->check ? rc : w->check(url, conf, e);
}

int fo_arbiter_open(const char *url, const struct fo_arbiter_conf *conf, struct fo_arbiter **out,
		    struct tv_err *e)
{
	const struct way *w;
	int rc = way_of(url, &w, e);

	*out = NULL;
	return rc || !w ? rc : w->open(url, conf, out, e);
}

void fo_arbiter_close(struct fo_arbiter *a)
{
	if (a)
		a->close(a);
}

int fo_arbiter_probe(struct fo_arbiter *a, struct tv_err *e)
{
	return a && a->probe ? a->probe(a, e) : 0;
}

int fo_arbiter_announce(struct fo_arbiter *a, const struct fo_host *h, struct tv_err *e)
{
	if (!fo_host_ok(h))
		return tv_fail(e, -EINVAL,
			       "host '%.63s' cannot be announced: its name may have letters, "
			       "digits, '.', '_' and '-', and its address must be HOST:PORT",
			       h->name);
	return a->announce ? a->announce(a, h, e)
			   : tv_fail(e, -ENOTSUP, "this arbiter keeps no list of hosts");
}

static int by_name(const void *x, const void *y)
{
	return strcmp(((const struct fo_host *)x)->name, ((const struct fo_host *)y)->name);
}

int fo_arbiter_members(struct fo_arbiter *a, struct fo_host *out, unsigned n, struct tv_err *e)
{
	int found = a->members ? a->members(a, out, n < FO_MAX_HOSTS ? n : FO_MAX_HOSTS, e)
			       : tv_fail(e, -ENOTSUP, "this arbiter keeps no list of hosts");

	if (found > 0)
		qsort(out, (size_t)found, sizeof(*out), by_name);
	return found;
}

bool fo_vm_id_ok(const char *vm_id)
{
	return strlen(vm_id) == 32 && strspn(vm_id, "0123456789abcdef") == 32;
}

int fo_arbiter_read(struct fo_arbiter *a, const char *vm_id, struct fo_record *out,
		    struct tv_err *e)
{
	return a->read(a, vm_id, out, e);
}

int fo_arbiter_cas(struct fo_arbiter *a, const char *vm_id, const struct fo_record *next,
		   struct tv_err *e)
{
	return a->cas(a, vm_id, next, e);
}

int fo_arbiter_forget(struct fo_arbiter *a, const char *vm_id, struct tv_err *e)
{
	return a ? a->forget(a, vm_id, e) : 0;
}

static int lost(struct tv_err *e, const struct fo_record *now)
{
	return tv_fail(e, TV_E_LOST,
		       "the arbiter's record says that host %s runs the VM%s (generation %llu)",
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
	return now->state == FO_PAIRED && !strcmp(now->backup, c->self) &&
	       (!strcmp(now->session, c->session) || FO_BROKEN(any_session)) &&
	       now->generation == c->generation;
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
	if (q == FO_ASK_PROMOTE && !FO_BROKEN(forget_generation))
		r.generation++;
	return r;
}

/* Is `now` already what the question asks for (an answer that got lost on its way)? */
static bool already(enum fo_question q, const struct fo_claim *c, const struct fo_record *now)
{
	struct fo_record want = next_record(q, c, now->version);

	return now->state == want.state && now->generation == want.generation &&
	       !strcmp(now->primary, want.primary) && !strcmp(now->session, want.session) &&
	       (want.state == FO_ALONE || !strcmp(now->backup, want.backup));
}

int fo_claim(struct fo_arbiter *a, enum fo_question q, const struct fo_claim *c,
	     struct fo_record *out, struct tv_err *e)
{
	struct fo_record now = {0};
	int rc;

	if (!a) {
		if (q == FO_ASK_PROMOTE)
			return tv_fail(e, TV_E_LOST, "no arbiter: a person decides");
		*out = next_record(q, c, 0);
		return 0;
	}
	/* A lost race is looked at again: it may have been lost against ourselves. Twice is enough,
	 * as a third writer does not exist. */
	for (int i = 0; i < 3; i++) {
		rc = a->read(a, c->vm_id, &now, e);
		if (rc == -ENOENT && q != FO_ASK_PROMOTE)
			now = (struct fo_record){0};
		else if (rc)
			return rc == -ENOENT ? tv_fail(e, TV_E_LOST,
						       "the arbiter has no record of this VM")
					     : rc;
		else if (already(q, c, &now)) {
			*out = now;
			return 0;
		} else if (q == FO_ASK_PROMOTE ? !backup_may(c, &now) : !primary_may(c, &now))
			return lost(e, &now);
		*out = next_record(q, c, now.version + 1);
		rc = a->cas(a, c->vm_id, out, e);
		if (rc != TV_E_LOST)
			return rc;
	}
	return lost(e, &now);
}
