/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose is a VM? A host offers it with a generation, and both are only what a peer says.
 *
 * With an arbiter the record decides, and nothing else: the primary has itself recorded before it
 * offers its VM. A record that does not exist speaks for nobody; only a VM at its beginning, which
 * this host knows nothing of, needs none (a primary of an older version has not recorded it yet).
 *
 * Without an arbiter a VM belongs to the host that had it last, as far as this host knows. That one
 * may come back with its own generation, or with the one after a switch that was called off (two
 * higher: the backup had the one between). Another host is believed only with the next generation,
 * and only where the VM was this host's and the other its backup: whoever promotes it is that one.
 * For all others an operator decides.
 */
#include "failover/failover.h"
#include "failover/mutant.h"

#include <string.h>

#define CALLED_OFF 2 /* what a switch that was called off adds to the generation */

static bool is(const char *name, const char *other)
{
	return name[0] && !strcmp(name, other);
}

static enum fo_verdict by_record(const struct fo_own *own, const struct fo_offer *o)
{
	if (o->record.generation > o->generation)
		return FO_STALE;
	if (o->record.generation < o->generation || !is(o->record.primary, o->host))
		return FO_NOT_OWNER;
	if (own->running)
		return own->generation < o->generation ? FO_YIELD : FO_RUNS_HERE;
	return FO_ACCEPT;
}

static bool is_new(const struct fo_own *own, const struct fo_offer *o)
{
	return !own->highest || (own->highest == 1 && is(own->host, o->host));
}

static bool continues(const struct fo_own *own, const struct fo_offer *o)
{
	if (o->generation < own->highest || o->generation - own->highest > CALLED_OFF)
		return false;
	return !own->host[0] || is(own->host, o->host);
}

/* It was this host's VM, the other one its backup. */
static bool follows(const struct fo_own *own, const struct fo_offer *o)
{
	return is(own->backup, o->host) && o->generation == own->highest + 1;
}

static enum fo_verdict by_memory(const struct fo_own *own, const struct fo_offer *o)
{
	if (own->running)
		return !own->arbiter && follows(own, o) ? FO_YIELD : FO_NOT_OWNER;
	if (!own->highest || continues(own, o) || follows(own, o))
		return FO_ACCEPT;
	return o->generation < own->ran ? FO_STALE : FO_NOT_OWNER;
}

enum fo_verdict fo_judge(const struct fo_own *own, const struct fo_offer *o)
{
	if (own->running && o->generation <= own->generation)
		return o->generation < own->generation ? FO_STALE : FO_RUNS_HERE;
	if (FO_BROKEN(unconfirmed))
		return own->running		      ? FO_YIELD
		       : o->generation < own->highest ? FO_STALE
						      : FO_ACCEPT;
	if (o->arbiter && o->recorded)
		return by_record(own, o);
	if (o->arbiter)
		return o->generation == 1 && !own->running && is_new(own, o) ? FO_ACCEPT
									     : FO_NOT_OWNER;
	return by_memory(own, o);
}

uint64_t fo_fenced_by(const struct fo_own *own, const struct fo_offer *o)
{
	uint64_t highest = own->running ? own->generation : 0;

	if (!o->arbiter) /* the one after its own is what it can believe */
		return o->generation + 1;
	return o->recorded && o->record.generation > highest ? o->record.generation : highest;
}
